"""How alike two images are, as modules that return one scalar, smaller for a better match."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-5  # keeps windows without contrast at zero correlation


class NCC(nn.Module):
    """Local squared normalised cross-correlation, negated: -1 for a perfect match, 0 for none.

    In each `win` x `win` window, cross^2 / (var_fixed * var_moving + 1e-5), averaged over all windows. Windows reach
    over the border, where the images are zero; each channel has its own windows. Unchanged by
    brightness and contrast, up to the 1e-5; meant for images in [0, 1].

    The arithmetic is float64 and the result float32, whatever the input and under autocast: in float32 the rounding
    of window sums on a flat bright area gives gradients as large as the true ones elsewhere, and the remedy costs
    about a millisecond at 256x256.

    Raises ValueError if `win` is not an odd number of at least 3.
    Source: Balakrishnan et al., "VoxelMorph: A Learning Framework for Deformable Medical Image Registration", TMI 2019.
    """

    def __init__(self, win: int = 9) -> None:
        super().__init__()
        if win < 3 or win % 2 == 0:
            raise ValueError(f"win is the side of a window with a centre pixel, an odd number of at least 3; got {win}")
        self.win = win

    def forward(self, fixed: Tensor, warped: Tensor) -> Tensor:
        """Compare `fixed` (B or 1, C, H, W) with `warped` (B, C, H, W); return a scalar in [-1, 0]."""
        _check_shapes(fixed, warped)
        return -_local_ncc(fixed.double(), warped.double(), self.win).mean().float()


class GlobalNCC(nn.Module):
    """Normalised cross-correlation over the whole image, negated: -1 for a perfect match, 1 for an inverted one.

    Pearson's correlation of the grey values, averaged over batch and channels, in float32; a constant image has 0.
    """

    def forward(self, fixed: Tensor, warped: Tensor) -> Tensor:
        """Compare `fixed` (B or 1, C, H, W) with `warped` (B, C, H, W); return a scalar in [-1, 1]."""
        _check_shapes(fixed, warped)
        f, w = (image.float() - image.float().mean(dim=(2, 3), keepdim=True) for image in (fixed, warped))
        cross = (f * w).mean(dim=(2, 3))
        # Inside the root, so that its gradient is finite where an image is constant.
        scale = (f.square().mean(dim=(2, 3)) * w.square().mean(dim=(2, 3)) + EPSILON**2).sqrt()
        return -(cross / scale).mean()


class MSE(nn.Module):
    """Mean squared difference of the grey values, in float32; for images of one modality and one scaling."""

    def forward(self, fixed: Tensor, warped: Tensor) -> Tensor:
        """Compare `fixed` (B or 1, C, H, W) with `warped` (B, C, H, W); return a scalar of at least 0."""
        _check_shapes(fixed, warped)
        return (fixed.float() - warped.float()).square().mean()


class MutualInformation(nn.Module):
    """Mutual information of the grey values in nats, negated: 0 for independent images; for other modalities.

    The joint distribution is estimated with Gaussian Parzen windows on `bins` equally spaced values of [0, 1], each
    half a bin wide, for each image of the batch. Raises ValueError for fewer than 2 bins.
    Source: Wells et al., "Multi-modal volume registration by maximization of mutual information", MedIA 1996.
    """

    def __init__(self, bins: int = 32) -> None:
        super().__init__()
        if bins < 2:
            raise ValueError(f"bins is the number of grey values that are told apart, at least 2; got {bins}")
        self.bins = bins

    def forward(self, fixed: Tensor, warped: Tensor) -> Tensor:
        """Compare `fixed` (B or 1, C, H, W) with `warped` (B, C, H, W), values in [0, 1]; return a scalar <= 0."""
        _check_shapes(fixed, warped)
        f, w = self._windows(fixed.expand_as(warped)), self._windows(warped)
        joint = f.transpose(1, 2) @ w / f.shape[1]
        shared = _entropy(joint.sum(dim=2)) + _entropy(joint.sum(dim=1)) - _entropy(joint.flatten(1))
        return -shared.mean()

    def _windows(self, image: Tensor) -> Tensor:
        """How much each pixel counts for each bin: (B, pixels, bins), sums of 1 over the bins."""
        centres = torch.linspace(0, 1, self.bins, device=image.device)
        width = 0.5 / (self.bins - 1)
        distances = (image.float().clamp(0, 1).flatten(1)[:, :, None] - centres) / width
        return (-distances.square() / 2).softmax(dim=2)


# What an image similarity is called in the objective; `NAME_weight` is its weight in the settings.
SIMILARITIES: dict[str, type[nn.Module]] = {"ncc": NCC, "global_ncc": GlobalNCC, "mse": MSE, "mi": MutualInformation}


def _entropy(distribution: Tensor) -> Tensor:
    """Entropy in nats of each row: (B, n) -> (B,); the floor keeps the gradient of what is improbable finite."""
    return -(distribution * distribution.clamp(min=1e-12).log()).sum(dim=1)


def _check_shapes(fixed: Tensor, warped: Tensor) -> None:
    if warped.ndim != 4 or fixed.shape[1:] != warped.shape[1:] or fixed.shape[0] not in (1, warped.shape[0]):
        raise ValueError(
            f"fixed has shape {tuple(fixed.shape)} and warped {tuple(warped.shape)}; "
            "both are (B, C, H, W), the same but for a batch of one in fixed"
        )


def _local_ncc(fixed: Tensor, warped: Tensor, win: int) -> Tensor:
    """Squared NCC of the window around each pixel: (B, C, H, W), values in [0, 1]."""
    # Two calls, since sums of the fixed image alone need no gradient and are shared by the whole batch.
    sum_f, sum_ff = _box_sum(torch.stack((fixed, fixed * fixed)), win).unbind()
    sum_w, sum_ww, sum_fw = _box_sum(torch.stack((warped, warped * warped, fixed * warped)), win).unbind()
    pixels = win * win
    cross = sum_fw - sum_f * sum_w / pixels
    var_f = (sum_ff - sum_f * sum_f / pixels).clamp(min=0)
    var_w = (sum_ww - sum_w * sum_w / pixels).clamp(min=0)
    # At most 1 by Cauchy-Schwarz; the clamp holds rounding to it on images far outside [0, 1].
    return (cross * cross / (var_f * var_w + EPSILON)).clamp(max=1)


def _box_sum(x: Tensor, win: int) -> Tensor:
    """Sum of the `win` x `win` window around each pixel of the last two axes, zeros outside; the shape stays."""
    total: Tensor = _BoxSum.apply(x, win)  # type: ignore[no-untyped-call]  # torch leaves `apply` without types
    return total


class _BoxSum(torch.autograd.Function):
    """A box sum is its own transpose, so the backward pass is one more box sum and nothing has to be kept.

    NCC forward and backward at 256x256 on one core: 2.9 ms; 9.5 ms with two one-dimensional F.avg_pool2d calls in
    this function, 14.7 ms with a plain F.avg_pool2d. In float32: 1.5 ms; 4.9 ms with two one-dimensional F.conv2d
    calls in this function, 37.7 ms with plain ones; 13.7 ms for MONAI's loss.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, win: int) -> Tensor:
        ctx.win = win
        radius = win // 2
        padded = functional.pad(x, (radius, radius, radius, radius))
        return _window_sum(_window_sum(padded, win, -1), win, -2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _box_sum(gradients[0], ctx.win), None


def _window_sum(x: Tensor, win: int, axis: int) -> Tensor:
    """Sums of `win` neighbours along an axis, each from two half-windows: additions grow with log2(win)."""
    if win == 1:
        return x
    half = win // 2
    halves = _window_sum(x, half, axis)
    count = x.shape[axis] - win + 1
    total = halves.narrow(axis, 0, count) + halves.narrow(axis, half, count)
    return total + x.narrow(axis, win - 1, count) if win % 2 else total
