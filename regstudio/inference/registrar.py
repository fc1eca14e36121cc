"""Applying a trained network: two images in, one Registration out, numpy on both sides."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from regstudio.data.formats import read_label
from regstudio.data.loaders import ImageLoader, rescale
from regstudio.errors import DataError, DeviceError
from regstudio.metrics import dice, ncc, njd
from regstudio.networks.checkpoint import Checkpoint, load_checkpoint
from regstudio.networks.corrmlp import SMALLEST_SIZE, CorrMLP
from regstudio.networks.device import find_device
from regstudio.networks.warp import SpatialTransformer

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Registration:
    """What registering one moving image to a fixed one gave; everything lies on the fixed image's grid.

    `warped` (H, W) float32 in [0, 1]. `flow` (2, H, W) float32 in pixels (dy, dx): warped(p) = moving(p + flow(p)).
    `warped_label` (H, W) in the moving label's own dtype, or None. What lies outside the moving image is 0 in both.

    `metrics` holds njd (pixels), njd_percent, ncc_before and ncc (in [0, 1], 1 for a perfect match). Where both labels
    were given and there is a label to score it also holds dice_before and dice, the means over the labels, and
    dice_before_ID and dice_ID of each label.

    `seconds` is the time of the network and the warping alone: no reading, no metrics. A Registrar's first call of
    each image size takes longer than those that follow.
    """

    warped: npt.NDArray[np.float32]
    flow: npt.NDArray[np.float32]
    warped_label: Array | None
    metrics: dict[str, float]
    seconds: float


class Registrar:
    """A trained network on its device, ready to register any number of pairs; safe to share between threads.

    `checkpoint` is a Checkpoint or the path of one; `device` is "auto", "cpu", "cuda" or "cuda:N". Raises
    CheckpointError or DeviceError.
    """

    def __init__(self, checkpoint: Checkpoint | Path | str, device: str = "auto") -> None:
        self.device = find_device(device)
        self._model = _load_model(checkpoint).to(self.device).eval()
        self._warp_label = SpatialTransformer("nearest")

    def register(
        self, fixed: Array, moving: Array, *, fixed_label: Array | None = None, moving_label: Array | None = None
    ) -> Registration:
        """Warp `moving` onto `fixed`: (H, W) arrays of one size, H and W of at least 32, any real numbers.

        Each image is moved and scaled to [0, 1] by its own minimum and maximum, as ImageLoader does for files. Labels
        are (H, W) integers and warped with nearest neighbour; Dice needs both. Raises DataError for arrays that cannot
        be registered, DeviceError where the device's memory does not suffice.
        """
        given = {"fixed": fixed, "moving": moving, "fixed_label": fixed_label, "moving_label": moving_label}
        _check_arrays({name: np.asarray(array) for name, array in given.items() if array is not None})
        fixed, moving = rescale(np.asarray(fixed)), rescale(np.asarray(moving))
        label = None if moving_label is None else np.asarray(moving_label)
        try:
            with torch.inference_mode():
                warped, flow, warped_label, seconds = self._run(fixed, moving, label)
        except torch.OutOfMemoryError:
            raise DeviceError(
                f"device {self.device}: images of {_size(moving)} pixels do not fit in its memory. "
                "Use --device cpu, or smaller images."
            ) from None
        metrics = _image_metrics(fixed, moving, warped, flow)
        if fixed_label is not None and label is not None and warped_label is not None:
            metrics |= _label_metrics(np.asarray(fixed_label), label, warped_label)
        return Registration(warped=warped, flow=flow, warped_label=warped_label, metrics=metrics, seconds=seconds)

    def _run(self, fixed: Array, moving: Array, label: Array | None) -> tuple[Array, Array, Array | None, float]:
        images = [self._tensor(image) for image in (fixed, moving)]
        ids = None if label is None else self._tensor(label.astype(np.float64))  # which holds ids exactly
        self._synchronise()
        start = time.perf_counter()
        warped, flow = self._model(*images)
        warped_ids = None if ids is None else self._warp_label(ids, flow.double())
        self._synchronise()
        seconds = time.perf_counter() - start
        warped_label = None
        if label is not None and warped_ids is not None:
            warped_label = warped_ids[0, 0].cpu().numpy().astype(label.dtype)
        return warped[0, 0].cpu().numpy(), np.ascontiguousarray(flow[0].cpu().numpy()), warped_label, seconds

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(array)[None, None].to(self.device)

    def _synchronise(self) -> None:
        # CUDA calls return before the work is done.
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def register(
    checkpoint: Checkpoint | Path | str,
    fixed: Array | Path | str,
    moving: Array | Path | str,
    *,
    fixed_label: Array | Path | str | None = None,
    moving_label: Array | Path | str | None = None,
    device: str = "auto",
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
    )


def _read(source: Array | Path | str, *, label: bool) -> Array:
    if not isinstance(source, str | Path):
        return source
    return read_label(source).array if label else ImageLoader()(source)[0]


def _load_model(checkpoint: Checkpoint | Path | str) -> CorrMLP:
    if isinstance(checkpoint, Checkpoint):
        return checkpoint.model()
    return load_checkpoint(checkpoint).model(checkpoint)


def _check_arrays(arrays: dict[str, Array]) -> None:
    for name, array in arrays.items():
        is_label = name.endswith("label")
        if array.ndim != 2:
            raise DataError(f"{name} has the shape {array.shape}; it must be a 2-D array of rows and columns.")
        if array.dtype.kind not in ("bui" if is_label else "buif"):
            wanted = "whole numbers, the ids" if is_label else "real numbers"
            raise DataError(f"{name} holds {array.dtype} values; it must hold {wanted}.")
        if not np.isfinite(array).all():
            raise DataError(f"{name} holds NaN or infinity. Replace them, for instance by 0.")
        if array.shape != arrays["fixed"].shape:
            sizes = f"{name} is {_size(array)} pixels and fixed is {_size(arrays['fixed'])}"
            raise DataError(f"{sizes}; they must have one size. Resample one of them first.")
    if min(arrays["fixed"].shape) < SMALLEST_SIZE:
        least = f"{SMALLEST_SIZE} x {SMALLEST_SIZE}"
        raise DataError(f"The images are {_size(arrays['fixed'])} pixels; at least {least} are needed.")


def _size(array: Array) -> str:
    return f"{array.shape[0]} x {array.shape[1]}"


def _image_metrics(fixed: Array, moving: Array, warped: Array, flow: Array) -> dict[str, float]:
    folds = njd(flow)
    return {
        "njd": folds.count,
        "njd_percent": folds.percent,
        "ncc_before": ncc(fixed, moving),
        "ncc": ncc(fixed, warped),
    }


def _label_metrics(fixed: Array, moving: Array, warped: Array) -> dict[str, float]:
    metrics = {}
    for name, score in (("dice_before", dice(fixed, moving)), ("dice", dice(fixed, warped))):
        if score.per_label:
            metrics[name] = score.mean
            metrics |= {f"{name}_{int(label)}": value for label, value in score.per_label.items()}
    return metrics
