"""Slices of volumes in every format: which are taken, along which axis, and where they say they lie."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it
import tifffile
from pydicom.uid import generate_uid

from regstudio.data.importing.scans import find_scans
from regstudio.data.importing.slices import check_rules, indices_of, look, read_slices
from regstudio.data.pictures.formats import read_image
from regstudio.data.pictures.writing import write_image
from regstudio.data.problems import FileError
from regstudio.errors import ConfigError
from tests.data.importing.conftest import AFFINE, volume
from tests.data.writers import by_pydicom


@pytest.mark.parametrize(
    ("rule", "taken"),
    [("middle", [4]), ("all", list(range(9))), ("every:3", [1, 4, 7]), ("every:20", [4]), ("largest-label", [6])],
)
def test_rules_take_slices_from_the_middle_of_the_volume(rule: str, taken: list[int]) -> None:
    assert indices_of(rule, 9, np.array([0, 1, 2, 3, 4, 5, 9, 0, 0])) == taken


def test_without_a_label_the_middle_is_the_largest() -> None:
    assert indices_of("largest-label", 9) == indices_of("largest-label", 9, np.zeros(9, np.int64)) == [4]


def test_unknown_rules_are_refused() -> None:
    for slices, axis in (("every:0", "auto"), ("first", "auto"), ("all", "3"), ("all", "oblique")):
        with pytest.raises(ConfigError, match="is none of"):
            check_rules(slices, axis)


@pytest.mark.parametrize(("axis", "expected"), [("auto", 2), ("axial", 2), ("coronal", 1), ("sagittal", 0), ("1", 1)])
def test_axes_have_names_and_the_widest_spacing_is_across(tmp_path: Path, axis: str, expected: int) -> None:
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(volume(1), AFFINE), path)
    cut = look(path, (path,), "", axis)
    assert cut is not None
    assert (cut.axis, cut.length) == (expected, (36, 40, 6)[expected])


def test_names_follow_the_patient_and_not_the_file(tmp_path: Path) -> None:
    """The same head, with the axes of the file as z, x, y and as y, z, x."""
    for order, axial in (((2, 0, 1), 0), ((1, 2, 0), 1)):
        path = tmp_path / f"{axial}.nii"
        nib.save(nib.Nifti1Image(volume(1).transpose(order), AFFINE[:, [*order, 3]]), path)
        cut = look(path, (path,), "", "axial")
        assert cut is not None
        assert (cut.axis, cut.length) == (axial, 6)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
def test_a_slice_lies_where_the_volume_has_it(tmp_path: Path, ending: str, axis: int) -> None:
    """Against SimpleITK: each pixel of the slice has the value of the volume at its physical place."""
    nib.save(nib.Nifti1Image(volume(2), AFFINE), tmp_path / "a.nii.gz")
    whole, path = sitk.ReadImage(str(tmp_path / "a.nii.gz")), tmp_path / f"volume{ending}"
    sitk.WriteImage(whole, str(path))
    (picture,) = read_slices(path, (path,), "", axis, [3])
    write_image(tmp_path / f"slice{ending}", picture.array, like=picture)
    cut = sitk.ReadImage(str(tmp_path / f"slice{ending}"))
    assert cut.GetDimension() == 3
    sampled = sitk.Resample(whole, cut, interpolator=sitk.sitkNearestNeighbor)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sampled), sitk.GetArrayFromImage(cut))
    assert np.ptp(picture.array) > 0


def write_series(folder: Path, whole: np.ndarray, spacing: float = 3.0, uid: str | None = None) -> None:
    """The slices of an array (z, y, x) as DICOM files whose names have another order."""
    folder.mkdir(parents=True, exist_ok=True)
    series = uid or generate_uid()
    for z, array in enumerate(whole):
        path = folder / f"IM{(5 * z) % 7}_{series[-4:]}.dcm"
        image = sitk.GetImageFromArray(array[None])
        image.SetSpacing((0.8, 0.9, spacing or 1.0))
        image.SetOrigin((1, 2, 3 + spacing * z))
        by_pydicom(path, image)
        data = pydicom.dcmread(path)
        data.SeriesInstanceUID = series
        data.save_as(path)


def test_the_files_of_a_dicom_series_are_one_volume_in_the_order_of_space(tmp_path: Path) -> None:
    whole = np.ascontiguousarray(volume(3).T)
    write_series(tmp_path / "p1", whole)
    (found,) = find_scans(tmp_path).scans
    assert (found.name, len(found.paths)) == ("p1", 6)
    cut = look(found.path, found.paths, "", "axial")
    assert cut is not None
    assert cut.length == 6
    for axis, index in ((cut.axis, 2), (1, 20)):
        (picture,) = read_slices(found.path, found.paths, "", axis, [index])
        np.testing.assert_array_equal(picture.array, np.take(whole, index, axis))
    assert picture.spacing == pytest.approx((3.0, 0.8))


def test_files_that_are_no_volume_are_pictures_of_their_own(tmp_path: Path) -> None:
    whole = np.ascontiguousarray(volume(3).T)
    write_series(tmp_path / "cine", whole, spacing=0.0)
    assert len(find_scans(tmp_path).scans) == 6


def test_pages_and_arrays_are_cut_along_their_first_axis_and_have_no_names_for_it(tmp_path: Path) -> None:
    stack = np.ascontiguousarray(volume(1).T).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack)
    np.savez(tmp_path / "b.npz", img=stack)
    for name in ("a.tif", "b.npz"):
        path = tmp_path / name
        cut = look(path, (path,), "img", "auto")
        assert cut is not None
        assert (cut.axis, cut.length) == (0, 6)
        np.testing.assert_array_equal(read_slices(path, (path,), "img", 0, [1, 5])[1].array, stack[5])
        with pytest.raises(FileError, match="does not say which way it lies"):
            look(path, (path,), "img", "axial")


def test_pictures_are_no_volumes_in_colour_either(tmp_path: Path) -> None:
    np.save(tmp_path / "rgb.npy", np.zeros((40, 40, 3), np.uint8))
    write_image(tmp_path / "a.nii", np.eye(40), like=None)
    for path in tmp_path.iterdir():
        assert look(path, (path,), "", "auto") is None
    assert read_image(tmp_path / "a.nii").size == (40, 40)
