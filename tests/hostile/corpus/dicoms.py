"""DICOM."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from tests.hostile import headers
from tests.hostile.corpus.kinds import Hostile, alien, cuts, of_bytes
from tests.hostile.corpus.sound import ENDINGS, sound
from tests.pictures import GREY, HEIGHT, WIDTH

_EXPLICIT, _IMPLICIT, _DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"
_PACKED = {
    "jpeg": "1.2.840.10008.1.2.4.50", "jpeg_lossless": "1.2.840.10008.1.2.4.70", "jpeg_ls": "1.2.840.10008.1.2.4.80",
    "jpeg_2000": "1.2.840.10008.1.2.4.90", "rle": "1.2.840.10008.1.2.5", "mpeg": "1.2.840.10008.1.2.4.100",
    "htj2k": "1.2.840.10008.1.2.4.201", "unknown": "1.2.3.4",
}  # fmt: skip
_ELEMENTS = {
    "SOPClassUID": (0x0008, 0x0016, "UI"), "SOPInstanceUID": (0x0008, 0x0018, "UI"),
    "ImagePositionPatient": (0x0020, 0x0032, "DS"), "ImageOrientationPatient": (0x0020, 0x0037, "DS"),
    "SamplesPerPixel": (0x0028, 0x0002, "US"), "PhotometricInterpretation": (0x0028, 0x0004, "CS"),
    "NumberOfFrames": (0x0028, 0x0008, "IS"), "Rows": (0x0028, 0x0010, "US"), "Columns": (0x0028, 0x0011, "US"),
    "PixelSpacing": (0x0028, 0x0030, "DS"), "BitsAllocated": (0x0028, 0x0100, "US"), "BitsStored": (0x0028, 0x0101,
    "US"),
    "HighBit": (0x0028, 0x0102, "US"), "PixelRepresentation": (0x0028, 0x0103, "US"),
    "RescaleIntercept": (0x0028, 0x1052, "DS"), "RescaleSlope": (0x0028, 0x1053, "DS"),
}  # fmt: skip
_SECONDARY_CAPTURE, _CT = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.2"


def dicom(pixels: bytes | None = GREY.tobytes(), syntax: str = _EXPLICIT, **elements: int | str | None) -> bytes:
    """A secondary capture; `elements` replace those of it, None leaves one out."""
    usual: dict[str, int | str | None] = {
        "SOPClassUID": _SECONDARY_CAPTURE, "SOPInstanceUID": "1.2.3", "Rows": HEIGHT, "Columns": WIDTH,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
        "PixelRepresentation": 0,
    }  # fmt: skip
    usual |= elements
    meta = b"".join(
        _element(2, number, "UI", value)
        for number, value in ((0x02, _SECONDARY_CAPTURE), (0x03, "1.2.3"), (0x10, syntax))
    )
    content = bytes(128) + b"DICM" + _element(2, 0, "UL", struct.pack("<I", len(meta))) + meta
    for name, (group, number, kind) in _ELEMENTS.items():
        value = usual.get(name)
        if value is not None:
            stored = struct.pack("<H", value) if isinstance(value, int) else value
            content += _element(group, number, kind, stored, explicit=syntax != _IMPLICIT)
    if pixels is None:
        return content
    if syntax in _PACKED.values():
        return content + struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 2**32 - 1) + pixels
    return content + _element(0x7FE0, 0x10, "OW", pixels, explicit=syntax != _IMPLICIT)


def _element(group: int, number: int, kind: str, value: str | bytes, *, explicit: bool = True) -> bytes:
    stored = value.encode() if isinstance(value, str) else value
    stored += (b"\0" if kind in ("UI", "OW") else b" ") * (len(stored) % 2)
    if not explicit:
        return struct.pack("<HHI", group, number, len(stored)) + stored
    if kind == "OW":
        return struct.pack("<HH2sHI", group, number, kind.encode(), 0, len(stored)) + stored
    return struct.pack("<HH2sH", group, number, kind.encode(), len(stored)) + stored


def encapsulated(fragment: bytes) -> bytes:
    """Compressed pixels of one frame: an empty table of offsets, a fragment, and the end."""
    fragment += bytes(len(fragment) % 2)
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) + struct.pack("<HHI", 0xFFFE, 0xE000, len(fragment)) + fragment
    return items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def inputs() -> Iterator[Hostile]:
    """All of them."""
    yield from cuts("grey", ".dcm", dicom(), header=132)
    yield from alien(".dcm", {ending: sound(ending) for ending in ENDINGS})
    yield of_bytes("no_pixels.dcm", dicom(None))
    yield of_bytes("no_pixels", dicom(None))
    yield of_bytes("pixels_of_0_bytes.dcm", dicom(b""))
    yield of_bytes("pixels_too_few.dcm", dicom(GREY.tobytes()[:-2000]))
    yield of_bytes("pixels_too_many.dcm", dicom(GREY.tobytes() * 2), None)
    for rows, columns in ((0, 40), (40, 0), (1, 1), (65_535, 65_535), (40, 65_535), (None, 40)):
        yield of_bytes(f"declares_{rows}x{columns}.dcm", dicom(Rows=rows, Columns=columns))
    for frames in ("0", "-1", "2", "100000", "2147483647", "x"):
        usable = None if frames in ("0", "-1", "x") else False
        yield of_bytes(f"{frames}_frames.dcm", dicom(NumberOfFrames=frames), usable)
    for samples in (0, 2, 3, 16, 65_535):
        yield of_bytes(f"{samples}_values_a_pixel.dcm", dicom(SamplesPerPixel=samples), None if samples == 0 else False)
    for bits in (0, 1, 7, 12, 33, 64, 65_535):
        elements = {"BitsAllocated": bits, "BitsStored": bits, "HighBit": max(0, bits - 1)}
        yield of_bytes(f"bits_{bits}.dcm", dicom(**elements), None if bits in (0, 1, 7, 12) else False)
    yield of_bytes("bits_stored_beyond.dcm", dicom(BitsStored=99, HighBit=98), None)
    yield of_bytes("high_bit_beyond.dcm", dicom(HighBit=200), None)
    yield of_bytes("representation_7.dcm", dicom(PixelRepresentation=7), None)
    for colours in ("RGB", "YBR_FULL_422", "PALETTE COLOR", "NOTHING", ""):
        yield of_bytes(f"colours_{colours or 'none'}.dcm", dicom(PhotometricInterpretation=colours), None)
    yield from _places()
    yield from _encapsulated()
    yield from _elements()


def _places() -> Iterator[Hostile]:
    for name, element, value in (
        ("spacing_0", "PixelSpacing", "0\\0"), ("spacing_negative", "PixelSpacing", "-1\\-1"),
        ("spacing_nan", "PixelSpacing", "nan\\nan"), ("spacing_inf", "PixelSpacing", "inf\\1"),
        ("spacing_text", "PixelSpacing", "a\\b"), ("spacing_one", "PixelSpacing", "1"),
        ("spacing_huge", "PixelSpacing", "1e300\\1e300"), ("spacing_empty", "PixelSpacing", ""),
        ("direction_zero", "ImageOrientationPatient", "0\\0\\0\\0\\0\\0"),
        ("direction_singular", "ImageOrientationPatient", "1\\0\\0\\1\\0\\0"),
        ("direction_nan", "ImageOrientationPatient", "nan\\nan\\nan\\nan\\nan\\nan"),
        ("direction_inf", "ImageOrientationPatient", "inf\\0\\0\\0\\1\\0"),
        ("direction_short", "ImageOrientationPatient", "1\\0"),
        ("direction_text", "ImageOrientationPatient", "a\\b\\c\\d\\e\\f"),
        ("origin_nan", "ImagePositionPatient", "nan\\nan\\nan"), ("origin_text", "ImagePositionPatient", "a\\b\\c"),
        ("slope_0", "RescaleSlope", "0"), ("slope_nan", "RescaleSlope", "nan"), ("slope_inf", "RescaleSlope", "inf"),
        ("slope_text", "RescaleSlope", "x"), ("slope_huge", "RescaleSlope", "1e300"),
    ):  # fmt: skip
        elements = {"RescaleIntercept": "0"} if element == "RescaleSlope" else {}
        yield of_bytes(f"{name}.dcm", dicom(**{"SOPClassUID": _CT, element: value, **elements}), None)


def _encapsulated() -> Iterator[Hostile]:
    noise = np.random.default_rng(0).bytes(3000)
    for name, syntax in _PACKED.items():
        yield of_bytes(f"{name}_of_noise.dcm", dicom(encapsulated(noise), syntax))
        yield of_bytes(f"{name}_of_nothing.dcm", dicom(encapsulated(b"\0\0"), syntax))
        yield of_bytes(f"{name}_of_png.dcm", dicom(encapsulated(sound(".png")), syntax))
        yield of_bytes(f"{name}_without_items.dcm", dicom(struct.pack("<HHI", 0xFFFE, 0xE0DD, 0), syntax))
        endless = struct.pack("<HHIHHI", 0xFFFE, 0xE000, 0, 0xFFFE, 0xE000, 2**32 - 2)
        yield of_bytes(f"{name}_item_of_4_GB.dcm", dicom(endless + noise, syntax))
    for name in ("jpeg", "rle", "jpeg_2000", "jpeg_ls"):
        huge = {"Rows": 3000, "Columns": 3000, "NumberOfFrames": "50"}
        yield of_bytes(f"{name}_of_50_frames.dcm", dicom(encapsulated(noise), _PACKED[name], **huge))
    jpeg = sound(".jpg")
    yield of_bytes(
        "jpeg_of_another_size.dcm", dicom(encapsulated(jpeg), _PACKED["jpeg"], Rows=4000, Columns=4000), None
    )
    cut = encapsulated(jpeg[: len(jpeg) // 2])
    yield of_bytes("jpeg_cut_off.dcm", dicom(cut, _PACKED["jpeg"], BitsAllocated=8, BitsStored=8, HighBit=7), None)


def _elements() -> Iterator[Hostile]:
    for length in (2**31, 2**32 - 2, 2**32 - 1, 10**6):
        yield Hostile(
            file=f"element_of_{length}.dcm", write=lambda path, n=length: headers.dicom_with_a_long_element(path, n)
        )
    content = dicom()
    place = content.index(b"\xe0\x7f\x10\x00")
    for name, kind in (("unknown", b"ZZ"), ("zeros", b"\0\0"), ("sequence", b"SQ")):
        yield of_bytes(f"pixels_of_type_{name}.dcm", content[: place + 4] + kind + content[place + 6 :])
    meta = struct.pack("<HH2sHI", 2, 0, b"UL", 4, 2**32 - 1)
    yield of_bytes("meta_of_4_GB.dcm", bytes(128) + b"DICM" + meta + bytes(200))
    nested = struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 2**32 - 1) + struct.pack("<HHI", 0xFFFE, 0xE000, 2**32 - 1)
    yield of_bytes("20000_sequences.dcm", content[:place] + nested * 20_000 + content[place:])
    yield of_bytes("without_preamble.dcm", content[132:], None)
    yield of_bytes("deflated_of_noise.dcm", dicom(syntax=_DEFLATED)[:400] + np.random.default_rng(0).bytes(500))
    bomb = zlib.compressobj(9, wbits=-15)
    packed = bomb.compress(content[content.index(b"\x08\0\x16\0UI") :] + bytes(2**29)) + bomb.flush()
    yield of_bytes("deflated_bomb.dcm", dicom(None, _DEFLATED, **dict.fromkeys(_ELEMENTS)) + packed)
    yield of_bytes("only_a_preamble.dcm", bytes(128) + b"DICM")
    yield of_bytes(
        "implicit_that_is_explicit.dcm",
        content.replace(_EXPLICIT.encode() + b"\0", _IMPLICIT.encode() + b"\0\0\0"),
        None,
    )
