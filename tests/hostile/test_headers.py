"""Hostile headers: one message, at once, before a native reader sees the file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from regstudio.data.pictures.formats import read_image
from regstudio.data.pictures.picture import Picture
from regstudio.data.problems import FileError
from regstudio.transforms.itk_field import read_field
from tests.hostile import headers
from tests.pictures import BYTES, GREY, save_itk

DETACHED = "keeps its pixels in another file. Save it with the pixels inside."
DAMAGED = "cannot be read as {}; it is damaged, or not what its name says. Copy or export it again."
SECRET = "ElementDataFile = /etc/hostname"


def message(path: Path) -> str:
    """The message for the user, without the path."""
    with pytest.raises(FileError) as caught:
        read_image(path)
    return str(caught.value).removeprefix(f"{path}: ")


def field_message(path: Path) -> str:
    """The message where the file is given as a displacement field."""
    with pytest.raises(FileError) as caught:
        read_field(path, Picture(array=BYTES, path=path))
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("dimension", [5, 10, 11, 16, 17, 10**9])
def test_many_dimensions_are_refused(tmp_path: Path, dimension: int) -> None:
    expected = f"declares {dimension} dimensions, and 4 are the most that is read"
    few = min(dimension, 16)
    path = headers.nrrd(tmp_path / "a.nrrd", dimension=str(dimension), sizes=" ".join(["2"] * few))
    assert message(path).startswith(expected)
    assert field_message(path).startswith(expected)
    path = headers.metaimage(tmp_path / "a.mha", NDims=str(dimension), DimSize=" ".join(["2"] * few))
    assert message(path).startswith(expected)
    assert field_message(path).startswith(expected)


def test_nifti_of_many_dimensions_is_refused(tmp_path: Path) -> None:
    path = headers.nifti(tmp_path / "a.nii", (2,) * 7, pixels=bytes(128))
    assert message(path).startswith("declares 7 dimensions, and 4 are the most that is read")


def test_many_channels_are_refused(tmp_path: Path) -> None:
    expected = "holds 2000000000 values for each pixel. Save a picture with one, or in colour."
    assert message(headers.metaimage_of_many_channels(tmp_path / "a.mha")) == expected
    path = headers.nrrd(tmp_path / "a.nrrd", "kinds: vector domain", sizes="2000000000 4")
    assert message(path) == expected
    assert field_message(path) == expected


def test_a_header_alone_takes_no_memory(tmp_path: Path) -> None:
    assert message(headers.nrrd_header_alone(tmp_path / "a.nrrd")).startswith("is too large (2 x 100000 x 100000")
    assert field_message(headers.nrrd_header_alone(tmp_path / "a.nrrd")).startswith("is too large")
    assert message(headers.nrrd_header_alone(tmp_path / "a.nrrd", 10_000)) == DAMAGED.format(".nrrd")
    path = headers.nifti(tmp_path / "a.nii", (30_000, 30_000))
    assert message(path).startswith("is too large (30000 x 30000 pixels")
    assert field_message(path).startswith("is too large")
    assert message(headers.nifti(tmp_path / "b.nii", (8000, 8000), pixels=bytes(99))) == DAMAGED.format(".nii")


def test_compressed_pixels_cannot_be_more_than_deflate_can_hold(tmp_path: Path) -> None:
    path = headers.metaimage(tmp_path / "a.mha", DimSize="8000 8000", CompressedData="True")
    assert message(path) == DAMAGED.format(".mha")
    path = headers.nrrd(tmp_path / "a.nrrd", sizes="8000 8000", encoding="gzip")
    assert message(path) == DAMAGED.format(".nrrd")


def test_a_dicom_element_is_not_longer_than_its_file(tmp_path: Path) -> None:
    assert message(headers.dicom_with_a_long_element(tmp_path / "a.dcm")) == DAMAGED.format(".dcm")


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big endian", "sequences"])
def test_dicom_of_every_encoding_passes(tmp_path: Path, syntax: str) -> None:
    pydicom = pytest.importorskip("pydicom")
    save_itk(tmp_path / "a.dcm", GREY)
    data = pydicom.dcmread(tmp_path / "a.dcm")
    inner = pydicom.Dataset()
    inner.PatientName = "x"
    data.ReferencedImageSequence = pydicom.Sequence([inner, inner])
    data.ReferencedImageSequence.is_undefined_length = syntax == "sequences"
    uid = pydicom.uid.ImplicitVRLittleEndian if syntax == "implicit" else pydicom.uid.ExplicitVRLittleEndian
    little = syntax != "big endian"
    if not little:
        uid = pydicom.uid.ExplicitVRBigEndian
        data.PixelData = GREY.byteswap().tobytes()
    data.file_meta.TransferSyntaxUID = uid
    pydicom.dcmwrite(tmp_path / "a.dcm", data, implicit_vr=syntax == "implicit", little_endian=little)
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm").array, GREY)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: headers.metaimage(path, "", end=SECRET),  # a blank line before it
        lambda path: headers.metaimage(path, end=f"  {SECRET}"),
        lambda path: headers.metaimage(path, end="ElementDataFile : /etc/hostname"),
        lambda path: headers.metaimage(path, end="elementdatafile = LOCAL"),
        lambda path: headers.metaimage(path, end="ElementDataFile = LIST\n/etc/hostname"),
        lambda path: headers.metaimage(path, end="ElementDataFile = LOCAL /etc/hostname"),
        lambda path: headers.metaimage(path, SECRET),  # and LOCAL after it
        lambda path: headers.metaimage(path, *(f"C{n} = " + "x" * 200 for n in range(400)), end=SECRET),  # far behind
    ],
)
def test_metaimages_that_point_to_another_file_are_refused(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    assert message(write(tmp_path / "a.mha")) == DETACHED
    assert field_message(tmp_path / "a.mha") == DETACHED


@pytest.mark.parametrize(
    "write",
    [
        lambda path: headers.nrrd(path, "data file: /etc/hostname"),
        lambda path: headers.nrrd(path, "Data File: LIST"),
        lambda path: headers.nrrd(path, "datafile: a:=b"),
        lambda path: headers.nrrd(path, *["# " + "x" * 200] * 400, "datafile: /etc/hostname"),
        lambda path: headers.nrrd(path, end="", pixels=b""),  # without an end, ITK looks for a file beside it
    ],
)
def test_nrrd_that_points_to_another_file_is_refused(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    assert message(write(tmp_path / "a.nrrd")) == DETACHED
    assert field_message(tmp_path / "a.nrrd") == DETACHED


@pytest.mark.parametrize(
    "write",
    [
        lambda path: headers.metaimage(path, "Comment = x\rNDims = 16"),  # MetaIO ends a line here
        lambda path: headers.metaimage(path, "NDims = 16"),  # which of the two counts?
        lambda path: headers.metaimage(path, "Comment: x"),
        lambda path: headers.metaimage(path, DimSize="4"),
        lambda path: headers.metaimage(path, DimSize="4 -4"),
        lambda path: headers.metaimage(path, DimSize="4 99999999999999999999"),
        lambda path: headers.metaimage(path, ElementNumberOfChannels="0"),
        lambda path: headers.metaimage(path, end="Comment = no end"),
    ],
)
def test_metaimages_that_no_writer_writes_are_refused(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    assert message(write(tmp_path / "a.mha")) == DAMAGED.format(".mha")


@pytest.mark.parametrize("fields", [{"sizes": "4"}, {"sizes": "4 4 4"}, {"dimension": "two"}, {"dimension": "0"}])
def test_nrrd_whose_sizes_contradict_each_other_is_refused(tmp_path: Path, fields: dict[str, str]) -> None:
    assert message(headers.nrrd(tmp_path / "a.nrrd", **fields)) == DAMAGED.format(".nrrd")


def test_unknown_types_are_named(tmp_path: Path) -> None:
    assert message(headers.metaimage(tmp_path / "a.mha", ElementType="MET_OTHER")) == (
        "holds pixels of the unknown type 'OTHER'. Export it again."
    )
    assert message(headers.nrrd(tmp_path / "a.nrrd", type="block")) == (
        "holds pixels of the unknown type 'block'. Export it again."
    )
    assert message(headers.nifti(tmp_path / "a.nii", (40, 40), datatype=1, pixels=bytes(2000))) == (
        "holds pixels of a type that is not supported (NIfTI's 1). Save it as integers or as 32-bit floats."
    )


@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".nii.gz"])
@pytest.mark.parametrize("damage", ["cut off", "changed"])
def test_damaged_compressed_pixels_are_refused_in_silence(
    tmp_path: Path, ending: str, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    import SimpleITK as sitk  # noqa: N813  the name that everybody gives it

    path = tmp_path / f"a{ending}"
    field = np.random.default_rng(0).normal(size=(40, 56, 2)).astype(np.float32)
    for array, reads in ((field, field_message), (field[..., 0], message)):
        if (ending, damage, array.ndim) == (".nii.gz", "changed", 2):
            continue  # nibabel reads to the last pixel, and the checksum stands behind it
        image = sitk.GetImageFromArray(array, isVector=array.ndim == 3)
        sitk.WriteImage(image, str(path), useCompression=True)
        content = bytearray(path.read_bytes())
        if damage == "cut off":
            del content[-len(content) // 3 :]
        else:
            content[-400:-390] = bytes(10)
        path.write_bytes(content)
        assert reads(path).startswith("cannot be read as")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("ending", [".mhd", ".vtk", ".h5", ".png"])
def test_a_field_of_another_format_is_refused(tmp_path: Path, ending: str) -> None:
    headers.metaimage(tmp_path / f"a{ending}", end=SECRET)
    assert field_message(tmp_path / f"a{ending}").startswith("is no displacement field: fields are .nii, .nii.gz, .mha")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_what_itk_writes_passes(tmp_path: Path, ending: str, dtype: str, compressed: bool) -> None:
    import SimpleITK as sitk  # noqa: N813  the name that everybody gives it

    image = sitk.GetImageFromArray((BYTES // 3).astype(dtype))
    image.SetMetaData("0010|0010", "a = b: c")
    image.SetMetaData("note", "words, and: more")
    sitk.WriteImage(image, str(tmp_path / f"a{ending}"), useCompression=compressed)
    np.testing.assert_array_equal(read_image(tmp_path / f"a{ending}").array, BYTES // 3)


def test_colour_and_slices_of_volumes_pass(tmp_path: Path) -> None:
    save_itk(tmp_path / "a.nrrd", np.stack([BYTES] * 3, axis=-1), isVector=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.nrrd").array, BYTES)
    save_itk(tmp_path / "b.nrrd", np.stack([BYTES, BYTES // 2]))
    np.testing.assert_array_equal(read_image(tmp_path / "b.nrrd", slice_axis=0, slice_index=1).array, BYTES // 2)
