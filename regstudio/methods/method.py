"""What every method of registration is: one object with one call."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from regstudio.data.pairs import Pair
from regstudio.transforms.transform import Transform


class Method(Protocol):
    """A way to register. Called with a pair, it returns the transform that it found.

    `name` is what tables and reports call it, `provenance` says where its results come from, JSON-ready. A call raises
    DataError for a pair that it cannot register. It may be called from several threads.
    """

    @property
    def name(self) -> str:
        """What to call it."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Packages, versions, settings and weights that its results depend on."""

    def __call__(self, pair: Pair) -> Transform:
        """Register a pair."""


class Unregistered:
    """Leaves every image where it is: the yardstick of all other methods."""

    name = "none"
    provenance: Mapping[str, Any] = {}

    def __call__(self, pair: Pair) -> Transform:
        """Return a flow of zeros."""
        start = time.perf_counter()
        flow = np.zeros((2, *pair.fixed.shape), np.float32)
        return Transform(flow=flow, seconds=time.perf_counter() - start)


class WarmedUp:
    """Registers its first pair twice and returns the second result: the first pays for what a device does once."""

    def __init__(self, method: Method) -> None:
        self._method, self._warm = method, False
        self.name, self.provenance = method.name, method.provenance

    def __call__(self, pair: Pair) -> Transform:
        """Register a pair."""
        if not self._warm:
            self._method(pair)
            self._warm = True
        return self._method(pair)
