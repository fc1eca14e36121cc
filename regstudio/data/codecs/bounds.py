"""Checks a file's header before a native reader sees it: dimension, size, channels, type, and where the pixels lie.

SimpleITK ends the program at some headers, takes gigabytes at others, and follows a header to any file of the disk.
So a header is read here first, as text, and what is not known to be harmless is refused. A FileError says what is
unusual; what no writer produces is a ValueError, which becomes the message for a damaged file.
"""

import gzip
import re
import struct
import zlib
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from isal import igzip, igzip_lib

from regstudio.data.codecs.decoded_file import MAX_BYTES, refuse_huge
from regstudio.data.codecs.dicom import check_dicom
from regstudio.data.problems import FileError

MAX_DIMENSION = 4
MAX_CHANNELS = 4  # values for each pixel
MAX_HEADER_BYTES = 2**24  # of a NIfTI file, with its extensions
MAX_TEXT_BYTES = 2**20  # of a header in text
MAX_TEXT_LINES = 2000  # of which ITK takes 60 KB of memory each
MAX_PAGES = 10_000  # of a TIFF file
MAX_INFLATION = 1100  # Deflate cannot compress to less than a 1032nd

_open_gzip: Any = igzip.open  # the types of this package are not complete
_GzipError: Any = igzip_lib.IsalError
_MHA_TYPES = {
    "CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 4, "ULONG": 4,
    "LONG_LONG": 8, "ULONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8,
}  # fmt: skip
_NRRD_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"), 4),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "signed long long int"), 8),
    **dict.fromkeys(("int64", "int64_t", "ulonglong", "unsigned long long", "unsigned long long int"), 8),
    **dict.fromkeys(("uint64", "uint64_t", "double"), 8),
    "float": 4,
}
_NRRD_GRID_KINDS = {"domain", "space", "time", "none", "???"}  # any other kind of axis holds a pixel's values
_NIFTI_BITS = {
    2: 8, 4: 16, 8: 32, 16: 32, 32: 64, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64, 1536: 128,
    1792: 128, 2048: 256, 2304: 32,
}  # fmt: skip
_TIFF_TYPES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def check_header(path: Path) -> None:
    """Raise FileError or ValueError for a header that a native reader should not see; the ending says what is read."""
    name = path.name.lower()
    if name.endswith(".mha"):
        _check_metaimage(path)
    elif name.endswith(".nrrd"):
        _check_nrrd(path)
    elif name.endswith((".nii", ".nii.gz")):
        _check_nifti(path)
    else:
        check_dicom(path)


def _check_metaimage(path: Path) -> None:
    fields, start = _metaimage_fields(path)
    dimension = _whole(fields.get("NDims", ""))
    _check_dimension(path, dimension)
    sizes = _sizes(fields.get("DimSize", ""), dimension)
    channels = _whole(fields.get("ElementNumberOfChannels", "1"))
    _check_channels(path, channels)
    kind = fields.get("ElementType", "").removesuffix("_ARRAY").removeprefix("MET_")
    if kind not in _MHA_TYPES:
        raise FileError(path, f"holds pixels of the unknown type {kind or 'none'!r:.40}", "Export it again.")
    refuse_huge(path, sizes, _MHA_TYPES[kind] * channels)
    declared = prod(sizes) * channels * _MHA_TYPES[kind]
    compressed = fields.get("CompressedData", "False").lower() in ("true", "1")
    # MetaIO also takes numbers as text, which take at least two bytes each.
    as_text = fields.get("BinaryData", "True").lower() in ("false", "0")
    stored = prod(sizes) * channels if as_text else declared
    _check_stored(path, start, stored, compressed)
    if compressed and _unpacked_bytes(path, start) != declared:  # of which MetaIO says nothing
        raise ValueError("compressed pixels that are cut off")


def check_gzip(path: Path) -> None:
    """Raise ValueError for a .gz file that is damaged: readers of NIfTI stop before the checksum at its end."""
    count = 0
    try:
        with _open_gzip(path) as stream:
            while read := len(stream.read(2**20)):
                count += read
                if count > 2 * MAX_BYTES:
                    raise ValueError("more bytes than any file may hold")
    except (EOFError, _GzipError, gzip.BadGzipFile) as error:
        raise ValueError(f"a damaged gzip stream: {error}") from error


def _unpacked_bytes(path: Path, start: int) -> int:
    """Return how many bytes a zlib or gzip stream from `start` on holds; raises zlib.error for a damaged one."""
    unpacker, count = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32), 0
    with path.open("rb") as stream:
        stream.seek(start)
        while not unpacker.eof and (raw := unpacker.unconsumed_tail or stream.read(2**16)):
            count += len(unpacker.decompress(raw, 2**20))
    return count if unpacker.eof else -1


def _metaimage_fields(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields of a .mha header, and where the pixels start; their place is refused unless it is the file."""
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        for line in _Lines(stream):
            key, sign, value = line.partition("=")
            key, value = key.strip(), value.strip()
            if "elementdatafile" in line.lower():
                if key == "ElementDataFile" and value.upper() == "LOCAL":
                    return fields, stream.tell()
                raise FileError(path, "keeps its pixels in another file", "Save it with the pixels inside.")
            if not line.strip():
                continue
            if not sign or not key or ":" in key or len(key) > 255 or key in fields:
                raise ValueError(f"the line {line!r:.80}")
            fields[key] = value
    raise ValueError("a header without an end")


def _check_nrrd(path: Path) -> None:
    fields, start = nrrd_fields(path)
    dimension = _whole(fields.get("dimension", ""))
    _check_dimension(path, dimension)
    sizes = _sizes(fields.get("sizes", ""), dimension)
    kinds = [kind.lower() for kind in fields.get("kinds", "").split()]
    for size, kind in zip(sizes, kinds, strict=False):
        if kind not in _NRRD_GRID_KINDS:
            _check_channels(path, size)
    kind = " ".join(fields.get("type", "").lower().split())
    if kind not in _NRRD_TYPES:
        raise FileError(path, f"holds pixels of the unknown type {kind or 'none'!r:.40}", "Export it again.")
    refuse_huge(path, sizes, _NRRD_TYPES[kind])
    encoding = fields.get("encoding", "").lower()
    if encoding in ("bzip2", "bz2"):
        raise FileError(path, "is compressed by bzip2, which is not supported", "Save it as raw or gzip.")
    if encoding not in ("raw", "gzip", "gz", "txt", "text", "ascii", "hex"):
        raise FileError(path, f"has the unknown encoding {encoding or 'none'!r:.40}", "Save it as raw or gzip.")
    if any(_whole(fields.get(skipped, "0")) for skipped in ("byteskip", "lineskip")):
        raise FileError(path, "skips a part of its own pixels", "Export it again.")
    declared = prod(sizes) * (1 if encoding in ("txt", "text", "ascii") else _NRRD_TYPES[kind])
    _check_stored(path, start, declared, encoding in ("gzip", "gz"))
    if encoding in ("gzip", "gz") and _unpacked_bytes(path, start) != declared:  # of which ITK says nothing
        raise ValueError("compressed pixels that are damaged")


def nrrd_fields(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields of a .nrrd header, their names in lower case without blanks, and where the pixels start."""
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        lines = _Lines(stream)
        if not re.fullmatch(r"NRRD000[1-5]", next(lines, "")):
            raise ValueError("no NRRD")
        for line in lines:
            if not line:
                return fields, stream.tell()
            if line.startswith("#"):
                continue
            name, sign, value = line.partition(":")
            name = "".join(name.lower().split())
            if name == "datafile":
                raise FileError(path, "keeps its pixels in another file", "Save it with the pixels inside.")
            if value.startswith("=") and ": " not in line:  # a pair of key and value, which says nothing of the pixels
                continue
            if not sign or not name or name in fields:
                raise ValueError(f"the line {line!r:.80}")
            fields[name] = value.strip()
    raise FileError(path, "keeps its pixels in another file", "Save it with the pixels inside.")


class _Lines:
    """The lines of a header in text, up to one that does not end; the stream then stands behind the last."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._left, self._lines = stream, MAX_TEXT_BYTES, MAX_TEXT_LINES

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._stream.readline(self._left)
        self._left, self._lines = self._left - len(line), self._lines - 1
        if not line.endswith(b"\n"):
            raise StopIteration
        text = line[:-1].removesuffix(b"\r")
        if self._lines < 0 or any(byte < 32 and byte != 9 for byte in text):  # readers differ in what ends a line
            raise ValueError("too many lines, or a control character in the header")
        return text.decode("latin-1")


def _check_nifti(path: Path) -> None:
    packed = path.name.lower().endswith(".gz")
    with gzip.open(path) if packed else path.open("rb") as stream:
        head = stream.read(540)
    order, places = _nifti_layout(head)
    dims, code, start = (_unpack(head, order + form, place) for form, place in places)
    if not 1 <= dims[0] <= 7:
        raise ValueError("the number of dimensions")
    sizes = tuple(int(size) for size in dims[1 : int(dims[0]) + 1])
    if min(sizes) < 0:
        raise ValueError("a negative size")
    _check_dimension(path, len([size for size in sizes if size > 1]) or 1)
    bits = _NIFTI_BITS.get(int(code[0]))
    if bits is None:
        what = f"holds pixels of a type that is not supported (NIfTI's {code[0]})"
        raise FileError(path, what, "Save it as integers or as 32-bit floats.")
    refuse_huge(path, sizes, bits // 8)
    if not 0 <= start[0] <= MAX_HEADER_BYTES:
        raise FileError(path, f"its header takes {start[0]:,.0f} bytes", "Save the file without extensions.")
    _check_stored(path, 0, int(start[0]) + prod(sizes) * bits // 8, packed)


def _nifti_layout(head: bytes) -> tuple[str, tuple[tuple[str, int], ...]]:
    """Return a NIfTI header's byte order, and form and place of its sizes, type and start of the pixels."""
    for order in "<>":
        for length, magic, place, places in (
            (348, b"n+1\0", 344, (("8h", 40), ("h", 70), ("f", 108))),
            (540, b"n+2\0", 4, (("8q", 16), ("h", 12), ("q", 168))),
        ):
            if len(head) >= length and _unpack(head, order + "i", 0)[0] == length:
                if head[place : place + 4] != magic:
                    raise ValueError("no NIfTI file of one piece")
                return order, places
    raise ValueError("no NIfTI file")


def _unpack(data: bytes, form: str, place: int) -> tuple[float, ...]:
    return struct.unpack_from(form, data, place)


def count_pages(path: Path) -> int:
    """Return the number of directories of a TIFF; ValueError for a loop, or for a directory larger than the file."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(16)
        order = {b"II": "<", b"MM": ">"}[head[:2]]
        big = _unpack(head, order + "H", 2)[0] == 43
        number, entry, pointer = ("Q", "HHQ8x", "Q") if big else ("H", "HHI4x", "I")
        number, entry, pointer = order + number, order + entry, order + pointer
        place = int(_unpack(head, pointer, 8 if big else 4)[0])
        seen: set[int] = set()
        while place:
            if place in seen or len(seen) >= MAX_PAGES:
                raise ValueError("the directories form a loop")
            seen.add(place)
            stream.seek(place)
            entries = int(_unpack(stream.read(struct.calcsize(number)), number, 0)[0])
            length = entries * struct.calcsize(entry)
            if place + length > size:
                raise ValueError("a directory that is cut off")
            for _, kind, count in struct.iter_unpack(entry, stream.read(length)):
                if count * _TIFF_TYPES.get(kind, 1) > size:
                    raise ValueError("a tag larger than the file")
            place = int(_unpack(stream.read(struct.calcsize(pointer)), pointer, 0)[0])
    return len(seen)


def _check_dimension(path: Path, dimension: int) -> None:
    if dimension > MAX_DIMENSION:
        what = f"declares {dimension} dimensions, and {MAX_DIMENSION} are the most that is read"
        raise FileError(path, what, "Save a picture with rows and columns.")
    if dimension < 1:
        raise ValueError("no dimension")


def _check_channels(path: Path, channels: int) -> None:
    if channels > MAX_CHANNELS:
        raise FileError(path, f"holds {channels} values for each pixel", "Save a picture with one, or in colour.")
    if channels < 1:
        raise ValueError("no channel")


def _check_stored(path: Path, start: int, declared: int, compressed: bool) -> None:
    """Raise ValueError where a file has not the bytes that its header declares."""
    held = path.stat().st_size - start
    if declared > held * (MAX_INFLATION if compressed else 1):
        raise ValueError(f"{declared} bytes are declared, {held} are there")


def _whole(text: str) -> int:
    if not re.fullmatch(r"-?\d{1,18}", text.strip()):
        raise ValueError(f"{text!r:.40} is no whole number")
    return int(text)


def _sizes(text: str, dimension: int) -> tuple[int, ...]:
    sizes = tuple(_whole(part) for part in text.split())
    if len(sizes) != dimension or min(sizes) < 0:
        raise ValueError(f"the sizes {text!r:.80}")
    return sizes
