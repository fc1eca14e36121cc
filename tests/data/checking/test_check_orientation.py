"""The check of a data set: which files lie otherwise than the atlas, their image, or the others."""

from pathlib import Path

import numpy as np
import pytest

from regstudio.data.checking.check import check
from regstudio.data.geometry import TURNS
from regstudio.data.pictures.writing import write_image, write_label
from tests.data.checking.reported import messages
from tests.data.writers import by_nibabel, in_the_world, written
from tests.pictures import BYTES, HEIGHT, ids, index, ramp


@pytest.fixture
def placed(tmp_path: Path) -> Path:
    """A faultless data set of files that know their place, each in another orientation and format."""
    for folder in ("fixed", "fixed_seg", "moving", "moving_seg"):
        (tmp_path / folder).mkdir()
    written(tmp_path / "fixed", "nibabel .nii.gz", BYTES, "LPS", name="atlas")
    written(tmp_path / "fixed_seg", "SimpleITK .mha", ids().astype(np.uint8), "RAS", name="atlas_seg")
    written(tmp_path / "moving", "SimpleITK .nrrd", BYTES, "ARS", name="a")
    written(tmp_path / "moving_seg", "nibabel .nii.gz", ids().astype(np.uint8), "PLS", name="a_seg")
    return tmp_path


def test_files_in_any_orientation_are_checked_as_they_are_trained_on(placed: Path) -> None:
    report = check(index(placed))
    assert (messages(report, "error"), messages(report, "warning")) == ([], [])
    assert report.sets["training"].sizes == {"40 x 56": 1}


@pytest.mark.parametrize(
    ("role", "spacings"),
    [
        ("atlas", "2.6 x 1.6 mm, unlike its image with 1.3 x 0.8"),
        ("a", "1.6 x 2.6 mm, unlike its image with 0.8 x 1.3"),
    ],
)
def test_a_label_that_lies_elsewhere_than_its_image_is_named(placed: Path, role: str, spacings: str) -> None:
    label = in_the_world(ids().astype(np.uint8))
    label.SetSpacing((1.6, 2.6, 2.5))
    path = next(placed.glob(f"*_seg/{role}_seg.*"))
    path.unlink()
    by_nibabel(path.with_name(f"{role}_seg.nii"), label)
    report = check(index(placed))
    assert not report.can_train
    assert messages(report, "error") == [
        f"{path.parent.name}/{role}_seg.nii: has a spacing of {spacings} mm. "
        "Export it again from the image, or resample it onto the image's grid."
    ]


@pytest.mark.parametrize(("angle", "warned"), [(14, False), (16, True), (40, True), (120, True)])
def test_an_image_at_an_angle_to_the_atlas_is_named(placed: Path, angle: float, warned: bool) -> None:
    (placed / "moving" / "a.nrrd").unlink()
    (placed / "moving_seg" / "a_seg.nii.gz").unlink()
    by_nibabel(placed / "moving" / "a.nii", in_the_world(BYTES, angle))
    left = angle if angle <= 90 else angle - 90
    expected = (
        f"moving/a.nii: its axes lie at {left:.0f} degrees to those of the atlas. "
        "Resample it onto the atlas's axes, or take a slice of the same plane."
    )
    warnings = messages(check(index(placed)), "warning")
    assert [line for line in warnings if "moving_seg" not in line] == [expected] * warned


def test_slices_of_two_planes_are_named(placed: Path) -> None:
    image = in_the_world(BYTES)
    image.SetDirection((1, 0, 0, 0, 0, -1, 0, 1, 0))
    (placed / "moving" / "a.nrrd").unlink()
    (placed / "moving_seg" / "a_seg.nii.gz").unlink()
    by_nibabel(placed / "moving" / "a.nii", image)
    assert "its axes lie at 90 degrees to those of the atlas" in messages(check(index(placed)), "warning")[-1]


@pytest.mark.parametrize("turn", TURNS[1:], ids=str)
def test_an_image_that_fits_far_better_turned_is_named(root: Path, turn: object) -> None:
    """Without a place there is only the picture: all eight ways are tried."""
    square = ramp(HEIGHT, HEIGHT) ** 2
    write_image(root / "fixed" / "atlas.png", square)
    for path in [*root.glob("*_seg/*"), *root.glob("moving/*"), *root.glob("validation_moving/*")]:
        path.unlink()
    write_image(root / "moving" / "upright.png", square)
    write_image(root / "moving" / "other.png", turn.array(square))
    found = messages(check(index(root)), "warning")
    assert len([line for line in found if "far better" in line]) == 1
    undone = next(each for each in TURNS if np.array_equal(each.array(turn.array(BYTES)), BYTES))
    assert any(line.startswith(f"moving/other.png: fits the atlas far better {undone}. ") for line in found)


def test_upright_images_are_not_suspected(root: Path) -> None:
    assert not [line for line in messages(check(index(root)), "warning") if "far better" in line]


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_a_label_that_fits_its_image_far_better_turned_is_named(root: Path, turn: object) -> None:
    label = ids(HEIGHT, HEIGHT)
    for path in [*root.glob("*/*.*")]:
        path.unlink()
    write_image(root / "fixed" / "atlas.npy", np.cos(label) + 0.1 * ramp(HEIGHT, HEIGHT) ** 2)
    write_label(root / "fixed_seg" / "atlas_seg.png", turn.array(label))
    write_image(root / "moving" / "a.npy", np.cos(label) + 0.1 * ramp(HEIGHT, HEIGHT) ** 2)
    found = [line for line in messages(check(index(root)), "warning") if "far better" in line]
    undone = next(each for each in TURNS if np.array_equal(each.array(turn.array(BYTES)), BYTES))
    wanted = f"fixed_seg/atlas_seg.png: fits its image far better {undone}. "
    assert [line.startswith(wanted) for line in found] == [True] * (turn != TURNS[0])


@pytest.fixture
def placeless_atlas(placed: Path) -> Path:
    """A data set whose atlas is a PNG, and whose images lie alike."""
    for path in [*placed.glob("*/*.*")]:
        path.unlink()
    write_image(placed / "fixed" / "atlas.png", BYTES[::-1, ::-1])
    (placed / "validation_moving").mkdir()
    for empty in ("fixed_seg", "moving_seg"):
        (placed / empty).rmdir()
    for number, folder in enumerate(("moving", "moving", "validation_moving")):
        image = np.roll(BYTES, number, axis=1)
        written(placed / folder, "nibabel .nii.gz", image, "RAS", angle=number - 1, name=str(number + 1))
    return placed


def test_images_that_lie_alike_need_no_place_of_the_atlas(placeless_atlas: Path) -> None:
    write_image(placeless_atlas / "moving" / "d.png", np.roll(BYTES, 5, axis=1)[::-1, ::-1])
    assert messages(check(index(placeless_atlas)), "warning") == []


@pytest.mark.parametrize(
    ("orientation", "angle", "what"),
    [
        ("LPS", 0, "lies as most images do only turned by 180 degrees"),
        ("LAS", 3, "lies as most images do only mirrored left to right"),
        (
            "ARS",
            0,
            "lies as most images do only with rows and columns exchanged",
        ),
        ("RAS", 30, "its axes lie at 31 degrees to those of most images"),
    ],
)
@pytest.mark.parametrize("folder", ["moving", "validation_moving"])
def test_images_that_disagree_beside_an_atlas_without_a_place_are_named(
    folder: str, orientation: str, angle: float, what: str, placeless_atlas: Path
) -> None:
    image = np.roll(BYTES, 9, 1)
    square = image[:, :HEIGHT] if orientation == "ARS" else image
    written(placeless_atlas / folder, "SimpleITK .mha", square, orientation, angle=angle, name="0")
    found = [line for line in messages(check(index(placeless_atlas)), "warning") if "far better" not in line]
    unknown = "" if angle == 30 else ", and the atlas does not say how it lies"
    remedy = "Give the atlas as a file that knows its place, or export all images in one orientation."
    assert found == [f"{folder}/0.mha: {what}{unknown}. {remedy}"]


def nearly_symmetric(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A chest of sorts, and its label: two lungs, and a heart that lies a little to the right of the middle."""
    rows, columns = np.mgrid[:48, :48]
    label = np.zeros((48, 48), np.uint8)
    for value, (row, column, height, width) in enumerate(((22, 13, 14, 8), (22, 35, 14, 8), (31, 26, 8, 6)), start=1):
        label[((rows - row - number % 3) / height) ** 2 + ((columns - column) / width) ** 2 < 1] = value
    noise = np.random.default_rng(number).normal(size=label.shape)
    return np.array([0.6, 0.3, 0.3, 0.72])[label] + 0.02 * columns / 48 + 0.22 * noise, label


@pytest.mark.parametrize("mirrored", ["nothing", "images", "labels"])
def test_a_set_that_is_mirrored_as_a_whole_is_named(mirrored: str, tmp_path: Path) -> None:
    for number in range(9):
        image, label = nearly_symmetric(number)
        if number:
            both = [array[:, ::-1] if mirrored == "images" else array for array in (image, label)]
            write_image(tmp_path / "moving" / f"{number}.npy", both[0])
            seg = both[1][:, ::-1] if mirrored == "labels" else both[1]
            write_label(tmp_path / "moving_seg" / f"{number}_seg.png", seg)
        else:
            write_image(tmp_path / "fixed" / "atlas.npy", image)
            write_label(tmp_path / "fixed_seg" / "atlas_seg.png", label)
    found = [line for line in messages(check(index(tmp_path)), "warning") if "better" in line]
    words = {
        "images": "moving: 8 of 8 images fit the atlas better mirrored left to right. ",
        "labels": "moving_seg: 8 of 8 labels fit their images better mirrored left to right. ",
    }
    upright = "Look at both, and export it again the right way round."
    assert found == ([words[mirrored] + upright] if mirrored in words else [])
