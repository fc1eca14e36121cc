"""Train, watch, inspect and apply deformable registration of 2-D medical images.

Imports point one way, from cli and ui down to files and errors; import-linter's contracts in pyproject.toml say how.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regstudio.data.loading.loaders import ImageLoader, LabelLoader
    from regstudio.data.pairs.dataset import RegistrationDataset, load_validation_pair
    from regstudio.losses import NCC, Grad
    from regstudio.metrics import dice, njd
    from regstudio.networks.checkpoint import load_checkpoint
    from regstudio.networks.corrmlp import CorrMLP
    from regstudio.networks.warp import SpatialTransformer
    from regstudio.registering.importing import import_data
    from regstudio.registering.two_images import register
    from regstudio.training.trainer import train

_HOMES = {
    "CorrMLP": "regstudio.networks.corrmlp",
    "Grad": "regstudio.losses",
    "ImageLoader": "regstudio.data.loading.loaders",
    "LabelLoader": "regstudio.data.loading.loaders",
    "NCC": "regstudio.losses",
    "RegistrationDataset": "regstudio.data.pairs.dataset",
    "SpatialTransformer": "regstudio.networks.warp",
    "dice": "regstudio.metrics",
    "import_data": "regstudio.registering.importing",
    "load_checkpoint": "regstudio.networks.checkpoint",
    "load_validation_pair": "regstudio.data.pairs.dataset",
    "njd": "regstudio.metrics",
    "register": "regstudio.registering.two_images",
    "train": "regstudio.training.trainer",
}

__all__ = [
    "NCC",
    "CorrMLP",
    "Grad",
    "ImageLoader",
    "LabelLoader",
    "RegistrationDataset",
    "SpatialTransformer",
    "dice",
    "import_data",
    "load_checkpoint",
    "load_validation_pair",
    "njd",
    "register",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that the command line need not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'regstudio' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
