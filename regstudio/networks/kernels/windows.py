"""Gated windows, and the weighted sum of their maps: gate.cpp, combine.cpp."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from regstudio.networks.kernels.library import Operator, address, call, table

MAX_WINDOW = 8
FLOAT_BYTES = 4


@Operator
def gated_windows(x_last: Tensor, windows: Sequence[int], epsilon: float, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return u * (mix(norm(v)) + 1) for each of N windows, (N, B, H, W, C), and its sums over the pixels, (N, B, C).

    Here u, v = gelu(expand(scale * x + shift)); `x_last` is (B, H, W, C), C a multiple of 16, and zero beyond the map.
    `weights` holds for each window, in one row: scale and shift, (C); the weight (2C, C) and bias (2C) of expand; those
    of norm, (C); and those of mix, (n, n) and (n), the dense layer over the n = `window` x `window` positions.
    """
    if max(windows) > MAX_WINDOW:
        raise ValueError(f"windows of {max(windows)} pixels; at most {MAX_WINDOW}")
    x, weights = x_last.contiguous(), weights.contiguous()
    gated, sums = _fake_windows(x, windows)
    for window, own, h, h_sums in zip(windows, _by_gate(weights, windows, x.shape[-1]), gated, sums, strict=True):
        call("gate", *x.shape, window, x, own, epsilon, h, h_sums)
    return gated, sums


def _by_gate(weights: Tensor, windows: Sequence[int], channels: int) -> Iterator[Any]:
    """Where the eight weights of each gate lie."""
    at = address(weights)
    for window in windows:
        n = window**2
        sizes = channels, channels, 2 * channels**2, 2 * channels, channels, channels, n**2, n
        *places, at = accumulate((FLOAT_BYTES * size for size in sizes), initial=at)
        yield table(places)


def _fake_windows(x_last: Tensor, windows: Sequence[int], *_: object) -> tuple[Tensor, Tensor]:
    batch, channels = x_last.shape[0], x_last.shape[-1]
    return x_last.new_empty(len(windows), *x_last.shape), x_last.new_empty(len(windows), batch, channels)


def _save_for_windows(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x_last, ctx.windows, ctx.epsilon, weights = inputs
    ctx.save_for_backward(x_last, weights)


def _windows_backward(ctx: Any, grad: Tensor, grad_sums: Tensor) -> tuple[Tensor | None, ...]:
    x_last, weights = ctx.saved_tensors
    grad, grad_sums, x, weights = (tensor.contiguous() for tensor in (grad, grad_sums, x_last, weights))
    grad_x, grad_weights = torch.zeros_like(x), torch.empty_like(weights)
    tables = (_by_gate(tensor, ctx.windows, x.shape[-1]) for tensor in (weights, grad_weights))
    for window, own, own_grads, grad_h, grad_h_sums in zip(ctx.windows, *tables, grad, grad_sums, strict=True):
        call("gate_backward", *x.shape, window, x, own, ctx.epsilon, grad_h, grad_h_sums, grad_x, own_grads)
    return grad_x, None, None, grad_weights


gated_windows.register_fake(_fake_windows)
gated_windows.register_autograd(_windows_backward, _save_for_windows)


@Operator
def combine(x_last: Tensor, y_last: Tensor, gated: Tensor, matrices: Tensor, bias: Tensor) -> Tensor:
    """Return x + bias + matrices[:, 0] y + sum_i matrices[:, i] gated[i - 1].

    Maps are (B, H, W, C), C a multiple of 16; `gated` (N, B, H, W, C), `matrices` (B, N + 1, C, C), `bias` (B, C).
    """
    x, y, gated = x_last.contiguous(), y_last.contiguous(), gated.contiguous()
    combined, transposed = torch.empty_like(x), matrices.transpose(2, 3).contiguous()
    call("combine", *_sizes(gated), x, _maps(y, gated), transposed, bias.contiguous(), combined)
    return combined


def _sizes(gated: Tensor) -> tuple[int, ...]:
    """Samples, pixels, channels and the number of maps."""
    count, batch, height, width, channels = gated.shape
    return batch, height * width, channels, count + 1


def _maps(y: Tensor, gated: Tensor) -> Any:
    """Where all maps lie, one after the other."""
    first, bytes_each = address(gated), FLOAT_BYTES * y.numel()
    return table([address(y), *(first + number * bytes_each for number in range(len(gated)))])


def _save_for_combine(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    _, *needed, _ = inputs
    ctx.save_for_backward(*needed)


def _combine_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
    grad, y, gated, matrices = (tensor.contiguous() for tensor in (grad, *ctx.saved_tensors))
    grad_y, grad_gated = torch.empty_like(y), torch.empty_like(gated)
    grad_matrices, grad_bias = torch.zeros_like(matrices), grad.new_zeros(grad.shape[0], grad.shape[-1])
    given = _maps(y, gated), matrices, grad, _maps(grad_y, grad_gated), grad_matrices, grad_bias
    call("combine_backward", *_sizes(gated), *given)
    return grad, grad_y, grad_gated, grad_matrices.transpose(2, 3), grad_bias


combine.register_fake(lambda x_last, *_: x_last.new_empty(x_last.shape))
combine.register_autograd(_combine_backward, _save_for_combine)
