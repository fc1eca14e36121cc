"""A folder of images to register."""

from pathlib import Path

import numpy as np
import pytest

from regstudio.data.pictures.writing import write_image, write_label
from tests.known_flows import shifted


@pytest.fixture
def folder(tmp_path: Path, image: np.ndarray, label: np.ndarray) -> Path:
    """fixed.png and its label, and three images in moving/, two of which have labels in seg/."""
    write_image(tmp_path / "fixed.png", shifted(image))
    write_label(tmp_path / "fixed_seg.png", shifted(label))
    for name in ("a10.png", "a2.nii.gz", "b.npy"):
        write_image(tmp_path / "moving" / name, image)
    write_label(tmp_path / "seg" / "a10_seg.npy", label)
    write_label(tmp_path / "seg" / "a2_seg.nii.gz", label)
    return tmp_path
