"""Channel attention: attention.cpp."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from regstudio.networks.kernels.library import call, operator


@operator
def attend(
    x_last: Tensor, y_last: Tensor, squeeze: Tensor, squeeze_bias: Tensor, excite: Tensor, excite_bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return x + y * sigmoid(excite(relu(squeeze(mean of y)))): maps (B, H, W, C), C a multiple of 8.

    With it come the mean over the pixels and what the two layers make of it, for the backward pass.
    """
    x, y = x_last.contiguous(), y_last.contiguous()
    batch, height, width, channels = y.shape
    attended, mean = torch.empty_like(x), x.new_empty(batch, channels)
    call("channel_sums", batch, height * width, channels, y, None, mean)
    mean /= height * width
    hidden = F.relu(F.linear(mean, squeeze, squeeze_bias))
    attention = torch.sigmoid(F.linear(hidden, excite, excite_bias))
    call("scale_channels", batch, height * width, channels, x, y, attention, None, attended)
    return attended, mean, hidden, attention


@operator
def attend_backward(
    grad: Tensor, y_last: Tensor, squeeze: Tensor, excite: Tensor, mean: Tensor, hidden: Tensor, attention: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of y, squeeze and its bias, excite and its bias; that of x is `grad` itself."""
    grad, y = grad.contiguous(), y_last.contiguous()
    batch, height, width, channels = y.shape
    grad_y, along = torch.empty_like(y), torch.empty_like(attention)
    call("channel_sums", batch, height * width, channels, grad, y, along)
    grad_excited = along * attention * (1 - attention)
    grad_squeezed = (grad_excited @ excite) * (hidden > 0)
    grad_mean = grad_squeezed @ squeeze / (height * width)
    call("scale_channels", batch, height * width, channels, None, grad, attention, grad_mean, grad_y)
    squeezing = grad_squeezed.t() @ mean, grad_squeezed.sum(dim=0)
    return grad_y, *squeezing, grad_excited.t() @ hidden, grad_excited.sum(dim=0)


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    _, y_last, squeeze, _, excite, _ = inputs
    ctx.save_for_backward(y_last, squeeze, excite, *output[1:])
    ctx.mark_non_differentiable(*output[1:])


def _gradients(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
    return grad, *attend_backward(grad, *ctx.saved_tensors)


attend.register_fake(
    lambda x_last, y_last, squeeze, *_: (
        x_last.new_empty(x_last.shape),
        *(x_last.new_empty(x_last.shape[0], n) for n in (squeeze.shape[1], squeeze.shape[0], squeeze.shape[1])),
    )
)
attend_backward.register_fake(
    lambda grad, y_last, squeeze, excite, *_: (
        grad.new_empty(grad.shape),
        grad.new_empty(squeeze.shape),
        grad.new_empty(squeeze.shape[0]),
        grad.new_empty(excite.shape),
        grad.new_empty(excite.shape[0]),
    )
)
attend.register_autograd(_gradients, setup_context=_save)
