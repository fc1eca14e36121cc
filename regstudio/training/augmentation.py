"""Augmentation: random affine maps, smooth deformations and contrast of the training images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from regstudio.distributed import SINGLE_PROCESS, Group
from regstudio.networks.warp import affine_after, numbers

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

    def draw(self, images: Tensor, random: np.random.Generator) -> dict[str, Tensor]:
        """Draw the numbers for a batch of images (B, 1, H, W), on the CPU; what has no strength draws none.

        `knots` (B, 2, KNOTS, KNOTS), `matrices` (B, 2, 3) and `exponents` (B,).
        """
        batch, (height, width) = len(images), images.shape[2:]
        drawn: dict[str, npt.NDArray[np.float64]] = {}
        if self.smooth:
            shape = (batch * self.group.size, 2, KNOTS, KNOTS)
            drawn["knots"] = random.normal(scale=self.smooth * SMOOTH_STD, size=shape)[self.group.shard]
        if self.affine:
            drawn["matrices"] = self._matrices(batch, (height, width), random)
        if self.intensity:
            gammas = random.uniform(-1, 1, batch * self.group.size)[self.group.shard]
            drawn["exponents"] = np.exp(self.intensity * MAX_LOG_GAMMA * gammas)
        return {name: torch.from_numpy(values.astype(np.float32)) for name, values in drawn.items()}

    def _matrices(self, batch: int, size: tuple[int, int], random: np.random.Generator) -> npt.NDArray[np.float64]:
        """Return random affine matrices (B, 2, 3) about the centre of the image."""
        total = batch * self.group.size
        linear = np.eye(2) + self.affine * MAX_SHEAR * random.uniform(-1, 1, (total, 2, 2))[self.group.shard]
        centre = (np.array(size) - 1) / 2
        shift = self.affine * MAX_SHIFT * random.uniform(-1, 1, (total, 2))[self.group.shard] * size
        return np.concatenate((linear, (centre - linear @ centre + shift)[:, :, None]), axis=2)


def drawn_flow(images: Tensor, drawn: Mapping[str, Tensor]) -> Tensor | None:
    """Return the flow (B, 2, H, W), in pixels, that was drawn for images (B, 1, H, W); None if none was."""
    if drawn.keys().isdisjoint(("knots", "matrices")):
        return None
    height, width = images.shape[2:]
    flow = images.new_zeros(len(images), 2, height, width)
    if "knots" in drawn:
        flow = F.interpolate(drawn["knots"], (height, width), mode="bicubic", align_corners=True)
        flow = flow * numbers([height, width], images)[:, None, None]
    return affine_after(drawn["matrices"], flow) if "matrices" in drawn else flow


def drawn_contrast(images: Tensor, drawn: Mapping[str, Tensor]) -> Tensor:
    """Return images (B, 1, H, W), values in [0, 1], each with the gamma that was drawn for it, if one was."""
    if "exponents" not in drawn:
        return images
    return images.clamp(min=0) ** drawn["exponents"][:, None, None, None]
