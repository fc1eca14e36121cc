"""Volumes among the user's own images: their slices, and those of their labels and masks."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile
from PIL import Image

from regstudio.data.pictures.formats import read_image, read_label
from regstudio.errors import DataError
from regstudio.studio.prefetcher import Prefetcher
from regstudio.studio.studio import Studio
from regstudio.studio.viewer import Viewer
from regstudio.studio.viewer_session import Choice, ViewerSession
from regstudio.studio.volume_slices import VolumeSlices
from tests.data.writers import by_pydicom

SHAPE = (6, 40, 36)  # slices, rows, columns


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    """Every slice has a brightness of its own, and a corner that shows which way it lies."""
    array = np.random.default_rng(0).integers(0, 50, SHAPE).astype(np.int16)
    array += np.arange(6, dtype=np.int16)[:, None, None] * 100
    array[:, :8, :20] += 300
    return array


@pytest.fixture(scope="module")
def label(volume: np.ndarray) -> np.ndarray:
    ids = (volume % 100 > 25).astype(np.uint8)
    ids[4, 0, 0] = 7
    return ids


def image_of(array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.8, 0.9, 4.0))
    return image


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha", ".tif"])
def test_a_slice_of_a_volume_is_a_file_with_its_place(
    volume: np.ndarray, label: np.ndarray, tmp_path: Path, ending: str
) -> None:
    image, ids = tmp_path / f"a{ending}", tmp_path / f"a_seg{ending}"
    for path, array in ((image, volume), (ids, label)):
        if ending == ".tif":
            tifffile.imwrite(path, array.astype(np.uint16), photometric="minisblack")
        else:
            sitk.WriteImage(image_of(array), path)
    slices = VolumeSlices()
    found = slices.volume((image,))
    assert found is not None and (found.cut.length, found.index(None), found.index(99)) == (6, 3, 5)
    files = {"fixed": (image,), "moving": (image,), "moving_label": (ids,), "fixed_mask": (ids,), "fixed_label": ()}
    flat = slices.flat(files, {"fixed": None, "moving": 5})
    fixed, moving = flat["fixed"], flat["moving"]
    assert (
        fixed is not None and moving is not None and flat["moving_label"] is not None and flat["fixed_mask"] is not None
    )
    np.testing.assert_array_equal(read_image(fixed).array, volume[3])
    np.testing.assert_array_equal(read_image(moving).array, volume[4])
    np.testing.assert_array_equal(read_label(flat["moving_label"]).array, label[4])
    np.testing.assert_array_equal(read_label(flat["fixed_mask"]).array, label[3])
    assert flat["fixed_label"] is None
    assert read_image(moving).spacing == (None if ending == ".tif" else pytest.approx((0.9, 0.8)))
    assert moving.name.startswith("a_slice5.")
    assert slices.flat(files, {"moving": 5})["moving"] == moving  # it is cut once


def test_the_files_of_a_series_are_a_volume_in_whatever_order_they_come(volume: np.ndarray, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.dcm" for number in (3, 0, 5, 1, 4, 2)]
    for number, path in enumerate(paths):
        by_pydicom(path, image_of(volume[number : number + 1]))
        data = pydicom.dcmread(path)
        data.SeriesInstanceUID, data.ImageOrientationPatient = "1.2.3", [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [0, 0, 4 * number]
        data.save_as(path)
    slices = VolumeSlices()
    flat = slices.flat({"moving": tuple(sorted(paths)), "fixed": (paths[1],)}, {"moving": 2})
    assert flat["moving"] is not None and flat["fixed"] == paths[1]
    np.testing.assert_array_equal(read_image(flat["moving"]).array, volume[1])
    other = tmp_path / "other.png"
    Image.fromarray(volume[0].astype(np.uint8)).save(other)
    with pytest.raises(DataError, match="These 2 files are no DICOM series"):
        slices.flat({"moving": (paths[0], other)}, {})


def test_volumes_with_masks_are_registered_slice_by_slice(
    volume: np.ndarray, label: np.ndarray, studio: Studio, tmp_path: Path
) -> None:
    image, mask = tmp_path / "v.nii.gz", tmp_path / "m.nii.gz"
    nib.save(nib.Nifti1Image(volume.T, np.diag([1, 1, 3, 1])), image)
    nib.save(nib.Nifti1Image(label.T, np.diag([1, 1, 3, 1])), mask)
    session = ViewerSession(Viewer(studio), Prefetcher())
    files = session.flat({"fixed": (image,), "moving": (image,), "fixed_mask": (mask,)}, {"fixed": 2, "moving": 4})
    ((_, registration),) = session.own(Choice(run="no training", checkpoint="none"), files, resize=False).registrations
    assert registration.pair.fixed_mask is not None and registration.pair.moving_mask is None
    np.testing.assert_array_equal(registration.pair.fixed_mask, label[1] > 0)
    short = tmp_path / "short.nii.gz"
    nib.save(nib.Nifti1Image(label.T[..., :4], np.diag([1, 1, 3, 1])), short)
    with pytest.raises(DataError, match=r"^short\.nii\.gz: has 36 x 40 x 4 pixels, unlike its image with 36 x 40 x 6"):
        session.flat({"moving": (image,), "moving_label": (short,)}, {})
