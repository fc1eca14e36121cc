"""Similarity of images of different modalities by what surrounds each pixel, whatever its brightness."""

from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regstudio.losses.similarity import check_shapes
from regstudio.networks.local_ncc import box_sum

VARIANCE_RANGE = (1e-3, 1e3)  # of the image's mean variance: keeps noise in flat regions from looking like structure
FLAT = 1e-8  # a mean squared difference below which an image in [0, 1] has no structure at all


class MIND(nn.Module):
    """Mean absolute difference of two images' MIND descriptors: 0 for the same structure, at most 1.

    Two images of one body that differ in contrast, even inverted, are alike; see `mind_descriptors` for the arguments
    and the source. Computed in float32. Raises ValueError if `win` is even or `dilation` is below 1.
    """

    def __init__(self, win: int = 3, dilation: int = 2) -> None:
        super().__init__()
        if win < 1 or win % 2 == 0 or dilation < 1:
            raise ValueError(f"win is an odd number and dilation at least 1; got {win} and {dilation}")
        self.win, self.dilation = win, dilation

    def forward(self, fixed: Tensor, warped: Tensor) -> Tensor:
        """Compare `fixed` (B or 1, C, H, W) with `warped` (B, C, H, W), values in [0, 1]; return a scalar in [0, 1]."""
        check_shapes(fixed, warped)
        return (self.describe(fixed) - self.describe(warped)).abs().mean()

    def describe(self, image: Tensor) -> Tensor:
        """Return the descriptors of each channel: (B, C, H, W) -> (B, 6 * C, H, W), in (0, 1]."""
        channels = [
            mind_descriptors(one, self.win, self.dilation) for one in image.float().chunk(image.shape[1], dim=1)
        ]
        return torch.cat(channels, dim=1)


def mind_descriptors(image: Tensor, win: int = 3, dilation: int = 2) -> Tensor:
    """Describe each pixel of `image` (B, 1, H, W) by how alike the patches around it are: (B, 6, H, W), in (0, 1].

    The patches are `win` x `win` pixels and lie `dilation` pixels above, below, left and right. Each of the six pairs
    of them has a distance D, the patches' mean squared difference; the descriptor is exp(-(D - min D) / V), where V is
    the mean of D - min D over the six, kept within VARIANCE_RANGE of its own mean. Beyond the border the image goes on
    as it is there.
    Source: Heinrich et al., "Towards Realtime Multimodal Fusion for Image-Guided Interventions Using
    Self-similarities", MICCAI 2013, in two dimensions and with the two pairs of opposite patches.
    """
    radius = win // 2
    reach = dilation + radius
    padded = F.pad(image, (reach, reach, reach, reach), mode="replicate")
    height, width = (side + 2 * radius for side in image.shape[2:])
    patches = [
        padded[:, :, dilation + row : dilation + row + height, dilation + column : dilation + column + width]
        for row, column in ((-dilation, 0), (dilation, 0), (0, -dilation), (0, dilation))
    ]
    squares = torch.cat([(one - other).square() for one, other in combinations(patches, 2)], dim=1)
    distances = box_sum(squares, win)[:, :, radius : height - radius, radius : width - radius] / win**2
    distances = distances - distances.amin(dim=1, keepdim=True)
    variance = distances.mean(dim=1, keepdim=True)
    mean = variance.mean(dim=(2, 3), keepdim=True).clamp(min=FLAT)
    lowest, highest = (factor * mean for factor in VARIANCE_RANGE)
    return (-distances / variance.maximum(lowest).minimum(highest)).exp()
