"""The gated MLPs over windows, each as one kernel that reads a map once and writes one; see ops._gated_window.

A tile is 64 rows of whole windows side by side: 7 of 3x3, 2 of 5x5, 1 of 7x7 pixels. Mixing the positions of a window
is then a product with a matrix of 64x64, block by block. Programs take many tiles each, so that the gradients of the
weights are summed in registers.
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from regstudio.networks.gpu.normalisation import multiprocessors

ROWS = 64
PROGRAMS = 4  # for each multiprocessor


@triton.jit
def _gelu(x):
    return 0.5 * x * (1 + tl.erf(x * 0.7071067811865476))


@triton.jit
def _gelu_slope(x):
    return 0.5 * (1 + tl.erf(x * 0.7071067811865476)) + x * tl.exp(-0.5 * x * x) * 0.3989422804014327


@triton.jit
def _product(a, b, HALF: tl.constexpr):
    if HALF:
        return tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16))
    return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="tf32x3")


@triton.jit
def _places(
    tile,
    count,
    height,
    width,
    SIDE: tl.constexpr,
    TOGETHER: tl.constexpr,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Where the rows of a tile lie in a map, whether they do, and in which image."""
    area: tl.constexpr = SIDE * SIDE
    row = tl.arange(0, ROWS)
    window, position = tile * TOGETHER + row // area, row % area
    columns = tl.cdiv(width, SIDE)
    of_image = tl.cdiv(height, SIDE) * columns
    image, rest = window // of_image, window % of_image
    y = (rest // columns) * SIDE + position // SIDE
    x = (rest % columns) * SIDE + position % SIDE
    inside = (row < TOGETHER * area) & (window < count) & (y < height) & (x < width)
    at = ((image.to(tl.int64) * height + y) * width + x) * CHANNELS
    channel = tl.arange(0, CHANNELS)
    return at[:, None] + channel[None, :], inside[:, None], image


@triton.jit
def _mixing(mix, SIDE: tl.constexpr, TOGETHER: tl.constexpr, ROWS: tl.constexpr):
    """The matrix (ROWS, ROWS) that mixes the positions of each window."""
    area: tl.constexpr = SIDE * SIDE
    row, column = tl.arange(0, ROWS)[:, None], tl.arange(0, ROWS)[None, :]
    same = (row // area == column // area) & (row < TOGETHER * area) & (column < TOGETHER * area)
    return tl.load(mix + (row % area) * area + column % area, mask=same, other=0.0)


@triton.jit
def _square(weight, CHANNELS: tl.constexpr):
    """A matrix of a linear layer (out, in)."""
    channel = tl.arange(0, CHANNELS)
    return tl.load(weight + channel[:, None] * CHANNELS + channel[None, :])


@triton.jit
def _forward(
    x,
    weight,
    bias,
    scale,
    shift,
    mix,
    mix_bias,
    out,
    count,
    height,
    width,
    epsilon,
    SIDE: tl.constexpr,
    TOGETHER: tl.constexpr,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    HALF: tl.constexpr,
):
    channel, row = tl.arange(0, CHANNELS), tl.arange(0, ROWS)
    to_u, to_v = tl.trans(_square(weight, CHANNELS)), tl.trans(_square(weight + CHANNELS * CHANNELS, CHANNELS))
    mixing = _mixing(mix, SIDE, TOGETHER, ROWS)
    mixing_bias = tl.load(mix_bias + row % (SIDE * SIDE))[:, None]
    for tile in range(tl.program_id(0), tl.cdiv(count, TOGETHER), tl.num_programs(0)):
        at, inside, _ = _places(tile, count, height, width, SIDE, TOGETHER, CHANNELS, ROWS)
        seen = tl.load(x + at, mask=inside, other=0.0)
        u = _gelu(_product(seen, to_u, HALF) + tl.load(bias + channel)[None, :])
        v = _gelu(_product(seen, to_v, HALF) + tl.load(bias + CHANNELS + channel)[None, :])
        centred = v - tl.sum(v, 1)[:, None] / CHANNELS
        length = 1 / tl.sqrt(tl.sum(centred * centred, 1)[:, None] / CHANNELS + epsilon)
        normalised = centred * length * tl.load(scale + channel)[None, :] + tl.load(shift + channel)[None, :]
        mixed = _product(mixing, normalised, HALF) + mixing_bias
        tl.store(out + at, (u * (mixed + 1)).to(out.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    x,
    weight,
    bias,
    scale,
    shift,
    mix,
    mix_bias,
    d_out,
    d_sums,
    dx,
    partial,
    count,
    height,
    width,
    epsilon,
    SIDE: tl.constexpr,
    TOGETHER: tl.constexpr,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    HALF: tl.constexpr,
    ADD: tl.constexpr,
):
    channel, row = tl.arange(0, CHANNELS), tl.arange(0, ROWS)
    w_u, w_v = _square(weight, CHANNELS), _square(weight + CHANNELS * CHANNELS, CHANNELS)
    mixing = _mixing(mix, SIDE, TOGETHER, ROWS)
    mixing_bias = tl.load(mix_bias + row % (SIDE * SIDE))[:, None]
    sum_wu = tl.zeros((CHANNELS, CHANNELS), tl.float32)
    sum_wv = tl.zeros((CHANNELS, CHANNELS), tl.float32)
    sum_mix = tl.zeros((ROWS, ROWS), tl.float32)
    sum_mix_bias = tl.zeros((ROWS,), tl.float32)
    sum_bu = tl.zeros((CHANNELS,), tl.float32)
    sum_bv = tl.zeros((CHANNELS,), tl.float32)
    sum_scale = tl.zeros((CHANNELS,), tl.float32)
    sum_shift = tl.zeros((CHANNELS,), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(count, TOGETHER), tl.num_programs(0)):
        at, inside, image = _places(tile, count, height, width, SIDE, TOGETHER, CHANNELS, ROWS)
        seen = tl.load(x + at, mask=inside, other=0.0)
        u_raw = _product(seen, tl.trans(w_u), HALF) + tl.load(bias + channel)[None, :]
        v_raw = _product(seen, tl.trans(w_v), HALF) + tl.load(bias + CHANNELS + channel)[None, :]
        v = _gelu(v_raw)
        centred = v - tl.sum(v, 1)[:, None] / CHANNELS
        length = 1 / tl.sqrt(tl.sum(centred * centred, 1)[:, None] / CHANNELS + epsilon)
        plain = centred * length
        factor = tl.load(scale + channel)[None, :]
        normalised = plain * factor + tl.load(shift + channel)[None, :]
        mixed = _product(mixing, normalised, HALF) + mixing_bias

        slope = tl.load(d_out + at, mask=inside, other=0.0).to(tl.float32)
        slope += tl.load(d_sums + image[:, None] * CHANNELS + channel[None, :], mask=inside, other=0.0)
        d_mixed = slope * _gelu(u_raw)
        sum_mix += _product(d_mixed, tl.trans(normalised), HALF)
        sum_mix_bias += tl.sum(d_mixed, 1)
        d_normalised = _product(tl.trans(mixing), d_mixed, HALF)
        sum_scale += tl.sum(d_normalised * plain, 0)
        sum_shift += tl.sum(d_normalised, 0)
        d_plain = d_normalised * factor
        common = tl.sum(d_plain, 1)[:, None] / CHANNELS
        along = tl.sum(d_plain * plain, 1)[:, None] / CHANNELS
        d_v = length * (d_plain - common - plain * along) * _gelu_slope(v_raw)
        d_u = slope * (mixed + 1) * _gelu_slope(u_raw)
        sum_wu += _product(tl.trans(d_u), seen, HALF)
        sum_wv += _product(tl.trans(d_v), seen, HALF)
        sum_bu += tl.sum(d_u, 0)
        sum_bv += tl.sum(d_v, 0)
        d_seen = _product(d_u, w_u, HALF) + _product(d_v, w_v, HALF)
        if ADD:
            d_seen += tl.load(dx + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(dx + at, d_seen.to(dx.dtype.element_ty), mask=inside)

    size: tl.constexpr = 2 * CHANNELS * CHANNELS + 4 * CHANNELS + ROWS * ROWS + ROWS
    place = partial + tl.program_id(0) * size
    at_weight = channel[:, None] * CHANNELS + channel[None, :]
    tl.store(place + at_weight, sum_wu)
    tl.store(place + CHANNELS * CHANNELS + at_weight, sum_wv)
    place += 2 * CHANNELS * CHANNELS
    tl.store(place + channel, sum_bu)
    tl.store(place + CHANNELS + channel, sum_bv)
    tl.store(place + 2 * CHANNELS + channel, sum_scale)
    tl.store(place + 3 * CHANNELS + channel, sum_shift)
    place += 4 * CHANNELS
    tl.store(place + row[:, None] * ROWS + row[None, :], sum_mix)
    tl.store(place + ROWS * ROWS + row, sum_mix_bias)


class _Gates(torch.autograd.Function):
    """All gates of a map (B, H, W, C): maps (N, B, H, W, C), and their sums over the pixels (N, B, C) in float32.

    Of each gate: the expansion's weight (2C, C) and bias (2C,), scale and shift of the norm (C,), weight (P, P) and
    bias (P,) of the mixing.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, sides: Sequence[int], epsilon: float, *weights: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the result, and keep what its gradient needs."""
        x = x.contiguous()
        weights = tuple(weight.contiguous() for weight in weights)
        gated = x.new_empty((len(sides), *x.shape))
        for number, side in enumerate(sides):
            count, grid, options = _launch(x, side)
            _forward[grid](
                x, *weights[6 * number : 6 * number + 6], gated[number], count, *x.shape[1:3], epsilon, **options
            )
        ctx.save_for_backward(x, *weights)
        ctx.sides, ctx.epsilon = sides, epsilon
        return gated, gated.sum(dim=(2, 3), dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """Return the gradients of the inputs."""
        x, *weights = ctx.saved_tensors
        d_gated, d_sums = (gradient.contiguous() for gradient in gradients)
        channels, dx = x.shape[3], torch.empty_like(x)
        found: list[Tensor] = []
        for number, side in enumerate(ctx.sides):
            count, grid, options = _launch(x, side)
            sizes = (2 * channels**2, 2 * channels, channels, channels, ROWS**2, ROWS)
            partial = x.new_empty((grid[0], sum(sizes)), dtype=torch.float32)
            _backward[grid](
                x,
                *weights[6 * number : 6 * number + 6],
                d_gated[number],
                d_sums[number],
                dx,
                partial,
                count,
                *x.shape[1:3],
                ctx.epsilon,
                ADD=number > 0,
                **options,
            )
            weight, bias, scale, shift, mix, mix_bias = partial.sum(dim=0).split(sizes)
            area, together = side**2, ROWS // side**2
            blocks = mix.view(ROWS, ROWS)[: together * area, : together * area].view(together, area, together, area)
            found += [
                weight.view(2 * channels, channels),
                bias,
                scale,
                shift,
                blocks.diagonal(dim1=0, dim2=2).sum(dim=2),
                mix_bias[: together * area].view(together, area).sum(dim=0),
            ]
        return dx, None, None, *found


def gated_windows(
    normalised: Tensor, sides: Sequence[int], layers: Sequence[Sequence[nn.Module]], epsilon: float
) -> tuple[Tensor, Tensor]:
    """Return the gated maps (N, B, H, W, C), of the type of `normalised`, and their sums over the pixels (N, B, C).

    `layers` are, of each gate, the norm, the expansion, the gate's norm, and the mixing.
    """
    weights: list[Tensor] = []
    with torch.autocast("cuda", enabled=False):
        for norm, expand, gate_norm, mix in layers:
            # The norm's scale and shift become part of the expansion.
            weights += [expand.weight * norm.weight, expand.bias + expand.weight @ norm.bias]  # type: ignore[operator]
            weights += [gate_norm.weight, gate_norm.bias, mix.weight, mix.bias]  # type: ignore[list-item]
        gated, sums = _Gates.apply(normalised, tuple(sides), epsilon, *weights)
    return gated, sums


def _launch(x: Tensor, side: int) -> tuple[int, tuple[int], dict[str, Any]]:
    """The number of windows, the grid of programs, and what a kernel is compiled for."""
    batch, height, width, channels = x.shape
    count, together = batch * -(-height // side) * -(-width // side), ROWS // side**2
    programs = min(-(-count // together), PROGRAMS * multiprocessors(x.device))
    options = {
        "SIDE": side,
        "TOGETHER": together,
        "CHANNELS": channels,
        "ROWS": ROWS,
        "HALF": x.dtype == torch.bfloat16,
    }
    return count, (programs,), {**options, "num_warps": 4 if channels < 64 else 8}
