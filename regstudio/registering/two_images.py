"""Register two images, arrays or files, from Python."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from regstudio.data.formats import read_label
from regstudio.data.loaders import ImageLoader
from regstudio.data.pairs import pair_of_arrays
from regstudio.methods.method import Method
from regstudio.methods.network import NetworkMethod, load_method
from regstudio.networks.checkpoint import Checkpoint
from regstudio.transforms.registration import Registration

Array = npt.NDArray[Any]


def register(
    method: Method | Checkpoint | Path | str,
    fixed: Array | Path | str,
    moving: Array | Path | str,
    *,
    fixed_label: Array | Path | str | None = None,
    moving_label: Array | Path | str | None = None,
    device: str = "auto",
    refine: int | None = None,
) -> Registration:
    """Register `moving` to `fixed`: each an (H, W) array of any real numbers, or the path of a file.

    `method` is a Method, a Checkpoint, or the path of a checkpoint, which is loaded at each call; for several pairs,
    call `load_method` once. `device` applies to checkpoints. `refine` applies to networks: the number of optimisation
    steps for this pair. Labels are (H, W) integer arrays or paths. Raises DataError for images that cannot be
    registered, and CheckpointError, DeviceError or ConfigError like `load_method`.

        result = register("runs/brains/checkpoints/best_model.pt", "atlas.png", "moving.png")
        result.warped, result.flow, result.metrics
    """
    if isinstance(method, Checkpoint | Path | str):
        method = load_method(method, device)
    if refine is not None and isinstance(method, NetworkMethod):
        method = replace(method, refine=refine)
    pair = pair_of_arrays(
        _read_image(fixed),
        _read_image(moving),
        fixed_label=None if fixed_label is None else _read_label(fixed_label),
        moving_label=None if moving_label is None else _read_label(moving_label),
    )
    return Registration(pair=pair, transform=method(pair))


def _read_image(source: Array | Path | str) -> Array:
    return ImageLoader()(source)[0] if isinstance(source, str | Path) else source


def _read_label(source: Array | Path | str) -> Array:
    return read_label(source).array if isinstance(source, str | Path) else source
