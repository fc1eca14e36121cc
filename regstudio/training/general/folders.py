"""How well a network that was not trained on a folder of data registers it: Dice or distance of landmarks."""

import math
import time
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from regstudio.config import build_config
from regstudio.data.folders.layout import Layout, index_folder
from regstudio.data.pairs.pair import Pair
from regstudio.errors import DataError
from regstudio.metrics import target_registration_error
from regstudio.networks.base import RegistrationNetwork
from regstudio.networks.passes import register
from regstudio.training.setup import pair_reader
from regstudio.transforms.registration import Registration
from regstudio.transforms.transform import Transform


class FolderScore:
    """The first `most` cases of a folder in one of the documented layouts, by name, landmarks included.

    They are those for validation or, where none are set apart, all moving images. Raises DataError where it holds none.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.name = folder.resolve().name
        config = build_config({"data_base_dir": folder})
        index = index_folder(Layout(**config.layout.model_dump()))
        cases = index.evaluated or index.train
        if index.reference is None or not cases:
            raise DataError(f"{folder}: holds no pairs. Put images into fixed/ and moving/, with the same names.")
        self._cases = sorted(cases, key=lambda case: case.image)[:most]
        self._read = pair_reader(config.reading, index.reference, with_points=True)

    def __call__(self, network: RegistrationNetwork, device: torch.device) -> dict[str, float]:
        """Return the means over the cases: NAME_dice or NAME_tre (pixels), and NAME_njd_percent."""
        scores = [_score(network, device, self._read(case)) for case in self._cases]
        return {
            f"{self.name}_{metric}": fmean(values)
            for metric in ("dice", "tre", "njd_percent")
            if (values := [score[metric] for score in scores if metric in score])
        }


def _score(network: RegistrationNetwork, device: torch.device, pair: Pair) -> dict[str, float]:
    fixed, moving = (torch.from_numpy(image)[None, None].to(device) for image in (pair.fixed, pair.moving))
    start = time.perf_counter()
    flow = register(network, fixed, moving)[0].cpu().numpy()
    found = Registration(pair=pair, transform=Transform(flow=flow, seconds=time.perf_counter() - start))
    scores = {"njd_percent": found.folds.percent}
    if found.dice is not None and not math.isnan(found.dice.mean):
        scores["dice"] = found.dice.mean
    if pair.fixed_points is not None and pair.moving_points is not None:
        scores["tre"] = float(np.mean(target_registration_error(pair.fixed_points, pair.moving_points, flow)))
    return scores
