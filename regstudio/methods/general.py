"""The general network that RegStudio brings along, then the optimiser: what registers a pair where nothing was trained.

The network is trained on random label maps alone (see regstudio.training.synthesis) and sees far in one look; the
optimiser fits its velocity field to the images at hand. Where no weights are brought along, the optimiser starts from
nothing.
"""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from regstudio.data.pairs import Pair
from regstudio.errors import CheckpointError
from regstudio.methods import SimilarityChoice
from regstudio.methods.optimiser import (
    Optimiser,
    chosen_settings,
    images_of,
    optimise,
    transform_of,
)
from regstudio.networks.checkpoint import general_path, load_checkpoint
from regstudio.networks.passes import full_velocity
from regstudio.transforms.transform import Transform


def general_method(similarity: SimilarityChoice = "auto", device: str | torch.device = "cpu") -> "General | Optimiser":
    """Return the general network followed by the optimiser or, where no weights are brought along, the optimiser."""
    path = general_path()
    if not path.is_file():
        return Optimiser(similarity=similarity, device=device)
    return General(path, similarity=similarity, device=device)


class General:
    """A network of velocity fields for any images, then the optimiser, as a Method.

    A pair whose images are not of one kind is left to the optimiser alone, which then starts from nothing.
    Raises CheckpointError for a file that holds no such network.
    """

    name = "general"

    def __init__(
        self, weights: Path, *, similarity: SimilarityChoice = "auto", device: str | torch.device = "cpu"
    ) -> None:
        self.similarity, self.device = similarity, torch.device(device)
        model = load_checkpoint(weights).model(str(weights))
        if model.transform != "svf":
            raise CheckpointError(f"{weights}: predicts no velocity field. Name a network with the transform svf.")
        self._model = model.to(self.device).eval().requires_grad_(False)
        self.provenance: Mapping[str, Any] = {
            "device": str(self.device),
            "similarity": similarity,
            "checkpoint": weights.name,
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        }

    def __call__(self, pair: Pair) -> Transform:
        """Register a pair."""
        start = time.perf_counter()
        fixed, moving = images_of(pair, self.device)
        settings = chosen_settings(self.similarity, fixed, moving, expected=True)
        seen = full_velocity(self._model, fixed, moving) if settings.similarity not in ("mind", "mi") else None
        found = optimise(fixed, moving, settings, velocity=seen)
        return transform_of(found, time.perf_counter() - start)
