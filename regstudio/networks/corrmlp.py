"""CorrMLP in two dimensions: an encoder, and a decoder that refines the flow from coarse to fine.

Source: Meng, Feng, Bi, Kim, "Correlation-aware Coarse-to-fine MLPs for Deformable Medical Image Registration",
CVPR 2024, figure 2.
"""

from collections import OrderedDict
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from regstudio.networks.base import RegistrationNetwork, Transform, start_from_zero
from regstudio.networks.blocks import CMW, LEAKY_SLOPE, Expand
from regstudio.networks.ops import channels_first, channels_last, convolve, leaky_instance_norm
from regstudio.networks.warp import upsample_flow

LEVELS = 4
KEPT_PIXELS = 2**17  # of fixed images whose features are kept: those of all passes over one atlas


class Encoder(nn.Module):
    """Encode one image at 1, 1/2, 1/4 and 1/8 of its size, with 1, 2, 4 and 8 times `channels` channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [1] + [channels * 2**level for level in range(LEVELS)]
        self.levels = nn.ModuleList(_encoder_level(inside, outside) for inside, outside in pairwise(widths))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features of (B, 1, H, W), finest first: (B, 2^l * channels, H / 2^l, W / 2^l)."""
        features: list[Tensor] = []
        for level in self.levels:
            x = F.avg_pool2d(features[-1], 2) if features else image
            for convolution in cast(nn.Sequential, level):
                x = leaky_instance_norm(_convolve(x, cast(nn.Conv2d, convolution)), LEAKY_SLOPE)
            features.append(x)
        return features


def _encoder_level(in_channels: int, channels: int) -> nn.Sequential:
    # Numbered as they were when the first checkpoints were saved.
    convolutions = {
        "0": nn.Conv2d(in_channels, channels, 3, padding=1),
        "3": nn.Conv2d(channels, channels, 3, padding=1),
    }
    return nn.Sequential(OrderedDict(convolutions))


def _convolve(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Convolve (B, C, H, W)."""
    return channels_first(convolve(channels_last(x), convolution))


class _Encoded(NamedTuple):
    """The features of a fixed image, and the state of the network that made them."""

    state: tuple[object, ...]
    image: Tensor
    features: list[Tensor]


class CorrMLP(RegistrationNetwork):
    """Predict the flow that warps `moving` onto `fixed`, level by level.

    `encoder_channels` and `decoder_channels` are the widths at full size (the paper's defaults: 1,276,890
    parameters). `gradient_checkpointing` trades a second forward pass of each block for memory while training.
    """

    multiple = 2 ** (LEVELS - 1)

    def __init__(
        self,
        encoder_channels: int = 8,
        decoder_channels: int = 16,
        *,
        transform: Transform = "displacement",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__(transform)
        self.gradient_checkpointing = gradient_checkpointing
        self._encoded: list[_Encoded] = []
        features = [encoder_channels * 2**level for level in range(LEVELS)]
        widths = [decoder_channels * 2**level for level in range(LEVELS)]
        self.encoder = Encoder(encoder_channels)
        self.image_blocks = nn.ModuleList(CMW(inside, width) for inside, width in zip(features, widths, strict=True))
        self.step_blocks = nn.ModuleList(CMW(width, width) for width in widths[:-1])
        self.expands = nn.ModuleList(Expand(width) for width in widths[1:])
        self.heads = nn.ModuleList(nn.Conv2d(width, 2, 3, padding=1) for width in widths)
        for head in self.heads:
            start_from_zero(head)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs

    def compute_field(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Return the decoder's last flow."""
        return self._decode(self._encode_fixed(fixed), self._encode(moving))

    def _encode_fixed(self, image: Tensor) -> list[Tensor]:
        """Encode the fixed image; of a network whose weights are frozen, the last ones are known already."""
        parameters = list(self.encoder.parameters())
        # An optimizer's changes are not counted, nor are those of the inference mode's tensors.
        changing = any(parameter.requires_grad or parameter.is_inference() for parameter in parameters)
        # To compare two images, a GPU would have to be waited for; in a batch, the fixed one costs it little.
        if changing or image.is_cuda or torch.is_grad_enabled() or torch.onnx.is_in_onnx_export():
            return self._encode(image)
        state = (self.precision, image.device, image.dtype, *(parameter._version for parameter in parameters))
        known = (k for k in self._encoded if k.state == state and torch.equal(k.image, image))
        used = next(known, None) or _Encoded(state, image.clone(), self._encode(image))
        others = [k for k in self._encoded if k is not used]
        pixels = accumulate((k.image.numel() for k in others), initial=image.numel())
        fitting = [k for k, sum_ in zip(others, list(pixels)[1:], strict=True) if sum_ <= KEPT_PIXELS]
        self._encoded = [used, *fitting]  # a new list, as other threads may look at the old one
        return used.features

    def _encode(self, image: Tensor) -> list[Tensor]:
        features: list[Tensor] = self._run(self.encoder, image.contiguous(memory_format=torch.channels_last))
        return features

    def _decode(self, fixed: list[Tensor], moving: list[Tensor]) -> Tensor:
        fixed = [f.expand_as(m) for f, m in zip(fixed, moving, strict=True)]
        x = self._run(self.image_blocks[-1], fixed[-1], moving[-1])
        flow = self._head(LEVELS - 1, x)
        for level in reversed(range(LEVELS - 1)):
            upsampled = upsample_flow(flow)
            # grid_sample leaves channels-last memory, in which everything from here on is faster.
            warped = self.warp(moving[level], upsampled).contiguous(memory_format=torch.channels_last)
            joint = self._run(self.image_blocks[level], fixed[level], warped)
            x = self._run(self.step_blocks[level], joint, self.expands[level](x))
            flow = self._head(level, x) + upsampled
        return flow

    def _head(self, level: int, x: Tensor) -> Tensor:
        """The flow of a level, as precise as the weights: in half precision, ten pixels are known to a twentieth."""
        head = cast(nn.Conv2d, self.heads[level])
        with torch.autocast(x.device.type, enabled=False):
            return _convolve(x.to(head.weight.dtype), head)

    def _run(self, block: nn.Module, *inputs: Tensor) -> Any:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False)
        return block(*inputs)
