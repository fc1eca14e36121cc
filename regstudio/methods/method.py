"""What every method of registration is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from regstudio.data.pairs import Pair
from regstudio.transforms.transform import Transform


@dataclass(frozen=True, kw_only=True, eq=False)
class Method:
    """A way to register: its name, what takes a Pair and returns a Transform, and where it comes from, JSON-ready."""

    name: str
    register: Callable[[Pair], Transform]
    provenance: Mapping[str, Any] = field(default_factory=dict)


def unregistered() -> Method:
    """Return the method that leaves every image as it is, the yardstick of all others."""
    return Method(
        name="none", register=lambda pair: Transform(flow=np.zeros((2, *pair.fixed.shape), np.float32), seconds=0.0)
    )
