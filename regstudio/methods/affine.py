"""Affine registration of a moving image to the fixed one: rotation, scale, shear and shift, before any network.

A matrix M (2, 3) is a pull-back on the fixed grid, in pixels and in the order (y, x) of flows: the fixed pixel p has
its counterpart in the moving image at M @ (y, x, 1). `affine_flow` makes it a flow.
"""

import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from regstudio.data.codecs.itk import simpleitk
from regstudio.data.pairs import Pair
from regstudio.transforms.resampling import affine_after
from regstudio.transforms.transform import Transform

Array = npt.NDArray[Any]
Matrix = npt.NDArray[np.float64]
Measure = Literal["information", "correlation"]

CACHE_KEY_VERSION = "mattes-ncc-2"  # names the search below; another name makes cached results void
SIDES = (32, 64, 128)  # pixels along the shorter side of the images that are climbed on
TURNS = (-25, 25)  # degrees
MAX_CANDIDATES = 2  # followed to the end, a pixel of the coarsest images apart
BINS = 16  # for as few pixels as those
RADIUS = 4  # pixels of the fine images
ITERATIONS = 100
MIN_STEP = 1e-2  # pixels
MIN_OVERLAP = 0.5  # of the fixed image, to keep
MAX_SCALE = 2.5  # in any direction, or its inverse


class Affine(NamedTuple):
    """A matrix (2, 3), and why it is the identity where no better one was found."""

    matrix: Matrix
    reason: str | None = None


def affine_matrix(fixed: Array, moving: Array) -> Matrix:
    """Return the matrix (2, 3) of `register_affine`."""
    return register_affine(fixed, moving).matrix


def register_affine(fixed: Array, moving: Array) -> Affine:
    """Find the affine map under which `moving` (H, W) looks most like `fixed` (H, W): any real numbers, any contrast.

    Climbs the mutual information of Mattes et al. (IEEE TMI 2003) on images of 32, then 64 pixels, then their local
    normalised cross-correlation, from several starts (as they are, centres of mass laid on each other, turned), and
    keeps what correlates best: mutual information finds the way from afar but, of two images so small, not always the
    right one. Gives the identity, and the reason, where nothing found is plausible and more alike than doing nothing.
    The same images always give the same matrix. Nothing is raised for finite images.
    """
    for name, image in (("fixed", fixed), ("moving", moving)):
        if np.ptp(image) == 0:
            return Affine(identity(), f"every pixel of the {name} image has the same value")
    sitk = simpleitk()
    # From 0 on, so that an image has a mass, and a centre of it.
    images = [sitk.GetImageFromArray((image - image.min()).astype(np.float32)) for image in (fixed, moving)]
    try:
        matrix = _search(*images)
    except RuntimeError as error:  # which is all that SimpleITK raises, with the reason in its last line
        return Affine(identity(), f"SimpleITK could not register it: {str(error).strip().splitlines()[-1].strip()}")
    if matrix is None:
        return Affine(identity(), "no plausible affine map makes it look more like the fixed image")
    return Affine(matrix)


def identity() -> Matrix:
    """Return the matrix (2, 3) that moves nothing."""
    return np.eye(2, 3)


def affine_flow(matrix: Array, size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return M @ (y, x, 1) - (y, x) as a flow (2, H, W) in pixels on a fixed grid of `size` (H, W)."""
    return affine_after(matrix, np.zeros((2, *size))).astype(np.float32)


class AffineMethod:
    """The affine map alone, as a method of registration."""

    name = "affine"
    provenance: Mapping[str, Any] = {}

    def __call__(self, pair: Pair) -> Transform:
        """Find the affine map of a pair."""
        start = time.perf_counter()
        matrix = affine_matrix(pair.fixed, pair.moving)
        seconds = time.perf_counter() - start
        flow, size = affine_flow(matrix, pair.fixed.shape), pair.moving.shape
        inverse = np.linalg.inv(np.vstack((matrix, (0, 0, 1))))[:2]
        return Transform(flow=flow, seconds=seconds, affine_flow=flow, inverse_flow=affine_flow(inverse, size))


def _search(fixed: Any, moving: Any) -> Matrix | None:
    """Return the best matrix, or None where none is plausible and makes the images more alike."""
    coarse, fine, finest = ((_shrunk(fixed, side), _shrunk(moving, side)) for side in SIDES)

    def judged(transform: Any) -> tuple[float, Any]:
        """The transform, and how alike it makes the images."""
        plausible = _plausible(_pull_back(transform), fixed.GetSize()[::-1], moving.GetSize()[::-1])
        if not plausible:
            return -1.0, transform
        method = _method("correlation")
        method.SetInitialTransform(transform)
        return -float(method.MetricEvaluate(*fine)), transform

    still, *moved = _starts(fixed, moving)
    coarsely = _foremost([judged(_climb("information", *coarse, start)) for start in (still, *moved)], fixed)
    finely = _foremost([judged(_climb("information", *fine, start)) for _, start in coarsely], fixed)
    finely += [judged(_climb("correlation", *fine, start)) for _, start in finely]
    best = max((judged(still), *coarsely, *finely), key=_likeness)
    _, best = max((best, judged(_climb("information", *finest, best[1]))), key=_likeness)
    return None if best is still else _pull_back(best)


def _foremost(judged: list[tuple[float, Any]], fixed: Any) -> list[tuple[float, Any]]:
    """Return the best transforms, at most MAX_CANDIDATES, the best first; of those that lead to the same place, one."""
    height, width = fixed.GetSize()[::-1]
    corners = np.array([(0, 0, height - 1, height - 1), (0, width - 1, 0, width - 1), (1, 1, 1, 1)])
    pixel = min(height, width) / SIDES[0]
    kept: list[tuple[float, Any]] = []
    places: list[Array] = []
    for candidate in sorted(judged, key=_likeness, reverse=True):
        place = _pull_back(candidate[1]) @ corners
        if all(np.abs(place - other).max() > pixel for other in places):
            kept.append(candidate)
            places.append(place)
    return kept[:MAX_CANDIDATES]


def _likeness(judged: tuple[float, Any]) -> float:
    return judged[0]


def _starts(fixed: Any, moving: Any) -> list[Any]:
    """Return the transforms to start from, the one that moves nothing first."""
    sitk = simpleitk()
    still = sitk.AffineTransform(2)
    still.SetCenter([(size - 1) / 2 for size in fixed.GetSize()])
    by_mass = sitk.Euler2DTransform(
        sitk.CenteredTransformInitializer(
            fixed, moving, sitk.Euler2DTransform(), sitk.CenteredTransformInitializerFilter.MOMENTS
        )
    )
    starts = [still]
    for radians in np.deg2rad((0, *TURNS)):
        start = sitk.AffineTransform(still)
        start.SetCenter(by_mass.GetCenter())
        start.SetTranslation(by_mass.GetTranslation())
        start.SetMatrix([np.cos(radians), -np.sin(radians), np.sin(radians), np.cos(radians)])
        starts.append(start)
    return starts


def _shrunk(image: Any, side: int) -> Any:
    sitk = simpleitk()
    factor = max(1, round(min(image.GetSize()) / side))
    if factor == 1:
        return image
    smooth = sitk.SmoothingRecursiveGaussianImageFilter()
    smooth.SetNumberOfThreads(1)
    smooth.SetSigma(factor / 2)
    return sitk.Shrink(smooth.Execute(image), [factor, factor])


def _climb(measure: Measure, fixed: Any, moving: Any, start: Any) -> Any:
    """Return the transform to which a climb of the measure leads from `start`."""
    transform = simpleitk().AffineTransform(start)
    method = _method(measure)
    method.SetInitialTransform(transform, True)
    method.Execute(fixed, moving)
    return transform


def _method(measure: Measure) -> Any:
    sitk = simpleitk()
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfWorkUnits(1)  # sums in another order would give other digits
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0, minStep=MIN_STEP, numberOfIterations=ITERATIONS, gradientMagnitudeTolerance=1e-6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    if measure == "information":
        method.SetMetricAsMattesMutualInformation(BINS)
    else:
        method.SetMetricAsANTSNeighborhoodCorrelation(RADIUS)
    return method


def _pull_back(transform: Any) -> Matrix:
    """Return an ITK transform, which maps fixed points (x, y) to moving ones, as a matrix in the order (y, x)."""
    linear = np.reshape(transform.GetMatrix(), (2, 2))
    centre = np.array(transform.GetCenter())
    shift = centre + transform.GetTranslation() - linear @ centre
    return np.column_stack((linear, shift))[::-1][:, [1, 0, 2]]


def _plausible(matrix: Matrix, size: tuple[int, ...], moving_size: tuple[int, ...]) -> bool:
    if not np.isfinite(matrix).all() or np.linalg.det(matrix[:, :2]) <= 0:
        return False
    scales = np.linalg.svd(matrix[:, :2], compute_uv=False)
    rows, columns = np.tensordot(matrix[:, :2], np.indices(size), axes=1) + matrix[:, 2, None, None]
    height, width = moving_size
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    return bool(scales[0] <= MAX_SCALE and scales[1] >= 1 / MAX_SCALE and inside.mean() >= MIN_OVERLAP)
