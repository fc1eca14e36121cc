"""Random variation of what a network is trained on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional as F

from regstudio.distributed import SINGLE_PROCESS, Group
from regstudio.networks.warp import affine_after

SHIFT, SHEAR = 0.03, 0.1  # of the size, each way; of the distance to the centre
SMOOTH, KNOTS = 0.01, 6  # standard deviation at the knots of the deformation, as a share of the size; knots a side
GAMMA = 0.4  # largest exponent of e that makes a gamma


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Strengths of random affine maps, smooth deformations and contrast; 0 is without, 1 is moderate.

    Each process of `group` draws for the images of all, and takes what is for its own.
    """

    affine: float = 0.0
    smooth: float = 0.0
    intensity: float = 0.0
    group: Group = SINGLE_PROCESS

    def flow(self, images: Tensor, random: np.random.Generator) -> Tensor | None:
        """Return a flow that deforms each of `images` (B, 1, H, W) in its own way: (B, 2, H, W); None for none."""
        if not self.affine and not self.smooth:
            return None
        batch, (height, width) = len(images), images.shape[2:]
        size = images.new_tensor([height, width])
        flow = images.new_zeros(batch, 2, height, width)
        if self.smooth:
            shape = (batch * self.group.size, 2, KNOTS, KNOTS)
            knots = images.new_tensor(random.normal(scale=self.smooth * SMOOTH, size=shape)[self.group.shard])
            flow = F.interpolate(knots, (height, width), mode="bicubic", align_corners=True) * size[:, None, None]
        if self.affine:
            flow = affine_after(images.new_tensor(self._matrices(batch, (height, width), random)), flow)
        return flow

    def contrast(self, images: Tensor, random: np.random.Generator) -> Tensor:
        """Return `images` (B, 1, H, W), values in [0, 1], each with a gamma of its own."""
        if not self.intensity:
            return images
        drawn = random.uniform(-1, 1, len(images) * self.group.size)[self.group.shard]
        exponents = images.new_tensor(np.exp(self.intensity * GAMMA * drawn))
        return images.clamp(min=0) ** exponents[:, None, None, None]

    def _matrices(self, batch: int, size: tuple[int, int], random: np.random.Generator) -> npt.NDArray[np.float64]:
        """Random maps about the centre of the image: (B, 2, 3)."""
        everyone = batch * self.group.size
        linear = np.eye(2) + self.affine * SHEAR * random.uniform(-1, 1, (everyone, 2, 2))[self.group.shard]
        centre = (np.array(size) - 1) / 2
        shift = self.affine * SHIFT * random.uniform(-1, 1, (everyone, 2))[self.group.shard] * size
        return np.concatenate((linear, (centre - linear @ centre + shift)[:, :, None]), axis=2)
