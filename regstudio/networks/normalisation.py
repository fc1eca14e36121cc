"""Layer and instance normalisation over channels-last maps.

torch's own kernels spend their time on each group of a dozen numbers: of 16 channels at 256x256 on two cores, layer
norm takes 1.2 ms forward where this takes 0.6, and instance norm, as group norm, 4.0 ms backward where this takes 0.5.
Mean and variance are taken one after the other, so that nothing cancels.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

EPSILON = 1e-5  # torch's default for both
FEW_CHANNELS = 32


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_last: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        channels = x_last.shape[-1]
        rows = x_last.reshape(-1, channels)
        averaging = rows.new_full((channels, 1), 1 / channels)
        mean = rows @ averaging
        centred = rows - mean
        inverse_deviation = (centred.square() @ averaging).add_(EPSILON).rsqrt_()
        normalised = centred.mul_(inverse_deviation)
        if weight is not None and bias is not None:
            normalised.mul_(weight).add_(bias)
        ctx.save_for_backward(rows, mean, inverse_deviation, weight, bias)
        return normalised.view(x_last.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, mean, inverse_deviation, weight, bias = ctx.saved_tensors
        grad_rows, grad_weight, grad_bias = torch.ops.aten.native_layer_norm_backward(
            gradient.reshape(rows.shape),
            rows,
            rows.shape[1:],
            mean,
            inverse_deviation,
            weight,
            bias,
            ctx.needs_input_grad,
        )
        return None if grad_rows is None else grad_rows.view(gradient.shape), grad_weight, grad_bias


def layer_norm(
    x_last: Tensor, shape: tuple[int, ...], weight: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """Normalise each pixel of (B, H, W, C) over its channels; then scale by `weight` and shift by `bias`, both (C,).

    `shape` is (C,), as torch's own function wants it.
    """
    # With more channels torch's own is as fast; the ONNX exporter does not see into a Function.
    if shape[0] > FEW_CHANNELS or torch.onnx.is_in_onnx_export():
        return F.layer_norm(x_last, shape, weight, bias, EPSILON)
    normalised: Tensor = _LayerNorm.apply(x_last, weight, bias)  # type: ignore[no-untyped-call]
    return normalised


class _InstanceNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        # One group a channel is the same sum; unlike torch's instance norm it keeps channels-last memory.
        normalised, _, inverse_deviation = torch.native_group_norm(
            x, None, None, batch, channels, height * width, channels, EPSILON
        )
        ctx.save_for_backward(normalised, inverse_deviation.view(batch, channels, 1, 1))
        return normalised

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        normalised, inverse_deviation = ctx.saved_tensors
        along = (gradient * normalised).mean(dim=(2, 3), keepdim=True)
        rest = gradient - gradient.mean(dim=(2, 3), keepdim=True)
        return rest.addcmul_(normalised, along, value=-1).mul_(inverse_deviation)


def instance_norm(x: Tensor) -> Tensor:
    """Normalise each channel of each image over its pixels: (B, C, H, W)."""
    if torch.onnx.is_in_onnx_export():
        return F.instance_norm(x, eps=EPSILON)
    normalised: Tensor = _InstanceNorm.apply(x)  # type: ignore[no-untyped-call]
    return normalised
