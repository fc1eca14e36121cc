"""What is to be known of a DICOM file before GDCM sees it, and why it holds no picture that can be read."""

import struct
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path

from regstudio.data.problems import FileError

DICOM_ENDINGS = (".dcm", ".dicom", ".ima")
# What GDCM decodes: without compression, with Deflate, JPEG, JPEG-LS, JPEG 2000 and RLE.
_IMPLICIT, _DEFLATED, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
_TRANSFER_SYNTAXES = {
    _IMPLICIT, "1.2.840.10008.1.2.1", _DEFLATED, _BIG_ENDIAN, "1.2.840.10008.1.2.5",
    *(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91, 92, 93)),
}  # fmt: skip
_INTERPRETATION = 0x0028, 0x0004  # photometric
_ENDLESS = 2**32 - 1  # the length of an element that ends with a mark
_LONG_KINDS = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_SHORT_KINDS = (
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
    b"ST", b"TM", b"UI", b"UL", b"US",
)  # fmt: skip


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM by its content; False where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def check_dicom(path: Path) -> None:
    """Raise FileError for a compression that GDCM lacks, and ValueError for an element that is longer than its file.

    GDCM takes as much memory as an element claims to be long.
    """
    with path.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
        for _ in _elements(path, data):
            pass


def as_black_is_zero(path: Path) -> bytes:
    """Return the bytes of a file whose pixels are said to grow from black to white, so that GDCM leaves them alone."""
    with path.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
        for group, element, start, length in _elements(path, data):
            if (group, element) == _INTERPRETATION:
                return b"".join((data[:start], b"MONOCHROME2".ljust(length), data[start + length :]))
    what = "is compressed as a whole (DICOM's Deflate), which is not supported for its kind of pixels"
    raise FileError(path, what, "Export it without compression.")


def _elements(path: Path, data: mmap) -> Iterator[tuple[int, int, int, int]]:
    """Yield group, element, and start and length of the value of each element behind the first group."""
    place, syntax = (132, "") if data[128:132] == b"DICM" else (0, "")
    while data[place : place + 2] == b"\x02\x00":  # the group that says how the others are written
        _, element, _, start, length = _dicom_element(data, place, "<", explicit=True)
        if element == 0x10:
            syntax = data[start : start + length].rstrip(b"\0 ").decode("ascii", "replace")
        place = start + length
    if syntax and syntax not in _TRANSFER_SYNTAXES:
        what = f"is compressed in a way that is not supported (DICOM's transfer syntax {syntax})"
        raise FileError(path, what, "Export it without compression.")
    if syntax != _DEFLATED:
        order = ">" if syntax == _BIG_ENDIAN else "<"
        explicit = syntax != _IMPLICIT if syntax else data[place + 4 : place + 6].isalpha()
        yield from _walk_dicom(data, place, order, explicit)


def _walk_dicom(data: mmap, place: int, order: str, explicit: bool) -> Iterator[tuple[int, int, int, int]]:
    in_fragments = False  # of compressed pixels, whose items hold no elements
    while place + 8 <= len(data) and data[place : place + 8] != bytes(8):  # which is padding
        group, element, kind, start, length = _dicom_element(data, place, order, explicit)
        yield group, element, start, length
        endless = length == _ENDLESS
        if (group, element) == (0x7FE0, 0x0010):
            in_fragments = endless
        if endless and kind == b"UN":  # what is inside is written in another way
            return
        looked_into = endless or kind == b"SQ" or ((group, element) == (0xFFFE, 0xE000) and not in_fragments)
        place = start if looked_into else start + length


def _dicom_element(data: mmap, place: int, order: str, explicit: bool) -> tuple[int, int, bytes, int, int]:
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
