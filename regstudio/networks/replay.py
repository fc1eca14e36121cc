"""Replaying on a GPU: the thousands of small kernels of a training step as one launch, a CUDA graph.

A step of CorrMLP at 256x256 on an H100 takes 136 ms when Python starts its 5,000 kernels one by one, 19 ms replayed.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from threading import RLock
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from regstudio.networks.device import CAPTURING

FIRST_CALLS = 2  # as they are: libraries choose their algorithms, and an optimizer makes its state
MOST = 32  # kinds that are kept

Result = TypeVar("Result")
Tensors = TypeVar("Tensors", bound=tuple[Tensor, ...])
Network = TypeVar("Network", bound=nn.Module)
_Key = tuple[Hashable, ...]


class Replayed(Generic[Result]):
    """A function of tensors; on a GPU, from its third call of one kind on, the kernels of that call are replayed.

    A call is `function(kind, inputs)`. It must depend on its kind and its inputs alone, and must not wait for the GPU:
    of a replayed call only what the GPU does is done again. It returns what it did when it was captured; the tensors
    therein are overwritten by the next call. A kind that cannot be captured, as for lack of memory, is called as it is;
    `refused` says why.
    """

    def __init__(self, function: Callable[[Any, Mapping[str, Tensor]], Result]) -> None:
        self._function = function
        self._calls: Counter[_Key] = Counter()
        self._captured: dict[_Key, tuple[torch.cuda.CUDAGraph, dict[str, Tensor], Result] | None] = {}
        self._pool: Any = None  # a handle of torch's
        self._lock = RLock()
        self.refused: list[str] = []

    def __call__(self, kind: Hashable, inputs: Mapping[str, Tensor]) -> Result:
        """Call the function or replay it; `inputs` are copied, and may change afterwards."""
        if not all(tensor.is_cuda for tensor in inputs.values()):
            return self._function(kind, inputs)
        key = (kind, *((name, tensor.shape, tensor.dtype) for name, tensor in inputs.items()))
        with self._lock:
            self._calls[key] += 1
            if self._calls[key] <= FIRST_CALLS:
                return self._function(kind, inputs)
            if key not in self._captured:
                self._captured[key] = self._capture(kind, inputs)
            captured = self._captured[key]
            if captured is None:
                return self._function(kind, inputs)
            graph, places, result = captured
            for name, place in places.items():
                place.copy_(inputs[name], non_blocking=True)
            graph.replay()
            return result

    def copied(self: "Replayed[Tensors]", kind: Hashable, given: Mapping[str, Tensor | None]) -> Tensors:
        """Call it with a tuple of tensors as the result, which is the caller's own; any thread may.

        What is None is left out of the inputs.
        """
        inputs = {name: tensor for name, tensor in given.items() if tensor is not None}
        if not all(tensor.is_cuda for tensor in inputs.values()):
            return self._function(kind, inputs)
        with self._lock:
            result = self(kind, inputs)
            copies = (tensor.clone() for tensor in result)
            return type(result)(*copies) if hasattr(result, "_fields") else type(result)(copies)

    @property
    def replays(self) -> bool:
        """Whether any kind was captured."""
        return any(captured is not None for captured in self._captured.values())

    def forget(self) -> None:
        """Forget what was captured: tensors that the function works on besides its inputs are others now."""
        with self._lock:
            self._captured.clear()
            self._calls.clear()
            self._pool = None

    def _capture(
        self, kind: Hashable, inputs: Mapping[str, Tensor]
    ) -> tuple[torch.cuda.CUDAGraph, dict[str, Tensor], Result] | None:
        while len(self._captured) >= MOST:
            del self._captured[next(iter(self._captured))]
        places = {name: tensor.clone() for name, tensor in inputs.items()}
        graph = torch.cuda.CUDAGraph()
        try:
            # One pool for all kinds, as none runs beside another. Other threads may use the GPU meanwhile.
            with CAPTURING, torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                result = self._function(kind, places)
        except RuntimeError as error:  # an operation that waits for the GPU, or torch.OutOfMemoryError
            self.refused.append(str(error))
            return None
        self._pool = graph.pool()
        return graph, places, result


def replayed_with(
    network: Network, function: Callable[[Network, Any, Mapping[str, Tensor]], Result]
) -> Replayed[Result]:
    """Return the Replayed of a function of a network, which is made once and kept as long as the network.

    The network's weights may change in place, but must not be replaced.
    """
    known = _WITH.setdefault(network, {})
    if function not in known:
        itself = weakref.ref(network)

        def call(kind: Any, inputs: Mapping[str, Tensor]) -> Result:
            still = itself()
            assert still is not None  # who calls this has the network
            return function(still, kind, inputs)

        known[function] = Replayed(call)
    return known[function]


# Beside the networks, since those are copied.
_WITH: "weakref.WeakKeyDictionary[nn.Module, dict[Any, Replayed[Any]]]" = weakref.WeakKeyDictionary()
