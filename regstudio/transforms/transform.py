"""What a method of registration found for a pair."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Transform:
    """What a method found: pull-back flows (2, H, W) in pixels (dy, dx), and the seconds it took, without reading.

    warped(p) = moving(p + flow(p)). `affine_flow` is the affine part alone, on the fixed grid, where there is one.
    `inverse_flow` undoes `flow`, on the moving image's grid: moving(q) = warped(q + inverse_flow(q)). `metrics` is what
    the method itself says of the pair.
    """

    flow: Array
    seconds: float
    affine_flow: Array | None = None
    inverse_flow: Array | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
