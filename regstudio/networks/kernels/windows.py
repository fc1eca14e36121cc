"""Gated windows, and the weighted sum of their maps: gate.cpp, combine.cpp."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from regstudio.networks.kernels.library import BackwardOperator, Operator, call, table

MAX_WINDOW = 8
WEIGHTS = 8  # of each gate: see gated_windows


@Operator
def gated_windows(
    x_last: Tensor, windows: Sequence[int], epsilon: float, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return u * (mix(norm(v)) + 1) for each of N windows, (N, B, H, W, C), and its sums over the pixels, (N, B, C).

    Here u, v = gelu(expand(scale * x + shift)); `x_last` is (B, H, W, C), C a multiple of 16, and zero beyond the map.
    Each window has as `weights`, one after the other: scale and shift, (C); the weight (2C, C) and bias (2C) of expand;
    those of norm, (C); and those of mix, (n, n) and (n), the dense layer over the n = `window` x `window` positions.
    """
    if max(windows) > MAX_WINDOW:
        raise ValueError(f"windows of {max(windows)} pixels; at most {MAX_WINDOW}")
    x, weights = x_last.contiguous(), [weight.contiguous() for weight in weights]
    gated, sums = x.new_empty(len(windows), *x.shape), x.new_empty(len(windows), x.shape[0], x.shape[-1])
    for window, own, h, h_sums in zip(windows, _by_gate(weights), gated, sums, strict=True):
        call("gate", *x.shape, window, x, table(own), epsilon, h, h_sums)
    return gated, sums


@BackwardOperator
def gated_windows_backward(
    grad: Tensor, grad_sums: Tensor, x_last: Tensor, windows: Sequence[int], epsilon: float, weights: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Return the gradients of x and of all weights."""
    grad, grad_sums, x = grad.contiguous(), grad_sums.contiguous(), x_last.contiguous()
    weights = [weight.contiguous() for weight in weights]
    grad_x, grad_weights = torch.zeros_like(x), [torch.empty_like(weight) for weight in weights]
    gates = zip(windows, _by_gate(weights), _by_gate(grad_weights), grad, grad_sums, strict=True)
    for window, own, own_grads, grad_h, grad_h_sums in gates:
        given = table(own), epsilon, grad_h, grad_h_sums
        call("gate_backward", *x.shape, window, x, *given, grad_x, table(own_grads))
    return grad_x, grad_weights


def _by_gate(weights: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
    return (weights[first : first + WEIGHTS] for first in range(0, len(weights), WEIGHTS))


def _save_for_windows(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x_last, ctx.windows, ctx.epsilon, weights = inputs
    ctx.save_for_backward(x_last, *weights)


def _windows_gradients(ctx: Any, grad: Tensor, grad_sums: Tensor) -> tuple[Any, ...]:
    x_last, *weights = ctx.saved_tensors
    grad_x, grad_weights = gated_windows_backward(grad, grad_sums, x_last, ctx.windows, ctx.epsilon, weights)
    return grad_x, None, None, grad_weights


gated_windows.register_fake(
    lambda x_last, windows, *_: (
        x_last.new_empty(len(windows), *x_last.shape),
        x_last.new_empty(len(windows), x_last.shape[0], x_last.shape[-1]),
    )
)
gated_windows_backward.register_fake(
    lambda grad, grad_sums, x_last, windows, epsilon, weights: (
        x_last.new_empty(x_last.shape),
        [weight.new_empty(weight.shape) for weight in weights],
    )
)
gated_windows.register_autograd(_windows_gradients, setup_context=_save_for_windows)


@Operator
def combine(x_last: Tensor, y_last: Tensor, gated: Tensor, matrices: Tensor, bias: Tensor) -> Tensor:
    """Return x + bias + matrices[:, 0] y + sum_i matrices[:, i] gated[i - 1].

    Maps are (B, H, W, C), C a multiple of 16; `gated` (N, B, H, W, C), `matrices` (B, N + 1, C, C), `bias` (B, C).
    """
    x, y, gated = x_last.contiguous(), y_last.contiguous(), gated.contiguous()
    combined, transposed = torch.empty_like(x), matrices.transpose(2, 3).contiguous()
    call("combine", *_sizes(gated), x, table([y, *gated]), transposed, bias.contiguous(), combined)
    return combined


@BackwardOperator
def combine_backward(
    grad: Tensor, y_last: Tensor, gated: Tensor, matrices: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of y, gated, the matrices and the bias; that of x is `grad` itself."""
    grad, y, gated, matrices = grad.contiguous(), y_last.contiguous(), gated.contiguous(), matrices.contiguous()
    grad_y, grad_gated = torch.empty_like(y), torch.empty_like(gated)
    grad_matrices, grad_bias = torch.zeros_like(matrices), grad.new_zeros(grad.shape[0], grad.shape[-1])
    grad_maps = table([grad_y, *grad_gated])
    call("combine_backward", *_sizes(gated), table([y, *gated]), matrices, grad, grad_maps, grad_matrices, grad_bias)
    return grad_y, grad_gated, grad_matrices.transpose(2, 3), grad_bias


def _sizes(gated: Tensor) -> tuple[int, ...]:
    """Samples, pixels, channels and the number of maps."""
    count, batch, height, width, channels = gated.shape
    return batch, height * width, channels, count + 1


def _save_for_combine(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    _, *needed, _ = inputs
    ctx.save_for_backward(*needed)


def _combine_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
    return grad, *combine_backward(grad, *ctx.saved_tensors)


combine.register_fake(lambda x_last, *_: x_last.new_empty(x_last.shape))
combine_backward.register_fake(
    lambda grad, *maps: (*(values.new_empty(values.shape) for values in maps), grad.new_empty(*grad.shape[::3]))
)
combine.register_autograd(_combine_gradients, setup_context=_save_for_combine)
