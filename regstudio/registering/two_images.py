"""Register two images, arrays or files, from Python."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from regstudio.config import build_config
from regstudio.data.folders.layout import Case
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.pairs.pair import Pair, pair_of_arrays
from regstudio.data.pictures.formats import stem
from regstudio.methods.method import Method, axes_of
from regstudio.methods.network import NetworkMethod, Refine, load_method
from regstudio.networks.checkpoint import Checkpoint, load_checkpoint
from regstudio.training.setup import pair_reader
from regstudio.transforms.registration import Registration

Array = npt.NDArray[Any]


def register(
    method: Method | Checkpoint | Path | str,
    fixed: Array | Path | str,
    moving: Array | Path | str,
    *,
    fixed_label: Array | Path | str | None = None,
    moving_label: Array | Path | str | None = None,
    fixed_mask: Array | Path | str | None = None,
    moving_mask: Array | Path | str | None = None,
    device: str = "auto",
    refine: Refine | None = None,
) -> Registration:
    """Register `moving` to `fixed`: each an (H, W) array of any real numbers, or the path of a file.

    `method` is a Method, a Checkpoint, or the path of a checkpoint, which is loaded at each call; for several pairs,
    call `load_method` once. `device` applies to checkpoints. `refine` applies to networks: the number of optimisation
    steps for this pair, or "auto" (see NetworkMethod).
    Labels are (H, W) integer arrays or paths. Masks are arrays or paths, too, and 0 where an image does not count.
    Arrays have one size; files of any size come onto one grid, and `save_registration` writes the results at their own.
    Raises DataError for images that cannot be registered, and CheckpointError, DeviceError or ConfigError like
    `load_method`.

        result = register("runs/brains/checkpoints/best_model.pt", "atlas.png", "moving.png")
        result.warped, result.flow, result.metrics
    """
    reading: Mapping[str, Any] = {}
    if isinstance(method, Checkpoint | Path | str):
        checkpoint = method if isinstance(method, Checkpoint) else load_checkpoint(method)
        method, reading = load_method(method, device), checkpoint.reading
    if refine is not None and isinstance(method, NetworkMethod):
        method = replace(method, refine=refine)
    sides = ((fixed, fixed_label, fixed_mask), (moving, moving_label, moving_mask))
    if all(source is None or isinstance(source, Path | str) for side in sides for source in side):
        pair = _pair_of_files(method, reading, *(_case(*side) for side in sides))
        return Registration(pair=pair, transform=method(pair))
    images, labels = ImageLoader(axes=axes_of(method)), LabelLoader(axes=axes_of(method))
    if isinstance(fixed, Path | str):  # files that know their place are turned until they lie as the fixed one does
        images, labels = images.facing_as(Path(fixed)), labels.facing_as(Path(fixed))
    pair = pair_of_arrays(
        images(fixed)[0] if isinstance(fixed, Path | str) else fixed,
        images(moving)[0] if isinstance(moving, Path | str) else moving,
        fixed_label=_label(labels, fixed_label, fixed),
        moving_label=_label(labels, moving_label, moving),
        fixed_mask=_label(labels, fixed_mask, fixed),
        moving_mask=_label(labels, moving_mask, moving),
    )
    return Registration(pair=pair, transform=method(pair))


def _case(image: Any, label: Any, mask: Any) -> Case:
    label, mask = (None if path is None else Path(path) for path in (label, mask))
    return Case(id=stem(Path(image)), image=Path(image), label=label, mask=mask)


def _pair_of_files(method: Method, reading: Mapping[str, Any], fixed: Case, moving: Case) -> Pair:
    """Return a pair of files of any sizes, read as `regstudio register` does, without landmarks."""
    return pair_reader(build_config(reading).reading, fixed).read_by(axes_of(method))(moving)


def _label(labels: LabelLoader, source: Array | Path | str | None, image: Array | Path | str) -> Array | None:
    """Return a label or a mask: that of a file lies on its image, where that is a file too."""
    if not isinstance(source, Path | str):
        return source
    label: Array = labels(source, Path(image) if isinstance(image, Path | str) else None)[0]
    return label
