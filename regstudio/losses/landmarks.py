"""Distance of landmarks as a loss with a gradient."""

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, eq=False)
class PointPairs:
    """Landmarks of a step, (B, n, 2) in pixels: where the fixed ones are taken, and the moving ones, their places.

    `counted` (B, n), bool, is false where a pair has fewer.
    """

    reached: Tensor
    moving: Tensor
    counted: Tensor


class LandmarkDistance(nn.Module):
    """Mean distance d of landmarks from where they belong, as sqrt(d^2 + soft^2) - soft; 0 without any.

    Nearer than `soft` pixels it is that of squares, so that a landmark that has arrived no longer pulls. Computed in
    float32.

    >>> points = PointPairs(reached=torch.zeros(1, 1, 2), moving=torch.tensor([[[3.0, 4.0]]]), counted=torch.ones(1, 1))
    >>> round(LandmarkDistance()(points).item(), 2)
    4.52
    """

    def __init__(self, soft: float = 0.5) -> None:
        super().__init__()
        self.soft = soft

    def forward(self, points: PointPairs) -> Tensor:
        """Measure the landmarks of a batch; return a scalar of at least 0."""
        squares = (points.reached.float() - points.moving.float()).square().sum(dim=2)
        distances = (squares + self.soft**2).sqrt() - self.soft
        return (distances * points.counted).sum() / points.counted.sum().clamp(min=1)
