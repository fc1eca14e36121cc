"""Pictures, label maps and data folders for tests."""

import gzip
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it
from PIL import Image

from regstudio.data.folders.layout import Case, DataIndex, Layout, index_folder
from regstudio.data.loading.working_grid import WorkingGrid
from regstudio.data.pictures.writing import write_image, write_label

HEIGHT, WIDTH = 40, 56  # not square, so that swapped axes are noticed


def ramp(height: int = HEIGHT, width: int = WIDTH, shift: float = 0) -> np.ndarray:
    """A picture in [0, 1] that every flip, rotation and transposition changes."""
    rows, columns = np.mgrid[0:height, 0:width]
    picture = 3 * rows + columns + 40 * np.sin((rows + shift) * columns / 90)
    return (picture - picture.min()) / (picture.max() - picture.min())


def ids(height: int = HEIGHT, width: int = WIDTH, values: tuple[int, ...] = (0, 1, 2, 7)) -> np.ndarray:
    """A label map whose regions have the given ids, no two of the same size."""
    rows, columns = np.mgrid[0:height, 0:width]
    regions = (2 * rows + columns) * len(values) // (2 * height + width)
    return np.array(values)[regions]


GREY = (ramp() * 60000).astype(np.uint16)
BYTES = (ramp() * 250).astype(np.uint8)


def layout(root: Path, **names: Any) -> Layout:
    defaults: dict[str, Any] = {
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


def index(root: Path, **names: Any) -> DataIndex:
    return index_folder(layout(root, **names))


def with_labels(root: Path, cases: tuple[Case, ...]) -> list[Case]:
    """Write a training label for each case, and return the cases with it."""
    for case in cases:
        write_label(root / "moving_seg" / f"{case.id}_seg.png", ids())
    return [replace(case, label=root / "moving_seg" / f"{case.id}_seg.png") for case in cases]


def save_itk(path: Path, array: np.ndarray, **options: bool) -> None:
    """Write a file with SimpleITK, with a spacing of 0.5 mm between columns and 0.75 mm between rows."""
    image = sitk.GetImageFromArray(array, **options)
    image.SetSpacing([0.5, 0.75, 2.0][: image.GetDimension()])
    sitk.WriteImage(image, str(path))


def save_palette(path: Path, array: np.ndarray, colours: list[int]) -> None:
    image = Image.fromarray(array.astype(np.uint8))
    image.putpalette(colours)
    image.save(path)


def gzip_header_only(path: Path, shape: tuple[int, ...], start: float = 352) -> None:
    """A NIfTI-1 file whose header has the given shape, without any pixels."""
    import nibabel as nib

    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.float64)
    content = bytearray(header.binaryblock + bytes(4))
    struct.pack_into("<f", content, 108, start)
    path.write_bytes(gzip.compress(bytes(content)))


def stretched(size: tuple[int, int] | None) -> WorkingGrid | None:
    """A grid that every picture fills."""
    return None if size is None else WorkingGrid(size=size, fit="stretch")


def flat_folder(folder: Path) -> Path:
    """Write five pictures with labels into one folder, p1 to p5; return it."""
    for number in range(1, 6):
        write_image(folder / f"p{number}.png", ramp(shift=2 * number))
        write_label(folder / f"p{number}_seg.png", ids())
    return folder
