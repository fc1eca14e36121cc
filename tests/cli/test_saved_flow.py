"""`regstudio apply`: what a flow did once, it does again."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it
from click.testing import CliRunner, Result

from regstudio.cli import main
from regstudio.data.geometry import Geometry
from regstudio.data.pictures.formats import read_image, read_label
from regstudio.data.pictures.picture import Picture
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.transforms.apply import move_points
from regstudio.transforms.file_field import FileField
from regstudio.transforms.result_files import save_registration
from tests.known_flows import registered_by
from tests.transforms.test_itk_field import OTHER, ROTATED, flow_of, smooth, write_2d


def apply(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["apply", *map(str, arguments)])


def save(folder: Path, ending: str, flow: np.ndarray) -> tuple[Path, Path]:
    """Write a pair, its label and its registration; return the moving image and the folder of the results."""
    write_2d(folder / f"fixed{ending}", smooth(1), ROTATED)
    write_2d(folder / f"moving{ending}", smooth(2), OTHER)
    ids = smooth(2) // 50
    pictures = [read_image(folder / f"{name}{ending}") for name in ("fixed", "moving")]
    write_label(folder / f"moving_seg{ending}", ids, like=pictures[1])
    save_registration(registered_by(flow, *pictures), folder / "out", "x")
    return folder / f"moving{ending}", folder / "out"


@pytest.mark.parametrize("flow", ["x_flow.npy", "x_displacement.nii.gz"])
@pytest.mark.parametrize("ending", [".mha", ".nii.gz"])
def test_it_warps_as_register_did(ending: str, flow: str, tmp_path: Path) -> None:
    moving, out = save(tmp_path, ending, flow_of())
    label = tmp_path / f"moving_seg{ending}"
    result = apply("--flow", out / flow, "--image", moving, "--label", label, "--out", tmp_path / "again")
    assert result.exit_code == 0, result.output
    first, again = (read_image(path) for path in (out / f"x_warped{ending}", tmp_path / f"again/moving_warped{ending}"))
    assert abs(first.array - again.array).max() <= (0 if flow.endswith(".npy") else 1)
    np.testing.assert_allclose(again.affine, first.affine, atol=1e-4)
    ids = read_label(tmp_path / f"again/moving_seg_warped{ending}").array
    field = sitk.ReadImage(str(out / "x_displacement.nii.gz"), sitk.sitkVectorFloat64)
    theirs = sitk.Resample(
        sitk.ReadImage(str(label), sitk.sitkInt16),
        sitk.ReadImage(str(tmp_path / f"fixed{ending}")),
        sitk.DisplacementFieldTransform(field),
        sitk.sitkNearestNeighbor,
    )
    array = sitk.GetArrayFromImage(theirs)
    assert (ids != array).mean() < 0.002  # ties


def test_a_field_of_another_program_is_applied_as_it_would(tmp_path: Path) -> None:
    """A field on a grid of its own size and place, with vectors that no flow of ours has been."""
    write_2d(tmp_path / "moving.mha", smooth(2, (50, 60)), OTHER)
    rng = np.random.default_rng(0)
    field = sitk.GetImageFromArray(rng.normal(0, 2, (33, 44, 2)), isVector=True)
    field.SetSpacing((0.9, 0.5))
    field.SetOrigin((0, 45))
    field.SetDirection((np.cos(0.1), -np.sin(0.1), np.sin(0.1), np.cos(0.1)))
    sitk.WriteImage(field, str(tmp_path / "1Warp.nii.gz"))
    result = apply("--flow", tmp_path / "1Warp.nii.gz", "--image", tmp_path / "moving.mha", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    moving = sitk.ReadImage(str(tmp_path / "moving.mha"), sitk.sitkFloat64)
    lowest = float(sitk.GetArrayFromImage(moving).min())
    theirs = sitk.Resample(moving, field, sitk.DisplacementFieldTransform(sitk.Image(field)), sitk.sitkLinear, lowest)
    ours = read_image(tmp_path / "out" / "moving_warped.mha")
    assert np.ptp(ours.array) > 100
    assert abs(ours.array - sitk.GetArrayFromImage(theirs)).max() <= 0.6


def points_file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_points_go_to_the_moving_image_and_back(tmp_path: Path) -> None:
    _, out = save(tmp_path, ".mha", flow_of() / 3)
    flow = np.load(out / "x_flow.npy")
    points = points_file(tmp_path / "a_points.csv", "y,x,name\n10,20,apex\n5.5,30,\n")
    result = apply("--flow", out / "x_flow.npy", "--points", points, "--out", tmp_path / "p")
    assert result.exit_code == 0, result.output
    assert "2 points went from the fixed image to the moving image." in result.output
    moved = tmp_path / "p" / "a_points_moved.csv"
    rows = list(csv.DictReader(moved.read_text().splitlines()))
    assert rows[0]["name"] == "apex"
    assert float(rows[0]["y"]) == pytest.approx(10 + flow[0, 10, 20], abs=1e-3)
    assert float(rows[0]["x"]) == pytest.approx(20 + flow[1, 10, 20], abs=1e-3)
    assert float(rows[1]["x"]) == pytest.approx(30 + flow[1, 5:7, 30].mean(), abs=1e-3)
    back = apply("--flow", out / "x_flow.npy", "--points", moved, "--inverse", "--out", tmp_path / "p")
    assert "from the moving image to the fixed image, by inverting the flow" in back.output
    rows = list(csv.DictReader((tmp_path / "p" / "a_points_moved_moved.csv").read_text().splitlines()))
    assert [(float(row["y"]), float(row["x"])) for row in rows] == [
        pytest.approx((10, 20), abs=2e-3),
        pytest.approx((5.5, 30), abs=2e-3),
    ]


def test_points_follow_what_the_pictures_show(tmp_path: Path) -> None:
    """A bright pixel of the moving image shows at p where the point p goes to it; a field and a flow agree on it."""
    moving, out = save(tmp_path, ".nii.gz", flow_of())
    points = points_file(tmp_path / "a.csv", "y,x\n12,9\n30,25\n")
    for flow in ("x_flow.npy", "x_displacement.nii.gz"):
        result = apply("--flow", out / flow, "--points", points, "--image", moving, "--out", tmp_path / flow)
        assert result.exit_code == 0, result.output
    first, second = (
        np.loadtxt(tmp_path / flow / "a_moved.csv", delimiter=",", skiprows=1)
        for flow in ("x_flow.npy", "x_displacement.nii.gz")
    )
    np.testing.assert_allclose(first, second, atol=1e-3)


def test_points_that_nothing_leads_to_are_told(tmp_path: Path) -> None:
    """Rows above 20 go up by 5 and those below go down by 5: the ten in between are torn apart."""
    flow = np.zeros((2, 40, 36))
    flow[0] = np.where(np.arange(40) < 20, -5, 5)[:, None]
    field = FileField(flow=flow, size=(40, 36), image_size=(40, 36))
    places, left = move_points(field, np.array([[10.0, 5.0], [20.0, 5.0]]), inverse=True)
    np.testing.assert_allclose(places[0], (15, 5))
    assert left[0] == 0
    assert left[1] > 1
    np.save(tmp_path / "f.npy", flow)
    points = points_file(tmp_path / "a.csv", "y,x\n10,5\n20,5\n")
    result = apply("--flow", tmp_path / "f.npy", "--points", points, "--inverse", "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert f"could not be inverted at line 3 of {points}" in result.output


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    moving, out = save(tmp_path, ".mha", flow_of())
    write_image(tmp_path / "big.png", np.zeros((64, 64), np.uint8))
    np.save(tmp_path / "other.npy", np.zeros((3, 4)))
    (tmp_path / "junk.npy").write_bytes(b"junk")
    points = points_file(tmp_path / "a.csv", "y,x\n1,1\n")
    field = out / "x_displacement.nii.gz"
    cases = [
        (["--flow", out / "x_flow.npy"], "Give --image, --label or --points", 2),
        (["--flow", out / "x_flow.npy", "--image", tmp_path / "big.png"], "but the flow x_flow.npy is for 40 x 36", 1),
        (["--flow", tmp_path / "other.npy", "--image", moving], "of the shape (3, 4), not a flow", 1),
        (["--flow", tmp_path / "junk.npy", "--image", moving], "junk.npy: cannot be read", 1),
        (["--flow", tmp_path / "none.npy", "--image", moving], "there is no such file", 1),
        (["--flow", field, "--points", points], "is in mm, and only an image says", 1),
        (["--flow", moving, "--image", moving], "not a vector of 2 or 3", 1),
        (["--flow", out / "x_flow.npy", "--image", moving, "--inverse"], "--inverse is for --points", 2),
    ]
    for arguments, message, code in cases:
        result = apply(*arguments, "--out", tmp_path / "new")
        assert (result.exit_code, message in result.output) == (code, True), result.output
    (out / "x_flow.json").write_text(json.dumps({"affine": 3}))
    assert "x_flow.json: does not say" in apply("--flow", out / "x_flow.npy", "--image", moving, "--out", out).output


def test_a_flow_without_words_is_pixels(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", flow_of())
    file = Picture(array=smooth(2), path=tmp_path / "m.nii", geometry=Geometry(affine=OTHER))
    write_image(tmp_path / "m.nii", smooth(2), like=file)
    assert apply("--flow", tmp_path / "f.npy", "--image", tmp_path / "m.nii", "--out", tmp_path / "out").exit_code == 0
    np.testing.assert_allclose(read_image(tmp_path / "out" / "m_warped.nii").affine, OTHER)
