"""A trained network as a registration method."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from regstudio.data.loading.loaders import Normalise, normalised
from regstudio.data.pairs.pair import Pair
from regstudio.errors import CheckpointError, ConfigError, DataError, DeviceError
from regstudio.files import file_digest
from regstudio.losses import Objective
from regstudio.methods.affine import Matrix, affine_flow, turns_over
from regstudio.methods.affine_cache import cached_affine
from regstudio.methods.alignment import Aligner, Alignment
from regstudio.methods.masks import Masks, as_tensors, mask_arrays
from regstudio.methods.refine import refine, refine_nearby
from regstudio.networks.base import Precision, RegistrationNetwork
from regstudio.networks.checkpoint import Checkpoint, load_checkpoint
from regstudio.networks.device import find_device, keep_freed_memory, wait_for
from regstudio.transforms.transform import Transform

AffineSearch = Callable[[Pair], Matrix]
Refine = int | Literal["auto"]


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkMethod:
    """A network on its device, as a Method; thread-safe, as nothing in it changes.

    `normalise` is how the network's images were scaled in training; pairs are scaled so before anything else.
    `find_affine` finds the affine map that is applied before the network; None for no alignment. `refine` is the number
    of steps that optimise the predicted field for the pair by the loss `objective`; "auto" is `refine_nearby` for
    networks of velocity fields, and 0 for others. Raises ConfigError for steps by a loss that compares no images.
    """

    model: RegistrationNetwork
    device: torch.device
    name: str = "network"
    normalise: Normalise = "minmax"
    find_affine: AffineSearch | None = None
    objective: Objective | None = None
    refine: Refine = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ConfigError if the loss cannot refine a pair."""
        if self.refine not in (0, "auto") and (self.objective is None or not self.objective.compares_images):
            raise ConfigError(
                "refine: this network was trained by its labels alone, and its loss says nothing of a pair without. "
                "Leave it out, take auto, or train with --ncc_weight 1."
            )

    def __call__(self, pair: Pair) -> Transform:
        """Register a pair; raises DeviceError if it does not fit in the device's memory."""
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
        if self.normalise == "percentile":
            pair = replace(
                pair, fixed=normalised(pair.fixed, "percentile"), moving=normalised(pair.moving, "percentile")
            )
        fixed, moving = (torch.from_numpy(image)[None, None].to(self.device) for image in (pair.fixed, pair.moving))
        start = self._now()
        matrix = None if self.find_affine is None or pair.laid_by_hand else self.find_affine(pair)
        affine = None if matrix is None else torch.from_numpy(matrix.astype(np.float32))[None].to(self.device)
        predicted = final = self.model.register(fixed, moving, affine)
        refine_start = self._now()
        masks = as_tensors(mask_arrays(pair), self.device)
        refined = self._refined(fixed, moving, predicted.field, affine, masks)
        if refined is not None:
            final = self.model.follow(refined, moving, affine)
        end = self._now()
        inverse = self.model.inverse(final.field, affine)
        flow = _to_array(final.flow)
        if not np.isfinite(flow).all():
            raise DataError(
                f"{self.name}: its flow for this pair is not made of finite numbers, and warps nothing. "
                "Take a checkpoint of an earlier epoch, or train again with a smaller --lr."
            )
        return Transform(
            flow=flow,
            seconds=end - start,
            affine_flow=None if matrix is None else affine_flow(matrix, pair.fixed.shape),
            inverse_flow=None if inverse is None else _to_array(inverse),
            unrefined_flow=None if refined is None else _to_array(predicted.flow),
            mirrored=matrix is not None and turns_over(matrix),
            metrics={} if refined is None else {"refine_seconds": end - refine_start},
        )

    def _refined(
        self, fixed: Tensor, moving: Tensor, field: Tensor, affine: Tensor | None, masks: Masks
    ) -> Tensor | None:
        """Return the refined field; None where nothing is to be refined, or can be."""
        if not torch.isfinite(field).all():
            return None
        if self.refine == "auto":
            is_velocity = self.model.transform == "svf"
            return refine_nearby(fixed, moving, field, affine=affine, masks=masks) if is_velocity else None
        if not self.refine or self.objective is None:
            return None
        return refine(self.model, self.objective, fixed, moving, field, affine=affine, steps=self.refine, masks=masks)

    def _now(self) -> float:
        wait_for(self.device)
        return time.perf_counter()


def load_method(
    checkpoint: Checkpoint | Path | str,
    device: str = "auto",
    *,
    affine: Alignment | None = None,
    normalise: Normalise | None = None,
    cache_affine: bool = True,
    precision: Precision = "float32",
    refine: Refine = 0,
) -> NetworkMethod:
    """Load a checkpoint, or the file at a path, as a registration method.

    `device` is "auto", "cpu", "cuda" or "cuda:N". `affine` is "none", "auto" or "wide", `normalise` "minmax" or
    "percentile"; the defaults are how the network was trained. `cache_affine` caches affine maps on disk. `precision`
    is the network's: "float32" or, faster on a GPU, "bfloat16". `refine` is the number of optimisation steps for each
    pair, or "auto" (see NetworkMethod), which is 0 where the training found that it makes results worse. Raises
    CheckpointError, DeviceError or ConfigError.

        method = load_method("runs/brains/checkpoints/best_model.pt", device="cpu")
        result = register(method, "atlas.png", "moving.png")
    """
    keep_freed_memory()
    target = find_device(device)
    loaded = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
    source = "the checkpoint" if isinstance(checkpoint, Checkpoint) else str(checkpoint)
    model = loaded.model(source).to(target).eval().requires_grad_(False)
    model.precision = precision
    alignment, rule = affine or loaded.affine, normalise or loaded.normalise
    if refine == "auto" and not loaded.refining_pays:
        refine = 0
    name = "network" if isinstance(checkpoint, Checkpoint) else checkpoint_name(Path(checkpoint))
    name += f" in {precision}" * (precision != "float32")
    name += " refined" if refine == "auto" else f" refined by {refine}" * bool(refine)
    facts = {} if isinstance(checkpoint, Checkpoint) else _checkpoint_facts(Path(checkpoint), loaded)
    return NetworkMethod(
        model=model,
        device=target,
        name=name,
        normalise=rule,
        find_affine=_affine_search(alignment, cached=cache_affine),
        objective=_objective(loaded, source),
        refine=refine,
        provenance={
            "device": str(target),
            "affine": alignment,
            "normalise": rule,
            "refine": refine,
            "axes": loaded.axes,
            **facts,
        },
    )


def checkpoint_name(path: Path) -> str:
    """Return the name of a checkpoint in tables: run and file, such as "brains/best_model"."""
    run = path.absolute().parent.parent
    return f"{run.name}/{path.stem}" if path.absolute().parent.name == "checkpoints" else path.stem


def _checkpoint_facts(path: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    config = dict(checkpoint.config)
    return {
        "checkpoint": str(path),
        "sha256": file_digest(path),
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


def _affine_search(alignment: str, *, cached: bool) -> AffineSearch | None:
    if alignment == "none":
        return None
    search = Aligner(wide=alignment == "wide")
    if not cached:
        return lambda pair: search(pair.fixed, pair.moving, mask_arrays(pair)).matrix
    return lambda pair: cached_affine(pair.fixed, pair.moving, search=search, masks=mask_arrays(pair)).matrix


def _to_array(flow: Tensor) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(flow[0].cpu().numpy())
