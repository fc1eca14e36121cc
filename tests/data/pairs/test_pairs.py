"""What is read for an evaluation: arrays, spacing and landmarks on one grid."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from regstudio.data.folders.layout import Case
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.pairs.reader import PairReader
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.errors import DataError
from tests.known_flows import shifted
from tests.pictures import stretched


def nifti(path: Path, array: np.ndarray, spacing: tuple[float, float]) -> Path:
    nibabel.save(nibabel.Nifti1Image(array.T.astype(np.float32), np.diag([spacing[1], spacing[0], 1, 1])), path)
    return path


def reader(atlas: Case, size: tuple[int, int] | None = None) -> PairReader:
    return PairReader(
        fixed=atlas,
        image_loader=ImageLoader(grid=stretched(size)),
        label_loader=LabelLoader(grid=stretched(size), dtype=np.float32),
        with_points=True,
    )


def test_images_and_labels_as_the_network_gets_them(tmp_path: Path, image: np.ndarray, label: np.ndarray) -> None:
    write_image(tmp_path / "atlas.npy", shifted(image))
    write_image(tmp_path / "a.npy", image)
    write_label(tmp_path / "atlas_seg.npy", shifted(label))
    write_label(tmp_path / "a_seg.npy", label)
    atlas = Case(id="atlas", image=tmp_path / "atlas.npy", label=tmp_path / "atlas_seg.npy")
    pair = reader(atlas)(Case(id="a", image=tmp_path / "a.npy", label=tmp_path / "a_seg.npy"))
    np.testing.assert_array_equal(pair.fixed, shifted(image))
    np.testing.assert_array_equal(pair.moving_label, label)
    assert pair.moving_label.dtype == np.int64
    assert (pair.spacing, pair.unit, pair.fixed_points) == (None, "pixels", None)
    alone = reader(atlas)(Case(id="a", image=tmp_path / "a.npy"))
    assert alone.moving_label is None


def test_spacing_is_the_fixed_images(tmp_path: Path, image: np.ndarray) -> None:
    atlas = Case(id="atlas", image=nifti(tmp_path / "atlas.nii.gz", image, (0.7, 2.5)))
    pair = reader(atlas)(Case(id="a", image=nifti(tmp_path / "a.nii.gz", image, (9, 9))))
    assert pair.spacing == pytest.approx((0.7, 2.5))
    assert pair.unit == "mm"


def test_landmarks_follow_an_image_that_is_resampled(tmp_path: Path, image: np.ndarray) -> None:
    atlas = Case(id="atlas", image=nifti(tmp_path / "atlas.nii.gz", image, (1, 1)))
    large = np.kron(image, np.ones((2, 3)))  # pixel (r, c) becomes rows 2r, 2r + 1 and columns 3c to 3c + 2
    case = Case(id="a", image=nifti(tmp_path / "a.nii.gz", large, (0.5, 0.25)))
    (tmp_path / "atlas_points.csv").write_text("y,x\n5,7\n")
    (tmp_path / "a_points.csv").write_text("x,y\n22,10.5\n")
    pair = reader(atlas, size=(40, 36))(case)
    np.testing.assert_array_equal(pair.fixed_points, [[5, 7]])
    np.testing.assert_allclose(pair.moving_points, [[5, 7]])
    assert pair.moving_spacing == pytest.approx((1.0, 0.75))


def test_landmarks_of_one_image_alone_are_passed_over(tmp_path: Path, image: np.ndarray) -> None:
    write_image(tmp_path / "atlas.npy", image)
    write_image(tmp_path / "a.npy", image)
    (tmp_path / "atlas_points.csv").write_text("y,x\n5,7\n")
    pair = reader(Case(id="atlas", image=tmp_path / "atlas.npy"))(Case(id="a", image=tmp_path / "a.npy"))
    assert pair.fixed_points is pair.moving_points is None


@pytest.mark.parametrize(("fixed", "moving"), [("y,x\n5,7\n", "y,x\n50,7\n"), ("y,x\n50,7\n", "y,x\n5,7\n")])
def test_a_landmark_outside_its_image_is_refused(tmp_path: Path, image: np.ndarray, fixed: str, moving: str) -> None:
    for name, text in (("atlas", fixed), ("a", moving)):
        write_image(tmp_path / f"{name}.npy", image)
        (tmp_path / f"{name}_points.csv").write_text(text)
    with pytest.raises(DataError, match=r"_points\.csv: line 2, y = 50 and x = 7, lies outside"):
        reader(Case(id="atlas", image=tmp_path / "atlas.npy"))(Case(id="a", image=tmp_path / "a.npy"))
