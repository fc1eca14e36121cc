"""The Method protocol: an object that registers a pair when called."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from regstudio.data.geometry import AxisRule
from regstudio.data.pairs.pair import Pair
from regstudio.transforms.transform import Transform


class Method(Protocol):
    """A registration method: `method(pair)` returns a Transform.

    A call raises DataError for a pair that cannot be registered. Methods are thread-safe.
    """

    @property
    def name(self) -> str:
        """Its name in tables and reports."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What the results depend on: packages, versions, settings, weights; JSON-ready."""

    def __call__(self, pair: Pair) -> Transform:
        """Register a pair; the flow is in pixels of the fixed image's grid."""


def axes_of(method: Method) -> AxisRule:
    """Return the rule by which NIfTI files are read for a method: networks of version 0.1 have one of their own."""
    return "nibabel" if method.provenance.get("axes") == "nibabel" else "itk"


class Unregistered:
    """The baseline "none": leaves every image unchanged."""

    name = "none"
    provenance: Mapping[str, Any] = {}

    def __call__(self, pair: Pair) -> Transform:
        """Return a flow of zeros."""
        start = time.perf_counter()
        flow = np.zeros((2, *pair.fixed.shape), np.float32)
        return Transform(flow=flow, seconds=time.perf_counter() - start)


class WarmedUp:
    """Registers its first pair twice, so that one-time costs of the device (warmup) do not count as its seconds."""

    def __init__(self, method: Method) -> None:
        self._method, self._is_warm = method, False
        self.name, self.provenance = method.name, method.provenance

    def __call__(self, pair: Pair) -> Transform:
        """Register a pair."""
        if not self._is_warm:
            self._method(pair)
            self._is_warm = True
        return self._method(pair)
