"""TIFF."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tifffile

from tests.hostile import headers
from tests.hostile.corpus.kinds import Hostile, alien, cuts, of_bytes
from tests.hostile.corpus.sound import ENDINGS, sound
from tests.pictures import BYTES, GREY, HEIGHT, WIDTH

_LONG = 4
_TAGS = {
    "width": 256, "height": 257, "bits": 258, "compression": 259, "photometric": 262, "offsets": 273,
    "orientation": 274,
    "samples": 277, "rows": 278, "counts": 279, "planar": 284, "predictor": 317, "colours": 320, "tile_width": 322,
    "tile_height": 323, "tile_offsets": 324, "tile_counts": 325, "format": 339, "depth": 32997,
}  # fmt: skip


def tiff(pixels: bytes = BYTES.tobytes(), *, big: bool = False, **tags: int) -> bytes:
    """A TIFF of one strip, a tag a keyword; one that is -1 is left out."""
    values: dict[str, int] = {
        "width": WIDTH, "height": HEIGHT, "bits": 8, "compression": 1, "photometric": 1, "offsets": 8, "samples": 1,
        "rows": HEIGHT, "counts": len(pixels), **tags,
    }  # fmt: skip
    entries = sorted((_TAGS[name], value) for name, value in values.items() if value >= 0)
    place = 8 + len(pixels)
    head = struct.pack("<2sHI", b"II", 42, place)
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", tag, _LONG, 1, value) for tag, value in entries)
    return head + pixels + directory + bytes(4)


def written(array: np.ndarray, **options: Any) -> bytes:
    """What tifffile writes."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, metadata=None, **options)
    return stream.getvalue()


def inputs() -> Iterator[Hostile]:
    """All of them."""
    yield from cuts("grey", ".tif", sound(".tif"), header=8)
    yield from cuts("tiles", ".tif", written(GREY, tile=(16, 16)))
    yield from cuts("deflate", ".tif", written(GREY, compression="zlib", predictor=True))
    yield from alien(".tiff", {ending: sound(ending) for ending in ENDINGS})
    for directories, back_to in ((1, 0), (3, 0), (3, 2)):
        yield Hostile(
            file=f"loop_of_{directories}_to_{back_to}.tif",
            write=lambda path, n=directories, b=back_to: headers.tiff_with_a_loop(path, n, b),
        )
    yield Hostile(file="loop_of_20000.tif", write=lambda path: headers.tiff_with_a_loop(path, 20_000))
    yield from _sizes()
    yield from _places()
    yield from _types()
    yield of_bytes("directory_beyond_the_file.tif", struct.pack("<2sHI", b"II", 42, 2**31))
    yield of_bytes("directory_of_65535_tags.tif", struct.pack("<2sHIH", b"II", 42, 8, 65_535) + bytes(100))
    yield of_bytes("no_directory.tif", struct.pack("<2sHI", b"II", 42, 0) + bytes(100))
    yield of_bytes("no_tag.tif", struct.pack("<2sHIHI", b"II", 42, 8, 0, 0))
    yield of_bytes("big_that_is_short.tif", struct.pack("<2sHHHQ", b"II", 43, 8, 0, 2**60))
    yield of_bytes("big_of_odd_pointers.tif", struct.pack("<2sHHHQ", b"II", 43, 3, 0, 16) + bytes(100))
    yield of_bytes("tag_of_4_GB.tif", _with_count(tiff(), 2**32 - 1))
    many = [GREY[:33, :33]] * 300
    yield of_bytes("300_pages.tif", written(np.stack(many)), volume=True)
    yield of_bytes("pages_of_different_types.tif", _two_pages(GREY, BYTES), None)


def _with_count(content: bytes, count: int) -> bytes:
    damaged = bytearray(content)
    place = struct.unpack_from("<I", content, 4)[0]
    struct.pack_into("<I", damaged, place + 2 + 12 * 5 + 4, count)
    return bytes(damaged)


def _two_pages(*arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for array in arrays:
            writer.write(array, metadata=None)
    return stream.getvalue()


def _sizes() -> Iterator[Hostile]:
    for width, height in ((0, 40), (40, 0), (2**31 - 1, 2**31 - 1), (10**5, 10**5), (2**32 - 1, 1)):
        yield of_bytes(f"declares_{width}x{height}.tif", tiff(width=width, height=height))
    for samples in (0, 2, 5, 65_535, 2 * 10**9):
        yield of_bytes(f"{samples}_values_a_pixel.tif", tiff(samples=samples), None if samples == 0 else False)
    yield of_bytes("no_width.tif", tiff(width=-1))
    yield of_bytes("no_strips.tif", tiff(offsets=-1, counts=-1))
    yield of_bytes("rows_0.tif", tiff(rows=0), None)
    yield of_bytes("rows_4_billion.tif", tiff(rows=2**32 - 1), True)
    yield of_bytes("depth_1000.tif", tiff(depth=1000))


def _places() -> Iterator[Hostile]:
    for place in (4, len(tiff()) - 1, 2**31, 2**32 - 1):
        yield of_bytes(f"strip_at_{place}.tif", tiff(offsets=place), None if place == 4 else False)
    yield of_bytes("strip_of_0_bytes.tif", tiff(counts=0), None)
    yield of_bytes("strip_of_4_GB.tif", tiff(counts=2**32 - 1), None)
    tiles = {
        "tile_width": 64,
        "tile_height": 64,
        "tile_offsets": 8,
        "tile_counts": 64 * 64,
        "offsets": -1,
        "counts": -1,
    }
    tiles |= {"rows": -1}
    block = bytes(64 * 64)
    yield of_bytes("tile_beyond_the_file.tif", tiff(block, **tiles | {"tile_offsets": 2**31}))
    yield of_bytes("tile_that_is_cut_off.tif", tiff(block, **tiles | {"tile_offsets": 4000}))
    yield of_bytes("tile_of_0.tif", tiff(block, **tiles | {"tile_width": 0}))
    yield of_bytes("tile_of_2_billion.tif", tiff(block, **tiles | {"tile_width": 2**31 - 1, "tile_height": 2**31 - 1}))
    yield of_bytes("tiles_too_few.tif", tiff(block, **tiles | {"tile_width": 16, "tile_height": 16}))


def _types() -> Iterator[Hostile]:
    for bits in (0, 3, 24, 65, 2**31):
        yield of_bytes(f"bits_{bits}.tif", tiff(bits=bits), None if bits == 3 else False)
    for name in (2, 5, 7, 32_773, 34_892, 50_000, 65_000):
        yield of_bytes(f"compression_{name}.tif", tiff(compression=name), None if name == 32_773 else False)
    for colours in (2, 3, 5, 6, 8, 32_803, 99):
        yield of_bytes(f"photometric_{colours}.tif", tiff(photometric=colours), None)
    for form in (0, 3, 4, 5, 6, 99):
        yield of_bytes(f"format_{form}.tif", tiff(format=form), None if form in (0, 4) else False)
    yield of_bytes("complex.tif", written(GREY.astype(np.complex64)))
    yield of_bytes("predictor_99.tif", tiff(predictor=99), None)
    yield of_bytes("orientation_99.tif", tiff(orientation=99), True)
    bomb = zlib.compress(bytes(2**28), 9)
    yield of_bytes("deflate_bomb.tif", tiff(bomb, compression=8), None)
    yield of_bytes("deflate_of_noise.tif", tiff(np.random.default_rng(0).bytes(2000), compression=8))
    yield of_bytes("lzw_of_noise.tif", tiff(np.random.default_rng(0).bytes(2000), compression=5))
    yield of_bytes("jpeg_of_noise.tif", tiff(np.random.default_rng(0).bytes(2000), compression=7))
