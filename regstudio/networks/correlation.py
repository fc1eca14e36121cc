"""The correlation of two feature maps, join_group with them: what a CMW block begins with.

Source: Meng, Feng, Bi, Kim, CVPR 2024, section 3.2.
"""

from typing import Any

import torch
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from regstudio.networks import kernels

SHIFTS = [(row, column) for row in range(3) for column in range(3)]


class _Join(torch.autograd.Function):
    """All maps written to where they stay, and a backward pass that accumulates in place.

    Autograd's own would make a zero-filled map of full size for each of the nine slices, and copy all maps once more
    to join them.
    """

    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x1: Tensor, x2: Tensor) -> Tensor:
        batch, channels, height, width = x1.shape
        padded = F.pad(x2, (1, 1, 1, 1))
        ctx.save_for_backward(x1, padded)
        join_group = x1.new_empty(batch, height, width, 2 * channels + len(SHIFTS))
        join_group[..., :channels] = x1.permute(0, 2, 3, 1)
        join_group[..., -channels:] = x2.permute(0, 2, 3, 1)
        correlated = join_group.view(-1, join_group.shape[-1])[:, channels:-channels]
        averaging = x1.new_full((channels,), 1 / channels)
        product = x1.new_empty(batch, height, width, channels)
        for number, (i, j) in enumerate(SHIFTS):
            shifted = padded[:, :, i : i + height, j : j + width]
            torch.mul(x1, shifted, out=product.permute(0, 3, 1, 2))
            torch.mv(product.view(-1, channels), averaging, out=correlated[:, number])
        return join_group.permute(0, 3, 1, 2)

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x1, padded = ctx.saved_tensors
        channels, height, width = x1.shape[1:]
        grad_x1 = gradient[:, :channels].clone(memory_format=torch.channels_last)
        grad_padded = F.pad(gradient[:, -channels:], (1, 1, 1, 1))
        # Each map is read twice: it pays to bring its numbers, which lie apart, together first.
        grads = (gradient[:, channels:-channels] / channels).contiguous().split(1, dim=1)
        for (i, j), grad in zip(SHIFTS, grads, strict=True):
            here = (slice(None), slice(None), slice(i, i + height), slice(j, j + width))
            grad_x1.addcmul_(grad, padded[here])
            grad_padded[here].addcmul_(grad, x1)
        return grad_x1, grad_padded[:, :, 1:-1, 1:-1]


def join(x1: Tensor, x2: Tensor) -> Tensor:
    """Return x1, its correlation with x2, and x2 as one map: two (B, C, H, W) -> (B, 2C + 9, H, W).

    The correlation holds the mean over channels of the product of each pixel of `x1` with its 3x3 neighbours in `x2`,
    one map a displacement, rows first; outside, `x2` is 0.
    """
    last = x1.permute(0, 2, 3, 1), x2.permute(0, 2, 3, 1)
    if all(kernels.fit(x_last, kernels.HALF_LANES) for x_last in last):
        return kernels.join(*last).permute(0, 3, 1, 2)
    if torch.onnx.is_in_onnx_export():  # which sees neither into a Function nor through out=
        padded, (height, width) = F.pad(x2, (1, 1, 1, 1)), x1.shape[2:]
        maps = [(x1 * padded[:, :, i : i + height, j : j + width]).mean(dim=1, keepdim=True) for i, j in SHIFTS]
        return torch.cat((x1, *maps, x2), dim=1)
    join_group: Tensor = _Join.apply(x1, x2)  # type: ignore[no-untyped-call]
    return join_group
