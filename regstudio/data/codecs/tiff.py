"""TIFF and BigTIFF: tifffile reads the directories; the pixels are decoded here, strip by strip or tile by tile.

Without the package imagecodecs, tifffile decodes neither LZW nor floating-point predictors. The numbers of the file
are kept, whatever their type; what an image makes of them ("white is zero", palettes) is said beside them.
"""

import io
import logging
import lzma
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from regstudio.data.codecs.bounds import count_pages
from regstudio.data.codecs.decoded_file import MAX_BYTES, DecodedFile, RasterTags, raster_tags, refuse_huge, upright
from regstudio.data.codecs.silence import silence_stderr
from regstudio.data.problems import FileError

Array = npt.NDArray[Any]

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _CIELAB = 0, 1, 2, 3, 5, 6, 8
_NONE, _LZW, _DEFLATE, _PACKBITS, _LZMA, _ZSTD = 1, 5, (8, 32946), 32773, 34925, 50000
_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _UNIT, _PROFILE = 274, 282, 283, 296, 34675
_LIBTIFF_BYTES = 2**26  # decompressed at once
_WHOLE_PAGES = (2, 3, 4, 6, 7)  # fax and JPEG, which Pillow decodes by the page
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u", 6: "c"}  # by SampleFormat
_REVERSED_BITS = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)).reshape(-1, 8)[:, ::-1]).tobytes()

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its remarks on odd files are not for the user's console


def decode(path: Path, key: str) -> DecodedFile:
    """Decode a file; one of many pages is a volume (page, row, column). Previews and masks of a page are left out."""
    count_pages(path)  # ends at a loop, which tifffile may follow for ever
    with tifffile.TiffFile(path) as file:
        found: list[Any] = list(file.pages)
        pages = [page for page in found if not (page.is_reduced or page.is_mask)] or found[:1]
        first = pages[0]
        shapes = {page.shape for page in pages}
        if len(shapes) > 1:
            what = f"holds {len(pages)} pages of different sizes"
            raise FileError(path, what, "Save the one to use as a file of its own.")
        images = _images_of_one_page(file) if len(pages) == 1 else 1
        bits = max(first.bitspersample) if isinstance(first.bitspersample, tuple) else first.bitspersample
        refuse_huge(path, (max(images, len(pages)), *first.shape), ceil(bits / 8))
        volume = [_decode_page(path, page, number) for page in pages for number in range(images)]
        tags = _tags(first)
    if len(volume) == 1:
        return replace(volume[0], tags=tags)
    first_page = volume[0]
    return DecodedFile(
        array=np.stack([page.array for page in volume]),
        colour=first_page.colour,
        palette=first_page.palette,
        white=first_page.white,
        header=first_page.header,
        tags=tags,
    )


def encode(path: Path, key: str, content: DecodedFile) -> None:
    """Write numbers of any type as they are; 8-bit ones with the palette, if there is one."""
    options: dict[str, Any] = {"photometric": "minisblack"}
    if content.colour:
        channels = content.array.shape[-1]
        options = {"photometric": "rgb" if channels > 2 else "minisblack", "planarconfig": "contig"}
        options["extrasamples"] = ["unassalpha"] if channels in (2, 4) else []
    if content.palette is not None and content.array.dtype == np.uint8:
        options = {"photometric": "palette", "colormap": content.palette.T.astype(np.uint16) * 257}
    if content.tags is not None and content.tags.resolution is not None:
        options |= {"resolution": content.tags.resolution[::-1], "resolutionunit": content.tags.unit}
    profile = None if content.tags is None else content.tags.profile
    tifffile.imwrite(path, content.array, metadata=None, iccprofile=profile, **options)


def _tags(page: Any) -> RasterTags | None:
    values = [page.tags.valueof(tag) for tag in (_X_RESOLUTION, _Y_RESOLUTION)]
    across, down = (
        value[0] / value[1] if isinstance(value, tuple) and len(value) == 2 and value[1] else None for value in values
    )
    if page.tags.valueof(_ORIENTATION, 1) in (5, 6, 7, 8):
        across, down = down, across
    unit = page.tags.valueof(_UNIT, 2)
    return raster_tags(across, down, int(unit) if isinstance(unit, int) else 1, page.tags.valueof(_PROFILE))


def _images_of_one_page(file: tifffile.TiffFile) -> int:
    """How many images ImageJ wrote, one after the other, behind the directory of the first."""
    images = (file.imagej_metadata or {}).get("images", 1) if file.is_imagej else 1
    return images if isinstance(images, int) and images > 1 else 1


def _decode_page(path: Path, page: Any, number: int) -> DecodedFile:
    bits, samples, colours = page.bitspersample, page.samplesperpixel, int(page.photometric)
    if page.compression in _WHOLE_PAGES or (colours in (_CMYK, _YCBCR, _CIELAB) and bits == 8):
        array, colour = _page_by_pillow(path, page)
        return DecodedFile(array=array, colour=colour, white=_white(page, array) if not colour else None)
    if page.imagedepth > 1:
        raise FileError(path, "holds a volume in one page", "Save each slice as a page of its own.")
    array = _samples(path, page, number)
    array = upright(array, int(page.tags.valueof(_ORIENTATION, 1)))
    if colours == _RGB and samples >= 3:
        return DecodedFile(array=array[..., : 4 if samples == 4 else 3], colour=True)
    if samples == 2 and colours == _BLACK_IS_ZERO:  # grey with opacity
        return DecodedFile(array=array, colour=True)
    if samples > 1 and not (samples == 2 and colours == _WHITE_IS_ZERO):
        raise FileError(path, f"holds {samples} values for each pixel", "Save a picture with one, or in colour.")
    array = array[..., 0]
    if colours == _PALETTE and page.colormap is not None:
        palette = _palette(page.colormap)
        return DecodedFile(array=array, palette=palette, header=palette if len(palette) == 256 else None)
    return DecodedFile(array=array, white=_white(page, array))


def _white(page: Any, array: Array) -> float | int | None:
    """What an image is to be subtracted from, where the file's numbers grow from white to black; else None."""
    if int(page.photometric) != _WHITE_IS_ZERO:
        return None
    if array.dtype.kind in "bu":
        return int(2**page.bitspersample - 1)
    return -1 if array.dtype.kind == "i" else float(array.min()) + float(array.max())


def _palette(colormap: Array) -> npt.NDArray[np.uint8]:
    """Return the colours of a palette of 16-bit numbers (3, n), at least 256 of them."""
    eight = colormap if colormap.max() < 256 else colormap >> 8  # some programs write 8-bit numbers
    palette = np.zeros((max(256, colormap.shape[1]), 3), np.uint8)
    palette[: colormap.shape[1]] = eight.T
    return palette


def _page_by_pillow(path: Path, page: Any) -> tuple[Array, bool]:
    """Return a page that Pillow decodes, upright, and whether it is in colour; numbers as stored."""
    with silence_stderr(), Image.open(path, formats=("TIFF",)) as image:
        image.seek(page.index)
        if image.mode not in ("1", "L"):
            return np.asarray(image.convert("RGB")), True
        array = np.asarray(image)
    if int(page.photometric) == _WHITE_IS_ZERO:  # Pillow has turned black and white over
        array = ~array
    return array, False


def _samples(path: Path, page: Any, number: int) -> Array:
    """Return the stored numbers of a page (H, W, samples); `number` counts images that follow without directories."""
    height, width, samples = page.imagelength, page.imagewidth, page.samplesperpixel
    dtype = _dtype(path, page)
    planes, each = (samples, 1) if page.planarconfig == 2 else (1, samples)
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
    if rows * columns * each * dtype.itemsize > MAX_BYTES:
        raise ValueError("a tile that is larger than any picture")
    if planes * ceil(height / rows) * ceil(width / columns) > len(page.dataoffsets):
        raise ValueError("strips or tiles are missing")
    array = np.empty((planes, height, width, each), dtype.newbyteorder("="))
    skipped = number * ceil(width * each * page.bitspersample / 8) * height * planes
    row_bytes = ceil(columns * each * page.bitspersample / 8)
    for plane in range(planes):
        places = [(top, left) for top in range(0, height, rows) for left in range(0, width, columns)]
        heights = [rows if page.is_tiled else min(rows, height - top) for top, _ in places]
        stored = _stored(path, page, plane * len(places), [row_bytes * tall for tall in heights], skipped)
        for (top, left), tall, data in zip(
            places, heights, _decompressed(path, page, stored, row_bytes, heights), strict=True
        ):
            block = _unpacked(data, page, dtype, (tall, columns, each))
            array[plane, top : top + tall, left : left + columns] = block[: height - top, : width - left]
    return np.moveaxis(array[..., 0], 0, -1) if planes > 1 else array[0]


def _stored(path: Path, page: Any, first: int, sizes: list[int], skipped: int) -> list[bytes]:
    """Return strips or tiles as they are stored, from number `first` on; `sizes` are their bytes once unpacked."""
    stored = []
    with path.open("rb") as stream:
        for segment, size in enumerate(sizes, start=first):
            stream.seek(page.dataoffsets[segment] + skipped)
            raw = stream.read(size if page.compression == _NONE else page.databytecounts[segment])
            stored.append(raw.translate(_REVERSED_BITS) if page.fillorder == 2 else raw)
    return stored


def _dtype(path: Path, page: Any) -> np.dtype[Any]:
    """Return the type of the numbers as they are decoded, in the file's byte order."""
    bits, kind = page.bitspersample, _KINDS.get(page.sampleformat)
    sizes = {"u": (8, 16, 32, 64), "i": (8, 16, 32, 64), "f": (16, 32, 64), "c": (64, 128)}
    if isinstance(bits, int) and kind == "u" and 1 < bits < 16:
        return np.dtype(np.uint8 if bits <= 8 else np.uint16)
    if bits == 1 and kind == "u":
        return np.dtype(bool)
    if not isinstance(bits, int) or kind is None or bits not in sizes[kind]:
        name = {"u": "unsigned", "i": "signed", "f": "floating-point", "c": "complex"}.get(kind or "", "unknown")
        what = f"holds {name} numbers of {bits} bits, which are not supported"
        raise FileError(path, what, "Save it with 8, 16 or 32 bits.")
    return np.dtype(f"{page.parent.byteorder}{kind}{bits // 8}")


def _decompressed(path: Path, page: Any, stored: list[bytes], row_bytes: int, heights: list[int]) -> Iterator[bytes]:
    """Yield the bytes of each strip or tile; ValueError where they are fewer than its rows of `row_bytes`."""
    compression = int(page.compression)
    if compression in (_LZW, _PACKBITS, _ZSTD):
        unpacked = _by_libtiff(compression, stored, row_bytes, heights)
    elif compression in (_NONE, _LZMA, *_DEFLATE):
        unpacked = (_inflated(compression, raw, row_bytes * tall) for raw, tall in zip(stored, heights, strict=True))
    else:
        name = getattr(page.compression, "name", f"method {compression}").replace("_", " ")
        what = f"is compressed by {name}, which is not supported"
        raise FileError(path, what, "Save it with LZW or Deflate (ZIP), or without compression.")
    for data, tall in zip(unpacked, heights, strict=True):
        if len(data) < row_bytes * tall:
            raise ValueError("a strip that is cut off")
        yield data


def _inflated(compression: int, raw: bytes, size: int) -> bytes:
    if compression == _NONE:
        return raw
    if compression == _LZMA:
        strip = lzma.LZMADecompressor()
        data = strip.decompress(raw, size)
        if not (strip.eof or strip.needs_input):
            strip.decompress(b"", size + 1)  # looks at the checksum
        return data
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(raw, size)
    unpacker.decompress(unpacker.unconsumed_tail, size + 1)  # looks at the checksum; a last strip may be filled up
    return data


def _by_libtiff(compression: int, stored: list[bytes], row_bytes: int, heights: list[int]) -> Iterator[bytes]:
    """Decompress strips or tiles through Pillow, which hands libtiff a grey TIFF of which they are the strips."""
    at_once = max(1, _LIBTIFF_BYTES // max(1, row_bytes * heights[0]))
    for start in range(0, len(stored), at_once):
        strips, rows = stored[start : start + at_once], heights[start : start + at_once]
        values = {256: row_bytes, 257: sum(rows), 258: 8, 259: compression, 262: 1, 277: 1, 278: rows[0]}
        tables = 8 + 2 + 12 * (len(values) + 2) + 4
        places = accumulate((len(strip) for strip in strips[:-1]), initial=tables + 8 * len(strips))
        one = len(strips) == 1  # then the entry holds the number itself, not its place
        offsets = struct.pack(f"<{len(strips)}I", *places)
        lengths = struct.pack(f"<{len(strips)}I", *map(len, strips))
        entries = [(tag, 1, struct.pack("<I", value)) for tag, value in values.items()]
        entries.append((273, len(strips), offsets if one else struct.pack("<I", tables)))
        entries.append((279, len(strips), lengths if one else struct.pack("<I", tables + len(offsets))))
        directory = b"".join(struct.pack("<HHI4s", tag, 4, count, value) for tag, count, value in sorted(entries))
        head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
        content = b"".join((head, directory, bytes(4), offsets, lengths, *strips))
        with silence_stderr(), Image.open(io.BytesIO(content), formats=("TIFF",)) as image:
            data = image.tobytes()
        for top, tall in zip(accumulate(rows, initial=0), rows, strict=False):
            yield data[top * row_bytes : (top + tall) * row_bytes]


def _unpacked(data: bytes, page: Any, dtype: np.dtype[Any], shape: tuple[int, int, int]) -> Array:
    """Return the numbers of a strip or tile (rows, columns, samples), its predictor undone."""
    bits, rows = page.bitspersample, shape[0]
    if bits % 8:
        stored = np.unpackbits(np.frombuffer(data, np.uint8).reshape(rows, -1), axis=1)
        stored = stored[:, : shape[1] * shape[2] * bits].reshape(*shape, bits)
        weights = 1 << np.arange(bits, dtype=np.uint16)[::-1]
        return (stored @ weights).astype(dtype)
    if page.predictor == 3:
        return _without_float_predictor(data, dtype, shape)
    block = np.frombuffer(data, dtype, prod(shape)).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
    if page.predictor == 2:
        whole = block.view(f"u{dtype.itemsize}")
        block = np.cumsum(whole, axis=1, dtype=whole.dtype).view(block.dtype)
    return block


def _without_float_predictor(data: bytes, dtype: np.dtype[Any], shape: tuple[int, int, int]) -> Array:
    """Undo Adobe's predictor of floats: differences of bytes, the most significant ones of a row first."""
    rows, columns, samples = shape
    stored = np.frombuffer(data, np.uint8, prod(shape) * dtype.itemsize).reshape(rows, -1, samples)
    planes = np.cumsum(stored, axis=1, dtype=np.uint8).reshape(rows, dtype.itemsize, columns * samples)
    numbers = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(dtype.newbyteorder(">"))
    return numbers.reshape(shape).astype(dtype.newbyteorder("="))
