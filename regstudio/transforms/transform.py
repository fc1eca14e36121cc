"""What a method of registration found for a pair."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Transform:
    """Pull-back flows (2, H, W) in pixels (dy, dx) on the fixed grid, and the seconds that it took to find them.

    warped(p) = moving(p + flow(p)). `affine_flow` is the affine part of `flow` alone, if there is one. `inverse_flow`
    undoes `flow`, on the moving image's grid: moving(q) = warped(q + inverse_flow(q)). `unrefined_flow` is the flow
    before a refinement. `seconds` counts no reading and no scoring; `metrics` is what the method itself measured.
    """

    flow: Array
    seconds: float
    affine_flow: Array | None = None
    inverse_flow: Array | None = None
    unrefined_flow: Array | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
