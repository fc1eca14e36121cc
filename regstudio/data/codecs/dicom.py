"""What is to be known of a DICOM file before GDCM sees it, and why it holds no picture that can be read."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, inf, isfinite
from mmap import ACCESS_READ, mmap
from pathlib import Path

from regstudio.data.codecs.decoded_file import refuse_huge
from regstudio.data.problems import FileError

DICOM_ENDINGS = (".dcm", ".dicom", ".ima")
# What GDCM decodes: without compression, with Deflate, JPEG, JPEG-LS, JPEG 2000 and RLE.
_IMPLICIT, _DEFLATED, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
_TRANSFER_SYNTAXES = {
    _IMPLICIT, "1.2.840.10008.1.2.1", _DEFLATED, _BIG_ENDIAN, "1.2.840.10008.1.2.5",
    *(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91, 92, 93)),
}  # fmt: skip
_SERIES, _POSITION, _ORIENTATION = (0x0020, 0x000E), (0x0020, 0x0032), (0x0020, 0x0037)
_INTERPRETATION, _FRAMES, _PIXELS = (0x0028, 0x0004), (0x0028, 0x0008), (0x7FE0, 0x0010)
_NUMBERS = {"rows": (0x28, 0x10), "columns": (0x28, 0x11), "samples": (0x28, 0x02), "bits": (0x28, 0x100)}
_MARKS = ((0xFFFE, 0xE00D), (0xFFFE, 0xE0DD))  # of the end of an item and of a sequence
MAX_DEPTH = 40  # of sequences and items within each other
MAX_DEFLATED = 2**27  # bytes of a file that is compressed as a whole
Element = tuple[int, int, int, int]  # group, element, and start and length of the value
Content = mmap | bytes
_ENDLESS = 2**32 - 1  # the length of an element that ends with a mark
_LONG_KINDS = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_SHORT_KINDS = (
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
    b"ST", b"TM", b"UI", b"UL", b"US",
)  # fmt: skip


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM by its content; False where it cannot be read."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


@dataclass(frozen=True, kw_only=True)
class SliceFacts:
    """What a file says of its place: its series, its first pixel in mm, and the axes of rows and columns."""

    series: str = ""
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None


def slice_facts(path: Path) -> SliceFacts:
    """Return the place of a file in its series; nothing is known of files that are compressed as a whole."""
    with path.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
        found = {
            (group, element): data[start : start + min(length, 256)]
            for group, element, start, length in _elements(path, data)
            if (group, element) in (_SERIES, _POSITION, _ORIENTATION)
        }
    series = found.get(_SERIES, b"").strip(b"\0 ").decode("ascii", "replace")
    position, orientation = (_numbers(found.get(tag), count) for tag, count in ((_POSITION, 3), (_ORIENTATION, 6)))
    return SliceFacts(series=series, position=position, orientation=orientation)


def _numbers(text: bytes | None, count: int) -> tuple[float, ...] | None:
    """Return the numbers of a text that are parted by backslashes; None unless they are as many as they should."""
    try:
        numbers = tuple(float(part) for part in (text or b"").strip(b"\0 ").split(b"\\"))
    except ValueError:
        return None
    return numbers if len(numbers) == count and all(isfinite(number) for number in numbers) else None


def check_dicom(path: Path) -> None:
    """Raise FileError or ValueError for a file that GDCM should not see.

    GDCM takes as much memory as an element claims to be long, goes as deep as sequences are nested, and makes up the
    pixels that are missing.
    """
    with path.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
        content: Content = data
        place, syntax = _start(path, data)
        if syntax == _DEFLATED:
            content = _inflated(path, data[place:])
            elements = _walk_dicom(content, 0, "<", explicit=True)
        else:
            elements = _elements(path, data)
        _check_pixels(path, content, ">" if syntax == _BIG_ENDIAN else "<", elements)


def _inflated(path: Path, packed: bytes) -> bytes:
    """Return what a stream of Deflate holds; how much that is, is found before it takes memory."""
    unpacker, count, raw = zlib.decompressobj(-zlib.MAX_WBITS), 0, packed
    while raw and not unpacker.eof and count <= MAX_DEFLATED:
        count += len(unpacker.decompress(raw, 2**20))
        raw = unpacker.unconsumed_tail
    if count > MAX_DEFLATED:
        what = f"unpacks to more than {MAX_DEFLATED:,} bytes"
        raise FileError(path, what, "Export it without compression.")
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed)


def _check_pixels(path: Path, data: Content, order: str, elements: Iterator[Element]) -> None:
    """Raise FileError for a size or a type of pixels that is not read, and ValueError where there are too few."""
    found = {(group, element): (start, length) for group, element, start, length in elements}
    numbers = {}
    for name, tag in _NUMBERS.items():
        start, length = found.get(tag, (0, 0))
        numbers[name] = int(struct.unpack_from(order + "H", data, start)[0]) if length == 2 else None
    rows, columns, samples, bits = numbers["rows"], numbers["columns"], numbers["samples"] or 1, numbers["bits"] or 16
    if _PIXELS not in found or rows is None or columns is None:
        return  # GDCM finds no picture
    start, length = found.get(_FRAMES, (0, 0))
    frames = int(data[start : start + length].strip(b"\0 ") or 1)
    start, length = found.get(_INTERPRETATION, (0, 0))
    if samples not in (1, 3, 4):
        raise FileError(path, f"holds {samples} values for each pixel", "Save a picture with one, or in colour.")
    if bits not in (1, 8, 12, 16, 32, 64):
        raise FileError(path, f"holds pixels of {bits} bits", "Export it with 8 or 16 bits.")
    refuse_huge(path, (frames, rows, columns), samples * ceil(bits / 8))
    each = samples * bits * (2 / 3 if b"422" in data[start : start + length] else 1)
    if found[_PIXELS][1] != _ENDLESS and rows * columns * max(1, frames) * each / 8 > found[_PIXELS][1]:
        raise ValueError("fewer pixels than are declared")


def as_black_is_zero(path: Path) -> bytes:
    """Return the bytes of a file whose pixels are said to grow from black to white, so that GDCM leaves them alone."""
    with path.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
        for group, element, start, length in _elements(path, data):
            if (group, element) == _INTERPRETATION:
                return b"".join((data[:start], b"MONOCHROME2".ljust(length), data[start + length :]))
    what = "is compressed as a whole (DICOM's Deflate), which is not supported for its kind of pixels"
    raise FileError(path, what, "Export it without compression.")


def _elements(path: Path, data: mmap) -> Iterator[Element]:
    """Yield the elements of the file itself behind the first group, unless that is compressed."""
    place, syntax = _start(path, data)
    if syntax != _DEFLATED:
        order = ">" if syntax == _BIG_ENDIAN else "<"
        explicit = syntax != _IMPLICIT if syntax else data[place + 4 : place + 6].isalpha()
        yield from _walk_dicom(data, place, order, explicit)


def _start(path: Path, data: mmap) -> tuple[int, str]:
    """Return where the first group ends, and the transfer syntax that it names, if it does."""
    place, syntax = (132, "") if data[128:132] == b"DICM" else (0, "")
    while data[place : place + 2] == b"\x02\x00":  # the group that says how the others are written
        _, element, _, start, length = _dicom_element(data, place, "<", explicit=True)
        if element == 0x10:
            syntax = data[start : start + length].rstrip(b"\0 ").decode("ascii", "replace")
        place = start + length
    if syntax and syntax not in _TRANSFER_SYNTAXES:
        what = f"is compressed in a way that is not supported (DICOM's transfer syntax {syntax})"
        raise FileError(path, what, "Export it without compression.")
    return place, syntax


def _walk_dicom(data: Content, place: int, order: str, explicit: bool) -> Iterator[Element]:
    """Yield the elements that lie in no sequence; ValueError where sequences are nested too deep."""
    in_fragments = False  # of compressed pixels, whose items hold no elements
    ends: list[float] = []  # of the sequences and items around the place, infinite where a mark says it
    while place + 8 <= len(data) and data[place : place + 8] != bytes(8):  # which is padding
        while ends and place >= ends[-1]:
            ends.pop()
        group, element, kind, start, length = _dicom_element(data, place, order, explicit)
        if not ends and group != 0xFFFE:
            yield group, element, start, length
        endless = length == _ENDLESS
        if (group, element) == _PIXELS:
            in_fragments = endless
        if endless and kind == b"UN":  # what is inside is written in another way
            return
        if (group, element) in _MARKS and ends:
            ends.pop()
        looked_into = endless or kind == b"SQ" or ((group, element) == (0xFFFE, 0xE000) and not in_fragments)
        if looked_into:
            ends.append(inf if endless else start + length)
        if len(ends) > MAX_DEPTH:
            raise ValueError("sequences within sequences")
        place = start if looked_into else start + length


def _dicom_element(data: Content, place: int, order: str, explicit: bool) -> tuple[int, int, bytes, int, int]:
    """Return group, element, type, and start and length of the value; ValueError for one longer than the file."""
    group, element = struct.unpack_from(order + "HH", data, place)
    kind = data[place + 4 : place + 6] if explicit and group != 0xFFFE else b""
    if explicit and group != 0xFFFE and kind not in (*_LONG_KINDS, *_SHORT_KINDS):
        raise ValueError("an element of an unknown type")
    if kind in _LONG_KINDS:
        start, form = place + 12, "I"
    else:
        start, form = place + 8, "H" if kind else "I"
    (length,) = struct.unpack_from(order + form, data, start - struct.calcsize(form))
    if length != _ENDLESS and start + length > len(data):
        raise ValueError("an element longer than the file")
    return group, element, kind, start, length


def refuse_without_picture(path: Path) -> None:
    """Raise FileError if a DICOM file has no pixels."""
    content = path.read_bytes()
    if b"\xe0\x7f\x10\x00" not in content and b"\x7f\xe0\x00\x10" not in content:  # the tag of the pixels
        raise FileError(path, "is a DICOM file that holds no picture", "Choose the image that belongs to it.")
