"""Label maps."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.hostile.corpus.arrays import saved
from tests.hostile.corpus.kinds import Hostile, of_bytes
from tests.hostile.corpus.niftis import nifti
from tests.hostile.corpus.sound import sound
from tests.pictures import HEIGHT, WIDTH, ids


def inputs() -> Iterator[Hostile]:
    """All of them: arrays, and the formats in which ids are read in a way of their own."""
    for name, value in (
        ("half", 0.5), ("nan", np.nan), ("inf", np.inf), ("minus_inf", -np.inf), ("1e30", 1e30),
        ("2_to_the_63", np.uint64(2**63)),
        ("nearly_7", 6.99),
    ):  # fmt: skip
        yield of_bytes(f"one_{name}_seg.npy", saved(_with(value)))
    for name, number in (
        ("2_to_the_40", 2**40),
        ("negative", -1),
        ("lowest", -(2**62)),
        ("uint32", np.uint32(2**32 - 1)),
    ):
        yield of_bytes(f"one_{name}_seg.npy", saved(_with(number)), True)
    yield of_bytes("every_pixel_another_seg.npy", saved(np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)), None)
    yield of_bytes("only_0_seg.npy", saved(np.zeros((HEIGHT, WIDTH), np.uint8)), None)
    yield of_bytes("only_5_seg.npy", saved(np.full((HEIGHT, WIDTH), 5)), None)
    yield of_bytes("complex_seg.npy", saved(ids().astype(complex)))
    yield of_bytes("colour_seg.png", _png(np.stack([ids(), ids(), ids() * 3], axis=-1).astype(np.uint8)))
    yield of_bytes("slope_seg.nii", nifti(ids().astype(np.uint16).tobytes(), scl_slope=0.7))
    yield of_bytes("slope_nan_seg.nii", nifti(ids().astype(np.uint16).tobytes(), scl_slope=np.nan), None)
    for ending in (".png", ".npy", ".nii", ".nii.gz", ".mha", ".nrrd", ".dcm", ".tif"):
        yield of_bytes(f"cut_off_seg{ending}", sound(ending)[: len(sound(ending)) // 2])
        yield of_bytes(f"empty_seg{ending}", b"")


def _with(value: object) -> np.ndarray:
    array = ids().astype(np.asarray(value).dtype if np.asarray(value).dtype.kind != "i" else np.int64)
    array[1, 2] = value
    return array


def _png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "png")
    return stream.getvalue()
