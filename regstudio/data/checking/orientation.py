"""Whether a picture is the right way round, judged by what it shows: all eight ways to turn it are tried."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.geometry import TURNS, Turn
from regstudio.data.loading.loaders import rescale

Array = npt.NDArray[Any]

_SAMPLES = 64  # along each side, where a label is compared with its image
_SMALL = 24  # pixels: the side of the pictures that are compared in all eight orientations
# What a correlation must at least be, gain, and gain in Fisher's z, where a picture is the wrong way round. Of 700
# upright pictures (radiographs, hearts, CT to MR), two do.
_MIN_LIKENESS, _MIN_GAIN, _MIN_Z = 0.4, 0.1, 0.3
# What a label must gain in the share of its image's variance that it explains; of 170 upright ones, none gains as much.
_MIN_EXPLAINED = 0.15
# A set that is the wrong way round as a whole: radiographs mirrored left to right gain 0.03 in correlation in the mean,
# their labels 0.07 of the variance, nine in ten of them; of four upright sets, one in seven gains anything.
_MIN_SET, _MIN_SHARE, _MIN_MEAN_GAIN = 8, 0.9, 0.02


def small_picture(array: Array) -> npt.NDArray[np.float64] | None:
    """Return a small picture of an image (H, W), of mean 0 and norm 1; None where there is nothing to see."""
    if min(array.shape) < _SMALL:
        return None
    small = rescale(array).astype(np.float64)
    for axis in (0, 1):
        starts = np.arange(_SMALL) * small.shape[axis] // _SMALL
        counts = np.diff([*starts, small.shape[axis]])
        small = np.add.reduceat(small, starts, axis=axis) / (counts[:, None] if axis == 0 else counts)
    small -= small.mean()
    norm = float(np.linalg.norm(small))
    return small / norm if norm > 0 else None


def likeness(small: Array, atlas: Array) -> Array:
    """Return the correlation (8,) of a small picture with that of the atlas, for each of the turns."""
    return np.array([(turn.array(small) * atlas).sum() for turn in TURNS]).clip(-0.999, 0.999)


def turn_of_image(likeness: Array) -> Turn | None:
    """Return the turn by which an image fits the atlas far better; None where it is the right way round."""
    best = int(np.argmax(likeness))
    gain, gain_z = likeness[best] - likeness[0], np.arctanh(likeness[best]) - np.arctanh(likeness[0])
    return TURNS[best] if likeness[best] > _MIN_LIKENESS and gain > _MIN_GAIN and gain_z > _MIN_Z else None


def sampled(array: Array) -> Array:
    """Return a square of pixels of an array (H, W), evenly spread."""
    rows, columns = ((np.arange(_SAMPLES) * length + length // 2) // _SAMPLES for length in array.shape)
    return array[np.ix_(rows, columns)]


def explained(label: Array, image: Array) -> Array:
    """Return the share of a sampled image's variance that a sampled label explains, (8,), for each of the turns."""
    return np.array([_explained(image, turn.array(label)) for turn in TURNS]) if image.var() > 0 else np.zeros(8)


def turn_of_label(explained: Array) -> Turn | None:
    """Return the turn by which a label would explain its image far better; None where it fits."""
    best = int(np.argmax(explained))
    return TURNS[best] if explained[best] > explained[0] + _MIN_EXPLAINED else None


def turn_of_set(fits: Sequence[Array]) -> tuple[Turn, int] | None:
    """Return the turn by which nearly all of a set fit better, if only a little, and how many do.

    `fits` has what `likeness` or `explained` gave for each file. None where there is no such turn.
    """
    if len(fits) < _MIN_SET:
        return None
    gains = np.array(fits) - np.array(fits)[:, :1]
    better = (gains > 0).sum(axis=0)
    gains[:, better < _MIN_SHARE * len(fits)] = 0
    best = int(np.argmax(gains.mean(axis=0)))
    return (TURNS[best], int(better[best])) if gains[:, best].mean() > _MIN_MEAN_GAIN else None


def _explained(image: Array, label: Array) -> float:
    regions = [image[label == number] for number in np.unique(label)]
    between = sum(region.size * (region.mean() - image.mean()) ** 2 for region in regions)
    return float(between / (image.size * image.var()))
