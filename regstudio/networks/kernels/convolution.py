"""3x3 convolutions: convolution.cpp."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from regstudio.networks.kernels.library import BackwardOperator, Operator, call


@Operator
def convolution(x_last: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return a 3x3 convolution padded with zeros: (B, H, W, C) -> (B, H, W, C'), the weight (C', C, 3, 3)."""
    return _convolve(x_last, weight, bias, transposed=False)


@BackwardOperator
def convolution_input_gradient(grad: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient of the convolution's input."""
    return _convolve(grad, weight, None, transposed=True)


@BackwardOperator
def convolution_weight_gradients(grad: Tensor, x_last: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of the convolution's weight and bias."""
    grad, x = grad.contiguous(), x_last.contiguous()
    ins, outs = x.shape[-1], grad.shape[-1]
    grad_weight, grad_bias = x.new_empty(outs, 3, 3, ins), x.new_zeros(outs)
    call("convolution_backward", *x.shape, outs, x, grad, grad_weight, grad_bias)
    return grad_weight.permute(0, 3, 1, 2), grad_bias


def _convolve(x_last: Tensor, weight: Tensor, bias: Tensor | None, *, transposed: bool) -> Tensor:
    x, weight_last = x_last.contiguous(), weight.permute(0, 2, 3, 1).contiguous()
    outs, ins = weight.shape[:2]
    y = x.new_empty(*x.shape[:3], ins if transposed else outs)
    call("convolution", *x.shape[:3], ins, outs, x, weight_last, bias, transposed, y)
    return y


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x_last, weight, _ = inputs
    ctx.save_for_backward(x_last, weight)


def _gradients(ctx: Any, grad: Tensor) -> Sequence[Tensor | None]:
    x_last, weight = ctx.saved_tensors
    grad_x = convolution_input_gradient(grad, weight) if ctx.needs_input_grad[0] else None
    return grad_x, *convolution_weight_gradients(grad, x_last)


convolution.register_fake(lambda x_last, weight, bias: x_last.new_empty(*x_last.shape[:3], weight.shape[0]))
convolution_input_gradient.register_fake(lambda grad, weight: grad.new_empty(*grad.shape[:3], weight.shape[1]))
convolution_weight_gradients.register_fake(
    lambda grad, x_last: (
        x_last.new_empty(grad.shape[-1], 3, 3, x_last.shape[-1]).permute(0, 3, 1, 2),
        x_last.new_empty(grad.shape[-1]),
    )
)
convolution.register_autograd(_gradients, setup_context=_save)
