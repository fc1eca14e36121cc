"""Transform: the flows that a registration method found for a pair."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Transform:
    """The result of a method: pull-back flows (2, H, W) in pixels (dy, dx) on the fixed image's grid.

    warped(p) = moving(p + flow(p)). `affine_flow` is the affine part of `flow`, if the method has one. `inverse_flow`
    undoes `flow`, on the moving image's grid: moving(q) = warped(q + inverse_flow(q)). `unrefined_flow` is the flow
    before refinement. `mirrored` is whether the map is to turn the image over, as a mirror does. `losses` are those of
    the steps of a method that descends. `seconds` is the method's running time, without reading and scoring; `metrics`
    holds values that the method measured itself.
    """

    flow: Array
    seconds: float
    affine_flow: Array | None = None
    inverse_flow: Array | None = None
    unrefined_flow: Array | None = None
    mirrored: bool = False
    losses: tuple[float, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
