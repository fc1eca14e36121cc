import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from regstudio.cli import main
from regstudio.runs.events import EpochDone
from regstudio.runs.run import Run, open_run


def regstudio(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def run(one_run: Path) -> Run:
    """A short training on the small data set."""
    return open_run(one_run)


def test_evaluate_agrees_with_the_training_log(run: Run, demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    result = regstudio("evaluate", "--checkpoint", run.best_path, "--data_base_dir", demo, "--json", out)
    assert result.exit_code == 0
    mean = json.loads(out.read_text())["mean"]
    best = [event for event in run.events() if isinstance(event, EpochDone) and event.best][-1]
    for name in ("dice", "dice_before", "njd_percent"):
        assert mean[name] == pytest.approx(best.metrics[name], abs=1e-6)
    assert f"Dice {mean['dice']:.4f}" in run.log_path.read_text()
    assert f"{mean['dice']:.3f}" in result.stdout


def test_evaluate_takes_names_from_the_checkpoint_and_draws(run: Run, tmp_path: Path) -> None:
    picture = tmp_path / "cases.png"
    result = regstudio("evaluate", "--checkpoint", run.best_path, "--figure", picture)
    assert result.exit_code == 0
    with Image.open(picture) as opened:
        assert opened.width == 1600


def test_register_a_folder(run: Run, demo: Path, tmp_path: Path) -> None:
    arguments = ["--fixed", demo / "fixed" / "atlas.png", "--moving", demo / "validation_moving"]
    arguments += ["--moving_seg", demo / "validation_moving_seg", "--fixed_seg", demo / "fixed_seg" / "atlas_seg.png"]
    result = regstudio("register", "--checkpoint", run.best_path, *arguments, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "2 of 2 images registered" in result.stdout
    assert "dice" in result.stdout
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert "metrics.csv" in names
    assert sum("_warped_seg." in name for name in names) == 2
    assert sum(name.endswith("_flow.npy") for name in names) == 2
    assert sum(name.endswith("_displacement.nii.gz") for name in names) == 2
    again = regstudio("register", "--checkpoint", run.best_path, *arguments, "--out", tmp_path / "out")
    assert "2 of 2 images registered, 2 of them before" in again.stdout
    again = regstudio("register", "--checkpoint", run.best_path, *arguments, "--out", tmp_path / "out", "--overwrite")
    assert "2 of 2 images registered; the results" in again.stdout


def test_register_one_file_with_nothing_but_the_images(run: Run, tmp_path: Path) -> None:
    for name, seed in (("a.png", 0), ("b.png", 1)):
        pixels = np.random.default_rng(seed).integers(0, 255, (40, 52), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    arguments = ["--fixed", tmp_path / "a.png", "--moving", tmp_path / "b.png", "--out", tmp_path / "out"]
    result = regstudio("register", "--checkpoint", run.best_path, *arguments)
    assert result.exit_code == 0
    with Image.open(tmp_path / "out" / "b_warped.png") as warped:
        assert warped.size == (52, 40)


def test_register_tells_of_a_bad_file_and_does_the_rest(run: Run, demo: Path, tmp_path: Path) -> None:
    moving = tmp_path / "moving"
    moving.mkdir()
    (moving / "bad.png").write_bytes(b"no picture")
    pixels = np.random.default_rng(0).integers(0, 255, (48, 48), dtype=np.uint8)
    Image.fromarray(pixels).save(moving / "good.png")
    arguments = ["--fixed", demo / "fixed" / "atlas.png", "--moving", moving, "--out", tmp_path / "out"]
    result = regstudio("register", "--checkpoint", run.best_path, *arguments)
    assert result.exit_code == 1
    assert "bad.png" in result.stdout
    assert "1 of 2 images registered" in result.stdout
    assert (tmp_path / "out" / "good_warped.png").exists()


@pytest.mark.parametrize("command", ["register", "evaluate"])
def test_a_checkpoint_that_is_none(command: str, demo: Path, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pt"
    junk.write_bytes(b"junk")
    arguments = {
        "evaluate": ["--data_base_dir", demo],
        "register": ["--fixed", demo / "fixed" / "atlas.png", "--moving", demo / "moving", "--out", tmp_path / "out"],
    }
    result = regstudio(command, "--checkpoint", junk, *arguments[command])
    assert result.exit_code == 1
    assert f"{junk}: cannot be read as a checkpoint" in result.output
    assert isinstance(result.exception, SystemExit)


def test_evaluate_without_validation_images(run: Run, tmp_path: Path) -> None:
    result = regstudio("evaluate", "--checkpoint", run.best_path, "--data_base_dir", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "nowhere" in result.output
