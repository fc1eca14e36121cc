"""DICOM files whose pixels are no plain grey values: what images show, and that labels keep the ids that are stored."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it
from pydicom.dataelem import DataElement
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from regstudio.data.pictures.formats import read_image, read_label
from regstudio.data.problems import FileError
from tests.data.writers import by_pydicom, in_the_world
from tests.pictures import ids

IDS = ids(values=(0, 1, 2, 7))


def save(path: Path, stored: np.ndarray, bits: int, **tags: Any) -> pydicom.Dataset:
    """Write a file of numbers as they are to be stored, of which `bits` are used."""
    by_pydicom(path, in_the_world(stored))
    data = pydicom.dcmread(path)
    data.BitsAllocated = stored.dtype.itemsize * 8
    data.BitsStored, data.HighBit = bits, bits - 1
    data.PixelRepresentation = int(stored.dtype.kind == "i")
    data.PixelData = stored.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path)
    return data


@pytest.mark.parametrize(
    ("dtype", "bits"), [("u1", 8), ("u2", 12), ("u2", 16), ("i2", 12), ("i2", 16)], ids=lambda value: str(value)
)
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2, -3)])
def test_white_is_zero_turns_images_over_and_leaves_labels(
    dtype: str, bits: int, slope: int, intercept: int, tmp_path: Path
) -> None:
    tags = {"RescaleSlope": slope, "RescaleIntercept": intercept} if slope > 1 else {}
    path = tmp_path / "a.dcm"
    save(path, IDS.astype(dtype), bits, PhotometricInterpretation="MONOCHROME1", **tags)
    np.testing.assert_array_equal(read_label(path).array, slope * IDS + intercept)
    highest = -1 if dtype == "i2" else 2**bits - 1
    image = read_image(path).array
    np.testing.assert_array_equal(image, slope * (highest - IDS) + intercept)
    if (dtype, bits) != ("i2", 12):  # which SimpleITK refuses
        np.testing.assert_array_equal(image, sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0])
    data = pydicom.dcmread(path)
    data.PhotometricInterpretation = "MONOCHROME2"
    data.save_as(tmp_path / "b.dcm")
    for read in (read_image, read_label):
        np.testing.assert_array_equal(read(tmp_path / "b.dcm").array, slope * IDS + intercept)


def test_white_is_zero_in_other_ways_of_writing(tmp_path: Path) -> None:
    data = save(tmp_path / "a.dcm", IDS.astype(np.uint8), 8, PhotometricInterpretation="MONOCHROME1")
    data.compress(RLELossless)
    data.save_as(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_label(tmp_path / "a.dcm").array, IDS)
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm").array, 255 - IDS)
    data = save(tmp_path / "b.dcm", IDS.astype(np.uint8), 8, PhotometricInterpretation="MONOCHROME1")
    data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    pydicom.dcmwrite(tmp_path / "b.dcm", data, implicit_vr=True)
    np.testing.assert_array_equal(read_label(tmp_path / "b.dcm").array, IDS)
    data = save(tmp_path / "c.dcm", IDS.astype(np.uint8), 8, PhotometricInterpretation="MONOCHROME1")
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    pydicom.dcmwrite(tmp_path / "c.dcm", data)
    with pytest.raises(
        FileError, match=r"Deflate.*not supported for its kind of pixels\. Export it without compression"
    ):
        read_label(tmp_path / "c.dcm")


def test_a_palette_gives_images_colours_and_labels_indices(tmp_path: Path) -> None:
    colours = np.arange(256)[:, None] * np.array([5, 3, 1]) % 256
    data = save(tmp_path / "a.dcm", IDS.astype(np.uint8), 8, PhotometricInterpretation="PALETTE COLOR")
    for channel in range(3):
        data.add(DataElement((0x0028, 0x1101 + channel), "US", [256, 0, 16]))
        entries = colours[:, channel] * 257
        data.add(DataElement((0x0028, 0x1201 + channel), "OW", entries.astype("<u2").tobytes()))
    data.save_as(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_label(tmp_path / "a.dcm").array, IDS)
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.dcm")))[0]
    image = read_image(tmp_path / "a.dcm", colour=True).array
    np.testing.assert_array_equal(image, theirs)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) == 4
