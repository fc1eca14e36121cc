"""PNG, JPEG, TIFF and BMP, through Pillow."""

from pathlib import Path

import numpy as np
from PIL import Image

from regstudio.data.codecs.stored import Stored, refuse_huge
from regstudio.data.problems import FileError

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")  # without a list, Pillow would try rarer and riskier decoders too


def decode(path: Path, key: str) -> Stored:
    """Decode a file as it is stored, unrotated; a TIFF of many pages becomes a volume (page, row, column)."""
    with Image.open(path, formats=_FORMATS) as image:
        pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
        volume = []
        for page in range(pages):
            if page:
                image.seek(page)
            refuse_huge(path, (pages, image.height, image.width), len(image.getbands()))
            volume.append(_page(image))
    if pages == 1:
        return volume[0]
    if len({page.array.shape for page in volume}) > 1:
        raise FileError(path, f"holds {pages} pages of different sizes", "Save the one to use as a file of its own.")
    return Stored(array=np.stack([page.array for page in volume]), colour=volume[0].colour, palette=volume[0].palette)


def _page(image: Image.Image) -> Stored:
    if image.mode == "P":
        colours = np.zeros((256, 3), np.uint8)
        known = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        colours[: len(known)] = known
        return Stored(array=np.asarray(image), palette=colours, header=colours)
    if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16"):
        return Stored(array=np.asarray(image))
    if image.mode in ("LA", "La"):
        return Stored(array=np.asarray(image.getchannel(0)))
    return Stored(array=np.asarray(image.convert("RGB")), colour=True)


def encode(path: Path, key: str, stored: Stored) -> None:
    """Write bytes or, in PNG and TIFF, 16-bit numbers; with a palette where there is one and it has the room."""
    image = Image.fromarray(stored.array)
    if stored.palette is not None and image.mode == "L":
        image.putpalette(stored.palette.tobytes())
    image.save(path, quality=95, compress_level=1)  # of JPEG and of PNG: in a fifth of the time, a fifth larger
