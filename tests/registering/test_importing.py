"""Imports with a proposed atlas, from Python and the command line, end in data that train; zips unpack safely."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy import ndimage

from regstudio import import_data
from regstudio.cli import main
from regstudio.config import build_config
from regstudio.errors import ConfigError, DataError
from regstudio.registering.atlas_choice import aligned, most_alike, small_copy
from regstudio.training.setup import check_data
from regstudio.training.trainer import train
from tests.data.importing.conftest import volumes  # noqa: F401
from tests.pictures import flat_folder
from tests.training.whole_training import QUICK


def blob(shift: float = 0, turn: float = 0, own: int = 0) -> np.ndarray:
    """A head-like picture, shifted and turned; with `own`, textures of its own that no affine map takes away."""
    y, x = np.mgrid[:64, :64]
    head = np.exp(-((((y - 32) / 20) ** 2 + ((x - 32) / 14) ** 2) ** 4))
    texture = ndimage.gaussian_filter(np.random.default_rng(own).normal(size=head.shape), 2)
    head += (np.exp(-((y - 26) ** 2 + (x - 36) ** 2) / 20) / 2 + 2 * texture * (own > 0)) * (head > 0.5)
    moved: np.ndarray = ndimage.shift(ndimage.rotate(head, turn, reshape=False, order=1), (shift, -shift), order=1)
    return moved


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["import", *map(str, arguments)])


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    return flat_folder(tmp_path / "flat")


def test_the_atlas_is_the_image_that_is_most_like_the_others_wherever_they_lie() -> None:
    places = ((0, 0, 1), (3, 8, 2), (-6, -10, 0), (4, 0, 3), (0, 12, 4))
    pictures = [small_copy(blob(*place)) for place in places]
    assert most_alike(pictures) == 2
    assert most_alike(pictures[:2]) == 0


def test_alignment_undoes_an_affine_map() -> None:
    import torch

    images = torch.from_numpy(np.stack([small_copy(blob(4, 10)), small_copy(blob())]))[:, None]
    before, after = ((part[0] - part[1]).abs().mean() for part in (images, aligned(images, images[1:])))
    assert after < 0.3 * before


@pytest.mark.slow
def test_a_flattened_folder_ends_in_data_that_train(flat: Path, tmp_path: Path) -> None:
    done = import_data(flat, tmp_path / "data")
    assert done.pictures == 5
    config = build_config({**QUICK, "data_base_dir": done.folder, "runs_dir": tmp_path / "runs", "epochs": 1})
    report = check_data(config)
    assert report.can_train
    list(train(config, report.index))
    (best,) = (tmp_path / "runs").glob("*/checkpoints/best_model.pt")  # there was a Dice
    assert best.stat().st_size > 0


@pytest.mark.usefixtures("volumes")
def test_the_command_line_shows_what_it_will_do_and_does_it(tmp_path: Path) -> None:
    source, out = tmp_path / "volumes", tmp_path / "data"
    shown = run(source, "--out", out, "--slices", "every:2", "--axis", "axial", "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert not out.exists()
    rows = [line.split() for line in shown.output.splitlines() if "_t1_" in line]
    assert sorted(row[1] for row in rows[:9]) == [f"patient0{who}_t1_{z}" for who in (1, 2, 3) for z in (0, 2, 4)]
    assert sorted({row[0] for row in rows[:9]}) == ["atlas", "train", "validation"]
    assert rows[0][-1] == rows[0][3].replace("t1.nii.gz,", "t1_seg.nii.gz")
    done = run(source, "--out", out, "--slices", "every:2", "--axis", "axial", "--atlas", "patient02_t1_2")
    assert done.exit_code == 0, done.output
    assert (
        "9 pictures of 3 subjects, 9 with labels: the atlas patient02_t1_2, 5 to train on, 3 to validate on"
        in done.output
    )
    assert json.loads((out / "import.json").read_text())["atlas"] == "patient02_t1_2"
    checked = CliRunner().invoke(main, ["check", "--data_base_dir", str(out)])
    assert checked.exit_code == 0, checked.output


def test_a_zip_is_unpacked_safely_and_its_traces_are_gone(flat: Path, tmp_path: Path) -> None:
    archive = tmp_path / "scans.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in flat.iterdir():
            opened.write(path, f"deep/{path.name}")
    done = import_data(archive, tmp_path / "data")
    assert done.pictures == 5
    assert json.loads((done.folder / "import.json").read_text())["source"] == str(archive)
    with pytest.raises(ConfigError, match="link"):
        import_data(archive, tmp_path / "linked", link=True)
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("../outside.png", b"x")
    with pytest.raises(DataError, match="leads out of its folder"):
        import_data(archive, tmp_path / "other")
    archive.write_bytes(b"PK no zip")
    assert "is damaged, or no zip" in run(archive, "--out", tmp_path / "other").output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "flat", "scans.zip"]


def test_unusable_flags_are_one_message(flat: Path, tmp_path: Path) -> None:
    for flags, what in (
        (("--slices", "some"), "slices"),
        (("--axis", "up"), "axis"),
        (("--atlas", "x"), "is called 'x'"),
    ):
        result = run(flat, "--out", tmp_path / "data", *flags)
        assert result.exit_code == 1
        assert what in result.output
        assert "Traceback" not in result.output
