"""PNG, JPEG, TIFF and BMP, through Pillow."""

from pathlib import Path

import numpy as np
from PIL import Image

from regstudio.data.codecs.decoded_file import DecodedFile, refuse_huge
from regstudio.data.problems import FileError

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")  # without this list, Pillow also tries rarer and riskier decoders


def decode(path: Path, key: str) -> DecodedFile:
    """Decode a file without applying its EXIF rotation; a TIFF of many pages is a volume (page, row, column)."""
    with Image.open(path, formats=_FORMATS) as image:
        pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
        volume = []
        for page in range(pages):
            if page:
                image.seek(page)
            refuse_huge(path, (pages, image.height, image.width), len(image.getbands()))
            volume.append(_decode_page(image))
    if pages == 1:
        return volume[0]
    if len({page.array.shape for page in volume}) > 1:
        raise FileError(path, f"holds {pages} pages of different sizes", "Save the one to use as a file of its own.")
    return DecodedFile(
        array=np.stack([page.array for page in volume]), colour=volume[0].colour, palette=volume[0].palette
    )


def _decode_page(image: Image.Image) -> DecodedFile:
    if image.mode == "P":
        colours = np.zeros((256, 3), np.uint8)
        used = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        colours[: len(used)] = used
        return DecodedFile(array=np.asarray(image), palette=colours, header=colours)
    if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16"):
        return DecodedFile(array=np.asarray(image))
    if image.mode in ("LA", "La"):
        return DecodedFile(array=np.asarray(image.getchannel(0)))
    return DecodedFile(array=np.asarray(image.convert("RGB")), colour=True)


def encode(path: Path, key: str, content: DecodedFile) -> None:
    """Write 8-bit numbers or, in PNG and TIFF, 16-bit ones; 8-bit ones with the palette, if there is one."""
    image = Image.fromarray(content.array)
    if content.palette is not None and image.mode == "L":
        image.putpalette(content.palette.tobytes())
    image.save(
        path, quality=95, compress_level=1
    )  # of JPEG and PNG; such a PNG is a fifth larger in a fifth of the time
