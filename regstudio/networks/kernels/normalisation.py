"""Layer norm, and instance norm after a leaky ReLU: layer_norm.cpp, instance_norm.cpp."""

from typing import Any

import torch
from torch import Tensor

from regstudio.networks.kernels.library import Operator, call


@Operator
def layer_norm(x_last: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float) -> Tensor:
    """Normalise each pixel of (B, H, W, C) over its channels, C a multiple of 16; then scale and shift it."""
    x = x_last.contiguous()
    y = torch.empty_like(x)
    call("layer_norm", x.numel() // x.shape[-1], x.shape[-1], x, weight, bias, epsilon, y)
    return y


def _save_for_layer_norm(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x_last, weight, _, ctx.epsilon = inputs
    ctx.save_for_backward(x_last, weight)


def _layer_norm_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x_last, weight = ctx.saved_tensors
    grad, x, channels = grad.contiguous(), x_last.contiguous(), x_last.shape[-1]
    grad_x = torch.empty_like(x)
    grad_weight, grad_bias = (None, None) if weight is None else weight.new_zeros(2, channels)
    results = grad_x, grad_weight, grad_bias
    call("layer_norm_backward", x.numel() // channels, channels, x, weight, ctx.epsilon, grad, *results)
    return *results, None


layer_norm.register_fake(lambda x_last, *_: x_last.new_empty(x_last.shape))
layer_norm.register_autograd(_layer_norm_backward, _save_for_layer_norm)


@Operator
def leaky_instance_norm(x_last: Tensor, slope: float, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise each channel of leaky_relu(x) over its pixels: (B, H, W, C), C a multiple of 8.

    With it come the mean and 1 / standard deviation, (B, C), for the backward pass.
    """
    x = x_last.contiguous()
    batch, height, width, channels = x.shape
    y, mean, scale = _fake_instance_norm(x)
    call("leaky_instance_norm", batch, height * width, channels, x, slope, epsilon, y, mean, scale)
    return y, mean, scale


def _fake_instance_norm(x_last: Tensor, *_: float) -> tuple[Tensor, Tensor, Tensor]:
    channels = x_last.shape[0], x_last.shape[-1]
    return x_last.new_empty(x_last.shape), x_last.new_empty(channels), x_last.new_empty(channels)


def _save_for_instance_norm(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x_last, ctx.slope, _ = inputs
    ctx.save_for_backward(x_last, *output[1:])
    ctx.mark_non_differentiable(*output[1:])


def _instance_norm_backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, None, None]:
    x_last, mean, scale = ctx.saved_tensors
    grad, x = grad.contiguous(), x_last.contiguous()
    batch, height, width, channels = x.shape
    grad_x = torch.empty_like(x)
    call("leaky_instance_norm_backward", batch, height * width, channels, x, ctx.slope, mean, scale, grad, grad_x)
    return grad_x, None, None


leaky_instance_norm.register_fake(_fake_instance_norm)
leaky_instance_norm.register_autograd(_instance_norm_backward, _save_for_instance_norm)
