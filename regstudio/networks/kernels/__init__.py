"""The CPU's own kernels, for what torch's general operators are slow at: many pixels of few channels.

The installation builds the .cpp files here where it finds g++, once for processors with AVX-512 and once for those with
AVX2. Where there is none for this processor, and on a GPU, `fit` says so, and torch's operators compute the same. The
kernels use the threads of torch's own pool, and compute in float32. networks/ops.py is the only module that uses them.
"""

from regstudio.networks.kernels.convolution import convolution
from regstudio.networks.kernels.correlation import join
from regstudio.networks.kernels.flows import integrate, warp
from regstudio.networks.kernels.library import built_for, fit, in_use, suspended
from regstudio.networks.kernels.ncc import local_ncc
from regstudio.networks.kernels.normalisation import layer_norm, leaky_instance_norm
from regstudio.networks.kernels.windows import combine, gated_windows

__all__ = [
    "built_for",
    "combine",
    "convolution",
    "fit",
    "gated_windows",
    "in_use",
    "integrate",
    "join",
    "layer_norm",
    "leaky_instance_norm",
    "local_ncc",
    "suspended",
    "warp",
]
