"""A byte that has changed on the way is noticed wherever a format has a checksum, though no reader looks at all."""

import bz2
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it
import tifffile
from PIL import Image

from regstudio.data.pictures.formats import read_image, read_label
from regstudio.data.problems import FileError

PIXELS = np.random.default_rng(0).integers(0, 60_000, (40, 56)).astype(np.uint16)
BYTES = (PIXELS >> 8).astype(np.uint8)


def itk(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(PIXELS), str(path), useCompression=True)


def deep_colours(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.stack([PIXELS] * 3, axis=-1), isVector=True), str(path))


FILES: dict[str, Callable[[Path], object]] = {
    "a.nii.gz": lambda path: nib.save(nib.Nifti1Image(PIXELS.T, np.eye(4)), path),
    "a.mha": itk,
    "a.nrrd": itk,
    "a.png": lambda path: Image.fromarray(PIXELS).save(path),
    "grey.png": lambda path: Image.fromarray(BYTES).save(path),
    "colours.png": deep_colours,
    "a.tif": lambda path: tifffile.imwrite(path, PIXELS, compression="zlib", rowsperstrip=7),
    "strip.tif": lambda path: Image.fromarray(BYTES).save(path, compression="tiff_adobe_deflate"),
    "a.npz": lambda path: np.savez_compressed(path, img=PIXELS),
    "stored.npz": lambda path: np.savez(path, img=PIXELS),
}


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_changes_no_picture_in_silence(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    FILES[name](path)
    sound, picture = path.read_bytes(), read_image(path, colour=True).array
    random = np.random.default_rng(1)
    refused = 0
    places = [*random.integers(len(sound) // 5, len(sound), 40), *range(len(sound) - 24, len(sound), 3)]
    for place in places:
        damaged = bytearray(sound)
        damaged[place] ^= 1 << random.integers(8)
        path.write_bytes(damaged)
        try:
            found = read_image(path, colour=True).array
        except FileError:
            refused += 1
        else:
            np.testing.assert_array_equal(found, picture, err_msg=f"byte {place} of {len(sound)}")
    assert refused > 30


def test_several_members_of_a_gzip_file_are_one_picture(tmp_path: Path) -> None:
    """As programs write them that compress in blocks."""
    nib.save(nib.Nifti1Image(PIXELS.T, np.eye(4)), tmp_path / "a.nii")
    raw = (tmp_path / "a.nii").read_bytes()
    blocks = [gzip.compress(raw[start : start + 1000]) for start in range(0, len(raw), 1000)]
    (tmp_path / "b.nii.gz").write_bytes(b"".join(blocks))
    np.testing.assert_array_equal(read_label(tmp_path / "b.nii.gz").array, PIXELS)
    blocks[-1] = blocks[-1][:-3]
    (tmp_path / "b.nii.gz").write_bytes(b"".join(blocks))
    with pytest.raises(FileError, match="it is damaged"):
        read_label(tmp_path / "b.nii.gz")


def test_a_strip_that_is_filled_up_is_sound(tmp_path: Path) -> None:
    """Some programs write the last strip of a TIFF as high as the others."""
    tifffile.imwrite(tmp_path / "a.tif", BYTES[:32], rowsperstrip=16, compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tag = file.pages[0].tags[257].valueoffset
        place, room = file.pages[0].dataoffsets[1], file.pages[0].databytecounts[1]
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[tag] = 20  # of the 32 rows, the second strip holds 4 and is filled up to 16
    packed = zlib.compress(np.zeros((16, 56), np.uint8).tobytes(), 9)
    assert len(packed) <= room
    content[place : place + len(packed)] = packed
    (tmp_path / "b.tif").write_bytes(content)
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif").array[16:], 0)


def test_nrrd_in_bzip2_is_named_as_what_it_is(tmp_path: Path) -> None:
    header = "NRRD0004\ntype: ushort\ndimension: 2\nsizes: 56 40\nendian: little\nencoding: bzip2\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bz2.compress(PIXELS.tobytes()))
    with pytest.raises(FileError, match=r"is compressed by bzip2, which is not supported\. Save it as raw or gzip\."):
        read_image(tmp_path / "a.nrrd")
