"""Pictures, label maps and data folders to test with."""

import gzip
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from regstudio.data.layout import DataIndex, Layout, index_folder

HEIGHT, WIDTH = 40, 56  # never square: an exchange of the axes must not go unseen


def ramp(height: int = HEIGHT, width: int = WIDTH, shift: float = 0) -> np.ndarray:
    """A picture in [0, 1] that no mirroring, turning or transposing leaves as it is."""
    rows, columns = np.mgrid[0:height, 0:width]
    picture = 3 * rows + columns + 40 * np.sin((rows + shift) * columns / 90)
    return (picture - picture.min()) / (picture.max() - picture.min())


def ids(height: int = HEIGHT, width: int = WIDTH, values: tuple[int, ...] = (0, 1, 2, 7)) -> np.ndarray:
    """A label map whose regions have the given ids, no two of the same size."""
    rows, columns = np.mgrid[0:height, 0:width]
    regions = (2 * rows + columns) * len(values) // (2 * height + width)
    return np.array(values)[regions]


def layout(root: Path, **names: str) -> Layout:
    defaults = {
        "fixed_subdir": "fixed",
        "atlas_name": "atlas.png",
        "fixed_seg_subdir": "fixed_seg",
        "atlas_seg_name": "atlas_seg.png",
        "train_moving_subdir": "moving",
        "train_moving_seg_subdir": "moving_seg",
        "valid_moving_subdir": "validation_moving",
        "valid_moving_seg_subdir": "validation_moving_seg",
        "file_pattern": "*",
    }
    return Layout(data_base_dir=root, **(defaults | names))


def index(root: Path, **names: str) -> DataIndex:
    return index_folder(layout(root, **names))


def save_palette(path: Path, array: np.ndarray, colours: list[int]) -> None:
    image = Image.fromarray(array.astype(np.uint8))
    image.putpalette(colours)
    image.save(path)


def gzip_header_only(path: Path, shape: tuple[int, ...], start: float = 352) -> None:
    """A NIfTI-1 file that announces pixels, of which it holds none."""
    import nibabel as nib

    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.float64)
    content = bytearray(header.binaryblock + bytes(4))
    struct.pack_into("<f", content, 108, start)
    path.write_bytes(gzip.compress(bytes(content)))
