"""Augmentation: random affine maps, smooth deformations and contrast of the training images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional as F

from regstudio.distributed import SINGLE_PROCESS, Group
from regstudio.networks.warp import affine_after

MAX_SHIFT = 0.03  # share of the image size, in each direction
MAX_SHEAR = 0.1  # deviation of each matrix entry from the identity
SMOOTH_STD = 0.01  # standard deviation at the knots of the deformation, as a share of the image size
KNOTS = 6  # knots on each side of the deformation's grid
MAX_LOG_GAMMA = 0.4


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Strengths of random affine maps, smooth deformations and contrast changes: 0 is off, 1 is moderate.

    Each process of `group` draws the random numbers of the whole batch and uses those of its own images.
    """

    affine: float = 0.0
    smooth: float = 0.0
    intensity: float = 0.0
    group: Group = SINGLE_PROCESS

    def flow(self, images: Tensor, random: np.random.Generator) -> Tensor | None:
        """Return a random flow (B, 2, H, W) in pixels for `images` (B, 1, H, W), or None if both strengths are 0."""
        if not self.affine and not self.smooth:
            return None
        batch, (height, width) = len(images), images.shape[2:]
        size = images.new_tensor([height, width])
        flow = images.new_zeros(batch, 2, height, width)
        if self.smooth:
            shape = (batch * self.group.size, 2, KNOTS, KNOTS)
            knots = images.new_tensor(random.normal(scale=self.smooth * SMOOTH_STD, size=shape)[self.group.shard])
            flow = F.interpolate(knots, (height, width), mode="bicubic", align_corners=True) * size[:, None, None]
        if self.affine:
            flow = affine_after(images.new_tensor(self._matrices(batch, (height, width), random)), flow)
        return flow

    def contrast(self, images: Tensor, random: np.random.Generator) -> Tensor:
        """Return `images` (B, 1, H, W), values in [0, 1], each with a random gamma."""
        if not self.intensity:
            return images
        drawn = random.uniform(-1, 1, len(images) * self.group.size)[self.group.shard]
        exponents = images.new_tensor(np.exp(self.intensity * MAX_LOG_GAMMA * drawn))
        return images.clamp(min=0) ** exponents[:, None, None, None]

    def _matrices(self, batch: int, size: tuple[int, int], random: np.random.Generator) -> npt.NDArray[np.float64]:
        """Return random affine matrices (B, 2, 3) about the centre of the image."""
        total = batch * self.group.size
        linear = np.eye(2) + self.affine * MAX_SHEAR * random.uniform(-1, 1, (total, 2, 2))[self.group.shard]
        centre = (np.array(size) - 1) / 2
        shift = self.affine * MAX_SHIFT * random.uniform(-1, 1, (total, 2))[self.group.shard] * size
        return np.concatenate((linear, (centre - linear @ centre + shift)[:, :, None]), axis=2)
