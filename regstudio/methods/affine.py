"""Affine search: find the rotation, scale, shear and shift that align a moving image with the fixed one.

A matrix M (2, 3) is a pull-back on the fixed grid, in pixels and in the order (y, x) of flows: the fixed pixel (y, x)
corresponds to M @ (y, x, 1) in the moving image. `affine_flow` converts a matrix to a flow.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from regstudio.data.codecs.itk import simpleitk
from regstudio.methods.masks import MaskArrays
from regstudio.transforms.resampling import affine_after

Array = npt.NDArray[Any]
Matrix = npt.NDArray[np.float64]
Measure = Literal["information", "correlation"]

CACHE_KEY_VERSION = "mattes-ncc-2"  # names this search; change it to invalidate cached results
IDENTITY = np.eye(2, 3)
PYRAMID_SIDES = (32, 64, 128)  # pixels on the shorter side of each resolution, coarse to fine
START_ANGLES = (0, -25, 25)  # degrees
MAX_CANDIDATES = 2  # local optima followed from one resolution to the next
HISTOGRAM_BINS = 16  # few, as the coarse images have few pixels
CORRELATION_RADIUS = 4  # pixels
MAX_ITERATIONS = 100
MIN_STEP = 1e-2  # pixels
MIN_OVERLAP = 0.5  # of the fixed image
MAX_SCALE = 2.5  # along any direction; 1 / MAX_SCALE is the smallest


class Affine(NamedTuple):
    """A matrix (2, 3), and the `reason` if it is the identity for lack of a better one."""

    matrix: Matrix
    reason: str | None = None


def affine_matrix(fixed: Array, moving: Array, masks: MaskArrays = (None, None)) -> Matrix:
    """Return the matrix (2, 3) of `register_affine`."""
    return register_affine(fixed, moving, masks).matrix


def register_affine(fixed: Array, moving: Array, masks: MaskArrays = (None, None)) -> Affine:
    """Find the affine map that aligns `moving` (H, W) best with `fixed` (H, W): any real numbers, any contrast.

    A multi-start, multi-resolution search: from several starts (identity, aligned centres of mass, rotations), maximise
    the mutual information of Mattes et al. (IEEE TMI 2003) at 32, then 64 pixels, then the local normalised
    cross-correlation, and keep the candidate with the highest correlation. Mutual information captures large offsets,
    but on images this small its optimum is not always the right one. Masks (H, W) of the fixed and the moving image are
    not 0 where these count.

    Returns the identity, with the reason, if no candidate is plausible and better than the identity. Deterministic.
    Raises nothing for finite images.

        matrix, reason = register_affine(fixed, moving)
        flow = affine_flow(matrix, fixed.shape)
    """
    for name, image in (("fixed", fixed), ("moving", moving)):
        if np.ptp(image) == 0:
            return Affine(IDENTITY.copy(), f"every pixel of the {name} image has the same value")
    sitk = simpleitk()
    # Non-negative values, so that each image has a centre of mass.
    shown = [
        image - image.min() if mask is None else np.where(mask, image - image.min(), 0)
        for image, mask in zip((fixed, moving), masks, strict=True)
    ]
    images = [sitk.GetImageFromArray(image.astype(np.float32)) for image in shown]
    try:
        matrix = _search(images[0], images[1], masks)
    except RuntimeError as error:  # SimpleITK raises nothing else; the reason is in the last line
        return Affine(
            IDENTITY.copy(), f"SimpleITK could not register it: {str(error).strip().splitlines()[-1].strip()}"
        )
    if matrix is None:
        return Affine(IDENTITY.copy(), "no plausible affine map makes it look more like the fixed image")
    return Affine(matrix)


def affine_flow(matrix: Array, size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return M @ (y, x, 1) - (y, x) as a flow (2, H, W) in pixels on a fixed grid of `size` (H, W)."""
    return affine_after(matrix, np.zeros((2, *size))).astype(np.float32)


def turns_over(matrix: Array) -> bool:
    """Whether an affine map (2, 3) turns the image over, as a mirror does."""
    return bool(np.linalg.det(matrix[:, :2]) < 0)


class _Candidate(NamedTuple):
    """An ITK affine transform and how similar it makes the images: local correlation, -1 if implausible."""

    similarity: float
    transform: Any


def _search(fixed: Any, moving: Any, masks: MaskArrays) -> Matrix | None:
    """Return the best matrix; None if none is plausible and makes the images more similar than the identity."""
    coarse, medium, fine = ((_downsampled(fixed, side), _downsampled(moving, side)) for side in PYRAMID_SIDES)

    def evaluated(transform: Any) -> _Candidate:
        if not _plausible(_to_matrix(transform), fixed.GetSize()[::-1], moving.GetSize()[::-1]):
            return _Candidate(-1.0, transform)
        registration = _itk_registration("correlation", masks)
        registration.SetInitialTransform(transform)
        return _Candidate(-float(registration.MetricEvaluate(*medium)), transform)

    def optimised(measure: Measure, images: tuple[Any, Any], start: Any) -> _Candidate:
        return evaluated(_optimise(measure, *images, start, masks))

    starts = _start_transforms(fixed, moving)
    identity = evaluated(starts[0])
    coarse_best = _best_distinct([optimised("information", coarse, start) for start in starts], fixed)
    medium_best = _best_distinct(
        [optimised("information", medium, candidate.transform) for candidate in coarse_best], fixed
    )
    medium_best += [optimised("correlation", medium, candidate.transform) for candidate in medium_best]
    best = max((identity, *coarse_best, *medium_best), key=_similarity)
    best = max((best, optimised("information", fine, best.transform)), key=_similarity)
    return None if best is identity else _to_matrix(best.transform)


def _best_distinct(candidates: list[_Candidate], fixed: Any) -> list[_Candidate]:
    """Return the MAX_CANDIDATES most similar candidates that differ by over a coarse pixel at a corner, best first."""
    height, width = fixed.GetSize()[::-1]
    corners = np.array([(0, 0, height - 1, height - 1), (0, width - 1, 0, width - 1), (1, 1, 1, 1)])
    coarse_pixel = min(height, width) / PYRAMID_SIDES[0]
    distinct: list[_Candidate] = []
    moved_corners: list[Array] = []
    for candidate in sorted(candidates, key=_similarity, reverse=True):
        moved = _to_matrix(candidate.transform) @ corners
        if all(np.abs(moved - other).max() > coarse_pixel for other in moved_corners):
            distinct.append(candidate)
            moved_corners.append(moved)
    return distinct[:MAX_CANDIDATES]


def _similarity(candidate: _Candidate) -> float:
    return candidate.similarity


def _start_transforms(fixed: Any, moving: Any) -> list[Any]:
    """Return the starts of the search: the identity, then the aligned centres of mass at each of START_ANGLES."""
    sitk = simpleitk()
    identity = sitk.AffineTransform(2)
    identity.SetCenter([(size - 1) / 2 for size in fixed.GetSize()])
    by_mass = sitk.Euler2DTransform(
        sitk.CenteredTransformInitializer(
            fixed, moving, sitk.Euler2DTransform(), sitk.CenteredTransformInitializerFilter.MOMENTS
        )
    )
    starts = [identity]
    for radians in np.deg2rad(START_ANGLES):
        start = sitk.AffineTransform(identity)
        start.SetCenter(by_mass.GetCenter())
        start.SetTranslation(by_mass.GetTranslation())
        start.SetMatrix([np.cos(radians), -np.sin(radians), np.sin(radians), np.cos(radians)])
        starts.append(start)
    return starts


def _downsampled(image: Any, side: int) -> Any:
    """Return an ITK image smoothed and shrunk by a whole factor, to about `side` pixels on its shorter side."""
    sitk = simpleitk()
    factor = max(1, round(min(image.GetSize()) / side))
    if factor == 1:
        return image
    smooth = sitk.SmoothingRecursiveGaussianImageFilter()
    smooth.SetNumberOfThreads(1)
    smooth.SetSigma(factor / 2)
    return sitk.Shrink(smooth.Execute(image), [factor, factor])


def _optimise(measure: Measure, fixed: Any, moving: Any, start: Any, masks: MaskArrays) -> Any:
    """Return the transform at the local optimum of the measure, by gradient descent from `start`."""
    transform = simpleitk().AffineTransform(start)
    registration = _itk_registration(measure, masks)
    registration.SetInitialTransform(transform, True)
    registration.Execute(fixed, moving)
    return transform


def _itk_registration(measure: Measure, masks: MaskArrays) -> Any:
    sitk = simpleitk()
    registration = sitk.ImageRegistrationMethod()
    registration.SetNumberOfWorkUnits(1)  # another order of summation would change the last digits
    registration.SetInterpolator(sitk.sitkLinear)
    registration.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0, minStep=MIN_STEP, numberOfIterations=MAX_ITERATIONS, gradientMagnitudeTolerance=1e-6
    )
    registration.SetOptimizerScalesFromPhysicalShift()
    for mask, give in zip(masks, (registration.SetMetricFixedMask, registration.SetMetricMovingMask), strict=True):
        if mask is not None:  # it lies where the image does, which is shrunk
            give(sitk.GetImageFromArray((mask > 0).astype(np.uint8)))
    if measure == "information":
        registration.SetMetricAsMattesMutualInformation(HISTOGRAM_BINS)
    else:
        registration.SetMetricAsANTSNeighborhoodCorrelation(CORRELATION_RADIUS)
    return registration


def _to_matrix(transform: Any) -> Matrix:
    """Return an ITK transform, from fixed points (x, y) to moving ones, as a matrix in the order (y, x)."""
    linear = np.reshape(transform.GetMatrix(), (2, 2))
    centre = np.array(transform.GetCenter())
    shift = centre + transform.GetTranslation() - linear @ centre
    return np.column_stack((linear, shift))[::-1][:, [1, 0, 2]]


def _plausible(matrix: Matrix, size: tuple[int, ...], moving_size: tuple[int, ...]) -> bool:
    """Whether the map has no reflection, moderate scales, and enough of the fixed image inside the moving one."""
    if not np.isfinite(matrix).all() or np.linalg.det(matrix[:, :2]) <= 0:
        return False
    scales = np.linalg.svd(matrix[:, :2], compute_uv=False)
    rows, columns = np.tensordot(matrix[:, :2], np.indices(size), axes=1) + matrix[:, 2, None, None]
    height, width = moving_size
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    return bool(scales[0] <= MAX_SCALE and scales[1] >= 1 / MAX_SCALE and inside.mean() >= MIN_OVERLAP)
