"""PNG, JPEG and BMP, through Pillow; 16-bit colour in PNG, of which Pillow keeps 8 bits, through SimpleITK."""

import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from regstudio.data.codecs import tiff
from regstudio.data.codecs.decoded_file import DecodedFile, RasterTags, raster_tags, refuse_huge, upright
from regstudio.data.codecs.itk import read_as, write_deep_colours
from regstudio.data.problems import FileError

_FORMATS = ("PNG", "JPEG", "BMP")  # without this list, Pillow also tries rarer and riskier decoders
_PNG, _TIFF = b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_GREY, _PNG_GREY_WITH_OPACITY, _PNG_COLOURS = 0, 4, (2, 6)
_PNG_CHANNELS = {2: 3, 4: 2, 6: 4}  # by its kind of colours; others have one
_PNG_PASSES = (  # of an interlaced one: first column and row, and steps across and down
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
_RARE_JPEG = {0xC3: "lossless"}


def decode(path: Path, key: str) -> DecodedFile:
    """Decode a picture, upright: as its EXIF orientation says; a TIFF is known by its content, too."""
    with path.open("rb") as stream:
        head = stream.read(29)
    if head[:4] in _TIFF:
        return tiff.decode(path, key)
    try:
        with Image.open(path, formats=_FORMATS) as image:
            refuse_huge(path, (image.height, image.width), len(image.getbands()))
            picture = _decode(path, image, head)
            if head[:8] == _PNG and not np.any(picture.array[-1]):
                _refuse_missing_rows(path, image.size, head)
            turn = _orientation(image)
            tags = _tags(image, turn)
    except FileError:
        raise
    except Exception:
        _refuse_rare_jpeg(path)
        raise
    return DecodedFile(
        array=upright(picture.array, turn),
        colour=picture.colour,
        palette=picture.palette,
        header=picture.header,
        tags=tags,
    )


def _decode(path: Path, image: Image.Image, head: bytes) -> DecodedFile:
    depth, kind = (head[24], head[25]) if head[:8] == _PNG else (8, None)
    if kind is not None:
        _check_png(path)
    if depth == 16 and kind in _PNG_COLOURS:
        return DecodedFile(array=read_as(path, "PNGImageIO")[..., : 3 if kind == 2 else 4], colour=True)
    if depth == 16 and kind == _PNG_GREY_WITH_OPACITY:
        return DecodedFile(array=_deep_grey(path), colour=True)
    if image.mode == "P":
        colours = np.zeros((256, 3), np.uint8)
        used = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        colours[: len(used)] = used
        return DecodedFile(array=np.asarray(image), palette=colours, header=colours)
    if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16"):
        array = np.asarray(image)
        if kind == _PNG_GREY and depth in (2, 4):
            array = array // (255 // (2**depth - 1))  # Pillow spreads them to 255, and labels are to keep their ids
        return DecodedFile(array=array)
    has_opacity = image.mode in ("LA", "RGBA")
    return DecodedFile(array=np.asarray(image if has_opacity else image.convert("RGB")), colour=True)


def _refuse_missing_rows(path: Path, size: tuple[int, int], head: bytes) -> None:
    """Raise ValueError for a PNG that ends before its last row, which Pillow leaves at 0 and does not tell."""
    (width, height), depth, channels, interlaced = size, head[24], _PNG_CHANNELS.get(head[25], 1), head[28]
    wanted = 0
    for left, top, across, down in _PNG_PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -((left - width) // across), -((top - height) // down)
        wanted += rows * (1 + (columns * depth * channels + 7) // 8) if columns > 0 and rows > 0 else 0
    unpacker, count = zlib.decompressobj(), 0
    for raw in _png_pixels(path):
        while raw and count < wanted:
            count += len(unpacker.decompress(raw, 2**20))
            raw = unpacker.unconsumed_tail
    if count < wanted:
        raise ValueError("rows are missing")


def _png_pixels(path: Path) -> Iterator[bytes]:
    """Yield the compressed pixels of a PNG, as its chunks hold them."""
    with path.open("rb") as stream:
        stream.seek(len(_PNG))
        while len(head := stream.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind == b"IDAT":
                yield stream.read(length)
            else:
                stream.seek(length, 1)
            stream.seek(4, 1)  # its checksum


def _deep_grey(path: Path) -> npt.NDArray[np.uint16]:
    """Return a PNG (H, W, 2) with 16 bits of grey and of opacity, of which Pillow keeps 8 bits."""
    content = bytearray(path.read_bytes())
    content[24:26] = 8, 6  # as four channels of 8 bits, which lie in the file, filtered, in just the same way
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        return np.ascontiguousarray(np.asarray(image)).view(">u2").astype(np.uint16)


def _check_png(path: Path) -> None:
    """Raise ValueError for a critical chunk whose checksum does not fit: Pillow looks at none of the pixels'."""
    with path.open("rb") as stream:
        stream.seek(len(_PNG))
        while len(start := stream.read(8)) == 8:
            content = stream.read(int.from_bytes(start[:4], "big"))
            if start[4:5].isupper() and zlib.crc32(start[4:] + content) != int.from_bytes(stream.read(4), "big"):
                raise ValueError(f"the checksum of the chunk {start[4:]!r}")
            if not start[4:5].isupper():
                stream.seek(4, os.SEEK_CUR)


def _tags(image: Image.Image, turn: int) -> RasterTags | None:
    """The colour profile and, of a JPEG, the resolution; ITK looks at that of no PNG or BMP."""
    across, down = image.info.get("jfif_density", (None, None))
    unit = {1: 2, 2: 3}.get(image.info.get("jfif_unit", 0), 1)
    profile = image.info.get("icc_profile") if image.mode in ("L", "RGB", "RGBA") else None
    return raster_tags(*((down, across) if turn in (5, 6, 7, 8) else (across, down)), unit, profile)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a damaged note about a picture does not spoil the picture
        return 1


def _refuse_rare_jpeg(path: Path) -> None:
    """Raise FileError for a JPEG that is sound, but of a kind that Pillow does not decode."""
    data = path.read_bytes()
    place = 2
    while data[:2] == b"\xff\xd8" and data[place : place + 1] == b"\xff" and place + 9 < len(data):
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits = data[place + 4]
            kind = _RARE_JPEG.get(marker) or (f"{bits} bits" if bits != 8 else None)
            if kind:
                raise FileError(path, f"is a JPEG of a rare kind ({kind}), which is not supported", "Save it as PNG.")
            return
        place += 2 + length


def encode(path: Path, key: str, content: DecodedFile) -> None:
    """Write 8-bit numbers or, in PNG, 16-bit ones; 8-bit ones with the palette, if there is one."""
    if content.colour and content.array.dtype.itemsize > 1:
        write_deep_colours(path, content.array)
        return
    image = Image.fromarray(content.array)
    if content.palette is not None and image.mode == "L":
        image.putpalette(content.palette.tobytes())
    profile = None if content.tags is None else content.tags.profile
    image.save(
        path, quality=95, compress_level=1, icc_profile=profile
    )  # of JPEG and PNG; such a PNG is a fifth larger in a fifth of the time
