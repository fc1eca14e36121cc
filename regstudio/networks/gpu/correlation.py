"""Two maps with their correlation in 3x3 neighbourhoods as one, in one pass; see ops.join."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 2048  # numbers of a tile


@triton.jit
def _pixels(height, width, pixels, ROWS: tl.constexpr):
    """The pixels of a program: their number in the batch, row, column, and whether they are there."""
    pixel = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    return pixel, (pixel // width) % height, pixel % width, pixel < pixels


@triton.jit
def _forward(x1, x2, out, height, width, pixels, CHANNELS: tl.constexpr, ROWS: tl.constexpr):
    pixel, y, x, inside = _pixels(height, width, pixels, ROWS)
    channel = tl.arange(0, CHANNELS)
    first = tl.load(x1 + pixel[:, None] * CHANNELS + channel[None, :], mask=inside[:, None], other=0.0).to(tl.float32)
    place = out + pixel * (2 * CHANNELS + 9)
    tl.store(place[:, None] + channel[None, :], first.to(out.dtype.element_ty), mask=inside[:, None])
    for number in tl.static_range(9):
        down = number // 3 - 1
        right = number % 3 - 1
        seen = inside & (y + down >= 0) & (y + down < height) & (x + right >= 0) & (x + right < width)
        at = (pixel + down * width + right)[:, None] * CHANNELS + channel[None, :]
        neighbour = tl.load(x2 + at, mask=seen[:, None], other=0.0)
        mean = tl.sum(first * neighbour.to(tl.float32), 1) / CHANNELS
        tl.store(place + CHANNELS + number, mean.to(out.dtype.element_ty), mask=inside)
        if number == 4:
            second = place[:, None] + CHANNELS + 9 + channel[None, :]
            tl.store(second, neighbour.to(out.dtype.element_ty), mask=inside[:, None])


@triton.jit
def _backward(x1, x2, d_out, d1, d2, height, width, pixels, CHANNELS: tl.constexpr, ROWS: tl.constexpr):
    pixel, y, x, inside = _pixels(height, width, pixels, ROWS)
    channel = tl.arange(0, CHANNELS)
    joined: tl.constexpr = 2 * CHANNELS + 9
    place = d_out + pixel * joined
    of_first = tl.load(place[:, None] + channel[None, :], mask=inside[:, None], other=0.0).to(tl.float32)
    of_second = tl.load(place[:, None] + CHANNELS + 9 + channel[None, :], mask=inside[:, None], other=0.0).to(
        tl.float32
    )
    for number in tl.static_range(9):
        down = number // 3 - 1
        right = number % 3 - 1
        seen = inside & (y + down >= 0) & (y + down < height) & (x + right >= 0) & (x + right < width)
        at = (pixel + down * width + right)[:, None] * CHANNELS + channel[None, :]
        slope = tl.load(place + CHANNELS + number, mask=inside, other=0.0).to(tl.float32) / CHANNELS
        of_first += slope[:, None] * tl.load(x2 + at, mask=seen[:, None], other=0.0).to(tl.float32)
        # This pixel of x2 is the neighbour of those that lie the other way.
        seen = inside & (y - down >= 0) & (y - down < height) & (x - right >= 0) & (x - right < width)
        other = pixel - down * width - right
        slope = tl.load(d_out + other * joined + CHANNELS + number, mask=seen, other=0.0).to(tl.float32) / CHANNELS
        at = other[:, None] * CHANNELS + channel[None, :]
        of_second += slope[:, None] * tl.load(x1 + at, mask=seen[:, None], other=0.0).to(tl.float32)
    at = pixel[:, None] * CHANNELS + channel[None, :]
    tl.store(d1 + at, of_first.to(d1.dtype.element_ty), mask=inside[:, None])
    tl.store(d2 + at, of_second.to(d2.dtype.element_ty), mask=inside[:, None])


class Join(torch.autograd.Function):
    """Two maps (B, H, W, C) of one type -> (B, H, W, 2C + 9) of that type; the correlation is computed in float32."""

    @staticmethod
    def forward(ctx: Any, x1: Tensor, x2: Tensor) -> Tensor:
        """Compute the result, and keep what its gradient needs."""
        x1, x2 = x1.contiguous(), x2.contiguous()
        batch, height, width, channels = x1.shape
        out = x1.new_empty((batch, height, width, 2 * channels + 9))
        _forward[_grid(x1)](x1, x2, out, height, width, batch * height * width, channels, TILE // channels)
        ctx.save_for_backward(x1, x2)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of the inputs."""
        x1, x2 = ctx.saved_tensors
        batch, height, width, channels = x1.shape
        d_out, d1, d2 = gradients[0].contiguous(), torch.empty_like(x1), torch.empty_like(x2)
        _backward[_grid(x1)](x1, x2, d_out, d1, d2, height, width, batch * height * width, channels, TILE // channels)
        return d1, d2


def _grid(x: Tensor) -> tuple[int]:
    return (triton.cdiv(x.numel(), TILE),)
