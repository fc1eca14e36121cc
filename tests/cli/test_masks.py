"""`register` with masks: what one image lacks is bridged, and the measured similarity ignores what covers it."""

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from scipy import ndimage

from regstudio.cli import main
from regstudio.data.pictures.writing import write_image, write_label


def pictures(folder: Path) -> np.ndarray:
    """A pair that differs by a smooth flow, the moving one with a bright plate over it; returns where the plate is."""
    texture = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(64, 64)), 2.5)
    y, x = np.mgrid[:64, :64].astype(float)
    bend = 3 * np.sin(np.pi * y / 63) * np.sin(np.pi * x / 63)
    fixed = ndimage.map_coordinates(texture, (y + bend, x - bend), order=1, mode="nearest")
    plate = (np.abs(y - 36) < 9) & (np.abs(x - 30) < 9)
    low, high = texture.min(), texture.max()
    for name, image in (("fixed", fixed), ("moving", np.where(plate, high, texture))):
        write_image(folder / f"{name}.nii", ((image - low) / (high - low)).astype(np.float32))
    write_label(folder / "masks" / "moving_mask.png", (~plate).astype(np.uint8))
    return np.stack((bend, -bend))


def register(folder: Path, out: str, *flags: object) -> tuple[np.ndarray, dict[str, str]]:
    paths = ("--fixed", folder / "fixed.nii", "--moving", folder / "moving.nii", "--out", folder / out)
    shared = ("--method", "optimiser", "--similarity", "ncc", "--device", "cpu")
    result = CliRunner().invoke(main, ["register", *map(str, (*paths, *shared, *flags))])
    assert result.exit_code == 0, result.output
    with (folder / out / "moving_metrics.csv").open() as table:
        (row,) = csv.DictReader(table)
    return np.load(next((folder / out).glob("*_flow.npy"))), row


@pytest.mark.slow
def test_a_plate_is_bridged_by_what_surrounds_it(tmp_path: Path) -> None:
    truth = pictures(tmp_path)
    inner = (slice(None), slice(24, 48), slice(18, 42))
    errors, measured = [], []
    for out, flags in (("plain", ()), ("masked", ("--moving_mask", tmp_path / "masks"))):
        flow, row = register(tmp_path, out, *flags)
        errors.append(float(np.linalg.norm(flow - truth, axis=0)[inner[1:]].mean()))
        measured.append(float(row["ncc"]))
    assert errors[1] < 0.6 * errors[0]
    assert measured[1] > measured[0]


@pytest.mark.parametrize(
    ("flag", "value", "what"),
    [("--moving_mask", "none.png", "there is no such file"), ("--fixed_mask", "small.png", "unlike its image")],
)
def test_masks_that_cannot_be_used_are_one_message(tmp_path: Path, flag: str, value: str, what: str) -> None:
    pictures(tmp_path)
    write_label(tmp_path / "small.png", np.ones((40, 40), np.uint8))
    paths = ("--fixed", tmp_path / "fixed.nii", "--moving", tmp_path / "moving.nii", "--out", tmp_path / "out")
    flags = ("--method", "affine", flag, tmp_path / value)
    result = CliRunner().invoke(main, ["register", *map(str, (*paths, *flags))])
    assert result.exit_code == 1
    assert what in result.output
    assert "Traceback" not in result.output


@pytest.mark.slow
def test_the_background_is_found_where_that_is_wanted(tmp_path: Path) -> None:
    """A frame of zeros around both: it counts as no match, and without it the similarity is higher."""
    pictures(tmp_path)
    for name in ("fixed", "moving"):
        image = nib.load(tmp_path / f"{name}.nii").get_fdata()
        write_image(tmp_path / f"{name}.nii", np.pad(0.1 + 0.9 * image, 16).astype(np.float32))
    measured = []
    for choice in ("none", "auto"):
        paths = ("--fixed", tmp_path / "fixed.nii", "--moving", tmp_path / "moving.nii", "--out", tmp_path / choice)
        result = CliRunner().invoke(
            main, ["register", *map(str, (*paths, "--method", "affine", "--mask_outside", choice))]
        )
        assert result.exit_code == 0, result.output
        with (tmp_path / choice / "moving_metrics.csv").open() as table:
            (row,) = csv.DictReader(table)
        measured.append(float(row["ncc_before"]))
    assert measured[1] > measured[0] + 0.05
