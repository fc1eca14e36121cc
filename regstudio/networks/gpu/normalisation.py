"""Layer norm over few channels: a tile of many pixels for each program, where torch takes one pixel."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 2048  # numbers of a tile
PROGRAMS = 8  # of the backward pass for each multiprocessor


@triton.jit
def _normalised(x, at, inside, epsilon, CHANNELS: tl.constexpr):
    values = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    centred = values - tl.sum(values, 1)[:, None] / CHANNELS
    scale = 1 / tl.sqrt(tl.sum(centred * centred, 1)[:, None] / CHANNELS + epsilon)
    return centred * scale, scale


@triton.jit
def _forward(x, weight, bias, y, rows, epsilon, CHANNELS: tl.constexpr, ROWS: tl.constexpr, AFFINE: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    channel = tl.arange(0, CHANNELS)
    at, inside = row[:, None] * CHANNELS + channel[None, :], (row < rows)[:, None]
    normalised, _ = _normalised(x, at, inside, epsilon, CHANNELS)
    if AFFINE:
        normalised = normalised * tl.load(weight + channel)[None, :] + tl.load(bias + channel)[None, :]
    tl.store(y + at, normalised.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    x, weight, dy, dx, partial, rows, epsilon, CHANNELS: tl.constexpr, ROWS: tl.constexpr, AFFINE: tl.constexpr
):
    channel = tl.arange(0, CHANNELS)
    d_weight = tl.zeros((CHANNELS,), tl.float32)
    d_bias = tl.zeros((CHANNELS,), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(rows, ROWS), tl.num_programs(0)):
        row = tl.cast(tile, tl.int64) * ROWS + tl.arange(0, ROWS)
        at, inside = row[:, None] * CHANNELS + channel[None, :], (row < rows)[:, None]
        normalised, scale = _normalised(x, at, inside, epsilon, CHANNELS)
        slope = tl.load(dy + at, mask=inside, other=0.0).to(tl.float32)
        if AFFINE:
            d_weight += tl.sum(slope * normalised, 0)
            d_bias += tl.sum(slope, 0)
            slope = slope * tl.load(weight + channel)[None, :]
        common = tl.sum(slope, 1)[:, None] / CHANNELS
        along = tl.sum(slope * normalised, 1)[:, None] / CHANNELS
        slope = scale * (slope - common - normalised * along)
        tl.store(dx + at, slope.to(dx.dtype.element_ty), mask=inside)
    if AFFINE:
        place = partial + tl.program_id(0) * 2 * CHANNELS + channel
        tl.store(place, d_weight)
        tl.store(place + CHANNELS, d_bias)


class LayerNorm(torch.autograd.Function):
    """Layer norm of (..., C) with or without scale and shift, computed in float32, with the result in x's type."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float) -> Tensor:
        """Compute the result, and keep what its gradient needs."""
        x = x.contiguous()
        channels = x.shape[-1]
        rows, y = x.numel() // channels, torch.empty_like(x)
        tile = TILE // channels
        _forward[(triton.cdiv(rows, tile),)](
            x, weight, bias, y, rows, epsilon, CHANNELS=channels, ROWS=tile, AFFINE=weight is not None
        )
        ctx.save_for_backward(x, weight)
        ctx.epsilon = epsilon
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the inputs."""
        x, weight = ctx.saved_tensors
        channels = x.shape[-1]
        rows, dy, dx = x.numel() // channels, gradients[0].contiguous(), torch.empty_like(x)
        tile = TILE // channels
        programs = min(triton.cdiv(rows, tile), PROGRAMS * multiprocessors(x.device))
        partial = x.new_empty((programs, 2, channels), dtype=torch.float32)
        _backward[(programs,)](
            x, weight, dy, dx, partial, rows, ctx.epsilon, CHANNELS=channels, ROWS=tile, AFFINE=weight is not None
        )
        if weight is None:
            return dx, None, None, None
        d_weight, d_bias = partial.sum(dim=0)
        return dx, d_weight, d_bias, None


def multiprocessors(device: torch.device) -> int:
    """Return how many multiprocessors a GPU has; of the interpreter, which runs on the CPU, 2."""
    if device.type != "cuda":
        return 2
    return int(torch.cuda.get_device_properties(device).multi_processor_count)
