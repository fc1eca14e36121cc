"""The parts that CorrMLP is built of: windowed MLPs, attention, correlation, and the step between two levels.

Source: Meng, Feng, Bi, Kim, "Correlation-aware Coarse-to-fine MLPs for Deformable Medical Image Registration",
CVPR 2024, section 3. Feature maps are (B, C, H, W) between the blocks and best kept in channels-last memory; inside a
block, names that end in `_last` are the same memory seen as (B, H, W, C).
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regstudio.networks.ops import (
    SHIFTS,
    Gate,
    attend,
    channels_first,
    channels_last,
    combine,
    convolve,
    gated_windows,
    join,
    layer_norm,
)

WINDOWS = (3, 5, 7)
LEAKY_SLOPE = 0.2


class GatedMLP(nn.Module):
    """The weights of a gated MLP over windows of `window` x `window` pixels, which `MultiWindow` applies."""

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, 2 * channels)
        self.gate_norm = nn.LayerNorm(channels)
        self.mix = nn.Linear(window**2, window**2)
        self.project = nn.Linear(channels, channels)

    @property
    def gate(self) -> Gate:
        """All but the last layer."""
        return Gate(self.window, self.norm, self.expand, self.gate_norm, self.mix)


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

    def forward(self, x_last: Tensor) -> Tensor:
        """Return a map like `x_last`, (B, H, W, C).

        With y the normalised input, h_i the gated values of branch i and P_i its projection, the branches are
        y + P_i h_i and the weights w_i sum to 1 over them, so

            project(sum_i w_i (y + P_i h_i)) = project(y + sum_i w_i P_i h_i):

        four small matrices, multiplied together first, replace ten passes over full-size maps. In the same way P_i
        commutes with the mean over the pixels, from which the weights come.
        """
        batch, height, width, channels = x_last.shape
        branches = [cast(GatedMLP, branch) for branch in self.branches]
        y = layer_norm(x_last, self.norm)
        gated, sums = gated_windows(layer_norm(y, self.norm, affine=False), [branch.gate for branch in branches])
        projects = torch.stack([branch.project.weight for branch in branches])
        biases = torch.stack([branch.project.bias for branch in branches])

        sums = sums.transpose(0, 1).flatten(1)
        pooled = len(WINDOWS) * y.sum(dim=(1, 2)) + sums @ projects.transpose(1, 2).flatten(0, 1)
        pooled = pooled / (height * width) + biases.sum(dim=0)
        weights = self.weigh(pooled).view(batch, len(WINDOWS), channels).softmax(dim=1)

        weighted = self.project.weight @ (weights.unsqueeze(3) * projects)
        matrices = torch.cat((self.project.weight.expand(batch, 1, -1, -1), weighted), dim=1)
        bias = self.project((weights * biases).sum(dim=1))
        return combine(x_last, y, gated, matrices, bias)


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
        y = F.leaky_relu(convolve(layer_norm(x_last, self.norm), self.conv1), LEAKY_SLOPE, inplace=True)
        return attend(x_last, convolve(y, self.conv2), self.squeeze, self.excite)


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
        return channels_first(layer_norm(channels_last(self.conv(x)), self.norm))
