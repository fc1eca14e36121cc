"""TIFF: every type of number, layout and compression that is read, exactly; the rest is refused with the reason."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from regstudio.data.loading.loaders import LabelLoader
from regstudio.data.pictures.formats import read_image, read_label
from regstudio.data.pictures.writing import write_label
from regstudio.data.problems import FileError
from regstudio.transforms.result_files import result_extension
from tests.hostile import headers
from tests.pictures import BYTES, GREY, HEIGHT, WIDTH, ids, ramp

TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)
LUMINANCE = COLOUR @ np.array([0.299, 0.587, 0.114])


def save(path: Path, array: np.ndarray, **options: Any) -> Path:
    options = {"photometric": "minisblack", **options}
    tifffile.imwrite(path, array, metadata=None, **options)
    return path


def message(path: Path, read: Any = read_image, **options: Any) -> str:
    with pytest.raises(FileError) as caught:
        read(path, **options)
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "layout", [{}, {"tile": (16, 32)}, {"rowsperstrip": 7}, {"bigtiff": True}, {"compression": "zlib"}], ids=str
)
@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_and_layout_is_read_exactly(tmp_path: Path, dtype: str, layout: Any, byteorder: str) -> None:
    array = (ramp() * 100 - (20 if dtype[0] != "u" else 0)).astype(dtype)
    picture = read_image(save(tmp_path / "a.tif", array, byteorder=byteorder, **layout))
    assert picture.array.dtype == array.dtype
    np.testing.assert_array_equal(picture.array, array)


@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("compression", ["tiff_lzw", "zstd", "tiff_adobe_deflate", "packbits", "tiff_lzma"])
@pytest.mark.parametrize("array", [BYTES, GREY, ramp().astype(np.float32)], ids=["8", "16", "float"])
def test_what_libtiff_compresses_is_read_exactly(
    tmp_path: Path, array: np.ndarray, compression: str, predictor: int
) -> None:
    if predictor == 2 and (array.dtype.kind == "f" or compression in ("packbits", "tiff_lzma")):
        predictor = 1
    Image.fromarray(array).save(tmp_path / "a.tif", compression=compression, tiffinfo={317: predictor, 278: 9})
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, array)


@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("columns", [32, 64])
def test_tiles_that_libtiff_compresses_are_read_exactly(tmp_path: Path, columns: int, predictor: int) -> None:
    padded = np.pad(GREY, ((0, 48 - HEIGHT), (0, 64 - WIDTH)))
    tiles = []
    for top in range(0, 48, 16):
        for left in range(0, 64, columns):
            tile = padded[top : top + 16, left : left + columns]
            Image.fromarray(tile).save(
                tmp_path / "tile.tif", compression="tiff_lzw", tiffinfo={317: predictor, 278: 16}
            )
            with tifffile.TiffFile(tmp_path / "tile.tif") as file:
                page, content = file.pages[0], (tmp_path / "tile.tif").read_bytes()
                tiles.append(content[page.dataoffsets[0] :][: page.databytecounts[0]])
    options = {"shape": GREY.shape, "dtype": GREY.dtype, "tile": (16, columns), "compression": "zlib"}
    path = save(tmp_path / "a.tif", iter(tiles), predictor=predictor, **options)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        struct.pack_into("<H", content, file.pages[0].tags[259].valueoffset, 5)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, GREY)


def test_the_predictor_of_floats_is_undone(tmp_path: Path) -> None:
    array = (ramp() * 1e4 - 7).astype(np.float32)
    Image.fromarray(array).save(tmp_path / "a.tif", compression="tiff_lzw", tiffinfo={317: 3})
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].predictor == 3
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, array)


def test_jpeg_and_fax_are_read(tmp_path: Path) -> None:
    Image.fromarray(BYTES).save(tmp_path / "a.tif", compression="jpeg", quality=100)
    assert np.abs(read_image(tmp_path / "a.tif").array - BYTES.astype(int)).max() < 12
    Image.fromarray(BYTES > 99).save(tmp_path / "b.tif", compression="group4")
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif").array, BYTES > 99)


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_colour_keeps_its_depth(tmp_path: Path, compression: str | None, alpha: bool, planarconfig: str) -> None:
    array = np.dstack([COLOUR, GREY]) if alpha else COLOUR
    extra = {"extrasamples": ["unassalpha"]} if alpha else {}
    planes = array if planarconfig == "contig" else np.moveaxis(array, -1, 0)
    path = tmp_path / "a.tif"
    save(path, planes, photometric="rgb", planarconfig=planarconfig, compression=compression, **extra)
    read = read_image(path).array
    assert read.dtype == np.uint16
    assert np.abs(read - LUMINANCE).max() < 0.51
    save(path, planes >> 8 << 8 >> 8, photometric="rgb", planarconfig=planarconfig, compression=compression, **extra)


def test_grey_in_three_equal_16_bit_channels_is_exact(tmp_path: Path) -> None:
    array = (ramp() * 4000).astype(np.uint16)
    path = save(tmp_path / "a.tif", np.stack([array] * 3, axis=-1), photometric="rgb")
    np.testing.assert_array_equal(read_image(path).array, array)
    np.testing.assert_array_equal(read_label(path).array, array)


def test_grey_beside_its_opacity_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", np.stack([GREY, GREY * 0], axis=-1), extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(path).array, GREY)


@pytest.mark.parametrize("dtype", ["bool", *TYPES])
def test_white_is_zero_turns_images_over_and_keeps_ids(tmp_path: Path, dtype: str) -> None:
    stored = ids().astype(dtype) if dtype != "bool" else ids() == 7
    path = save(tmp_path / "a.tif", stored, photometric="miniswhite")
    np.testing.assert_array_equal(read_label(path).array, stored)
    image = read_image(path).array
    assert image.dtype == stored.dtype
    if stored.dtype.kind == "u":
        np.testing.assert_array_equal(image, np.iinfo(dtype).max - stored)
    order = np.argsort(stored.ravel(), kind="stable")
    assert (np.diff(image.ravel()[order].astype(float)) <= 0).all()
    assert image.max() != image.min()


def test_white_is_zero_in_fax_turns_images_over_and_keeps_ids(tmp_path: Path) -> None:
    Image.fromarray(ids() == 7).save(tmp_path / "a.tif", compression="group4", tiffinfo={262: 0})
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        white_is_zero = int(file.pages[0].photometric) == 0
    image, label = read_image(tmp_path / "a.tif").array, read_label(tmp_path / "a.tif").array
    np.testing.assert_array_equal(image, ids() == 7)
    np.testing.assert_array_equal(label, (ids() == 7) ^ white_is_zero)


@pytest.mark.parametrize("bits", [2, 4, 10, 12, 14])
@pytest.mark.parametrize("photometric", [0, 1])
def test_packed_bits_are_read(tmp_path: Path, bits: int, photometric: int) -> None:
    array = (ramp() * (2**bits - 1)).astype(np.uint16)
    digits = (array[..., None] >> np.arange(bits)[::-1] & 1).astype(np.uint8).reshape(HEIGHT, -1)
    packed = np.packbits(digits, axis=1)
    path = save(tmp_path / "a.tif", packed)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for code, value in ((256, WIDTH), (258, bits), (262, photometric)):
            tag = file.pages[0].tags[code]
            struct.pack_into("<H" if tag.dtype == 3 else "<I", content, tag.valueoffset, value)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_label(path).array, array)
    np.testing.assert_array_equal(read_image(path).array, array if photometric else 2**bits - 1 - array)


def test_palettes_give_images_colours_and_labels_indices(tmp_path: Path) -> None:
    colours = np.zeros((3, 256), np.uint16)
    colours[:, :8] = np.arange(24).reshape(3, 8) * 2570
    path = save(tmp_path / "a.tif", ids().astype(np.uint8), photometric="palette", colormap=colours)
    np.testing.assert_array_equal(read_label(path).array, ids())
    expected = np.rint((colours[:, ids()].T >> 8) @ np.array([0.299, 0.587, 0.114])).T
    np.testing.assert_array_equal(read_image(path).array, expected)
    write_label(tmp_path / "b.tif", ids(), like=read_label(path))
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif").array, expected)


def test_large_ids_do_not_wrap_and_are_written_as_they_are(tmp_path: Path) -> None:
    wanted = ids(values=(0, 1, 255, 4_000_000_000))
    label = read_label(save(tmp_path / "a.tif", wanted.astype(np.uint32)))
    np.testing.assert_array_equal(label.array, wanted)
    np.testing.assert_array_equal(LabelLoader()(tmp_path / "a.tif")[0], wanted)
    assert result_extension(label) == ".tif"
    write_label(tmp_path / "b.tif", label.array, like=label)
    again = read_label(tmp_path / "b.tif").array
    assert again.dtype == np.uint32
    np.testing.assert_array_equal(again, wanted)


def test_64_bit_ids_are_exact_or_refused(tmp_path: Path) -> None:
    wanted = ids().astype(np.uint64) + np.uint64(2**62)
    np.testing.assert_array_equal(LabelLoader()(save(tmp_path / "a.tif", wanted))[0], wanted)
    assert message(save(tmp_path / "b.tif", wanted * np.uint64(2)), read_label) == (
        f"holds the label id {2**63 + 14}, and {2**63 - 1} is the largest that is read. Give the labels smaller ids."
    )


def test_pages_are_a_volume_without_previews(tmp_path: Path) -> None:
    volume = np.stack([GREY // n for n in (1, 2, 3)])
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in volume:
            file.write(page, metadata=None)
            file.write(page[::2, ::2], subfiletype=1, metadata=None)
    for index in range(3):
        read = read_image(tmp_path / "a.tif", slice_axis=0, slice_index=index).array
        np.testing.assert_array_equal(read, volume[index])


def test_imagej_writes_many_images_behind_one_directory(tmp_path: Path) -> None:
    volume = np.stack([GREY // n for n in (1, 2, 3)])
    tifffile.imwrite(tmp_path / "a.tif", volume, imagej=True, truncate=True)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert len(file.pages) == 1
    assert message(tmp_path / "a.tif").startswith(f"is a volume of 3 x {HEIGHT} x {WIDTH} pixels")
    read = read_image(tmp_path / "a.tif", slice_axis=0, slice_index=2).array
    np.testing.assert_array_equal(read, volume[2])


def test_the_order_of_bits_within_bytes_is_followed(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", BYTES > 99)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        start, length = file.pages[0].dataoffsets[0], sum(file.pages[0].databytecounts)
        tag = file.pages[0].tags[262]
    turned = np.packbits(
        np.unpackbits(np.frombuffer(content[start : start + length], np.uint8).reshape(-1, 1), axis=1)[:, ::-1]
    )
    content[start : start + length] = turned.tobytes()
    struct.pack_into("<HHIH", content, tag.offset, 266, 3, 1, 2)  # in the place of "black is zero", which is usual
    path.write_bytes(content)
    np.testing.assert_array_equal(read_label(path).array, BYTES > 99)


@pytest.mark.parametrize("directories", [1, 3, 120])
def test_a_loop_of_directories_ends_in_a_message(tmp_path: Path, directories: int) -> None:
    path = headers.tiff_with_a_loop(tmp_path / "a.tif", directories, back_to=directories // 2)
    assert message(path) == "cannot be read as .tif; it is damaged, or not what its name says. Copy or export it again."


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({259: 34712}, "is compressed by JPEG2000, which is not supported. Save it with LZW or Deflate (ZIP), or"),
        ({259: 12345}, "is compressed by method 12345, which is not supported. Save it with LZW or Deflate (ZIP), or"),
        ({258: 24}, "holds unsigned numbers of 24 bits, which are not supported. Save it with 8, 16 or 32 bits."),
        ({258: 12}, "holds floating-point numbers of 12 bits, which are not supported."),
    ],
)
def test_sound_files_of_rare_kinds_are_refused_with_the_reason(
    tmp_path: Path, changes: dict[int, int], expected: str
) -> None:
    path = save(tmp_path / "a.tif", GREY if "floating" not in expected else GREY.astype(np.float32))
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for code, value in changes.items():
            struct.pack_into("<H", content, file.pages[0].tags[code].valueoffset, value)
    path.write_bytes(content)
    assert message(path).startswith(expected)


def test_channels_that_are_no_colour_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", np.stack([GREY] * 5, axis=-1), planarconfig="contig")
    assert message(tmp_path / "a.tif") == "holds 5 values for each pixel. Save a picture with one, or in colour."


def test_a_huge_size_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", BYTES)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for code in (256, 257):
            tag = file.pages[0].tags[code]
            struct.pack_into("<I" if tag.dtype == 4 else "<H", content, tag.valueoffset, 60_000)
    path.write_bytes(content)
    assert message(path).startswith("is too large (60000 x 60000 pixels")
