"""`regstudio register` and the reading of a training, with images of any size, shape and colour."""

import csv
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

from regstudio.cli import main
from regstudio.config import build_config, read_config
from regstudio.data.folders.layout import Case
from regstudio.data.pairs.dataset import RegistrationDataset
from regstudio.data.pictures.formats import read_image
from regstudio.networks.checkpoint import Checkpoint
from regstudio.training.setup import loaders
from tests.pictures import ramp


def coloured(path: Path, height: int, width: int) -> Path:
    colours = np.stack([ramp(height, width), ramp(height, width)[::-1], 1 - ramp(height, width)], axis=-1)
    Image.fromarray(np.rint(255 * colours).astype(np.uint8)).save(path)
    return path


def test_two_images_of_different_sizes_in_colour_with_landmarks_of_imagej(tmp_path: Path) -> None:
    """Without any method, p of the fixed image lies where the working grid puts the same place of the moving one."""
    fixed, moving = coloured(tmp_path / "he.png", 600, 800), coloured(tmp_path / "ck.png", 300, 500)
    (tmp_path / "he.csv").write_text(",X,Y\n1,399.5,299.5\n2,79.5,299.5\n3,10,10\n")
    (tmp_path / "ck.csv").write_text(",X,Y\n1,249.5,149.5\n2,51.5,149.5\n")
    arguments = ["--fixed", fixed, "--moving", moving, "--out", tmp_path / "out", "--method", "none"]
    arguments += ["--fixed_points", tmp_path / "he.csv", "--moving_points", tmp_path / "ck.csv"]
    result = CliRunner().invoke(main, ["register", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    warped = read_image(tmp_path / "out" / "ck_warped.png", colour=True).array
    assert (warped.shape, warped.dtype) == ((600, 800, 3), np.uint8)
    centre, own = warped[300, 400].astype(int), read_image(moving, colour=True).array[150, 250]
    np.testing.assert_allclose(centre, own, atol=3)
    assert (warped[:55] == warped[0, 0]).all()  # above the moving image, which is less tall
    assert warped[65:535].std() > 30
    (row,) = csv.DictReader((tmp_path / "out" / "ck_metrics.csv").read_text().splitlines())
    # The pictures are 256 pixels wide on the grid: 1.6 pixels of the fixed file are one of the moving file.
    assert np.isclose(float(row["tre"]), np.mean([0, abs(1.6 * (51.5 - 249.5) - (79.5 - 399.5))]), atol=0.02)


def test_images_of_all_sizes_are_one_data_set(tmp_path: Path) -> None:
    cases = [Case(id=name, image=coloured(tmp_path / f"{name}.png", *size)) for name, size in SIZES.items()]
    reading = build_config({"working_size": "64"}).reading
    images, _ = loaders(reading, cases[0])
    items = RegistrationDataset(cases[1:], atlas=cases[0], image_loader=images)
    assert {tuple(item["moving_image"].shape) for item in items} == {(1, 32, 64)}
    assert all(item["moving_image"].max() == 1 for item in items)


SIZES = {"atlas": (80, 160), "a": (90, 40), "b": (33, 200), "c": (160, 320)}


def test_what_version_0_1_recorded_is_read_at_its_own_size() -> None:
    record = build_config({}).model_dump(mode="json")
    for name in ("working_size", "fit", "grey", "background"):
        del record["reading"][name]
    assert read_config(record).reading.working_size == "own"
    assert read_config(record).reading.background == "black"
    old = Checkpoint(weights={}, network={}, config=record)
    assert (old.reading["working_size"], old.reading["background"]) == ("own", "black")
    assert Checkpoint(weights={}, network={"network_side": 128}).reading["working_size"] == "auto"
    new = build_config({"working_size": "96x64", "fit": "stretch"}).model_dump(mode="json")
    assert Checkpoint(weights={}, network={}, config=new).reading["working_size"] == "96x64"


def test_apply_gives_results_of_the_sizes_that_register_gives(tmp_path: Path) -> None:
    fixed, moving = coloured(tmp_path / "he.png", 100, 140), coloured(tmp_path / "ck.png", 60, 160)
    for size in ("fixed", "working", "moving"):
        out, again = tmp_path / size, tmp_path / f"{size}_again"
        arguments = ["--fixed", fixed, "--moving", moving, "--method", "none", "--working_size", "64", "--out", out]
        for command in (
            ["register", *arguments, "--output_size", size],
            ["apply", "--flow", out / "ck_flow.npy", "--image", moving, "--output_size", size, "--out", again],
        ):
            result = CliRunner().invoke(main, list(map(str, command)))
            assert result.exit_code == 0, result.output
        first, second = (read_image(folder / "ck_warped.png", colour=True) for folder in (out, again))
        assert first.size == {"fixed": (100, 140), "working": (46, 64), "moving": (115, 160)}[size]
        np.testing.assert_array_equal(first.array, second.array)
