"""The compiled kernels: finding, loading and calling them, and registering them with torch."""

import ctypes
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LOW_PRECISION = torch.bfloat16, torch.float16
OUT_OF_MEMORY = 1  # of exports.hpp

_C_TYPES = {"P": ctypes.c_void_p, "q": ctypes.c_int64, "i": ctypes.c_int, "f": ctypes.c_float, "?": ctypes.c_bool}
_in_use = True


@contextmanager
def suspended() -> Iterator[None]:
    """Let torch's operators do everything within the block: those can be counted, and compared with."""
    global _in_use
    before, _in_use = _in_use, False
    try:
        yield
    finally:
        _in_use = before


def in_use() -> bool:
    """Whether they are not suspended."""
    return _in_use


def fit(x: Tensor) -> bool:
    """Whether kernels can compute with `x`: in float32 on the CPU, or what autocast brings to float32 there."""
    return (
        _in_use
        and x.is_cpu
        and (x.dtype == torch.float32 or (x.dtype in LOW_PRECISION and torch.is_autocast_enabled("cpu")))
        and not torch.onnx.is_in_onnx_export()
        and built_for() is not None
    )


@cache
def built_for() -> str | None:
    """Return the name of this processor's kernels, "avx512" or "avx2"; None where there are none, or outdated ones."""
    name = torch.backends.cpu.get_cpu_capability().lower()
    built = _path(name) if name in ("avx512", "avx2") else None
    if built is None or _is_up_to_date(built):
        return None if built is None else name
    what = f"{built}: is older than its source, and not used. Build it again with pip install -e ."
    warnings.warn(what, RuntimeWarning, stacklevel=2)
    return None


def _path(name: str) -> Path | None:
    spec = find_spec(f"regstudio.networks.kernels.{name}")
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def _is_up_to_date(built: Path) -> bool:
    changed = (source.stat().st_mtime for source in built.parent.glob("*.?pp"))
    return all(time <= built.stat().st_mtime for time in changed)


def call(kernel: str, *arguments: object) -> None:
    """Run a compiled kernel; a tensor stands for its address, None for a null pointer.

    Raises ValueError for a tensor that is not contiguous float32 on the CPU, and torch.OutOfMemoryError.
    """
    name = built_for()
    if name is None:
        raise RuntimeError("there are no kernels for this processor")
    outcome = _functions(name)[kernel](*(address(a) if isinstance(a, Tensor) else a for a in arguments))
    if outcome == OUT_OF_MEMORY:
        raise torch.OutOfMemoryError(f"{kernel}: can't allocate memory")
    if outcome:
        raise RuntimeError(f"{kernel} failed with code {outcome}")


class _Exported(ctypes.Structure):
    """As in exports.hpp."""


_Exported._fields_ = [
    ("name", ctypes.c_char_p),
    ("parameters", ctypes.c_char_p),
    ("function", ctypes.c_void_p),
    ("next", ctypes.POINTER(_Exported)),
]


@cache
def _functions(name: str) -> dict[str, Callable[..., int]]:
    """The compiled kernels by their names; each of them lists the types of its parameters."""
    first = ctypes.CDLL(str(_path(name))).first_kernel
    first.restype = ctypes.POINTER(_Exported)
    functions: dict[str, Callable[..., int]] = {}
    item = first()
    while item:
        kernel = item.contents
        types = [_C_TYPES[letter] for letter in kernel.parameters.decode()]
        functions[kernel.name.decode()] = ctypes.CFUNCTYPE(ctypes.c_int, *types)(kernel.function)
        item = kernel.next
    return functions


def address(tensor: Tensor, *, strided: bool = False) -> int:
    """Return where a tensor lies; raises ValueError where a kernel, or one for any strides, could not read it."""
    if tensor.dtype != torch.float32 or not tensor.is_cpu or not (strided or tensor.is_contiguous()):
        what = f"{tensor.dtype} on {tensor.device} with strides {tensor.stride()}"
        raise ValueError(f"a kernel takes contiguous float32 on the CPU; this is {what}")
    return tensor.data_ptr()


def table(addresses: Sequence[int]) -> Any:
    """Return addresses as an array in C."""
    return (ctypes.c_void_p * len(addresses))(*addresses)


# torch.library.Library has no type hints.
_operators: Any = torch.library.Library("regstudio", "DEF")  # type: ignore[no-untyped-call]
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Operator(Generic[Parameters, Result]):
    """A function as torch.ops.regstudio.NAME, for the CPU, which autocast calls in float32.

    Like torch.library.custom_op, which would import all of torch's compiler at the first call: that takes seconds.
    """

    def __init__(self, function: Callable[Parameters, Result]) -> None:
        self.__doc__, self._function = function.__doc__, function
        self._name = f"regstudio::{function.__name__}"
        _operators.define(function.__name__ + torch.library.infer_schema(function, mutates_args=()))
        _operators.impl(function.__name__, function, "CPU")
        torch.library.register_autocast(self._name, "cpu", torch.float32, lib=_operators)
        self._overload: Callable[..., Result] = getattr(torch.ops.regstudio, function.__name__).default

    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        """Call the function; by torch's dispatcher, which takes some 20 us, where it has anything to do."""
        plain = type(args[0]) in (Tensor, nn.Parameter)  # not a fake tensor, which has a shape alone
        if not plain or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
            return self._overload(*args, **kwargs)
        return self._function(*args, **kwargs)

    def register_fake(self, fake: Callable[..., object]) -> None:
        """Say by a function of the same arguments which shapes the results have."""
        torch.library.register_fake(self._name, fake, lib=_operators)

    def register_autograd(self, backward: Callable[..., object], setup_context: Callable[..., None]) -> None:
        """Give the gradients, which have none in turn: `setup_context` saves what `backward` needs."""
        backward = once_differentiable(backward)
        torch.library.register_autograd(self._name, backward, setup_context=setup_context, lib=_operators)
