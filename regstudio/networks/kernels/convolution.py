"""3x3 convolutions: convolution.cpp."""

from typing import Any

from torch import Tensor

from regstudio.networks.kernels.library import Operator, call


@Operator
def convolution(x_last: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return a 3x3 convolution padded with zeros: (B, H, W, C) -> (B, H, W, C'), the weight (C', C, 3, 3)."""
    return _convolve(x_last, weight, bias, transposed=False)


def _convolve(x_last: Tensor, weight: Tensor, bias: Tensor | None, *, transposed: bool) -> Tensor:
    x, weight_last = x_last.contiguous(), weight.permute(0, 2, 3, 1).contiguous()
    outs, ins = weight.shape[:2]
    y = x.new_empty(*x.shape[:3], ins if transposed else outs)
    call("convolution", *x.shape[:3], ins, outs, x, weight_last, bias, transposed, y)
    return y


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x_last, weight, _ = inputs
    ctx.save_for_backward(x_last, weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x_last, weight = ctx.saved_tensors
    grad_x = _convolve(grad, weight, None, transposed=True) if ctx.needs_input_grad[0] else None
    grad, x = grad.contiguous(), x_last.contiguous()
    outs, ins = weight.shape[:2]
    grad_weight, grad_bias = x.new_empty(outs, 3, 3, ins), x.new_zeros(outs)
    call("convolution_backward", *x.shape, outs, x, grad, grad_weight, grad_bias)
    return grad_x, grad_weight.permute(0, 3, 1, 2), grad_bias


convolution.register_fake(lambda x_last, weight, bias: x_last.new_empty(*x_last.shape[:3], weight.shape[0]))
convolution.register_autograd(_backward, _save)
