"""The general network that RegStudio brings along, then the optimiser: what registers a pair where nothing was trained.

The network is trained on random label maps alone (see regstudio.training.synthesis) and sees far in one look; the
optimiser fits its velocity field to the images at hand, and stays near. Where no weights are brought along, the
optimiser starts from nothing.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regstudio.data.pairs.pair import Pair
from regstudio.files import file_digest
from regstudio.methods import SimilarityChoice
from regstudio.methods.affine import turns_over
from regstudio.methods.general_network import look, velocity_network
from regstudio.methods.masks import as_tensors, mask_arrays
from regstudio.methods.optimiser import (
    BETWEEN_KINDS,
    Optimiser,
    images_of,
    optimise,
    settings_for,
    transform_of,
)
from regstudio.methods.similarity_choice import similarity_as_registered
from regstudio.networks.checkpoint import general_path
from regstudio.networks.passes import full_velocity
from regstudio.transforms.transform import Transform


def general_method(
    similarity: SimilarityChoice = "auto", device: str | torch.device = "cpu", *, wide: bool = False
) -> "General | Optimiser":
    """Return the general network followed by the optimiser or, where no weights are brought along, the optimiser."""
    path = general_path()
    if not path.is_file():
        return Optimiser(similarity=similarity, device=device)
    return General(path, similarity=similarity, device=device, wide=wide)


class General:
    """A network of velocity fields for any images after an affine map, then the optimiser, as a Method.

    `wide` also looks for images that are turned by up to 180 degrees, or mirrored. Without `optimised` the network's
    field is the result. A pair whose images are not of one kind is left to the optimiser alone, which then starts from
    nothing. Raises CheckpointError for a file that holds no such network.
    """

    def __init__(
        self,
        weights: Path,
        *,
        similarity: SimilarityChoice = "auto",
        device: str | torch.device = "cpu",
        wide: bool = False,
        optimised: bool = True,
    ) -> None:
        self.name = "general" if optimised else "general_network"
        self.similarity, self.device, self.wide, self.optimised = similarity, torch.device(device), wide, optimised
        self._model = velocity_network(weights).to(self.device)
        self.provenance: Mapping[str, Any] = {
            "device": str(self.device),
            "similarity": similarity,
            "affine": "wide" if wide else "auto",
            "checkpoint": weights.name,
            "sha256": file_digest(weights),
        }

    def __call__(self, pair: Pair) -> Transform:
        """Register a pair."""
        start = time.perf_counter()
        fixed, moving = images_of(pair, self.device)
        masks = on, of = as_tensors(mask_arrays(pair), self.device)
        known = torch.eye(2, 3, device=self.device)[None] if pair.laid_by_hand else None
        seen = look(self._model, fixed, moving, known, wide=self.wide, masks=masks)
        similarity = self.similarity
        if similarity == "auto":
            similarity = similarity_as_registered(fixed, seen.warped, seen.counted)
        settings = settings_for(similarity, expected=True, alike=seen.alike)
        affine: Tensor | None = seen.affine
        velocity: Tensor | None = seen.velocity
        if similarity in BETWEEN_KINDS:
            # Maps that were judged by the images' correlation mean nothing here, and the network knows too little.
            affine, velocity = None, None if self.optimised else full_velocity(self._model, fixed, moving)
        if not self.optimised:
            settings = replace(settings, steps=(0,))
        found = optimise(fixed, moving, settings, affine=affine, velocity=velocity, fixed_mask=on, moving_mask=of)
        mirrored = affine is not None and turns_over(affine[0].cpu().numpy())
        return replace(transform_of(found, time.perf_counter() - start), mirrored=mirrored)
