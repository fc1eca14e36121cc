"""Small files whose headers are made to harm a reader; each function writes one file and returns its path."""

import struct
from pathlib import Path

import numpy as np


def metaimage(
    path: Path, *extra: str, pixels: bytes = bytes(16), end: str = "ElementDataFile = LOCAL", **fields: str
) -> Path:
    """A .mha of 4x4 bytes; `fields` replace those of the header, `extra` are lines before its end."""
    header = {"ObjectType": "Image", "NDims": "2", "DimSize": "4 4", "ElementType": "MET_UCHAR", **fields}
    lines = [*(f"{name} = {value}" for name, value in header.items()), *extra, end]
    path.write_bytes("\n".join(lines).encode("latin-1") + b"\n" + pixels)
    return path


def nrrd(path: Path, *extra: str, pixels: bytes = bytes(16), end: str = "\n", **fields: str) -> Path:
    """A .nrrd of 4x4 bytes; `fields` replace those of the header, `extra` are lines before its end."""
    header = {"type": "uchar", "dimension": "2", "sizes": "4 4", "encoding": "raw", **fields}
    lines = ["NRRD0004", *(f"{name}: {value}" for name, value in header.items()), *extra]
    path.write_bytes("\n".join(lines).encode("latin-1") + b"\n" + end.encode() + pixels)
    return path


def nrrd_of_many_dimensions(path: Path, dimension: int = 16) -> Path:
    """A .nrrd that ends the program within SimpleITK's reader of headers."""
    return nrrd(path, dimension=str(dimension), sizes=" ".join(["2"] * dimension), pixels=bytes(2**dimension))


def nrrd_header_alone(path: Path, side: int = 100_000) -> Path:
    """A .nrrd that declares a huge field of vectors and holds nothing."""
    return nrrd(path, "kinds: vector domain domain", type="float", dimension="3", sizes=f"2 {side} {side}", pixels=b"")


def metaimage_of_many_channels(path: Path, channels: int = 2_000_000_000) -> Path:
    """A .mha of 4 KB that takes 4 GB."""
    return metaimage(path, ElementNumberOfChannels=str(channels), pixels=bytes(4096))


def nifti(path: Path, shape: tuple[int, ...], *, datatype: int = 2, start: float = 352, pixels: bytes = b"") -> Path:
    """A .nii of the given shape, type code and start of the pixels, of which it holds what is given."""
    dims = (len(shape), *shape, *[1] * (7 - len(shape)))
    content = bytearray(352)
    struct.pack_into("<i", content, 0, 348)
    struct.pack_into("<8h", content, 40, *dims)
    struct.pack_into("<hh", content, 70, datatype, 8)
    struct.pack_into("<8f", content, 76, *[1.0] * 8)
    struct.pack_into("<f", content, 108, start)
    content[344:348] = b"n+1\0"
    path.write_bytes(bytes(content) + pixels)
    return path


def tiff_with_a_loop(path: Path, directories: int = 3, back_to: int = 0) -> Path:
    """A TIFF of 4x4 bytes a page whose last directory leads back to an earlier one."""
    places = [24 + 138 * number for number in range(directories)]
    content = bytearray(24 + 138 * directories)
    struct.pack_into("<2sHI", content, 0, b"II", 42, places[0])
    for number, place in enumerate(places):
        tags = {256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 4, 279: 16, 296: 1, 254: 0}
        struct.pack_into("<H", content, place, len(tags))
        for index, (tag, value) in enumerate(sorted(tags.items())):
            struct.pack_into("<HHII", content, place + 2 + 12 * index, tag, 4, 1, value)
        after = places[number + 1] if number + 1 < directories else places[back_to]
        struct.pack_into("<I", content, place + 2 + 12 * len(tags), after)
    path.write_bytes(bytes(content))
    return path


def npz_preview(path: Path, side: int = 20_000, **arrays: np.ndarray) -> Path:
    """A preview of 400 KB that unpacks to arrays of `side` x `side`."""
    zeros = np.zeros((side, side), np.uint8)
    np.savez_compressed(path, **(dict.fromkeys(("fixed", "moving", "warped"), zeros) | arrays))
    return path


def dicom_with_a_long_element(path: Path, length: int = 2**31) -> Path:
    """A DICOM file of 200 bytes, one element of which claims to be `length` bytes long."""
    syntax = b"1.2.840.10008.1.2.1\0"
    meta = struct.pack("<HH2sHI", 2, 0, b"UL", 4, 8 + len(syntax)) + struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax))
    element = struct.pack("<HH2sHI", 8, 0x1140, b"OB", 0, length)
    path.write_bytes(bytes(128) + b"DICM" + meta + syntax + element + b"\xe0\x7f\x10\x00" + bytes(16))
    return path
