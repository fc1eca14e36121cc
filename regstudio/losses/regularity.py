"""Regularity of a flow: modules that return one scalar, smaller for a more plausible flow."""

from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F


class Grad(nn.Module):
    """Roughness of a flow: the mean of its squared ('l2') or absolute ('l1') forward differences.

    It is the average of the means along rows and along columns, each over both channels. Flows are in pixels, so the
    unit is pixels per pixel (squared). Computed in float32. Raises ValueError for another penalty.
    Source: Balakrishnan et al., "VoxelMorph: A Learning Framework for Deformable Medical Image Registration", TMI 2019.
    """

    Penalty = Literal["l1", "l2"]

    def __init__(self, penalty: Penalty = "l2") -> None:
        super().__init__()
        if penalty not in get_args(self.Penalty):
            raise ValueError(f"penalty is 'l1' or 'l2'; got {penalty!r}")
        self.penalty = penalty

    def forward(self, flow: Tensor) -> Tensor:
        """Measure `flow` (B, 2, H, W); return a scalar of at least 0."""
        _check_flow(flow)
        steps = [flow.float().diff(dim=axis) for axis in (2, 3)]
        rows, columns = ((step.square() if self.penalty == "l2" else step.abs()).mean() for step in steps)
        return (rows + columns) / 2


class Nearness(nn.Module):
    """Distance of a field from the one that a teacher gives: mean(log(1 + (d / near)^2)), d in pixels at each place.

    `near` is a share of the shorter side. A teacher is a little wrong in most places and far off in a few: nearby, the
    penalty is that of squares; far off, it gives way. Computed in float32.
    """

    def __init__(self, near: float = 0.01) -> None:
        super().__init__()
        self.near = near

    def forward(self, field: Tensor, expected: Tensor) -> Tensor:
        """Compare two fields (B, 2, H, W), in pixels; return a scalar of at least 0."""
        _check_flow(field)
        distance = (field.float() - expected.float()) / (self.near * min(field.shape[2:]))
        return distance.square().sum(dim=1).log1p().mean()


class Folding(nn.Module):
    """Penalty on folds: mean(relu(margin - determinant)) over the flow's one-sided Jacobian determinants.

    A square of four neighbouring pixels has four determinants, one for the triangle at each corner; it does not fold if
    and only if all four are positive. The penalty is 0 if no determinant is below `margin`. Computed in float32.
    Source: the criteria of Liu et al., "On Finite Difference Jacobian Computation in Deformable Image Registration",
    IJCV 2024, as a hinge.
    """

    def __init__(self, margin: float = 0.1) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, flow: Tensor) -> Tensor:
        """Measure `flow` (B, 2, H, W), in pixels; return a scalar of at least 0."""
        _check_flow(flow)
        by_row, by_column = (flow.float().diff(dim=axis) for axis in (2, 3))
        hinges = [
            F.relu(self.margin - _jacobian_determinant(down, right)).mean()
            for down in (by_row[..., :-1], by_row[..., 1:])
            for right in (by_column[:, :, :-1], by_column[:, :, 1:])
        ]
        return sum(hinges[1:], hinges[0]) / len(hinges)


def _jacobian_determinant(down: Tensor, right: Tensor) -> Tensor:
    """Determinant of identity plus Jacobian, from differences along rows and columns: (B, 2, h, w) -> (B, h, w)."""
    return (1 + down[:, 0]) * (1 + right[:, 1]) - right[:, 0] * down[:, 1]


def _check_flow(flow: Tensor) -> None:
    if flow.ndim != 4 or flow.shape[1] != 2 or min(flow.shape[2:]) < 2:
        raise ValueError(f"a flow is (B, 2, H, W) with H and W of at least 2; got {tuple(flow.shape)}")
