"""A method to register files with: how it wants them to be read, and what its results depend on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regstudio.data.loading.loaders import Normalise
from regstudio.files import file_digest
from regstudio.methods import SimilarityChoice
from regstudio.methods.alignment import Alignment
from regstudio.methods.method import Method
from regstudio.methods.named import named_method
from regstudio.methods.network import Refine, load_method
from regstudio.networks.base import Precision
from regstudio.networks.checkpoint import QUALITY_THRESHOLD, load_checkpoint
from regstudio.networks.device import find_device


@dataclass(frozen=True, kw_only=True)
class ChosenMethod:
    """A method; `reading` are the settings that it was trained with, flat; `recipe` is that of `register_files`.

    `threshold` is the quality up to which its results are to be looked at, where the fixed image has a label; None
    where nothing is known of it.
    """

    method: Method
    reading: Mapping[str, Any]
    recipe: str
    threshold: float | None = None


def chosen_checkpoint(
    path: Path,
    device: str = "auto",
    *,
    affine: Alignment | None = None,
    normalise: Normalise | None = None,
    precision: Precision = "float32",
    refine: Refine | None = None,
) -> ChosenMethod:
    """Choose a checkpoint; the arguments are those of `load_method`, but that it refines "auto" by default."""
    refine = "auto" if refine is None else refine
    network = load_method(path, device, affine=affine, normalise=normalise, precision=precision, refine=refine)
    loaded = load_checkpoint(path)
    return ChosenMethod(
        method=network,
        reading={**loaded.reading, "normalise": network.normalise},
        recipe=f"{file_digest(path)}\n{affine=}\n{refine=}\n{precision=}",
        threshold=loaded.metrics.get(QUALITY_THRESHOLD) if refine == "auto" else None,
    )


def chosen_name(
    name: str, device: str = "auto", *, similarity: SimilarityChoice = "auto", wide: bool = False
) -> ChosenMethod:
    """Choose a method that needs no checkpoint, see `named_method`."""
    method = named_method(name, similarity=similarity, device=find_device(device), wide=wide)
    recipe = json.dumps(dict(method.provenance), default=str) + method.name
    return ChosenMethod(method=method, reading={"normalise": "minmax"}, recipe=recipe)
