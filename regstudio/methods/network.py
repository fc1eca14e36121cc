"""A trained network as a method of registration."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from regstudio.data.pairs import Pair
from regstudio.errors import CheckpointError, ConfigError, DeviceError
from regstudio.losses import Objective
from regstudio.methods.affine import Matrix, affine_flow, affine_matrix
from regstudio.methods.affine_cache import cached_affine
from regstudio.methods.refine import refine
from regstudio.networks.base import Precision, RegistrationNetwork
from regstudio.networks.checkpoint import Checkpoint, load_checkpoint
from regstudio.networks.device import find_device, keep_freed_memory
from regstudio.transforms.transform import Transform

AffineSearch = Callable[[Pair], Matrix]  # finds the affine map that comes before the network


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkMethod:
    """A network on its device. Frozen, it may be called from several threads.

    `find_affine` gives the affine map that comes before the network; None is without. `refine` steps then optimise the
    network's field for the pair, by the loss `objective`. Raises ConfigError for a refinement by a loss that compares
    no images.
    """

    model: RegistrationNetwork
    device: torch.device
    name: str = "network"
    find_affine: AffineSearch | None = None
    objective: Objective | None = None
    refine: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a refinement that cannot be."""
        if self.refine and (self.objective is None or not self.objective.compares_images):
            raise ConfigError(
                "refine: this network was trained by its labels alone, and its loss says nothing of a pair without. "
                "Leave it out, or train with --ncc_weight 1."
            )

    def __call__(self, pair: Pair) -> Transform:
        """Register a pair; raises DeviceError where the device's memory does not suffice."""
        try:
            with torch.no_grad():
                return self._register(pair)
        except torch.OutOfMemoryError:
            height, width = pair.moving.shape
            raise DeviceError(
                f"device {self.device}: images of {height} x {width} pixels do not fit in its memory. "
                "Use --device cpu, or smaller images."
            ) from None

    def _register(self, pair: Pair) -> Transform:
        fixed, moving = (torch.from_numpy(image)[None, None].to(self.device) for image in (pair.fixed, pair.moving))
        start = self._now()
        matrix = None if self.find_affine is None else self.find_affine(pair)
        affine = None if matrix is None else torch.from_numpy(matrix.astype(np.float32))[None].to(self.device)
        predicted = found = self.model.predict(fixed, moving, affine)
        refine_start = self._now()
        if self.refine and self.objective is not None:
            better = refine(
                self.model, self.objective, fixed, moving, predicted.field, affine=affine, steps=self.refine
            )
            found = self.model.follow(better, moving, affine)
        end = self._now()
        inverse = self.model.inverse(found.field, affine)
        return Transform(
            flow=_to_array(found.flow),
            seconds=end - start,
            affine_flow=None if matrix is None else affine_flow(matrix, pair.fixed.shape),
            inverse_flow=None if inverse is None else _to_array(inverse),
            unrefined_flow=_to_array(predicted.flow) if self.refine else None,
            metrics={"refine_seconds": end - refine_start} if self.refine else {},
        )

    def _now(self) -> float:
        # CUDA calls return before the work is done.
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def load_method(
    checkpoint: Checkpoint | Path | str,
    device: str = "auto",
    *,
    affine: Literal["none", "auto"] | None = None,
    cache_affine: bool = True,
    precision: Precision = "float32",
    refine: int = 0,
) -> NetworkMethod:
    """Return a checkpoint, or the path of one, as a method.

    `device` is "auto", "cpu", "cuda" or "cuda:N". `affine` is "auto" or "none", by default as the network was trained;
    with `cache_affine` the maps are cached on disk, and the next time cost nothing. `precision` is what the network
    computes in: "float32" or, faster on a GPU, "bfloat16". Raises CheckpointError, DeviceError or ConfigError.
    """
    keep_freed_memory()
    where = find_device(device)
    given = isinstance(checkpoint, Checkpoint)
    loaded = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
    source = "the checkpoint" if given else str(checkpoint)
    model = loaded.model(source).to(where).eval().requires_grad_(False)
    model.precision = precision
    kind = affine or loaded.affine
    name = "network" if isinstance(checkpoint, Checkpoint) else checkpoint_name(Path(checkpoint))
    name += f" in {precision}" * (precision != "float32") + f" refined by {refine}" * bool(refine)
    origin = {} if isinstance(checkpoint, Checkpoint) else _origin(Path(checkpoint), loaded)
    return NetworkMethod(
        model=model,
        device=where,
        name=name,
        find_affine=(_cached_search if cache_affine else _search) if kind == "auto" else None,
        objective=_objective(loaded, source),
        refine=refine,
        provenance={"device": str(where), "affine": kind, "refine": refine, **origin},
    )


def checkpoint_name(path: Path) -> str:
    """Return what to call a checkpoint in tables: its run and file, as in "brains/best_model"."""
    run = path.absolute().parent.parent
    return f"{run.name}/{path.stem}" if path.absolute().parent.name == "checkpoints" else path.stem


def _origin(path: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    config = dict(checkpoint.config)
    return {
        "checkpoint": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "epoch": checkpoint.epoch,
        "network": dict(checkpoint.network),
        "config": config,
        "seed": config.get("optimisation", {}).get("seed"),
    }


def _objective(checkpoint: Checkpoint, source: str) -> Objective:
    try:
        return Objective(**checkpoint.loss)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: describes no loss that this version knows ({error}).") from None


def _search(pair: Pair) -> Matrix:
    return affine_matrix(pair.fixed, pair.moving)


def _cached_search(pair: Pair) -> Matrix:
    return cached_affine(pair.fixed, pair.moving).matrix


def _to_array(flow: Tensor) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(flow[0].cpu().numpy())
