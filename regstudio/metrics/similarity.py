"""Similarity of two images: NCC and SSIM."""

import numpy as np
from numpy.typing import NDArray

from regstudio.metrics.checks import Array, check_images

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5


def ncc(fixed: Array, warped: Array, win: int = 9, mask: Array | None = None) -> float:
    """Return the local squared normalised cross-correlation of two images (H, W): in [0, 1], 1 for a perfect match.

    It is the negative of the loss `regstudio.losses.NCC`, which documents formula and source. Images are in [0, 1].
    With a `mask` (H, W), only pixels where it is not 0 count, in windows and as their centres; without any, it is 0.
    Raises ValueError if the shapes differ, the images are not two-dimensional or `win` is not odd and at least 3.
    """
    from scipy import ndimage  # imported late: it takes a third of a second, and no training needs it

    check_images(fixed, warped)
    if win < 3 or win % 2 == 0:
        raise ValueError(f"win is the side of a window with a centre pixel, an odd number of at least 3; got {win}")

    def window_sum(image: NDArray[np.float64]) -> NDArray[np.float64]:
        total: NDArray[np.float64] = ndimage.uniform_filter(image, win, mode="constant") * win**2
        return total

    counted = None if mask is None else (mask != 0).astype(np.float64)
    f, w = (image.astype(np.float64) * (1 if counted is None else counted) for image in (fixed, warped))
    pixels = win**2 if counted is None else np.maximum(np.rint(window_sum(counted)), 1)
    sum_f, sum_w = window_sum(f), window_sum(w)
    cross = window_sum(f * w) - sum_f * sum_w / pixels
    var_f = np.maximum(window_sum(f * f) - sum_f**2 / pixels, 0)
    var_w = np.maximum(window_sum(w * w) - sum_w**2 / pixels, 0)
    values = np.minimum(cross**2 / (var_f * var_w + 1e-5), 1)
    return float(values.mean() if counted is None else (values * counted).sum() / max(counted.sum(), 1))


def ssim(fixed: Array, warped: Array, mask: Array | None = None) -> float:
    """Return the mean structural similarity (SSIM) of two images (H, W) in [0, 1]: in [-1, 1], 1 for equal images.

    As published: a Gaussian window of 11x11 pixels, sigma 1.5, k1 = 0.01, k2 = 0.03; the mean over the windows inside
    the image. With a `mask` (H, W), only pixels where it is not 0 count, in windows and as their centres; without any,
    it is 0. Raises ValueError if the shapes differ, or if the images are not 2-D or smaller than the window.
    Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", TIP 2004.
    """
    from scipy import ndimage  # imported late: it takes a third of a second, and no training needs it

    check_images(fixed, warped)
    if min(fixed.shape) < SSIM_WINDOW:
        raise ValueError(f"the window is {SSIM_WINDOW} x {SSIM_WINDOW} pixels; the images are {fixed.shape}")
    radius = SSIM_WINDOW // 2

    counted = None if mask is None else (mask != 0).astype(np.float64)

    def blurred(image: NDArray[np.float64]) -> NDArray[np.float64]:
        whole: NDArray[np.float64] = ndimage.gaussian_filter(image, SSIM_SIGMA, radius=radius)
        return whole[radius:-radius, radius:-radius]

    weight = None if counted is None else np.maximum(blurred(counted), 1e-12)

    def mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return blurred(image) if counted is None or weight is None else blurred(image * counted) / weight

    f, w = fixed.astype(np.float64), warped.astype(np.float64)
    mean_f, mean_w = mean(f), mean(w)
    var_f, var_w, cross = mean(f * f) - mean_f**2, mean(w * w) - mean_w**2, mean(f * w) - mean_f * mean_w
    brightness = (2 * mean_f * mean_w + 0.01**2) / (mean_f**2 + mean_w**2 + 0.01**2)
    structure = (2 * cross + 0.03**2) / (var_f + var_w + 0.03**2)
    if counted is None:
        return float((brightness * structure).mean())
    centres = counted[radius:-radius, radius:-radius]
    return float((brightness * structure * centres).sum() / max(centres.sum(), 1))
