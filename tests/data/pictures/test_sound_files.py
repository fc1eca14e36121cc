"""Sound files that their name, their kind or their compression hides: read, or refused with the true reason."""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regstudio.data.folders.listing import FolderListing
from regstudio.data.pictures.formats import read_image, stem
from regstudio.data.pictures.writing import output_extension
from regstudio.data.problems import FileError
from tests.pictures import BYTES, GREY, HEIGHT, WIDTH, save_itk


def message(path: Path, **options: Any) -> str:
    with pytest.raises(FileError) as caught:
        read_image(path, **options)
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.fixture
def dicom(tmp_path: Path) -> Path:
    save_itk(tmp_path / "a.dcm", GREY)
    return tmp_path / "a.dcm"


@pytest.mark.parametrize("name", ["IM0001", "1.2.840.113619.2.55.3", "b.IMA", "c.dicom"])
def test_dicom_is_read_whatever_its_ending(dicom: Path, name: str) -> None:
    path = dicom.rename(dicom.parent / name)
    np.testing.assert_array_equal(read_image(path).array, GREY)
    assert read_image(path).spacing == pytest.approx((0.75, 0.5))
    assert output_extension(path) == ".mha"
    listing = FolderListing()
    assert listing.pictures(dicom.parent) == [path]
    assert listing.problems == []


def test_files_without_an_ending_that_are_no_dicom_are_reported(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("words")
    listing = FolderListing()
    assert listing.pictures(tmp_path) == []
    assert [problem.what for problem in listing.problems] == ["this format is not supported"]
    assert stem("1.2.840.11") == "1.2.840.11"


def test_dicom_of_a_compression_that_is_not_supported_is_refused_with_it(dicom: Path) -> None:
    content = dicom.read_bytes()
    place = content.index(b"\x02\x00\x10\x00UI") + 6
    length = struct.unpack_from("<H", content, place)[0]
    syntax = b"1.2.840.10008.1.2.4.201\0"
    content = content[:place] + struct.pack("<H", len(syntax)) + syntax + content[place + 2 + length :]
    group = content.index(b"\x02\x00\x00\x00UL") + 8
    total = struct.unpack_from("<I", content, group)[0] + len(syntax) - length
    dicom.write_bytes(content[:group] + struct.pack("<I", total) + content[group + 4 :])
    assert message(dicom) == (
        "is compressed in a way that is not supported (DICOM's transfer syntax 1.2.840.10008.1.2.4.201). "
        "Export it without compression."
    )


def test_dicom_without_a_picture_is_refused_as_such(dicom: Path) -> None:
    content = dicom.read_bytes()
    dicom.write_bytes(content[: content.index(b"\xe0\x7f\x10\x00")])
    assert message(dicom) == "is a DICOM file that holds no picture. Choose the image that belongs to it."


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".bmp"])
@pytest.mark.parametrize("true_ending", [".png", ".tif", ".bmp"])
def test_pictures_under_the_ending_of_another_are_read(tmp_path: Path, ending: str, true_ending: str) -> None:
    Image.fromarray(BYTES).save(tmp_path / f"x{true_ending}")
    path = (tmp_path / f"x{true_ending}").rename(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(read_image(path).array, BYTES)


@pytest.mark.parametrize(
    ("content", "ending", "expected"),
    [
        ("GIF", ".png", "is a GIF file, in spite of its name. Save it as PNG, TIFF or NIfTI."),
        ("WEBP", ".jpg", "is a WebP file, in spite of its name. Save it as PNG, TIFF or NIfTI."),
        ("JPEG2000", ".tif", "is a JPEG 2000 file, in spite of its name. Save it as PNG, TIFF or NIfTI."),
        ("PNG", ".nii", "is a PNG file, in spite of its name. Name it .png."),
        ("PNG", ".mha", "is a PNG file, in spite of its name. Name it .png."),
        ("PNG", ".npz", "is a PNG file, in spite of its name. Name it .png."),
    ],
)
def test_pictures_of_other_formats_are_refused_by_their_name(
    tmp_path: Path, content: str, ending: str, expected: str
) -> None:
    Image.fromarray(BYTES).save(tmp_path / f"a{ending}", format=content)
    assert message(tmp_path / f"a{ending}") == expected


def test_a_compressed_nifti_without_gz_is_refused_by_its_name(tmp_path: Path) -> None:
    save_itk(tmp_path / "a.nii.gz", GREY)
    (tmp_path / "a.nii.gz").rename(tmp_path / "a.nii")
    assert message(tmp_path / "a.nii") == "is a gzip file, in spite of its name. Name it .nii.gz."


def test_dicom_under_another_ending_is_refused_by_its_name(dicom: Path) -> None:
    assert message(dicom.rename(dicom.with_suffix(".nii"))) == "is a DICOM file, in spite of its name. Name it .dcm."


@pytest.mark.parametrize(("marker", "bits", "expected"), [(0xC1, 12, "12 bits"), (0xC3, 8, "lossless")])
def test_rare_jpegs_are_refused_with_the_reason(tmp_path: Path, marker: int, bits: int, expected: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(BYTES).save(stream, "JPEG")
    content = bytearray(stream.getvalue())
    place = content.index(b"\xff\xc0")
    content[place + 1], content[place + 4] = marker, bits
    (tmp_path / "a.jpg").write_bytes(content)
    assert message(tmp_path / "a.jpg") == (
        f"is a JPEG of a rare kind ({expected}), which is not supported. Save it as PNG."
    )


def test_archives_that_python_cannot_unpack_are_refused_with_the_reason(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", img=GREY)
    content = (tmp_path / "a.npz").read_bytes()
    central = content.index(b"PK\x01\x02")
    changed = bytearray(content)
    changed[8:10] = changed[central + 10 : central + 12] = struct.pack("<H", 9)  # Deflate64
    (tmp_path / "a.npz").write_bytes(changed)
    assert message(tmp_path / "a.npz").startswith("is compressed in a way that is not supported")
    changed = bytearray(content)
    changed[6] |= 1
    changed[central + 8] |= 1
    (tmp_path / "a.npz").write_bytes(changed)
    assert message(tmp_path / "a.npz") == "is protected by a password. Save it without one."
    assert zipfile.is_zipfile(tmp_path / "a.npz")


def test_named_fields_are_refused_as_such(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="format 3.0"):
        np.save(tmp_path / "a.npy", np.zeros((HEIGHT, WIDTH), [("ä€", "f4")]))
    assert message(tmp_path / "a.npy") == "holds named fields, not numbers. Save a numeric array."
