"""Bilinear warping: warp.cpp."""

from typing import Any

import torch
from torch import Tensor

from regstudio.networks.kernels.library import address, call, counts, operator


@operator
def warp(image: Tensor, flow: Tensor, border: bool) -> Tensor:
    """Return image(p + flow(p)), bilinear: (B, C, H, W), the flow (B, 2, H', W') in pixels, rows first.

    Beyond the image there are zeros, or with `border` its outermost pixels.
    """
    image, flow = _in_rows(image), _in_rows(flow)
    warped = _fake_warp(image, flow)
    call("warp", counts(*image.shape, *flow.shape[2:]), *_map(image), *_map(flow), border, *_map(warped))
    return warped


@operator
def warp_backward(grad: Tensor, image: Tensor, flow: Tensor, border: bool, of_image: bool) -> tuple[Tensor, Tensor]:
    """Return the gradients of the image and the flow; without `of_image` the first is empty."""
    grad, image, flow = _in_rows(grad), _in_rows(image), _in_rows(flow)
    grad_image = torch.zeros_like(image, memory_format=_format(image)) if of_image else image.new_empty(0)
    grad_flow = flow.new_empty(flow.shape)
    given = counts(*image.shape, *flow.shape[2:]), *_map(image), *_map(flow), border, *_map(grad)
    at, strides = _map(grad_image if of_image else image)
    call("warp_backward", *given, at if of_image else None, strides, grad_flow)
    return grad_image, grad_flow


def _in_rows(maps: Tensor) -> Tensor:
    """Return maps in which the rows follow each other, with any strides of samples, channels and pixels."""
    return maps if maps.stride(2) == maps.shape[3] * maps.stride(3) else maps.contiguous()


def _map(maps: Tensor) -> tuple[int, Any]:
    """Where (B, C, H, W) lies, and how many floats apart its samples, channels and pixels are."""
    return address(maps, strided=True), counts(maps.stride(0), maps.stride(1), maps.stride(3))


def _format(maps: Tensor) -> torch.memory_format:
    return torch.channels_last if maps.stride(1) == 1 else torch.contiguous_format


def _fake_warp(image: Tensor, flow: Tensor, border: bool = False) -> Tensor:
    shape = *image.shape[:2], *flow.shape[2:]
    return torch.empty(shape, dtype=image.dtype, device=image.device, memory_format=_format(image))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    image, flow, ctx.border = inputs
    ctx.save_for_backward(image, flow)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (image, flow), of_image = ctx.saved_tensors, ctx.needs_input_grad[0]
    grad_image, grad_flow = warp_backward(grad, image, flow, ctx.border, of_image)
    return grad_image if of_image else None, grad_flow, None


warp.register_fake(_fake_warp)
warp_backward.register_fake(
    lambda grad, image, flow, border, of_image: (
        torch.empty_like(image, memory_format=_format(image)) if of_image else image.new_empty(0),
        flow.new_empty(flow.shape),
    )
)
warp.register_autograd(_gradients, setup_context=_save)
