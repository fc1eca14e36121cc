"""Networks whose flow is known, and images whose counterparts are."""

import numpy as np
import torch

from regstudio.networks.checkpoint import Checkpoint
from regstudio.networks.corrmlp import CorrMLP


def constant_flow(dy: float, dx: float) -> Checkpoint:
    """A network that answers every pair with the same flow: its heads see nothing and the last one has a bias."""
    model = CorrMLP(encoder_channels=1, decoder_channels=4)
    with torch.no_grad():
        for head in model.heads:
            head.weight.zero_()
        model.heads[0].bias.copy_(torch.tensor([dy, dx]))
    return Checkpoint(weights=model.state_dict(), network={"encoder_channels": 1, "decoder_channels": 4})


def shifted(array: np.ndarray, outside: float = 0) -> np.ndarray:
    """What the network of `shift` makes of an image: moved 2 pixels up and 3 to the right."""
    result = np.full_like(array, outside)
    result[:-2, 3:] = array[2:, :-3]
    return result
