"""The networks by their names, as configurations and checkpoints have them."""

import threading
from typing import Any

from regstudio.networks.base import RegistrationNetwork
from regstudio.networks.corrmlp import CorrMLP
from regstudio.networks.voxelmorph import VoxelMorph

# First weights are drawn from torch's one random state: who seeds it holds the lock until the network is built.
RANDOM_STATE = threading.RLock()


def build_network(
    network: str = "corrmlp",
    *,
    transform: Any = "displacement",
    encoder_channels: int = 8,
    decoder_channels: int = 16,
    gradient_checkpointing: bool = False,
    network_side: int | None = None,
    passes: int = 1,
) -> RegistrationNetwork:
    """Return a fresh network; the arguments are the settings of the configuration's network section.

    The widths and the checkpointing are CorrMLP's. Raises ValueError for a name or transform that there is not.
    """
    with RANDOM_STATE:
        if network == "voxelmorph":
            model: RegistrationNetwork = VoxelMorph(transform=transform)
        elif network == "corrmlp":
            model = CorrMLP(
                encoder_channels, decoder_channels, transform=transform, gradient_checkpointing=gradient_checkpointing
            )
        else:
            raise ValueError(f"network is {network!r}; it must be 'corrmlp' or 'voxelmorph'")
    model.network_side, model.passes = network_side, passes
    return model
