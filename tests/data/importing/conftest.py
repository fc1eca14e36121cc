"""Sources as people have them, small ones."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.pictures import ids, ramp

AFFINE = np.diag([-0.8, 0.9, 3.0, 1.0])
AFFINE[:3, 3] = (20, -30, 7)


def volume(seed: int, shape: tuple[int, int, int] = (36, 40, 6)) -> np.ndarray:
    """A volume (x, y, z) each of whose slices is another picture."""
    slices = [(ramp(shape[1], shape[0], shift=seed + 3 * z) * 1000).T for z in range(shape[2])]
    return np.stack(slices, axis=-1).astype(np.int16)


def volume_label(shape: tuple[int, int, int] = (36, 40, 6), largest: int = 4) -> np.ndarray:
    """A label map (x, y, z) with most labelled pixels in the slice `largest`, and none in the first."""
    label = np.zeros(shape, np.uint8)
    for z in range(1, shape[2]):
        label[..., z] = ids(shape[1], shape[0]).T * (np.arange(shape[0]) < (30 if z == largest else 10))[:, None]
    return label


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Three patients, a folder each, with a NIfTI volume and its label."""
    source = tmp_path / "volumes"
    for number in (1, 2, 3):
        folder = source / f"patient{number:02d}"
        folder.mkdir(parents=True)
        nib.save(nib.Nifti1Image(volume(number), AFFINE), folder / "t1.nii.gz")
        nib.save(nib.Nifti1Image(volume_label(), AFFINE), folder / "t1_seg.nii.gz")
    return source
