"""Networks whose flow is known, and images whose counterparts are."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from regstudio.inference.registrar import Registrar
from regstudio.networks.checkpoint import Checkpoint
from regstudio.networks.corrmlp import CorrMLP

Network = Callable[[float, float], Checkpoint]


def constant_flow(dy: float, dx: float) -> Checkpoint:
    """A network that answers every pair with the same flow: its heads see nothing and the last one has a bias."""
    model = CorrMLP(encoder_channels=1, decoder_channels=4)
    with torch.no_grad():
        for head in model.heads:
            head.weight.zero_()
        model.heads[0].bias.copy_(torch.tensor([dy, dx]))
    return Checkpoint(weights=model.state_dict(), network={"encoder_channels": 1, "decoder_channels": 4})


@pytest.fixture
def shift() -> Registrar:
    """warped(y, x) = moving(y + 2, x - 3)."""
    return Registrar(constant_flow(2, -3), device="cpu")


@pytest.fixture
def identity() -> Registrar:
    return Registrar(constant_flow(0, 0), device="cpu")


@pytest.fixture
def image() -> np.ndarray:
    """(40, 36) in [0, 1], not square, not symmetric, its minimum all around."""
    y, x = np.mgrid[:40, :36]
    picture = np.exp(-((y - 17) ** 2 + (x - 20) ** 2) / 60) + 0.5 * np.exp(-((y - 25) ** 2 + (x - 12) ** 2) / 15)
    picture[[0, 1, 2, -1, -2, -3]] = picture[:, [0, 1, 2, 3, -1, -2, -3, -4]] = picture.min()
    return ((picture - picture.min()) / np.ptp(picture)).astype(np.float32)


@pytest.fixture
def label() -> np.ndarray:
    """(40, 36), ids 1 and 300, background 0 around them."""
    ids = np.zeros((40, 36), np.int16)
    ids[10:20, 12:24] = 1
    ids[22:30, 8:16] = 300
    return ids


def shifted(array: np.ndarray, outside: float = 0) -> np.ndarray:
    """What the network of `shift` makes of an image: moved 2 pixels up and 3 to the right."""
    result = np.full_like(array, outside)
    result[:-2, 3:] = array[2:, :-3]
    return result
