"""How well a network that was not trained on a folder of data registers it: a few cases, Dice or distance of landmarks.

Two layouts: an atlas in fixed/ for all of validation_moving/ (or moving/), or pairs of the same name in fixed/ and
moving/. Labels lie in FOLDER_seg/NAME_seg.*, landmarks in FOLDER_points/NAME_points.csv.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import numpy as np
import numpy.typing as npt
import torch

from regstudio.data.formats import extension, stem
from regstudio.data.loaders import ImageLoader, LabelLoader
from regstudio.data.points import find_landmarks, read_landmarks
from regstudio.errors import DataError
from regstudio.metrics import dice, njd, shared_labels, target_registration_error
from regstudio.networks.base import RegistrationNetwork
from regstudio.networks.passes import register
from regstudio.networks.warp import SpatialTransformer


class FolderScore:
    """The first `most` cases of a folder, by name; raises DataError where it holds no pairs."""

    def __init__(self, folder: Path, most: int) -> None:
        self.name = folder.resolve().name
        self._pairs = list(_pairs(folder))[:most]
        if not self._pairs:
            raise DataError(f"{folder}: holds no pairs. Put images into fixed/ and moving/, with the same names.")

    def __call__(self, network: RegistrationNetwork, device: torch.device) -> dict[str, float]:
        """Return the means over the cases: NAME_dice or NAME_tre (pixels), and NAME_njd_percent."""
        scores = [_score(network, device, fixed, moving) for fixed, moving in self._pairs]
        return {
            f"{self.name}_{metric}": fmean(values)
            for metric in ("dice", "tre", "njd_percent")
            if (values := [score[metric] for score in scores if metric in score])
        }


def _pairs(folder: Path) -> Iterator[tuple[Path, Path]]:
    fixed = _images(folder / "fixed")
    moving = _images(folder / "validation_moving") or _images(folder / "moving")
    for name, path in moving.items():
        if len(fixed) == 1:
            yield next(iter(fixed.values())), path
        elif name in fixed:
            yield fixed[name], path


def _images(folder: Path) -> dict[str, Path]:
    paths = sorted(folder.glob("*")) if folder.is_dir() else []
    return {stem(path): path for path in paths if extension(path)}


def _score(network: RegistrationNetwork, device: torch.device, fixed: Path, moving: Path) -> dict[str, float]:
    images = [torch.from_numpy(ImageLoader()(path))[None].to(device) for path in (fixed, moving)]
    flow = register(network, images[0], images[1]).cpu()
    scores = {"njd_percent": njd(flow[0].numpy()).percent}
    labels = [_label(path) for path in (fixed, moving)]
    if labels[0] is not None and labels[1] is not None:
        warped = SpatialTransformer("nearest")(torch.from_numpy(labels[1]).double()[None, None], flow.double())
        overlap = dice(labels[0], warped[0, 0].long().numpy(), shared_labels(labels[0], labels[1])).mean
        if not math.isnan(overlap):
            scores["dice"] = overlap
    points = [find_landmarks(path) for path in (fixed, moving)]
    if points[0] is not None and points[1] is not None:
        places = [read_landmarks(path).places for path in points if path is not None]
        scores["tre"] = float(np.mean(target_registration_error(places[0], places[1], flow[0].numpy())))
    return scores


def _label(image: Path) -> npt.NDArray[np.int64] | None:
    folder = image.parent.with_name(image.parent.name + "_seg")
    found = sorted(folder.glob(f"{stem(image)}_seg.*"))
    return LabelLoader()(found[0])[0] if found else None
