"""Images seen through a flow, and flows integrated by scaling and squaring: flows.cpp."""

from typing import Any

import torch
from torch import Tensor

from regstudio.networks.kernels.library import Operator, call


@Operator
def warp(image: Tensor, flow: Tensor, border: bool) -> Tensor:
    """Return image(p + flow(p)), bilinear: (B, C, H, W) through (B, 2, H', W'); beyond are zeros, or the border.

    Its gradient is that by the flow alone."""
    warped = _fake_warp(image, flow)
    call("warp", *image.shape, *flow.shape[2:], image.contiguous(), flow.contiguous(), border, warped)
    return warped


def _fake_warp(image: Tensor, flow: Tensor, *_: bool) -> Tensor:
    return image.new_empty(*image.shape[:2], *flow.shape[2:])


def _save_for_warp(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
    image, flow, ctx.border = inputs
    ctx.save_for_backward(image, flow)


def _warp_backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:
    image, flow = (saved.contiguous() for saved in ctx.saved_tensors)
    grad_flow = torch.empty_like(flow)
    call("warp_backward", *image.shape, *flow.shape[2:], image, flow, ctx.border, grad.contiguous(), grad_flow)
    return None, grad_flow, None


warp.register_fake(_fake_warp)
warp.register_autograd(_warp_backward, _save_for_warp)


@Operator
def integrate(velocity: Tensor, steps: int, with_history: bool) -> tuple[Tensor, Tensor]:
    """Return the flow of a velocity field (B, 2, H, W): divided by 2^steps, then composed with itself `steps` times.

    H and W are at least 2, `steps` is at least 1. With it come, if the backward pass asks for them, the
    flows before each composition, (steps, B, H, W, 2); otherwise the last two.
    """
    flow, history = _fake_integrate(velocity, steps, with_history)
    batch, _, height, width = velocity.shape
    call("integrate", batch, height, width, steps, len(history), velocity.contiguous(), history, flow)
    return flow, history


def _fake_integrate(velocity: Tensor, steps: int, with_history: bool) -> tuple[Tensor, Tensor]:
    batch, _, height, width = velocity.shape
    kept = steps if with_history else min(steps, 2)
    return velocity.new_empty(velocity.shape), velocity.new_empty(kept, batch, height, width, 2)


def _save_for_integrate(ctx: Any, inputs: tuple[Tensor, int, bool], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])


def _integrate_backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
    (history,) = ctx.saved_tensors
    grad, grad_velocity = grad.contiguous(), grad.new_empty(grad.shape)
    steps, batch, height, width, _ = history.shape
    call("integrate_backward", batch, height, width, steps, history, grad, grad_velocity)
    return grad_velocity, None, None


integrate.register_fake(_fake_integrate)
integrate.register_autograd(_integrate_backward, _save_for_integrate)
