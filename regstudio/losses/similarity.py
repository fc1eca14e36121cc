"""Similarity of two images: modules that return one scalar, smaller for a better match."""

import torch
from torch import Tensor, nn

from regstudio.networks import ops
from regstudio.networks.local_ncc import EPSILON


class NCC(nn.Module):
    """Local squared normalised cross-correlation, negated: -1 for a perfect match, 0 for none.

    It is the mean of cross^2 / (var_fixed * var_moving + 1e-5) over the `win` x `win` windows around all pixels, for
    each channel. Outside the images there are zeros. Brightness and contrast do not change it, up to the 1e-5. Images
    are in [0, 1].

    It is computed in float64, also under autocast, and returned in float32. In float32, rounding errors of the window
    sums on a flat bright area have gradients as large as the true ones elsewhere.

    Raises ValueError if `win` is not an odd number of at least 3.

    >>> image = torch.rand(1, 1, 64, 64)
    >>> round(NCC()(image, image).item(), 3)
    -1.0

    Source: Balakrishnan et al., "VoxelMorph: A Learning Framework for Deformable Medical Image Registration", TMI 2019.
    """

    def __init__(self, win: int = 9) -> None:
        super().__init__()
        if win < 3 or win % 2 == 0:
            raise ValueError(f"win is the side of a window with a centre pixel, an odd number of at least 3; got {win}")
        self.win = win

    def forward(self, fixed: Tensor, warped: Tensor) -> Tensor:
        """Compare `fixed` (B or 1, C, H, W) with `warped` (B, C, H, W); return a scalar in [-1, 0]."""
        check_shapes(fixed, warped)
        return -ops.mean_local_ncc(fixed, warped, self.win).mean().float()


class GlobalNCC(nn.Module):
    """Normalised cross-correlation of the whole images, negated: -1 for a perfect match, 1 for an inverted image.

    It is Pearson's correlation of the grey values, averaged over batch and channels; 0 for a constant image. Computed
    in float32.
    """

    def forward(self, fixed: Tensor, warped: Tensor) -> Tensor:
        """Compare `fixed` (B or 1, C, H, W) with `warped` (B, C, H, W); return a scalar in [-1, 1]."""
        check_shapes(fixed, warped)
        f, w = (image.float() - image.float().mean(dim=(2, 3), keepdim=True) for image in (fixed, warped))
        cross = (f * w).mean(dim=(2, 3))
        # Epsilon is inside the root, so that its gradient is finite for a constant image.
        scale = (f.square().mean(dim=(2, 3)) * w.square().mean(dim=(2, 3)) + EPSILON**2).sqrt()
        return -(cross / scale).mean()


class MSE(nn.Module):
    """Mean squared difference of the grey values, in float32; for images of one modality and one scaling."""

    def forward(self, fixed: Tensor, warped: Tensor) -> Tensor:
        """Compare `fixed` (B or 1, C, H, W) with `warped` (B, C, H, W); return a scalar of at least 0."""
        check_shapes(fixed, warped)
        return (fixed.float() - warped.float()).square().mean()


class MutualInformation(nn.Module):
    """Mutual information of the grey values in nats, negated: 0 for independent images; for other modalities.

    The joint distribution of each image pair is estimated with Gaussian Parzen windows, half a bin wide, at `bins`
    equally spaced values of [0, 1]. Raises ValueError for fewer than 2 bins.
    Source: Wells et al., "Multi-modal volume registration by maximization of mutual information", MedIA 1996.
    """

    def __init__(self, bins: int = 32) -> None:
        super().__init__()
        if bins < 2:
            raise ValueError(f"bins is the number of grey values that are told apart, at least 2; got {bins}")
        self.bins = bins

    def forward(self, fixed: Tensor, warped: Tensor) -> Tensor:
        """Compare `fixed` (B or 1, C, H, W) with `warped` (B, C, H, W), values in [0, 1]; return a scalar <= 0."""
        check_shapes(fixed, warped)
        f, w = self.parzen_weights(fixed.expand_as(warped)), self.parzen_weights(warped)
        joint = f.transpose(1, 2) @ w / f.shape[1]
        information = entropy(joint.sum(dim=2)) + entropy(joint.sum(dim=1)) - entropy(joint.flatten(1))
        return -information.mean()

    def parzen_weights(self, image: Tensor) -> Tensor:
        """Weight of each pixel for each bin: (B, pixels, bins); the weights of a pixel sum to 1."""
        centres = torch.linspace(0, 1, self.bins, device=image.device)
        width = 0.5 / (self.bins - 1)
        distances = (image.float().clamp(0, 1).flatten(1)[:, :, None] - centres) / width
        return (-distances.square() / 2).softmax(dim=2)


def entropy(distribution: Tensor) -> Tensor:
    """Entropy of each row in nats: (B, n) -> (B,); the clamp keeps the gradient finite for probability 0."""
    return -(distribution * distribution.clamp(min=1e-12).log()).sum(dim=1)


def check_shapes(fixed: Tensor, warped: Tensor) -> None:
    """Raise ValueError unless two images can be compared: `fixed` (B or 1, C, H, W), `warped` (B, C, H, W)."""
    if warped.ndim != 4 or fixed.shape[1:] != warped.shape[1:] or fixed.shape[0] not in (1, warped.shape[0]):
        raise ValueError(
            f"fixed has shape {tuple(fixed.shape)} and warped {tuple(warped.shape)}; "
            "both are (B, C, H, W), the same but for a batch of one in fixed"
        )
