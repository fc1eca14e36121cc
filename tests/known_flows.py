"""Networks whose flow is known, and images whose counterparts are."""

from dataclasses import replace

import numpy as np
import torch

from regstudio.data.pairs.pair import Pair, Pictures
from regstudio.data.pictures.picture import Picture
from regstudio.methods.method import Method
from regstudio.networks.base import Transform as Transformation
from regstudio.networks.checkpoint import Checkpoint
from regstudio.networks.corrmlp import CorrMLP
from regstudio.registering.two_images import register
from regstudio.transforms.registration import Registration
from regstudio.transforms.transform import Transform


def constant_flow(dy: float, dx: float, transform: Transformation = "displacement") -> Checkpoint:
    """A network that answers every pair with the same flow: its heads see nothing and the last one has a bias."""
    widths = {"encoder_channels": 1, "decoder_channels": 4}
    model = CorrMLP(**widths, transform=transform)
    with torch.no_grad():
        for head in model.heads:
            head.weight.zero_()
        model.heads[0].bias.copy_(torch.tensor([dy, dx]))
    return Checkpoint(weights=model.state_dict(), network={**widths, "transform": transform})


def shifted(array: np.ndarray, outside: float = 0) -> np.ndarray:
    """What the network of `shift` makes of an image: moved 2 pixels up and 3 to the right."""
    result = np.full_like(array, outside)
    result[:-2, 3:] = array[2:, :-3]
    return result


def register_files_as(method: Method, fixed: Picture, moving: Picture, label: Picture | None = None) -> Registration:
    """Register two pictures as a method does, keeping the files with the pair."""
    found = register(method, fixed.array, moving.array, moving_label=None if label is None else label.array)
    pictures = Pictures(fixed=fixed, moving=moving, moving_label=label)
    return Registration(pair=replace(found.pair, pictures=pictures), transform=found.transform)


def registered_by(flow: np.ndarray, fixed: Picture, moving: Picture, inverse: np.ndarray | None = None) -> Registration:
    """What a method that found this flow for two pictures returns."""
    blank = np.zeros(flow.shape[1:], np.float32)
    pair = Pair(id="x", fixed=blank, moving=blank, pictures=Pictures(fixed=fixed, moving=moving))
    return Registration(pair=pair, transform=Transform(flow=flow, seconds=0.0, inverse_flow=inverse))
