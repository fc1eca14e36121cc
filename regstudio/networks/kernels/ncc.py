"""Local normalised cross-correlation: ncc.cpp."""

from typing import Any

from torch import Tensor

from regstudio.networks.kernels.library import Operator, call


@Operator
def local_ncc(fixed: Tensor, warped: Tensor, win: int, epsilon: float, with_gradient: bool) -> tuple[Tensor, Tensor]:
    """Return the mean over the pixels of the squared NCC in `win` x `win` windows, (B,).

    `warped` is (B, 1, H, W), `fixed` as well, or one for all. With it comes the gradient by `warped`, if asked for.
    """
    means, gradient = _fake_ncc(fixed, warped, win, epsilon, with_gradient)
    fixed, (height, width) = fixed.contiguous(), warped.shape[2:]
    stride = height * width if len(fixed) > 1 else 0
    kept = gradient if with_gradient else None
    call("local_ncc", len(warped), height, width, win, epsilon, fixed, stride, warped.contiguous(), means, kept)
    return means, gradient


def _fake_ncc(fixed: Tensor, warped: Tensor, win: int, epsilon: float, with_gradient: bool) -> tuple[Tensor, Tensor]:
    return warped.new_empty(len(warped)), warped.new_empty(warped.shape if with_gradient else 0)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[None, Tensor, None, None, None]:
    (gradient,) = ctx.saved_tensors
    return None, gradient * grad[:, None, None, None], None, None, None


local_ncc.register_fake(_fake_ncc)
local_ncc.register_autograd(_backward, _save)
