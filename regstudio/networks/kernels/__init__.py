"""The CPU's own kernels, for the layers that torch's general operators are slow at: many pixels of few channels.

The installation builds the .cpp files here where it finds g++, for processors with AVX-512 and for those with AVX2.
Where there is none for this processor, and on a GPU, `fit` says so, and torch's operators compute the same. The kernels
use the threads of torch's own pool, and know only float32, to which they bring what is less precise.
"""

import ctypes
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import custom_bwd, custom_fwd
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

LANES, HALF_LANES = 16, 8  # channels come in multiples of these
LARGEST_WINDOW = 8
FEWEST_PIXELS = 512
HALVES = torch.bfloat16, torch.float16  # which autocast brings to float32 here

_pointer, _number, _count = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_PARAMETERS = {
    "layer_norm": [_count, _number, *[_pointer] * 3, ctypes.c_float, _pointer],
    "layer_norm_backward": [_count, _number, *[_pointer] * 2, ctypes.c_float, *[_pointer] * 4],
    "leaky_instance_norm": [*[_count] * 2, _number, _pointer, *[ctypes.c_float] * 2, *[_pointer] * 3],
    "leaky_instance_norm_backward": [*[_count] * 2, _number, _pointer, ctypes.c_float, *[_pointer] * 4],
    "channel_sums": [*[_count] * 2, _number, *[_pointer] * 3],
    "scale_channels": [*[_count] * 2, _number, *[_pointer] * 5],
    "gate": [*[_count] * 3, *[_number] * 2, *[_pointer] * 4],
    "gate_backward": [*[_count] * 3, *[_number] * 2, *[_pointer] * 6],
    "combine": [*[_count] * 2, *[_number] * 2, *[_pointer] * 5],
    "combine_backward": [*[_count] * 2, *[_number] * 2, *[_pointer] * 6],
    "convolution": [*[_count] * 3, *[_number] * 2, *[_pointer] * 3, ctypes.c_bool, _pointer],
    "convolution_backward": [*[_count] * 3, *[_number] * 2, *[_pointer] * 4],
    "warp": [*[_pointer] * 5, _number, *[_pointer] * 2],
    "warp_backward": [*[_pointer] * 5, _number, *[_pointer] * 5],
    "join": [*[_count] * 3, _number, _pointer, _count, *[_pointer] * 2],
    "join_backward": [*[_count] * 3, _number, _pointer, _count, *[_pointer] * 4],
}

_use = True


@contextmanager
def suspended() -> Iterator[None]:
    """Let torch's operators do everything within the block: they are what is counted, and what is compared with."""
    global _use
    before, _use = _use, False
    try:
        yield
    finally:
        _use = before


def fit(x_last: Tensor, lanes: int = LANES) -> bool:
    """Whether there are kernels for a map (B, H, W, C), C a multiple of `lanes`; with 1, of any layout."""
    return (
        _use
        and x_last.device.type == "cpu"
        and (x_last.dtype == torch.float32 or (x_last.dtype in HALVES and torch.is_autocast_enabled("cpu")))
        and x_last.shape[-1] % lanes == 0
        and not torch.onnx.is_in_onnx_export()
        and built_for() is not None
    )


def fit_convolution(x_last: Tensor) -> bool:
    """Whether a 3x3 convolution of (B, H, W, C) is faster here than torch's."""
    channels, pixels = x_last.shape[3], x_last.shape[:3].numel()
    enough = channels >= HALF_LANES and pixels >= FEWEST_PIXELS  # for the weights to be worth their preparation
    return enough and fit(x_last, 1) and not torch.is_autocast_enabled("cpu")


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
    spec = find_spec(f"{__name__}.{name}")
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def _is_up_to_date(built: Path) -> bool:
    changed = (source.stat().st_mtime for source in built.parent.glob("*.?pp"))
    return all(time <= built.stat().st_mtime for time in changed)


def _library() -> Any:
    name = built_for()
    assert name is not None
    return _load(name)


@cache
def _load(name: str) -> Any:
    library = ctypes.CDLL(str(_path(name)))
    for function_name, parameters in _PARAMETERS.items():
        function = getattr(library, function_name)
        function.argtypes, function.restype = parameters, None
    return library


def _at(*tensors: Tensor | None) -> list[int | None]:
    """Where tensors lie, all contiguous."""
    assert all(tensor is None or tensor.is_contiguous() for tensor in tensors)
    return [None if tensor is None else tensor.data_ptr() for tensor in tensors]


def _counts(*numbers: int) -> Any:
    return ctypes.byref((_count * len(numbers))(*numbers))


def _table(tensors: Sequence[Tensor]) -> Any:
    return (_pointer * len(tensors))(*_at(*tensors))


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float) -> Tensor:
        x = x.contiguous()
        channels, normalised = x.shape[-1], torch.empty_like(x)
        _library().layer_norm(x.numel() // channels, channels, *_at(x, weight, bias), epsilon, *_at(normalised))
        ctx.save_for_backward(x, weight)
        ctx.epsilon = epsilon
        return normalised

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad, grad_x, channels = grad.contiguous(), torch.empty_like(x), x.shape[-1]
        grad_weight, grad_bias = (None, None) if weight is None else weight.new_zeros(2, channels)
        results = _at(grad, grad_x, grad_weight, grad_bias)
        _library().layer_norm_backward(x.numel() // channels, channels, *_at(x, weight), ctx.epsilon, *results)
        return grad_x, grad_weight, grad_bias, None


def layer_norm(x_last: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float) -> Tensor:
    """Normalise each pixel of (B, H, W, C) over its channels; then scale and shift it."""
    normalised: Tensor = _LayerNorm.apply(x_last, weight, bias, epsilon)  # type: ignore[no-untyped-call]
    return normalised


class _LeakyInstanceNorm(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x: Tensor, slope: float, epsilon: float) -> Tensor:
        x = x.contiguous()
        normalised, mean, scale = torch.empty_like(x), *x.new_empty(2, x.shape[0], x.shape[-1])
        ctx.sizes = x.shape[0], x.shape[1] * x.shape[2], x.shape[-1]
        _library().leaky_instance_norm(*ctx.sizes, *_at(x), slope, epsilon, *_at(normalised, mean, scale))
        ctx.save_for_backward(x, mean, scale)
        ctx.slope = slope
        return normalised

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        x, mean, scale = ctx.saved_tensors
        grad, grad_x = grad.contiguous(), torch.empty_like(x)
        _library().leaky_instance_norm_backward(*ctx.sizes, *_at(x), ctx.slope, *_at(mean, scale, grad, grad_x))
        return grad_x, None, None


def leaky_instance_norm(x_last: Tensor, slope: float, epsilon: float) -> Tensor:
    """Normalise each channel of leaky_relu(x) over its pixels: (B, H, W, C)."""
    normalised: Tensor = _LeakyInstanceNorm.apply(x_last, slope, epsilon)  # type: ignore[no-untyped-call]
    return normalised


class _Attend(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(
        ctx: Any, x: Tensor, y: Tensor, squeeze: Tensor, squeeze_bias: Tensor, excite: Tensor, excite_bias: Tensor
    ) -> Tensor:
        x, y = x.contiguous(), y.contiguous()
        batch, height, width, channels = y.shape
        attended, mean = torch.empty_like(x), x.new_empty(batch, channels)
        ctx.sizes = batch, height * width, channels
        _library().channel_sums(*ctx.sizes, *_at(y, None, mean))
        mean /= height * width
        hidden = F.relu(F.linear(mean, squeeze, squeeze_bias))
        attention = torch.sigmoid(F.linear(hidden, excite, excite_bias))
        _library().scale_channels(*ctx.sizes, *_at(x, y, attention, None, attended))
        ctx.save_for_backward(y, squeeze, excite, mean, hidden, attention)
        return attended

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        y, squeeze, excite, mean, hidden, attention = ctx.saved_tensors
        grad, grad_y, along = grad.contiguous(), torch.empty_like(y), torch.empty_like(attention)
        _library().channel_sums(*ctx.sizes, *_at(grad, y, along))
        grad_excited = along * attention * (1 - attention)
        grad_squeezed = (grad_excited @ excite) * (hidden > 0)
        grad_mean = grad_squeezed @ squeeze / ctx.sizes[1]
        _library().scale_channels(*ctx.sizes, *_at(None, grad, attention, grad_mean, grad_y))
        squeezing = grad_squeezed.t() @ mean, grad_squeezed.sum(dim=0)
        return grad, grad_y, *squeezing, grad_excited.t() @ hidden, grad_excited.sum(dim=0)


def attend(x_last: Tensor, y_last: Tensor, squeeze: nn.Linear, excite: nn.Linear) -> Tensor:
    """Return x + y * sigmoid(excite(relu(squeeze(mean of y)))): maps (B, H, W, C), the mean over the pixels."""
    weights = squeeze.weight, squeeze.bias, excite.weight, excite.bias
    attended: Tensor = _Attend.apply(x_last, y_last, *weights)  # type: ignore[no-untyped-call]
    return attended


_GATE_WEIGHTS = "scale", "shift", "expand", "expand_bias", "norm", "norm_bias", "mix", "mix_bias"


class _GateGradients(ctypes.Structure):
    _fields_ = [(name, _pointer) for name in _GATE_WEIGHTS]


class _GateWeights(ctypes.Structure):
    _fields_ = [*_GateGradients._fields_, ("epsilon", ctypes.c_float)]


class _Gates(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x: Tensor, windows: Sequence[int], epsilon: float, *weights: Tensor) -> tuple[Tensor, ...]:
        x, weights = x.contiguous(), tuple(weight.contiguous() for weight in weights)
        sums, maps = x.new_empty(len(windows), x.shape[0], x.shape[-1]), tuple(torch.empty_like(x) for _ in windows)
        for window, own, h, of_h in zip(windows, _split(weights), maps, sums, strict=True):
            table = ctypes.byref(_GateWeights(*_at(*own), epsilon))
            _library().gate(*x.shape, window, *_at(x), table, *_at(h, of_h))
        ctx.save_for_backward(x, *weights)
        ctx.windows, ctx.epsilon = windows, epsilon
        return sums, *maps

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    @once_differentiable
    def backward(ctx: Any, grad_sums: Tensor, *grad_maps: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        grad_x, grads = torch.zeros_like(x), [torch.empty_like(weight) for weight in weights]
        parts = zip(ctx.windows, _split(weights), _split(grads), grad_maps, grad_sums.contiguous(), strict=True)
        for window, own, own_grads, grad_h, grad_of_h in parts:
            table = ctypes.byref(_GateWeights(*_at(*own), ctx.epsilon))
            given = *_at(x), table, *_at(grad_h.contiguous(), grad_of_h, grad_x)
            _library().gate_backward(*x.shape, window, *given, ctypes.byref(_GateGradients(*_at(*own_grads))))
        return grad_x, None, None, *grads


def _split(weights: Sequence[Tensor]) -> list[Sequence[Tensor]]:
    """The weights of each gate."""
    each = len(_GATE_WEIGHTS)
    return [weights[first : first + each] for first in range(0, len(weights), each)]


def gates(
    x_last: Tensor, windows: Sequence[int], epsilon: float, weights: Sequence[Tensor]
) -> tuple[Sequence[Tensor], Tensor]:
    """Return u * (mix(norm(v)) + 1) of (B, H, W, C) for each window, u and v = gelu(expand(scale * x + shift)).

    With them come their sums over the pixels, (B, N, C). Each of the N windows has as `weights`, one after the other,
    scale and shift, (C); the weight (2C, C) and the bias (2C) of expand; those of norm, (C); and those of mix, (n, n)
    and (n), the dense over the n = `window` x `window` pixels of a window, at most 8 x 8. Beyond the map, x is zero.
    """
    assert max(windows) <= LARGEST_WINDOW
    sums, *maps = _Gates.apply(x_last, windows, epsilon, *weights)  # type: ignore[no-untyped-call]
    return maps, sums.transpose(0, 1)


class _Combine(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x: Tensor, matrices: Tensor, bias: Tensor, *maps: Tensor) -> Tensor:
        x, bias, maps = x.contiguous(), bias.contiguous(), tuple(values.contiguous() for values in maps)
        combined, turned = torch.empty_like(x), matrices.transpose(2, 3).contiguous()
        batch, height, width, channels = x.shape
        sizes = batch, height * width, channels, len(maps)
        _library().combine(*sizes, *_at(x), _table(maps), *_at(turned, bias, combined))
        ctx.save_for_backward(matrices.contiguous(), *maps)
        ctx.sizes = sizes
        return combined

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        (matrices, *maps), grad = ctx.saved_tensors, grad.contiguous()
        grad_maps = [torch.empty_like(values) for values in maps]
        grad_matrices, grad_bias = torch.zeros_like(matrices), grad.new_zeros(grad.shape[0], grad.shape[-1])
        given = *_at(matrices, grad), _table(grad_maps), *_at(grad_matrices, grad_bias)
        _library().combine_backward(*ctx.sizes, _table(maps), *given)
        return grad, grad_matrices.transpose(2, 3), grad_bias, *grad_maps


def combine(x_last: Tensor, matrices: Tensor, bias: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """Return x + bias + sum_i matrices[:, i] maps[i], each map (B, H, W, C), (B, N, C, C) and (B, C) the weights."""
    combined: Tensor = _Combine.apply(x_last, matrices, bias, *maps)  # type: ignore[no-untyped-call]
    return combined


class _Join(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x1: Tensor, x2: Tensor) -> Tensor:
        if not x1[0].is_contiguous():  # the samples may all be one
            x1 = x1.contiguous()
        x2 = x2.contiguous()
        joined = x2.new_empty(*x2.shape[:3], 2 * x2.shape[3] + 9)
        _library().join(*x2.shape, x1.data_ptr(), x1.stride(0), *_at(x2, joined))
        ctx.save_for_backward(x1, x2)
        return joined

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        (x1, x2), grad = ctx.saved_tensors, grad.contiguous()
        grad_x1, grad_x2 = torch.empty_like(x2), torch.empty_like(x2)
        _library().join_backward(*x2.shape, x1.data_ptr(), x1.stride(0), *_at(x2, grad, grad_x1, grad_x2))
        return grad_x1, grad_x2


def join(x1_last: Tensor, x2_last: Tensor) -> Tensor:
    """Return x1, its correlation with its 3x3 neighbours in x2, and x2 as one map: (B, H, W, 2C + 9)."""
    joined: Tensor = _Join.apply(x1_last, x2_last)  # type: ignore[no-untyped-call]
    return joined


class _Convolution(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x_last: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x_last, weight = x_last.contiguous(), weight.permute(0, 2, 3, 1).contiguous()
        ctx.save_for_backward(x_last, weight)
        return _convolve(x_last, weight, bias, turned=False)

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    @once_differentiable
    def backward(ctx: Any, grad_last: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        (x_last, weight), grad_last = ctx.saved_tensors, grad_last.contiguous()
        grad_x = _convolve(grad_last, weight, None, turned=True) if ctx.needs_input_grad[0] else None
        grad_weight, grad_bias = torch.empty_like(weight), weight.new_zeros(len(weight))
        maps = x_last, grad_last, grad_weight, grad_bias
        _library().convolution_backward(*x_last.shape, len(weight), *_at(*maps))
        return grad_x, grad_weight.permute(0, 3, 1, 2), grad_bias


def _convolve(x_last: Tensor, weight: Tensor, bias: Tensor | None, *, turned: bool) -> Tensor:
    outs, ins = weight.shape[0], weight.shape[3]
    y_last = x_last.new_empty(*x_last.shape[:3], ins if turned else outs)
    _library().convolution(*x_last.shape[:3], ins, outs, *_at(x_last, weight, bias), turned, *_at(y_last))
    return y_last


def convolution(x_last: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return a 3x3 convolution, padded with zeros: (B, H, W, C) -> (B, H, W, C'), the weight (C', C, 3, 3)."""
    convolved: Tensor = _Convolution.apply(x_last, weight, bias)  # type: ignore[no-untyped-call]
    return convolved


def _strides(maps: Tensor) -> Any:
    """How many floats apart the samples, channels and pixels of (B, C, H, W) are, rows one after the other."""
    return _counts(maps.stride(0), maps.stride(1), maps.stride(3))


def _format(maps: Tensor) -> torch.memory_format:
    return torch.channels_last if maps.stride(1) == 1 else torch.contiguous_format


def _in_rows(maps: Tensor) -> Tensor:
    return maps if maps.stride(2) == maps.shape[3] * maps.stride(3) else maps.contiguous()


class _Warp(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, image: Tensor, flow: Tensor, border: bool) -> Tensor:
        image, flow = _in_rows(image), _in_rows(flow)
        warped = torch.empty(*image.shape[:2], *flow.shape[2:], memory_format=_format(image))
        ctx.sizes = _counts(*image.shape, *flow.shape[2:])
        given = image.data_ptr(), _strides(image), flow.data_ptr(), _strides(flow), border
        _library().warp(ctx.sizes, *given, warped.data_ptr(), _strides(warped))
        ctx.save_for_backward(image, flow)
        ctx.border = border
        return warped

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
        (image, flow), grad = ctx.saved_tensors, _in_rows(grad)
        grad_image = torch.zeros_like(image, memory_format=_format(image)) if ctx.needs_input_grad[0] else None
        grad_flow = flow.new_empty(flow.shape)
        given = image.data_ptr(), _strides(image), flow.data_ptr(), _strides(flow), ctx.border
        where = None if grad_image is None else grad_image.data_ptr()
        strides = _strides(image if grad_image is None else grad_image)
        _library().warp_backward(
            ctx.sizes, *given, grad.data_ptr(), _strides(grad), where, strides, grad_flow.data_ptr()
        )
        return grad_image, grad_flow, None


def warp(image: Tensor, flow: Tensor, *, border: bool) -> Tensor:
    """Return image(p + flow(p)), bilinear: (B, C, H, W), the flow (B, 2, H', W') in pixels, rows first.

    Beyond the image there are zeros, or with `border` what is at its edge.
    """
    warped: Tensor = _Warp.apply(image, flow, border)  # type: ignore[no-untyped-call]
    return warped
