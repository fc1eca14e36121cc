"""The demo data set: synthetic brain-like slices with labels and known deformations, from a random seed.

The atlas anatomy is painted once on a fine grid. Each case is that anatomy, deformed by a random diffeomorphism, with
its own contrast, bias field and noise. The true flow that warps the case onto the atlas is therefore known.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from scipy import ndimage

from regstudio.data.pictures.formats import MIN_SIDE
from regstudio.data.pictures.writing import write_arrays, write_image, write_label
from regstudio.errors import ConfigError, DataError
from regstudio.metrics import sample_flow

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

FLOW_STEP = 1 / 16  # pixels; true flows are rounded to this, so that their files are small

_FORMATS = (".png", ".nii.gz", ".npy", ".npz")
_PAINT_SCALE = 5  # the anatomy is painted at this many times the image's resolution
_SAMPLES_PER_SIDE = 3  # of a pixel; the image is their mean, so that edges are soft


def make_demo(
    folder: Path, *, seed: int = 0, size: int = 128, train: int = 24, validation: int = 6, overwrite: bool = False
) -> None:
    """Write the demo data set to `folder` in the documented layout; the same seed gives the same bytes.

    It has an atlas, `train` training and `validation` validation images of `size` x `size` pixels (at least 32), 8-bit,
    all with labels (`LABEL_NAMES`), in several formats. `true_flow/NAME.npz` has the `flow` (2, size, size) of a case,
    float16 in pixels, rounded to `FLOW_STEP`. It warps the case onto the atlas: atlas(p) = case(p + flow(p)).

    Raises ConfigError for numbers out of bounds. Raises DataError if the folder has other files, unless `overwrite` is
    set: then only files with the name of a demo file are replaced.
    """
    if seed < 0 or size < MIN_SIDE or train < 1 or validation < 0:
        raise ConfigError(
            f"A demo cannot be made with seed {seed}, size {size}, train {train} and validation {validation}. "
            f"Seed and validation start at 0, train at 1 and size at {MIN_SIDE}."
        )
    cases = list(_list_cases(train, validation))
    if not overwrite or folder.is_file():
        _refuse_foreign_files(folder, cases)
    tissue = _paint_anatomy(default_rng(seed), size)
    for number, case in enumerate(cases, start=1):
        rng = default_rng([seed, number])
        to_case, to_atlas = _draw_flows(rng, size) if case.flow else np.zeros((2, 2, size, size))
        image, label = _render_case(rng, tissue, to_atlas)
        if case.flow:
            rounded = np.rint(to_case / FLOW_STEP) * FLOW_STEP
            write_arrays(folder / case.flow, {"flow": rounded.astype(np.float16)})
        write_image(folder / case.image, image)
        write_label(folder / case.label, label)


class _CaseFiles(NamedTuple):
    image: str
    label: str
    flow: str | None


def _list_cases(train: int, validation: int) -> Iterator[_CaseFiles]:
    for k in range(train + validation):
        name = f"phantom_{k + 1:02d}"
        moving = "moving" if k < train else "validation_moving"
        image = f"{moving}/{name}{_FORMATS[k % 4]}"
        label = f"{moving}_seg/{name}_seg{_FORMATS[(k + k // 4) % 4]}"  # every pair of formats comes up
        yield _CaseFiles(image, label, f"true_flow/{name}.npz")
    yield _CaseFiles("fixed/atlas.png", "fixed_seg/atlas_seg.png", None)


def _refuse_foreign_files(folder: Path, cases: list[_CaseFiles]) -> None:
    demo_files = {folder / name for case in cases for name in case if name}
    # Other data sets, too, may have a fixed/atlas.png; only the demo has true flows, which are written first.
    if not any((folder / case.flow).exists() for case in cases if case.flow):
        demo_files = set()
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    foreign = folder if folder.is_file() else next((path for path in files if path not in demo_files), None)
    if foreign:
        raise DataError(f"{foreign} is not part of the demo to be written to {folder}. Name an empty or new folder.")


class _Tissue(NamedTuple):
    name: str
    label: int  # 0: none
    brightness: float  # as in a T1-weighted image


# In the order of painting, from the outside in: a later one covers an earlier one.
_TISSUES = (
    _Tissue("air", 0, 0.0),
    _Tissue("scalp", 0, 0.80),
    _Tissue("skull", 1, 0.22),
    _Tissue("fluid", 0, 0.12),
    _Tissue("grey matter", 2, 0.50),
    _Tissue("white matter", 3, 0.82),
    _Tissue("deep grey nuclei", 5, 0.60),
    _Tissue("ventricles", 4, 0.10),
)
LABEL_NAMES = {tissue.label: tissue.name for tissue in _TISSUES if tissue.label}


class _Stroke(NamedTuple):
    """A line from `a` to `b`, points (y, x) with the image in [-1, 1], whose radius runs from `start` to `end`."""

    a: tuple[float, float]
    b: tuple[float, float]
    start: float
    end: float

    def distance(self, y: Floats, x: Floats) -> Floats:
        """Distance from each point to the stroke's edge, negative inside."""
        dy, dx = self.b[0] - self.a[0], self.b[1] - self.a[1]
        along = np.clip(((y - self.a[0]) * dy + (x - self.a[1]) * dx) / (dy**2 + dx**2), 0, 1)
        gap: Floats = np.hypot(y - self.a[0] - along * dy, x - self.a[1] - along * dx)
        return gap - self.start - along * (self.end - self.start)


# One half of the brain; the other is its mirror image. Front is up.
_VENTRICLES = (
    _Stroke((-0.24, 0.13), (-0.06, 0.075), 0.065, 0.055),
    _Stroke((-0.06, 0.075), (0.14, 0.095), 0.055, 0.060),
    _Stroke((0.14, 0.095), (0.32, 0.21), 0.060, 0.075),
    _Stroke((0.03, 0.0), (0.13, 0.0), 0.015, 0.020),
)
_NUCLEI = (
    _Stroke((-0.20, 0.23), (-0.05, 0.17), 0.060, 0.045),  # caudate
    _Stroke((-0.13, 0.33), (0.07, 0.34), 0.070, 0.050),  # putamen
    _Stroke((0.08, 0.16), (0.12, 0.20), 0.090, 0.080),  # thalamus
)
_FISSURES = (
    _Stroke((-0.80, 0.0), (-0.34, 0.0), 0.014, 0.014),  # between the hemispheres
    _Stroke((0.80, 0.0), (0.44, 0.0), 0.014, 0.014),
    _Stroke((-0.02, 0.70), (0.06, 0.42), 0.020, 0.016),  # the lateral sulcus
    _Stroke((0.06, 0.42), (-0.10, 0.40), 0.012, 0.010),
)


def _paint_anatomy(rng: Generator, size: int) -> Bytes:
    """Paint a head: (_PAINT_SCALE * size, _PAINT_SCALE * size), indices into _TISSUES."""
    axis = (np.arange(size * _PAINT_SCALE) + 0.5) / (size * _PAINT_SCALE) * 2 - 1
    y, x = _warp_points(rng, *np.meshgrid(axis, axis, indexing="ij"))
    depth = 0.81 * (1 - np.hypot(y / 0.92, x / (0.76 + 0.05 * y)))  # below the skin
    brain = depth - 0.145
    for stroke in (*_FISSURES, *_sulci(rng)):
        brain = np.minimum(brain, stroke.distance(y, x))
    nuclei, ventricles = (np.min([s.distance(y, np.abs(x)) for s in half], axis=0) for half in (_NUCLEI, _VENTRICLES))
    skull, fluid, white = depth > 0.045, depth > 0.120, brain > 0.070
    tissue = np.zeros(y.shape, np.uint8)
    for index, inside in enumerate((depth > 0, skull, fluid, brain > 0, white, nuclei < 0, ventricles < 0), start=1):
        tissue[inside] = index
    return tissue


def _warp_points(rng: Generator, y: Floats, x: Floats) -> tuple[Floats, Floats]:
    """Move points along slow waves, so that nothing in the anatomy is straight or symmetric."""
    warped = []
    for along, across in ((y, x), (x, y)):
        moved = along.copy()
        for frequency in (2.5, 5.0, 11.0):
            start, other_start = rng.uniform(0, 2 * np.pi, 2)
            moved += 0.05 / frequency * (np.sin(frequency * across + start) + np.sin(frequency * along + other_start))
        warped.append(moved)
    return warped[0], warped[1]


def _sulci(rng: Generator, count: int = 16) -> list[_Stroke]:
    """Return furrows that wind inwards from the brain's surface, alternately long and short."""
    strokes = []
    for k in range(count):
        angle = (k + 0.5 + rng.uniform(-0.15, 0.15)) * 2 * np.pi / count
        length = rng.uniform(0.24, 0.32) if k % 2 else rng.uniform(0.12, 0.18)
        outer = np.array([0.79 * np.cos(angle), 0.63 * np.sin(angle)])
        inwards = -outer / np.hypot(*outer)
        sideways = rng.choice([-1, 1]) * np.array([-inwards[1], inwards[0]])
        bend = outer + 0.6 * length * inwards + 0.03 * sideways
        end = outer + length * inwards + rng.uniform(-0.1, 0.04) * sideways
        strokes += [_Stroke(tuple(outer), tuple(bend), 0.018, 0.013), _Stroke(tuple(bend), tuple(end), 0.013, 0.008)]
    return strokes


def _draw_flows(rng: Generator, size: int) -> tuple[Floats, Floats]:
    """A random smooth diffeomorphism and its inverse as flows (2, size, size) in pixels, at rest at the border."""
    rest = np.sqrt(np.sin(np.pi * (np.arange(size) + 0.5) / size))
    waves = np.stack([_smooth_noise(rng, size, 0.12) + 0.3 * _smooth_noise(rng, size, 0.06) for _ in "yx"])
    velocity = 0.021 * size * rng.uniform(0.8, 1.2) * waves * np.outer(rest, rest)
    while _min_jacobian(_exponential(velocity)) < 0.3:
        velocity *= 0.9
    return _exponential(velocity), _exponential(-velocity)


def _smooth_noise(rng: Generator, size: int, smoothness: float) -> Floats:
    """Random field (size, size) of mean 0 and variance 1, smooth over about `smoothness` times its size."""
    noise = ndimage.gaussian_filter(rng.standard_normal((size, size)), smoothness * size, mode="wrap")
    field: Floats = (noise - noise.mean()) / noise.std()
    return field


def _exponential(velocity: Floats, squarings: int = 7) -> Floats:
    """Flow (2, H, W), in pixels, of moving along a stationary velocity for one unit of time.

    Source: Arsigny et al., "A Log-Euclidean Framework for Statistics on Diffeomorphisms", MICCAI 2006.
    """
    grid = np.indices(velocity.shape[1:])
    flow: Floats = velocity / 2**squarings
    for _ in range(squarings):
        flow = flow + sample_flow(flow, grid + flow)
    return flow


def _min_jacobian(flow: Floats) -> float:
    """Return the smallest Jacobian determinant of p + flow(p); it is positive if nothing folds."""
    (a, b), (c, d) = (np.gradient(channel) for channel in flow)
    return float(((1 + a) * (1 + d) - b * c).min())


def _render_case(rng: Generator, tissue: Bytes, flow: Floats) -> tuple[Bytes, Bytes]:
    """Image (0 to 255) and label, both (size, size), of the anatomy pulled back along `flow` (2, size, size)."""
    size = flow.shape[1]
    offsets = (np.arange(size * _SAMPLES_PER_SIDE) + 0.5) / _SAMPLES_PER_SIDE - 0.5
    grid = np.stack(np.meshgrid(offsets, offsets, indexing="ij"))
    points = grid + sample_flow(flow, grid)
    rows, columns = np.clip(np.floor((points + 0.5) * _PAINT_SCALE).astype(int), 0, size * _PAINT_SCALE - 1)
    sampled = tissue[rows, columns]
    labels = np.array([kind.label for kind in _TISSUES], np.uint8)
    centre = slice(_SAMPLES_PER_SIDE // 2, None, _SAMPLES_PER_SIDE)
    return _simulate_scan(rng, sampled), labels[sampled[centre, centre]]


def _simulate_scan(rng: Generator, sampled: Bytes) -> Bytes:
    """Image (0 to 255) of the tissue at each sample, with a scanner's contrast, bias field and Rician noise."""
    size = len(sampled) // _SAMPLES_PER_SIDE
    brightness = np.array([kind.brightness for kind in _TISSUES])
    brightness[1:] += rng.normal(0, 0.04, brightness.size - 1)
    clean = brightness.clip(0)[sampled].reshape(size, _SAMPLES_PER_SIDE, size, _SAMPLES_PER_SIDE).mean(axis=(1, 3))
    clean = clean ** rng.uniform(0.8, 1.25) * np.exp(0.12 * _smooth_noise(rng, size, 0.25))
    real, imaginary = rng.normal(0, rng.uniform(0.012, 0.025), (2, size, size))
    image: Bytes = np.rint(255 * np.hypot(clean + real, imaginary).clip(0, 1)).astype(np.uint8)
    return image
