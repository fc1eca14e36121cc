"""The layers of CorrMLP, warping and the local NCC, each once as plain torch; where a kernel is faster, it takes over.

Source: Meng, Feng, Bi, Kim, "Correlation-aware Coarse-to-fine MLPs for Deformable Medical Image Registration",
CVPR 2024, section 3. The plain versions are what the kernels are tested against, and what runs where there are none:
those in `kernels` are the CPU's, in float32, those in `gpu` a GPU's. Nothing else imports either.

Names that end in `_last` are feature maps as (B, H, W, C), where layer norms and linear layers act on each pixel; in
channels-last memory these are views of (B, C, H, W).
"""

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regstudio.networks import gpu, kernels
from regstudio.networks.kernels import built_for, suspended
from regstudio.networks.local_ncc import EPSILON as NCC_EPSILON
from regstudio.networks.local_ncc import local_ncc

__all__ = [
    "SHIFTS",
    "Gate",
    "attend",
    "built_for",
    "channels_first",
    "channels_last",
    "combine",
    "compile_for_gpu",
    "convolve",
    "gated_windows",
    "integrate",
    "join",
    "layer_norm",
    "leaky_instance_norm",
    "mean_local_ncc",
    "suspended",
    "warp",
]

EPSILON = 1e-5  # torch's default
SHIFTS = [(row, column) for row in range(3) for column in range(3)]
MAX_PLANES = 2  # of images, and of flows; feature maps of more channels have these last
MIN_PIXELS = 512  # for a convolution's weights to be worth their preparation


_compiled_for_gpu = False


def compile_for_gpu() -> None:
    """Let GPUs use kernels of our own from now on, in this process; to compile them takes some seconds each."""
    global _compiled_for_gpu
    _compiled_for_gpu = True


def channels_last(x: Tensor) -> Tensor:
    """Return (B, C, H, W) as (B, H, W, C), a view."""
    return x.permute(0, 2, 3, 1)


def channels_first(x: Tensor) -> Tensor:
    """Return (B, H, W, C) as (B, C, H, W), a view in channels-last memory."""
    return x.permute(0, 3, 1, 2)


def layer_norm(x_last: Tensor, norm: nn.LayerNorm, *, affine: bool = True) -> Tensor:
    """Normalise each pixel over its channels, in float32; then scale and shift it, if `affine`.

    A GPU's kernel gives the type of `x_last`, the others float32.
    """
    weight, bias = (norm.weight, norm.bias) if affine else (None, None)
    if _fit(x_last, multiple=16):
        return kernels.layer_norm(x_last, weight, bias, EPSILON)
    if _fit_gpu("layer_norm", x_last):
        return gpu.layer_norm(x_last, weight, bias, EPSILON)
    with torch.autocast(x_last.device.type, enabled=False):
        return F.layer_norm(_at_least_float32(x_last), norm.normalized_shape, weight, bias, EPSILON)


def leaky_instance_norm(x: Tensor, slope: float) -> Tensor:
    """Normalise each channel of each image over its pixels, after a leaky ReLU, in float32: (B, C, H, W)."""
    if _fit(channels_last(x), multiple=8):
        normalised, *_ = kernels.leaky_instance_norm(channels_last(x), slope, EPSILON)
        return channels_first(normalised)
    with torch.autocast(x.device.type, enabled=False):
        x = F.leaky_relu(_at_least_float32(x), slope)
        # Unlike instance_norm, this keeps channels-last memory. To int: ONNX wants a constant.
        return F.group_norm(x, num_groups=int(x.shape[1]), eps=EPSILON)


def convolve(x_last: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Apply a 3x3 convolution that pads with zeros: (B, H, W, C) -> (B, H, W, C')."""
    pays = x_last.shape[3] >= 8 and x_last.shape[:3].numel() >= MIN_PIXELS and not torch.is_autocast_enabled("cpu")
    if pays and convolution.bias is not None and _fit(x_last):
        return kernels.convolution(x_last, convolution.weight, convolution.bias)
    return channels_last(convolution(channels_first(x_last)))


def join(x1: Tensor, x2: Tensor) -> Tensor:
    """Return x1, its correlation with x2, and x2 as one map: two (B, C, H, W) -> (B, 2C + 9, H, W).

    The correlation is the mean over channels of the product of each pixel of `x1` with its 3x3 neighbours in `x2`,
    one map for each displacement, rows first; outside, `x2` is 0.
    """
    if all(_fit(channels_last(x), multiple=8) for x in (x1, x2)):
        return channels_first(kernels.join(channels_last(x1), channels_last(x2)))
    if all(_fit_gpu("join", channels_last(x)) for x in (x1, x2)):
        return channels_first(gpu.join(channels_last(x1), channels_last(x2)))
    x1, x2 = _at_least_float32(x1), _at_least_float32(x2)
    padded, (height, width) = F.pad(x2, (1, 1, 1, 1)), x1.shape[2:]
    shifted = (padded[:, :, row : row + height, column : column + width] for row, column in SHIFTS)
    return torch.cat((x1, *((x1 * neighbours).mean(dim=1, keepdim=True) for neighbours in shifted), x2), dim=1)


class Gate(NamedTuple):
    """The layers of a gated MLP over windows of `window` x `window` pixels, without its last linear layer."""

    window: int
    norm: nn.LayerNorm  # of C channels, of which only scale and shift are left to do
    expand: nn.Linear  # C -> 2C
    gate_norm: nn.LayerNorm  # of C
    mix: nn.Linear  # over the positions in a window


def gated_windows(normalised: Tensor, gates: Sequence[Gate]) -> tuple[Tensor, Tensor]:
    """Gate each pixel by the others of its window, for each of N gates: (B, H, W, C) -> (N, B, H, W, C).

    `normalised` is layer-normalised, but not yet scaled and shifted. With the maps come their sums over the pixels,
    (N, B, C).
    """
    if _fit(normalised, multiple=16):
        layers = [layer for gate in gates for layer in gate[1:]]
        weights = torch.cat([weight.flatten() for layer in layers for weight in (layer.weight, layer.bias)])
        return kernels.gated_windows(normalised, [gate.window for gate in gates], EPSILON, weights)
    if normalised.shape[3] in gpu.WINDOW_CHANNELS and _fit_gpu("gated_windows", normalised):
        return gpu.gated_windows(normalised, [gate.window for gate in gates], [gate[1:] for gate in gates], EPSILON)
    gated = torch.stack([_gated_window(normalised, gate) for gate in gates])
    return gated, gated.sum(dim=(2, 3))


def _gated_window(normalised: Tensor, gate: Gate) -> Tensor:
    """u * (mix(norm(v)) + 1), where u, v = gelu(expand(x)): the gated MLP of the paper, windows side by side."""
    height, width = normalised.shape[1:3]
    # A window beyond the border is padded with zeros, which normalise to zero.
    padded = F.pad(normalised, (0, 0, 0, -width % gate.window, 0, -height % gate.window))
    # The norm's scale and shift become part of the expansion, which is two products so that u and v are contiguous.
    weight = gate.expand.weight * gate.norm.weight
    bias = gate.expand.bias + gate.expand.weight @ gate.norm.bias
    u, v = (F.gelu(_linear(padded, *half)) for half in zip(weight.chunk(2), bias.chunk(2), strict=True))
    mixed = _mix_windows(layer_norm(v, gate.gate_norm), gate.mix, gate.window)
    return (u * (mixed + 1))[:, :height, :width]


def _mix_windows(v_last: Tensor, mix: nn.Linear, size: int) -> Tensor:
    """Apply a dense layer over the positions of each window, the same for all channels."""
    batch, height, width, channels = v_last.shape
    rows, columns = height // size, width // size
    by_position = v_last.view(batch, rows, size, columns, size, channels).permute(2, 4, 0, 1, 3, 5)
    mixed = torch.addmm(mix.bias[:, None], mix.weight, by_position.reshape(size**2, -1))
    mixed = mixed.view(size, size, batch, rows, columns, channels).permute(2, 3, 0, 4, 1, 5)
    return mixed.reshape(batch, height, width, channels)


def combine(x_last: Tensor, y_last: Tensor, gated: Tensor, matrices: Tensor, bias: Tensor) -> Tensor:
    """Return x + bias + matrices[:, 0] y + sum_i matrices[:, i] gated[i - 1].

    Maps are (B, H, W, C); `gated` (N, B, H, W, C), `matrices` (B, N + 1, C, C), `bias` (B, C).
    """
    if _fit(x_last, multiple=16):
        return kernels.combine(x_last, y_last, gated, matrices, bias)
    if x_last.is_cuda:  # each product adds to the sum as it is written
        batch, channels = x_last.shape[0], x_last.shape[3]
        total = (x_last + bias[:, None, None]).view(batch, -1, channels)
        for matrix, values in zip(matrices.unbind(dim=1), (y_last, *gated), strict=True):
            total = torch.baddbmm(total, values.reshape(batch, -1, channels), matrix.transpose(1, 2))
        return total.view(x_last.shape)
    combined = x_last + bias[:, None, None]
    for matrix, values in zip(matrices.unbind(dim=1), (y_last, *gated), strict=True):
        combined = combined + torch.einsum("bij,bhwj->bhwi", matrix, values)
    return combined


def attend(x_last: Tensor, y_last: Tensor, squeeze: nn.Linear, excite: nn.Linear) -> Tensor:
    """Return x + y * sigmoid(excite(relu(squeeze(mean of y over the pixels)))): channel attention."""
    attention = torch.sigmoid(excite(F.relu(squeeze(y_last.mean(dim=(1, 2))))))
    return torch.addcmul(x_last, y_last, attention[:, None, None])


def warp(
    image: Tensor, flow: Tensor, mode: Literal["bilinear", "nearest"], padding: Literal["zeros", "border"]
) -> Tensor:
    """Return image(p + flow(p)): (B, C, H, W), the flow (B, 2, H', W') in pixels, rows first.

    Beyond the image there are zeros, or with "border" its outermost pixels.
    """
    if mode == "bilinear" and image.shape[1] <= MAX_PLANES and not image.requires_grad and _fit(image) and _fit(flow):
        return kernels.warp(image, flow, padding == "border")
    height, width = image.shape[2:]
    rows = torch.arange(flow.shape[2], device=flow.device, dtype=flow.dtype)
    columns = torch.arange(flow.shape[3], device=flow.device, dtype=flow.dtype)
    y = (rows[:, None] + flow[:, 0]) * (2 / (height - 1)) - 1
    x = (columns + flow[:, 1]) * (2 / (width - 1)) - 1
    # The one place where (y, x) becomes the (x, y) that grid_sample takes.
    grid = torch.stack((x, y), dim=-1)
    if padding == "border" and mode == "bilinear" and torch.is_grad_enabled():
        # Its gradient at a place that is no number would write outside of the image's memory, and end the process.
        grid = grid.nan_to_num(nan=0.0)
    return F.grid_sample(image, grid, mode, padding_mode=padding, align_corners=True)


def integrate(velocity: Tensor, steps: int) -> Tensor:
    """Return velocity / 2^steps, composed with itself `steps` times: (B, 2, H, W), pixels; it goes on at the border."""
    if steps > 0 and min(velocity.shape[2:]) > 1 and _fit(velocity):
        return kernels.integrate(velocity, steps, velocity.requires_grad and torch.is_grad_enabled())[0]
    flow: Tensor = velocity / 2**steps
    for _ in range(steps):
        flow = flow + warp(flow, flow, "bilinear", "border")
    return flow


def mean_local_ncc(fixed: Tensor, warped: Tensor, win: int) -> Tensor:
    """Return the mean of `local_ncc` over each pair of images, computed in float64: (B or 1, C, H, W) twice -> (B,)."""
    if warped.shape[1] == 1 and not fixed.requires_grad and _fit(fixed) and _fit(warped):
        asked = warped.requires_grad and torch.is_grad_enabled()
        return kernels.local_ncc(fixed, warped, win, NCC_EPSILON, asked)[0]
    return local_ncc(fixed.double(), warped.double(), win).mean(dim=(1, 2, 3)).to(warped.dtype)


def _fit(x: Tensor, *, multiple: int = 1) -> bool:
    """Whether there are kernels for a map, whose channels come last and are a multiple of so many."""
    return x.shape[-1] % multiple == 0 and kernels.fit(x)


def _fit_gpu(kernel: str, x_last: Tensor) -> bool:
    asked = _compiled_for_gpu and kernels.in_use() and gpu.fit(x_last)
    return asked and _gpu_agrees(kernel, x_last.shape[3], x_last.dtype, x_last.device)


@cache
def _gpu_agrees(kernel: str, channels: int, kind: torch.dtype, device: torch.device) -> bool:
    """Whether a kernel can be compiled on this machine and gives, with its gradient, what torch's operators do."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        torch.manual_seed(0)
        x = torch.randn(2, 11, 13, channels).to(device).requires_grad_()
        norm, expand = nn.LayerNorm(channels).to(device), nn.Linear(channels, 2 * channels).to(device)
        gates = [Gate(side, norm, expand, norm, nn.Linear(side**2, side**2).to(device)) for side in (3, 5, 7)]
        sides, layers = [gate.window for gate in gates], [gate[1:] for gate in gates]
        calls: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
            "layer_norm": (
                lambda x: gpu.layer_norm(x, None, None, EPSILON),
                lambda x: layer_norm(x, norm, affine=False),
            ),
            "join": (
                lambda x: gpu.join(x, x.flip(1)),
                lambda x: channels_last(join(channels_first(x), channels_first(x.flip(1)))),
            ),
            "gated_windows": (
                lambda x: gpu.gated_windows(x, sides, layers, EPSILON)[0].sum(dim=0),
                lambda x: gated_windows(x, gates)[0].sum(dim=0),
            ),
        }
        compiled, plain = calls[kernel]
        with suspended():
            expected = plain(x)
            slope = torch.randn(expected.shape).to(device)
            wanted = (expected, *torch.autograd.grad(expected, x, slope))
        try:
            result = compiled(x.to(kind))
            got = (result, *torch.autograd.grad(result, x, slope.to(result.dtype)))
        except Exception as error:  # of many kinds: no compiler, too little shared memory, a GPU that Triton knows not
            warnings.warn(f"On this GPU, torch's operators do the work of {kernel} ({error}).", stacklevel=2)
            return False
    return gpu.agree(got, wanted)


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _linear(x_last: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply a linear layer to each pixel: (B, H, W, C) -> (B, H, W, C').

    As a 1x1 convolution over the image's rows as a batch: on the CPU up to 7 times faster than F.linear, which copies
    the bias to each pixel first. A batch of at least 16 makes torch take its fast convolution on one thread, too.
    """
    batch, height, width, channels = x_last.shape
    rows = channels_first(x_last.reshape(batch * height, 1, width, channels))
    return channels_last(F.conv2d(rows, weight[:, :, None, None], bias)).reshape(batch, height, width, -1)
