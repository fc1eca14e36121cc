"""NIfTI."""

import gzip
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import nibabel as nib
import numpy as np

from tests.hostile.corpus.kinds import Hostile, alien, cuts, of_bytes
from tests.hostile.corpus.sound import ENDINGS, sound
from tests.pictures import BYTES, GREY, HEIGHT, WIDTH

_NAN, _INF = float("nan"), float("inf")


def nifti(pixels: bytes = GREY.tobytes(), **fields: Any) -> bytes:
    """A .nii of 16-bit pixels; `fields` replace those of its header."""
    header = nib.Nifti1Header()
    header.set_data_shape((WIDTH, HEIGHT))
    header.set_data_dtype(np.uint16)
    header["magic"], header["vox_offset"] = b"n+1", 352
    for name, value in fields.items():
        header[name] = value
    return bytes(header.binaryblock) + bytes(4) + pixels


def inputs() -> Iterator[Hostile]:
    """All of them."""
    yield from cuts("grey", ".nii", sound(".nii"), header=352)
    yield from cuts("grey", ".nii.gz", sound(".nii.gz"))
    yield from alien(".nii", {ending: sound(ending) for ending in ENDINGS})
    yield from alien(".nii.gz", {ending: sound(ending) for ending in ENDINGS})
    yield from _sizes()
    yield from _types()
    yield from _starts()
    yield from _places()
    yield from _gzips()


def _sizes() -> Iterator[Hostile]:
    for name, dims in (
        ("0_dimensions", (0, WIDTH, HEIGHT)),
        ("1_dimension", (1, WIDTH * HEIGHT)),
        ("dimension_3_of_1", (3, WIDTH, HEIGHT, 1)),
        ("dimension_3_of_0", (3, WIDTH, HEIGHT, 0)),
        ("dimension_4", (4, 14, 4, 10, 4)),
        ("7_dimensions", (7, 2, 2, 2, 2, 2, 2, 2)),
        ("8_dimensions", (8, WIDTH, HEIGHT)),
        ("16_dimensions", (16, WIDTH, HEIGHT)),
        ("negative_dimensions", (-2, WIDTH, HEIGHT)),
        ("width_0", (2, 0, HEIGHT)),
        ("width_negative", (2, -WIDTH, HEIGHT)),
        ("declares_32767x32767", (2, 32767, 32767)),
        ("declares_32767_to_the_7", (7, *[32767] * 7)),
        ("declares_8000x8000", (2, 8000, 8000)),
    ):
        yield of_bytes(f"{name}.nii", nifti(dim=[*dims, *[1] * (8 - len(dims))]), bool(name.endswith("of_1")))
    yield of_bytes("one_pixel.nii", nifti(dim=[2, 1, 1, 1, 1, 1, 1, 1]))
    huge = nib.Nifti2Header()
    huge.set_data_shape((2**40, 2**20))
    yield of_bytes("declares_2_to_the_60.nii", bytes(huge.binaryblock) + bytes(1000))
    huge.set_data_shape((2**62, 4))
    yield of_bytes("declares_2_to_the_64.nii", bytes(huge.binaryblock) + bytes(1000))


def _types() -> Iterator[Hostile]:
    for code, kind in ((32, np.complex64), (1792, np.complex128), (1, np.uint8), (0, np.uint8), (999, np.uint8)):
        pixels = BYTES.astype(kind).tobytes()
        yield of_bytes(f"type_{code}.nii", nifti(pixels, datatype=code, bitpix=np.dtype(kind).itemsize * 8))
    for code, bits in ((1536, 128), (2048, 256)):
        yield of_bytes(f"type_{code}.nii", nifti(bytes(WIDTH * HEIGHT * bits // 8), datatype=code, bitpix=bits))
    for code, channels in ((128, 3), (2304, 4)):
        pixels = np.repeat(BYTES, channels).tobytes()
        yield of_bytes(
            f"colour_{code}.nii", nifti(pixels, datatype=code, bitpix=8 * channels), None if channels == 4 else True
        )
    yield of_bytes("bits_that_do_not_fit.nii", nifti(bitpix=7), None)
    for name, slope, intercept in (
        ("0", 0, 0), ("nan", _NAN, 0), ("inf", _INF, 0), ("intercept_nan", 1, _NAN), ("intercept_inf", 1, _INF),
        ("huge", 3e38, 3e38), ("tiny", 1e-45, 0), ("negative", -1, 0),
    ):  # fmt: skip
        usable = None if name in ("nan", "inf", "intercept_nan", "intercept_inf", "huge", "tiny") else True
        yield of_bytes(f"slope_{name}.nii", nifti(scl_slope=slope, scl_inter=intercept), usable)
    for name, value in (("nan", _NAN), ("inf", _INF), ("minus_inf", -_INF)):
        array = GREY.astype(np.float32)
        array[3, 5] = value
        yield of_bytes(f"pixel_{name}.nii", nib.Nifti1Image(array.T, np.eye(4)).to_bytes())


def _starts() -> Iterator[Hostile]:
    for start in (0, 16, 347, 351, 352.5, -1, -1e9, 1e9, 3e38, _NAN, _INF, -_INF):
        usable = None if start in (0, 16, 347, 351, 352.5) else False
        yield of_bytes(f"pixels_start_at_{start}.nii", nifti(vox_offset=start), usable)
    content = bytearray(nifti())
    for name, place, value in (("header_of_0", 0, 0), ("header_of_349", 0, 349), ("header_negative", 0, -348)):
        damaged = content.copy()
        struct.pack_into("<i", damaged, place, value)
        yield of_bytes(f"{name}.nii", bytes(damaged))
    for magic in (b"ni1\0", b"n+3\0", b"\0\0\0\0", b"xxxx"):
        damaged = content.copy()
        damaged[344:348] = magic
        yield of_bytes(f"magic_{magic.hex()}.nii", bytes(damaged))
    extension = bytes(content[:348]) + b"\x01\0\0\0" + struct.pack("<ii", 2**31 - 16, 4) + bytes(content[352:])
    yield of_bytes("extension_of_2_GB.nii", extension, None)
    extension = bytes(content[:348]) + b"\x01\0\0\0" + struct.pack("<ii", -16, 4) + bytes(content[352:])
    yield of_bytes("extension_of_negative_length.nii", extension, None)


def _places() -> Iterator[Hostile]:
    for name, zoom in (("0", 0), ("negative", -1), ("nan", _NAN), ("inf", _INF), ("huge", 3e38), ("tiny", 1e-45)):
        yield of_bytes(f"spacing_{name}.nii", nifti(pixdim=[1, zoom, zoom, zoom, 1, 1, 1, 1]), None)
    for name, rows in (
        ("singular", [(1, 0, 0, 0), (1, 0, 0, 0), (0, 0, 1, 0)]),
        ("zero", [(0, 0, 0, 0)] * 3),
        ("nan", [(_NAN, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)]),
        ("inf", [(_INF, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)]),
        ("origin_nan", [(1, 0, 0, _NAN), (0, 1, 0, 0), (0, 0, 1, 0)]),
        ("origin_huge", [(1, 0, 0, 3e38), (0, 1, 0, 3e38), (0, 0, 1, 0)]),
        ("huge", [(3e38, 0, 0, 0), (0, 3e38, 0, 0), (0, 0, 3e38, 0)]),
        ("tiny", [(1e-45, 0, 0, 0), (0, 1e-45, 0, 0), (0, 0, 1e-45, 0)]),
        ("sheared", [(1, 0.9, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)]),
    ):
        for code in (1, 2):
            fields = {f"srow_{axis}": row for axis, row in zip("xyz", rows, strict=True)}
            yield of_bytes(f"sform_{name}_{code}.nii", nifti(sform_code=code, **fields), None)
    for name, values in (("nan", (_NAN, 0, 0)), ("inf", (_INF, 0, 0)), ("too_long", (5, 5, 5))):
        fields = {f"quatern_{axis}": value for axis, value in zip("bcd", values, strict=True)}
        yield of_bytes(f"qform_{name}.nii", nifti(qform_code=1, **fields), None)
    yield of_bytes("qform_offset_nan.nii", nifti(qform_code=1, qoffset_x=_NAN), None)
    for code in (-1, 99, 32_767):
        yield of_bytes(f"codes_{code}.nii", nifti(qform_code=code, sform_code=code), None)
    yield of_bytes("units_255.nii", nifti(xyzt_units=255), None)
    yield of_bytes("qfac_5.nii", nifti(qform_code=1, pixdim=[5, 1, 1, 1, 1, 1, 1, 1]), None)


def _gzips() -> Iterator[Hostile]:
    content = nifti()
    packed = gzip.compress(content, mtime=0)
    yield of_bytes("gzip_of_nothing.nii.gz", gzip.compress(b""))
    yield of_bytes("gzip_of_gzip.nii.gz", gzip.compress(packed))
    yield of_bytes("gzip_of_text.nii.gz", gzip.compress(b"no picture" * 1000))
    yield of_bytes("gzip_of_png.nii.gz", gzip.compress(sound(".png")))
    yield of_bytes("two_members.nii.gz", gzip.compress(content[:1000]) + gzip.compress(content[1000:]), None)
    yield of_bytes("then_junk.nii.gz", packed + b"junk" * 100, None)
    yield of_bytes("wrong_checksum.nii.gz", packed[:-8] + bytes(4) + packed[-4:])
    yield of_bytes("wrong_length.nii.gz", packed[:-4] + bytes(4))
    yield of_bytes("wrong_method.nii.gz", packed[:2] + b"\x07" + packed[3:])
    yield of_bytes("endless_name.nii.gz", packed[:3] + b"\x08" + packed[4:10] + b"n" * 100_000)
    yield of_bytes("bomb_behind_the_pixels.nii.gz", gzip.compress(content + bytes(2**28), 9, mtime=0), None)
    yield of_bytes("bomb_of_zeros.nii.gz", gzip.compress(bytes(2**28), 9, mtime=0))
    header = nifti(b"", dim=[3, 32767, 32767, 1, 1, 1, 1, 1], datatype=2, bitpix=8)
    yield of_bytes("bomb_of_pixels.nii.gz", gzip.compress(header + bytes(2**26), 9, mtime=0))
    header = nifti(b"", dim=[3, 8000, 8000, 2, 1, 1, 1, 1], datatype=64, bitpix=64)
    yield of_bytes("bomb_of_1_GB.nii.gz", gzip.compress(header + bytes(2**26), 9, mtime=0))
    header = nifti(b"", vox_offset=2**24 - 16)
    yield of_bytes("bomb_of_extensions.nii.gz", gzip.compress(header + bytes(2**26), 9, mtime=0), None)
    yield of_bytes("zlib_without_gzip.nii.gz", zlib.compress(content))
