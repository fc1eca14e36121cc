"""Applying a trained network: two images in, one Registration out, numpy on both sides."""

import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from regstudio.data.formats import read_label
from regstudio.data.loaders import ImageLoader, rescale
from regstudio.errors import CheckpointError, ConfigError, DeviceError
from regstudio.losses import Objective
from regstudio.methods.affine import register_affine
from regstudio.methods.affine_cache import cached_affine
from regstudio.methods.refine import refine as refine_field
from regstudio.metrics import ncc
from regstudio.networks.base import Precision
from regstudio.networks.checkpoint import Checkpoint, load_checkpoint
from regstudio.networks.device import find_device, keep_freed_memory
from regstudio.networks.warp import SpatialTransformer, affine_after
from regstudio.transforms.registration import Registration, check_arrays, image_metrics, label_metrics, size_of

Array = npt.NDArray[Any]


class Registrar:
    """A trained network on its device, ready to register any number of pairs; safe to share between threads.

    `checkpoint` is a Checkpoint or the path of one; `device` is "auto", "cpu", "cuda" or "cuda:N". `affine` is "auto"
    or "none", by default as the network was trained; with `keep_affine` the maps found are kept on the disk, and the
    next time cost nothing. `precision` is what the network computes in, "float32" or, faster on a GPU, "bfloat16".
    Raises CheckpointError or DeviceError.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | Path | str,
        device: str = "auto",
        *,
        affine: Literal["none", "auto"] | None = None,
        keep_affine: bool = True,
        precision: Precision = "float32",
    ) -> None:
        keep_freed_memory()
        self.device = find_device(device)
        source = "the checkpoint" if isinstance(checkpoint, Checkpoint) else checkpoint
        if not isinstance(checkpoint, Checkpoint):
            checkpoint = load_checkpoint(checkpoint)
        self._model = checkpoint.model(source).to(self.device).eval().requires_grad_(False)
        self._model.precision = precision
        self._objective = _objective(checkpoint, source)
        self.affine = affine or checkpoint.affine
        self._keep_affine = keep_affine
        self._warp_label = SpatialTransformer("nearest")

    def register(
        self,
        fixed: Array,
        moving: Array,
        *,
        fixed_label: Array | None = None,
        moving_label: Array | None = None,
        refine: int = 0,
    ) -> Registration:
        """Warp `moving` onto `fixed`: (H, W) arrays of one size, H and W of at least 32, any real numbers.

        Each image is moved and scaled to [0, 1] by its own minimum and maximum, as ImageLoader does for files. Labels
        are (H, W) integers and warped with nearest neighbour; Dice needs both. `refine` steps optimise the network's
        field for this pair by the loss that it was trained with. Raises DataError for arrays that cannot be
        registered, DeviceError where the device's memory does not suffice, ConfigError for a refinement by a loss that
        compares no images.
        """
        if refine and not self._objective.compares_images:
            raise ConfigError(
                "refine: this network was trained by its labels alone, and its loss says nothing of a pair without. "
                "Leave it out, or train with --ncc_weight 1."
            )
        given = {"fixed": fixed, "moving": moving, "fixed_label": fixed_label, "moving_label": moving_label}
        check_arrays({name: np.asarray(array) for name, array in given.items() if array is not None})
        fixed, moving = rescale(np.asarray(fixed)), rescale(np.asarray(moving))
        label = None if moving_label is None else np.asarray(moving_label)
        target = None if fixed_label is None else np.asarray(fixed_label)
        try:
            with torch.no_grad():
                return self._register(fixed, moving, target, label, refine)
        except torch.OutOfMemoryError:
            raise DeviceError(
                f"device {self.device}: images of {size_of(moving)} pixels do not fit in its memory. "
                "Use --device cpu, or smaller images."
            ) from None

    def _register(
        self, fixed: Array, moving: Array, fixed_label: Array | None, label: Array | None, steps: int
    ) -> Registration:
        fixed_tensor, moving_tensor = self._tensor(fixed), self._tensor(moving)
        ids = None if label is None else self._tensor(label.astype(np.float64))  # which holds ids exactly
        start = self._now()
        affine = self._affine_map(fixed, moving)
        plain = prediction = self._model.predict(fixed_tensor, moving_tensor, affine)
        refine_start = self._now()
        if steps:
            field = refine_field(
                self._model,
                self._objective,
                fixed_tensor,
                moving_tensor,
                plain.field,
                affine=affine,
                steps=steps,
            )
            prediction = self._model.follow(field, moving_tensor, affine)
        refined = self._now()
        warped_label = None if ids is None else self._warped_label(ids, prediction.flow, label)
        seconds = self._now() - start
        warped, flow = prediction.warped[0, 0].cpu().numpy(), _flow_array(prediction.flow)
        unrefined = self._warped_label(ids, plain.flow, label) if steps and ids is not None else None

        def measure() -> dict[str, float]:
            metrics = image_metrics(fixed, moving, warped, flow)
            metrics |= label_metrics(fixed_label, label, warped_label)
            if steps:
                metrics["ncc_unrefined"] = ncc(fixed, plain.warped[0, 0].cpu().numpy())
                scores = label_metrics(fixed_label, label, unrefined)
                metrics |= {"dice_unrefined": scores["dice"]} if "dice" in scores else {}
                metrics["refine_seconds"] = refined - refine_start
            return metrics

        inverse = self._model.inverse(prediction.field, affine)
        return Registration(
            warped=warped,
            flow=flow,
            warped_label=warped_label,
            measure=measure,
            seconds=seconds,
            affine_flow=None if affine is None else _flow_array(affine_after(affine, torch.zeros_like(plain.flow))),
            inverse_flow=None if inverse is None else _flow_array(inverse),
        )

    def _affine_map(self, fixed: Array, moving: Array) -> Tensor | None:
        if self.affine != "auto":
            return None
        found = (cached_affine if self._keep_affine else register_affine)(fixed, moving)
        return torch.from_numpy(found.matrix.astype(np.float32))[None].to(self.device)

    def _warped_label(self, ids: Tensor, flow: Tensor, label: Array | None) -> Array:
        warped: Array = self._warp_label(ids, flow.double())[0, 0].cpu().numpy()
        return warped if label is None else warped.astype(label.dtype)

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(array)[None, None].to(self.device)

    def _now(self) -> float:
        # CUDA calls return before the work is done.
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def register(
    checkpoint: Checkpoint | Path | str,
    fixed: Array | Path | str,
    moving: Array | Path | str,
    *,
    fixed_label: Array | Path | str | None = None,
    moving_label: Array | Path | str | None = None,
    device: str = "auto",
    refine: int = 0,
) -> Registration:
    """Warp `moving` onto `fixed` with a trained network: each an (H, W) array or the path of a file.

    See `Registrar.register` for what the arrays may be and for the errors; a Registrar of your own is faster for more
    than one pair, since it loads the checkpoint once.
    """
    return Registrar(checkpoint, device).register(
        _read(fixed, label=False),
        _read(moving, label=False),
        fixed_label=None if fixed_label is None else _read(fixed_label, label=True),
        moving_label=None if moving_label is None else _read(moving_label, label=True),
        refine=refine,
    )


def _objective(checkpoint: Checkpoint, source: Path | str) -> Objective:
    try:
        return Objective(**checkpoint.loss)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: describes no loss that this version knows ({error}).") from None


def _read(source: Array | Path | str, *, label: bool) -> Array:
    if not isinstance(source, str | Path):
        return source
    return read_label(source).array if label else ImageLoader()(source)[0]


def _flow_array(flow: Tensor) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(flow[0].cpu().numpy())
