"""Two maps joined with their correlation: join.cpp."""

from typing import Any

import torch
from torch import Tensor

from regstudio.networks.kernels.library import Operator, address, call

SHIFTS = 9


@Operator
def join(x1_last: Tensor, x2_last: Tensor) -> Tensor:
    """Return x1, its correlation with its 3x3 neighbours in x2, and x2 as one map: (B, H, W, 2C + 9).

    Both are (B, H, W, C), C a multiple of 8; the samples of `x1_last` may all be one.
    """
    x1, x2 = _in_samples(x1_last), x2_last.contiguous()
    joined = _fake_join(x1, x2)
    call("join", *x2.shape, address(x1, strided=True), x1.stride(0), x2, joined)
    return joined


def _in_samples(x_last: Tensor) -> Tensor:
    """Return a map whose samples are contiguous, each for itself."""
    return x_last if x_last[0].is_contiguous() else x_last.contiguous()


def _fake_join(x1_last: Tensor, x2_last: Tensor) -> Tensor:
    return x2_last.new_empty(*x2_last.shape[:3], 2 * x2_last.shape[3] + SHIFTS)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    x1_last, x2_last = ctx.saved_tensors
    grad, x1, x2 = grad.contiguous(), _in_samples(x1_last), x2_last.contiguous()
    grad_x1, grad_x2 = torch.empty_like(x2), torch.empty_like(x2)
    call("join_backward", *x2.shape, address(x1, strided=True), x1.stride(0), x2, grad, grad_x1, grad_x2)
    return grad_x1, grad_x2


join.register_fake(_fake_join)
join.register_autograd(_backward, _save)
