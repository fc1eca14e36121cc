"""The GPU's own kernels, in Triton, for what torch's general operators are slow at: many pixels of few channels.

Of a step of CorrMLP on 32 images of 256x256, an H100 spends 226 ms in torch's operators, 86 of them in layer norms of
16 to 128 channels. Triton comes with torch for CUDA on Linux; where it is not, torch's operators compute the same.
networks/ops.py is the only module that uses them.
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor, nn

WINDOW_CHANNELS = (16, 32, 64)  # of more, the tiles of a window do not fit into the registers


def fit(x_last: Tensor) -> bool:
    """Whether maps (..., C) like this lie on a GPU with Triton and have 8 to 256 channels, a power of two."""
    channels = x_last.shape[-1]
    is_power = channels & (channels - 1) == 0
    return x_last.is_cuda and is_power and 8 <= channels <= 256 and _has_triton() and x_last.dtype in _TYPES


def agree(results: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Whether a kernel's results are those of torch's operators, but for rounding: a twentieth of the whole at most."""
    pairs = zip(results, expected, strict=True)
    return all(bool((result - wanted).norm() <= 0.05 * wanted.norm()) for result, wanted in pairs)


def layer_norm(x_last: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float) -> Tensor:
    """Normalise each pixel over its channels, in float32; the result is of the type of `x_last`."""
    from regstudio.networks.gpu.normalisation import LayerNorm  # Triton is not everywhere

    normalised: Tensor = LayerNorm.apply(x_last, weight, bias, epsilon)
    return normalised


def gated_windows(
    normalised: Tensor, windows: Sequence[int], layers: Sequence[Sequence[nn.Module]], epsilon: float
) -> tuple[Tensor, Tensor]:
    """Gate each pixel by the others of its window, see ops.gated_windows; `layers` are those of each ops.Gate."""
    from regstudio.networks.gpu.windows import gated_windows as gate

    return gate(normalised, windows, layers, epsilon)


def join(x1_last: Tensor, x2_last: Tensor) -> Tensor:
    """Return x1, its correlation with x2, and x2 as one map, see ops.join: (B, H, W, C) twice -> (B, H, W, 2C + 9)."""
    from regstudio.networks.gpu.correlation import Join

    kind = torch.promote_types(x1_last.dtype, x2_last.dtype)
    joined: Tensor = Join.apply(x1_last.to(kind), x2_last.to(kind))
    return joined


_TYPES = (torch.float32, torch.bfloat16)


@lru_cache(maxsize=1)
def _has_triton() -> bool:
    return find_spec("triton") is not None and torch.version.cuda is not None
