"""PNG, JPEG and BMP."""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.hostile.corpus.kinds import Hostile, alien, cuts, of_bytes
from tests.hostile.corpus.sound import ENDINGS, sound
from tests.pictures import BYTES, HEIGHT, WIDTH

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EXIF = 0xE1


def inputs() -> Iterator[Hostile]:
    """All of them."""
    for ending in (".png", ".jpg", ".bmp"):
        yield from cuts("grey", ending, sound(ending), header=33)
    yield from alien(".png", {ending: sound(ending) for ending in ENDINGS})
    yield from _pngs()
    yield from _jpegs()
    yield from _bmps()


def _chunk(kind: bytes, data: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png(
    width: int, height: int, pixels: bytes, *, depth: int = 8, colour: int = 0, interlace: int = 0, before: bytes = b""
) -> bytes:
    """A PNG whose header and pixels (before compression) need not fit each other."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    packed = zlib.compress(pixels, 9)
    return _SIGNATURE + _chunk(b"IHDR", header) + before + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _pngs() -> Iterator[Hostile]:
    rows = b"".join(b"\0" + bytes(range(WIDTH)) for _ in range(HEIGHT))
    for width, height in ((0, 40), (40, 0), (2**31 - 1, 2**31 - 1), (2**32 - 1, 2**32 - 1), (10**5, 10**5), (10**8, 1)):
        yield of_bytes(f"declares_{width}x{height}.png", png(width, height, rows))
    yield of_bytes("fewer_rows_than_declared.png", png(WIDTH, 10 * HEIGHT, rows))
    yield of_bytes("one_row_less.png", png(WIDTH, HEIGHT, rows[: -WIDTH - 1]))
    yield of_bytes("fewer_interlaced_rows.png", png(WIDTH, 10 * HEIGHT, rows, interlace=1))
    yield of_bytes("bomb_of_zeros.png", png(30_000, 30_000, bytes(2**20)))
    yield of_bytes("bomb_within_the_pixels.png", png(WIDTH, HEIGHT, rows + bytes(2**26)), None)
    for depth in (0, 3, 7, 32, 255):
        yield of_bytes(f"depth_{depth}.png", png(WIDTH, HEIGHT, rows, depth=depth))
    for colour in (1, 5, 7, 255):
        yield of_bytes(f"colour_type_{colour}.png", png(WIDTH, HEIGHT, rows, colour=colour))
    yield of_bytes("palette_is_missing.png", png(WIDTH, HEIGHT, rows, colour=3), None)
    yield of_bytes(
        "palette_of_one_colour.png", png(WIDTH, HEIGHT, rows, colour=3, before=_chunk(b"PLTE", bytes(3))), None
    )
    yield of_bytes("palette_of_2_bytes.png", png(WIDTH, HEIGHT, rows, colour=3, before=_chunk(b"PLTE", bytes(2))), None)
    yield of_bytes("filter_99.png", png(WIDTH, HEIGHT, b"".join(b"\x63" + bytes(range(WIDTH)) for _ in range(HEIGHT))))
    yield of_bytes("interlace_9.png", png(WIDTH, HEIGHT, rows, interlace=9), None)
    wrong = _SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0), checksum=1)
    yield of_bytes("wrong_checksum.png", wrong + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b""))
    yield of_bytes("no_pixels.png", _SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)))
    yield of_bytes("chunk_of_2_GB.png", _SIGNATURE + struct.pack(">I4s", 2**31 - 1, b"IHDR") + bytes(40))
    text = _chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**27), 9))
    yield of_bytes("text_bomb.png", png(WIDTH, HEIGHT, rows, before=text), None)
    profile = _chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(2**26), 9))
    yield of_bytes("profile_bomb.png", png(WIDTH, HEIGHT, rows, before=profile), None)
    yield of_bytes("exif_junk.png", png(WIDTH, HEIGHT, rows, before=_chunk(b"eXIf", b"II*\0" + b"\xff" * 60)), None)
    yield of_bytes("10000_chunks.png", png(WIDTH, HEIGHT, rows, before=_chunk(b"tEXt", b"k\0v") * 10_000), None)


def _jpegs() -> Iterator[Hostile]:
    content = sound(".jpg")
    start = content.index(b"\xff\xc0")
    for height, width in ((0, 40), (40, 0), (65_535, 65_535), (400, WIDTH)):
        damaged = bytearray(content)
        struct.pack_into(">HH", damaged, start + 5, height, width)
        yield of_bytes(f"declares_{height}x{width}.jpg", bytes(damaged), None if height == 400 else False)
    for components in (0, 5, 255):
        damaged = bytearray(content)
        damaged[start + 9] = components
        yield of_bytes(f"components_{components}.jpg", bytes(damaged))
    for name, data in (
        ("zeros", bytes(50)),
        ("ones", b"Exif\0\0" + b"\xff" * 500),
        ("loop", b"Exif\0\0II*\0\x08\0\0\0\0\0\x08\0\0\0"),
        ("orientation_99", _orientation(99)),
        ("orientation_of_text", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\xff\xff\xff\x7f\x08\0\0\0\0\0\0\0"),
    ):
        segment = struct.pack(">BBH", 0xFF, _EXIF, len(data) + 2) + data
        yield of_bytes(f"exif_{name}.jpg", content[:2] + segment + content[2:], True)
    yield of_bytes("no_end.jpg", content[:-2], None)
    yield of_bytes("marker_that_is_too_long.jpg", b"\xff\xd8\xff\xe0\xff\xff" + bytes(100))
    yield of_bytes("only_markers.jpg", b"\xff\xd8" + b"\xff\xfe\0\x02" * 5000)
    lossless = bytearray(content)
    lossless[start + 1] = 0xC3
    yield of_bytes("lossless.jpg", bytes(lossless))
    stream = io.BytesIO()
    Image.fromarray(np.stack([BYTES] * 4, axis=-1), "CMYK").save(stream, "jpeg")
    yield of_bytes("cmyk.jpg", stream.getvalue(), None)


def _orientation(value: int) -> bytes:
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x112, 3, 1, value, 0) + bytes(4)


def _bmps() -> Iterator[Hostile]:
    content = sound(".bmp")
    for name, place, form, value in (
        ("width_0", 18, "<i", 0),
        ("width_negative", 18, "<i", -40),
        ("width_2_billion", 18, "<i", 2**31 - 1),
        ("height_100000", 22, "<i", 100_000),
        ("height_lowest", 22, "<i", -(2**31)),
        ("bits_77", 28, "<H", 77),
        ("compression_99", 30, "<I", 99),
        ("compression_of_run_lengths", 30, "<I", 1),
        ("pixels_beyond_the_file", 10, "<I", 2**31),
        ("header_of_2_GB", 14, "<I", 2**31),
        ("palette_of_4_billion", 46, "<I", 2**32 - 1),
    ):
        damaged = bytearray(content)
        struct.pack_into(form, damaged, place, value)
        yield of_bytes(f"{name}.bmp", bytes(damaged), None if name == "palette_of_4_billion" else False)
