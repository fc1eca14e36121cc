"""CorrMLP word for word from its specification, with none of the savings; it borrows a model's weights only."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regstudio.networks.blocks import CMW, RCAB, Expand, GatedMLP, MultiWindow
from regstudio.networks.corrmlp import CorrMLP, Encoder


def corrmlp(model: CorrMLP, fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor]:
    f, m = encode(model.encoder, fixed), encode(model.encoder, moving)
    x = cmw(model.image_blocks[3], f[3], m[3])
    flow = model.heads[3](x)
    for level in (2, 1, 0):
        up = 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
        a = cmw(model.image_blocks[level], f[level], warp(m[level], up))
        x = cmw(model.step_blocks[level], a, expand(model.expands[level], x))
        flow = model.heads[level](x) + up
    return warp(moving, flow), flow


def warp(moving: Tensor, flow: Tensor) -> Tensor:
    height, width = moving.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    y, x = rows + flow[:, 0], columns + flow[:, 1]
    grid = torch.stack((2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1), dim=-1)
    return F.grid_sample(moving, grid, align_corners=True)


def encode(encoder: Encoder, image: Tensor) -> list[Tensor]:
    features = []
    for level in encoder.levels:
        for conv in (layer for layer in level if isinstance(layer, nn.Conv2d)):
            image = F.instance_norm(F.leaky_relu(F.conv2d(image, conv.weight, conv.bias, padding=1), 0.2))
        features.append(image)
        image = F.avg_pool2d(image, 2)
    return features


def norm(layer: torch.nn.LayerNorm, x: Tensor) -> Tensor:
    """Layer norm over dimension 1."""
    return layer(x.movedim(1, -1)).movedim(-1, 1)


def linear(layer: torch.nn.Linear, x: Tensor) -> Tensor:
    """A linear layer over dimension 1."""
    return layer(x.movedim(1, -1)).movedim(-1, 1)


def cmw(block: CMW, x1: Tensor, x2: Tensor) -> Tensor:
    height, width = x1.shape[2:]
    padded = F.pad(x2, (1, 1, 1, 1))
    maps = [
        (x1 * padded[:, :, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]).mean(dim=1)
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    ]
    s = block.conv(torch.cat([x1, torch.stack(maps, dim=1), x2], dim=1))
    return rcab(block.attention, multi_window(block.multi_window, s)) + s


def multi_window(layer: MultiWindow, x: Tensor) -> Tensor:
    y = norm(layer.norm, x)
    branches = torch.stack([windowed(branch, y) for branch in layer.branches])
    weights = layer.weigh(branches.sum(dim=0).mean(dim=(2, 3)))
    weights = weights.view(x.shape[0], 3, x.shape[1]).softmax(dim=1)
    mixed = sum(weights[:, i, :, None, None] * branches[i] for i in range(3))
    return linear(layer.project, mixed) + x


def windowed(branch: GatedMLP, y: Tensor) -> Tensor:
    size = branch.window
    height, width = y.shape[2:]
    padded = F.pad(y, (0, -width % size, 0, -height % size))
    out = torch.empty_like(padded)
    for top in range(0, padded.shape[2], size):
        for left in range(0, padded.shape[3], size):
            window = padded[:, :, top : top + size, left : left + size]
            out[:, :, top : top + size, left : left + size] = gated_mlp(branch, window.flatten(2)).view(window.shape)
    return out[:, :, :height, :width]


def gated_mlp(branch: GatedMLP, x: Tensor) -> Tensor:
    u, v = F.gelu(linear(branch.expand, norm(branch.norm, x))).chunk(2, dim=1)
    v = branch.mix(norm(branch.gate_norm, v))
    return linear(branch.project, u * (v + 1)) + x


def rcab(block: RCAB, x: Tensor) -> Tensor:
    y = block.conv2(F.leaky_relu(block.conv1(norm(block.norm, x)), 0.2))
    attention = torch.sigmoid(block.excite(F.relu(block.squeeze(y.mean(dim=(2, 3))))))
    return y * attention[:, :, None, None] + x


def expand(layer: Expand, x: Tensor) -> Tensor:
    return norm(layer.norm, layer.conv(x))
