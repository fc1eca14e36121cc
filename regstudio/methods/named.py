"""The methods that need no checkpoint, by name."""

import torch

from regstudio.errors import ConfigError
from regstudio.methods import NAMES, SimilarityChoice
from regstudio.methods.alignment import AffineMethod
from regstudio.methods.baselines import baseline
from regstudio.methods.general import General, general_method
from regstudio.methods.method import Method
from regstudio.methods.optimiser import Optimiser
from regstudio.networks.checkpoint import general_path


def named_method(
    name: str, *, similarity: SimilarityChoice = "auto", device: str | torch.device = "cpu", wide: bool = False
) -> Method:
    """Return one of NAMES as a Method; the other settings are those of the general method and the optimiser.

    - "general" is the general network that is brought along, then the optimiser; without weights the optimiser alone.
      `wide` also looks for images that are turned by up to 180 degrees, or mirrored.
    - "general_network" is that network alone.
    - "optimiser" fits a velocity field to each pair.
    - "affine" is our affine registration alone; the others are those of `baseline`.

    Raises ConfigError for another name, and if a package is not installed.
    """
    if name not in NAMES:
        raise ConfigError(f"There is no method {name!r}. Choose one of {', '.join(NAMES)}.")
    if name == "general":
        return general_method(similarity, device, wide=wide)
    if name == "general_network":
        return General(general_path(), similarity=similarity, device=device, wide=wide, optimised=False)
    if name == "optimiser":
        return Optimiser(similarity=similarity, device=device)
    return AffineMethod() if name == "affine" else baseline(name)
