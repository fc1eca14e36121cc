"""The parts that CorrMLP is built of: correlation, windowed MLPs, attention, and the step between two levels.

Source: Meng, Feng, Bi, Kim, "Correlation-aware Coarse-to-fine MLPs for Deformable Medical Image Registration",
CVPR 2024, section 3. Feature maps are (B, C, H, W) between the blocks and best kept in channels-last memory; inside a
block, names that end in `_last` are the same memory seen as (B, H, W, C), where layer norms and linear layers act on
each pixel without a copy.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regstudio.networks import kernels
from regstudio.networks.correlation import SHIFTS, join
from regstudio.networks.normalisation import EPSILON, layer_norm

WINDOWS = (3, 5, 7)
LEAKY_SLOPE = 0.2


def channels_last(x: Tensor) -> Tensor:
    """Return (B, C, H, W) as (B, H, W, C), a view."""
    return x.permute(0, 2, 3, 1)


def channels_first(x: Tensor) -> Tensor:
    """Return (B, H, W, C) as (B, C, H, W), a view in channels-last memory."""
    return x.permute(0, 3, 1, 2)


def _normalised(x_last: Tensor, norm: nn.LayerNorm) -> Tensor:
    return layer_norm(x_last, norm.normalized_shape, norm)


def pointwise(x_last: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply a linear layer to each pixel: (B, H, W, C) -> (B, H, W, C'), weight (C', C).

    As a 1x1 convolution over the image's rows as a batch: on the CPU up to 7 times faster than F.linear, which copies
    the bias to each pixel first. A batch of at least 16 makes torch take its fast convolution on one thread, too.
    """
    batch, height, width, channels = x_last.shape
    rows = channels_first(x_last.reshape(batch * height, 1, width, channels))
    return channels_last(F.conv2d(rows, weight[:, :, None, None], bias)).reshape(batch, height, width, -1)


def convolve(x_last: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Apply a 3x3 convolution that pads with zeros: (B, H, W, C) -> (B, H, W, C')."""
    if convolution.bias is not None and kernels.fit_convolution(x_last):
        return kernels.convolution(x_last, convolution.weight, convolution.bias)
    return channels_last(convolution(channels_first(x_last)))


class GatedMLP(nn.Module):
    """Gate each pixel by the others of its window of `window` x `window` pixels; without its last linear layer.

    `MultiWindow` applies `project` itself, together with those of the other windows.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, 2 * channels)
        self.gate_norm = nn.LayerNorm(channels)
        self.mix = nn.Linear(window**2, window**2)
        self.project = nn.Linear(channels, channels)

    @property
    def weights(self) -> list[Tensor]:
        """Weight and bias of each layer, in their order."""
        layers = self.norm, self.expand, self.gate_norm, self.mix
        return [weight for layer in layers for weight in (layer.weight, layer.bias)]

    def forward(self, normalised: Tensor) -> Tensor:
        """Return u * (v + 1) of what is layer-normalised but not yet scaled and shifted: both (B, H, W, C)."""
        expand = self.expand.weight * self.norm.weight, self.expand.bias + self.expand.weight @ self.norm.bias
        height, width = normalised.shape[1:3]
        # Two products rather than one that is then split: each half stays contiguous, forward and backward.
        (weight_u, weight_v), (bias_u, bias_v) = (part.chunk(2) for part in expand)
        u = F.gelu(pointwise(normalised, weight_u, bias_u))
        # A window pads its input with zeros, which normalise to zero.
        padded = F.pad(normalised, (0, 0, 0, -width % self.window, 0, -height % self.window))
        v = _normalised(F.gelu(pointwise(padded, weight_v, bias_v)), self.gate_norm)
        return u * self._mix_plus_one(v)[:, :height, :width]

    def _mix_plus_one(self, v: Tensor) -> Tensor:
        """The dense over window positions, as one product of (n, n) with all pixels that share a position."""
        batch, height, width, channels = v.shape
        size = self.window
        rows, columns = height // size, width // size
        by_position = v.view(batch, rows, size, columns, size, channels).permute(2, 4, 0, 1, 3, 5)
        mixed = torch.addmm(self.mix.bias[:, None] + 1, self.mix.weight, by_position.reshape(size**2, -1))
        mixed = mixed.view(size, size, batch, rows, columns, channels).permute(2, 3, 0, 4, 1, 5)
        return mixed.reshape(batch, height, width, channels)


class MultiWindow(nn.Module):
    """Mix each pixel with windows of 3, 5 and 7 pixels around it, weighing the three for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.branches = nn.ModuleList(GatedMLP(channels, window) for window in WINDOWS)
        self.weigh = nn.Sequential(
            nn.Linear(channels, channels // 4), nn.GELU(), nn.Linear(channels // 4, len(WINDOWS) * channels)
        )
        self.project = nn.Linear(channels, channels)

    @property
    def _branches(self) -> list[GatedMLP]:
        return [cast(GatedMLP, branch) for branch in self.branches]

    def forward(self, x_last: Tensor) -> Tensor:
        """Return a map like `x_last`, (B, H, W, C).

        With y the normalised input, h_i the gated values of branch i and P_i its projection, the branches are
        y + P_i h_i and the weights w_i sum to 1 over them, so

            project(sum_i w_i (y + P_i h_i)) = project(y + sum_i w_i P_i h_i):

        four small matrices, multiplied together first, stand for ten passes over full-size maps. The mean over the
        pixels, from which the weights come, commutes with P_i just so.
        """
        batch, height, width, channels = x_last.shape
        y = _normalised(x_last, self.norm)
        normalised = layer_norm(y, self.norm.normalized_shape)
        gated, sums = self._gated(normalised)
        projects = torch.stack([branch.project.weight for branch in self._branches])
        biases = torch.stack([branch.project.bias for branch in self._branches])

        pooled = len(WINDOWS) * y.sum(dim=(1, 2)) + sums.flatten(1) @ projects.transpose(1, 2).flatten(0, 1)
        pooled = pooled / (height * width) + biases.sum(dim=0)
        weights = self.weigh(pooled).view(batch, len(WINDOWS), channels).softmax(dim=1)

        weighted = self.project.weight @ (weights.unsqueeze(3) * projects)
        matrices = torch.cat((self.project.weight.expand(batch, 1, -1, -1), weighted), dim=1)
        bias = self.project((weights * biases).sum(dim=1))
        return _combine(x_last, matrices, bias, (y, *gated))

    def _gated(self, normalised: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """What the branches make of a map, and the sums over the pixels: (B, H, W, C) each, and (B, branches, C)."""
        if kernels.fit(normalised):
            weights = [weight for branch in self._branches for weight in branch.weights]
            return kernels.gates(normalised, WINDOWS, EPSILON, weights)
        gated = [branch(normalised) for branch in self._branches]
        return gated, torch.stack([h.sum(dim=(1, 2)) for h in gated], dim=1)


def _combine(x_last: Tensor, matrices: Tensor, bias: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """x + bias + sum_i matrices[:, i] maps[i]: (B, N, C, C) and (B, C) the weights."""
    if kernels.fit(x_last):
        return kernels.combine(x_last, matrices, bias, maps)
    samples = []
    for sample in range(x_last.shape[0]):
        x = x_last[sample : sample + 1]
        for number, values in enumerate(maps):
            own_bias = None if number else bias[sample]
            x = x + pointwise(values[sample : sample + 1], matrices[sample, number], own_bias)
        samples.append(x)
    return torch.cat(samples) if len(samples) > 1 else samples[0]


class RCAB(nn.Module):
    """Residual channel attention block: two convolutions whose result is scaled channel by channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.squeeze = nn.Linear(channels, channels // 4)
        self.excite = nn.Linear(channels // 4, channels)

    def forward(self, x_last: Tensor) -> Tensor:
        """Return a map like `x_last`, (B, H, W, C)."""
        y = F.leaky_relu(convolve(_normalised(x_last, self.norm), self.conv1), LEAKY_SLOPE, inplace=True)
        y = convolve(y, self.conv2)
        if kernels.fit(x_last, kernels.HALF_LANES):
            return kernels.attend(x_last, y, self.squeeze, self.excite)
        attention = torch.sigmoid(self.excite(F.relu(self.squeeze(y.mean(dim=(1, 2))))))
        return torch.addcmul(x_last, y, attention[:, None, None])


class CMW(nn.Module):
    """Correlation-aware multi-window MLP block: two maps of `in_channels` -> one of `channels`."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * in_channels + len(SHIFTS), channels, 3, padding=1)
        self.multi_window = MultiWindow(channels)
        self.attention = RCAB(channels)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Fuse `x1` and `x2`, both (B, in_channels, H, W), into (B, channels, H, W)."""
        joined = convolve(channels_last(join(x1, x2)), self.conv)
        return channels_first(joined + self.attention(self.multi_window(joined)))


class Expand(nn.Module):
    """Double the height and width and halve the channels: (B, C, H, W) -> (B, C/2, 2H, 2W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)
        self.norm = nn.LayerNorm(channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the expanded map."""
        return channels_first(_normalised(channels_last(self.conv(x)), self.norm))
