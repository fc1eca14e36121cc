"""Methods that need no checkpoint: by name, and from the command line."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch.nn import functional as F

from regstudio.cli import main
from regstudio.cli.register import register
from regstudio.data.pairs.pair import Pair, pair_of_arrays
from regstudio.errors import ConfigError
from regstudio.methods import SIMILARITIES
from regstudio.methods.general import General, general_method
from regstudio.methods.named import named_method
from regstudio.methods.similarity_choice import choose_similarity, sign_consistency
from regstudio.training.synthesis import synthesise
from regstudio.transforms.registration import Registration


@pytest.fixture(scope="module")
def pair() -> Pair:
    """Two images of one random anatomy, and one of its labels."""
    drawn = synthesise(7, 3, (96, 96))
    images = [image[0, 0].numpy() for image in (drawn.fixed, drawn.moving)]
    largest = int(drawn.fixed_label.sum(dim=(0, 2, 3)).argmax())
    labels = [(label[0, largest] > 0.5).numpy().astype(np.int64) for label in (drawn.fixed_label, drawn.moving_label)]
    return pair_of_arrays(*images, fixed_label=labels[0], moving_label=labels[1], name="drawn")


def texture(seed: int) -> torch.Tensor:
    noise = torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, (128, 128), mode="bicubic").clamp(0, 1)


def test_the_command_line_offers_what_there_is() -> None:
    (offered,) = (option.type.choices for option in register.params if option.name == "similarity")
    assert set(offered) == set(SIMILARITIES)


def test_the_general_network_registers_what_it_has_never_seen(pair: Pair) -> None:
    method = general_method()
    assert isinstance(method, General)
    found = Registration(pair=pair, transform=method(pair))
    assert found.dice is not None
    assert found.dice_before is not None
    assert found.dice.mean > found.dice_before.mean
    assert found.folds.percent < 0.1
    assert found.transform.inverse_flow is not None


def test_another_name_is_no_method() -> None:
    with pytest.raises(ConfigError, match="'magic'"):
        named_method("magic")


@pytest.mark.parametrize("shown", ["as it is", "inverted", "darker"])
def test_images_of_one_kind_are_compared_by_correlation(shown: str) -> None:
    image = texture(1)
    other = {"as it is": image, "inverted": 1 - image, "darker": 0.5 * image**1.5}[shown]
    assert choose_similarity(image, other) == ["ncc"]


def test_borders_of_one_sign_are_not_enough() -> None:
    """Tissues in another order, on a dark background that hides it from the local correlation: as MR and CT."""
    image = texture(1)
    body = torch.zeros_like(image)
    body[..., 40:88, 40:88] = 1
    fixed, other = body * (0.4 + 0.2 * image), body * (0.6 - 0.2 * image)
    assert 0.75 < sign_consistency(*(F.avg_pool2d(side, 2) for side in (fixed, other))).item() < 0.9
    assert choose_similarity(fixed, other) == ["mind"]


def test_images_of_two_kinds_are_not() -> None:
    """What is bright in one is dark in the other here, and bright there."""
    image = texture(1)
    sign = torch.where(torch.arange(128) % 32 < 16, 1.0, -1.0)
    assert choose_similarity(image, 0.5 + sign * (image - 0.5)) == ["mind"]
    few = (image * 4).round() / 4
    assert choose_similarity(few, 0.5 + sign * (few - 0.5)) == ["mi"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["register", "--device", "cpu", *(str(argument) for argument in arguments)])


@pytest.mark.parametrize("method", [None, "optimiser", "affine"])
def test_two_images_are_registered_without_any_training(demo: Path, tmp_path: Path, method: str | None) -> None:
    moving = min((demo / "validation_moving").iterdir())
    (label,) = (demo / "validation_moving_seg").glob(f"{moving.name.split('.')[0]}_seg.*")
    (fixed,), (fixed_label,) = (demo / "fixed").iterdir(), (demo / "fixed_seg").iterdir()
    labels = [f"--fixed_seg={fixed_label}", f"--moving_seg={label}"]
    chosen = [] if method is None else ["--method", method]
    result = run("--fixed", fixed, "--moving", moving, *labels, "--out", tmp_path, *chosen)
    assert result.exit_code == 0, result.output
    (table,) = tmp_path.glob("*_metrics.csv")
    with table.open(newline="") as file:
        (row,) = csv.DictReader(file)
    # The demo's images lie where the atlas does: an affine map alone has nothing to gain.
    assert float(row["dice"]) > float(row["dice_before"]) - (0.1 if method == "affine" else 0)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--checkpoint", "a.pt", "--method", "affine"], "exclude each other"),
        (["--affine", "auto"], "--affine is for networks"),
        (["--refine", "5"], "--refine is for networks"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(tmp_path: Path, flags: list[str], words: str) -> None:
    result = run("--fixed", "a.png", "--moving", "b.png", "--out", tmp_path, *flags)
    assert result.exit_code == 2
    assert words in result.output
