"""The affine map before a network, `--affine auto` or `wide`: one that never harms what comes after it.

It is the affine part of what the general network makes of the pair. Images of two kinds say little to that network:
there our own search is judged, beside no map at all, by what the pair optimiser makes of them.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from regstudio.data.pairs.pair import Pair
from regstudio.files import file_digest
from regstudio.methods.affine import CACHE_KEY_VERSION, Affine, affine_flow, register_affine
from regstudio.methods.general_network import general_network, look
from regstudio.methods.initial_affine import MARGIN, quick_affines, searched_affine, wide_affine
from regstudio.methods.masks import MaskArrays, as_tensors, counted, mask_arrays
from regstudio.methods.optimiser import BETWEEN_KINDS, optimise, settings_for
from regstudio.methods.similarity_choice import choose_similarity, similarity_as_registered
from regstudio.networks.checkpoint import general_path
from regstudio.transforms.transform import Transform

Array = npt.NDArray[Any]
Alignment = Literal["none", "auto", "wide"]


class Aligner:
    """A search for affine maps, as `affine_matrices` takes one: aligner(fixed, moving) -> Affine.

    `wide` also finds images that are turned by up to 180 degrees, or mirrored. `version` names the search in the keys
    of caches. Where no general network is brought along, it is `register_affine` alone. On `device`, which may be a
    GPU, batches are looked at; so many images `at_once` are worth to wait for: a few give the CPU most of what a batch
    gains.
    """

    def __init__(self, *, wide: bool = False, device: torch.device | None = None) -> None:
        self.wide, self.device = wide, device or torch.device("cpu")
        self.at_once = 64 if self.device.type == "cuda" else 4
        self.version = f"judged-5, {CACHE_KEY_VERSION}, {_weights_digest()}" + ", wide and mirrored" * wide

    def __call__(self, fixed: Array, moving: Array, masks: MaskArrays = (None, None)) -> Affine:
        """Return the map (2, 3) that the best deformable registration of two images (H, W), with masks, starts from."""
        network = general_network()
        if network is None or fixed.shape != moving.shape or not (np.ptp(fixed) and np.ptp(moving)):
            return register_affine(fixed, moving, masks)
        images = _image(fixed), _image(moving)
        count = on, of = as_tensors(masks)
        if self.wide:
            affine = wide_affine(network, *images, count)
        else:
            affine, alike = quick_affines(network, *images, count)
            if alike:
                return Affine(affine[0].double().numpy())
            affine = searched_affine(network, *images, count)
        if choose_similarity(*images, mask=counted(count, None)) == ["ncc"]:
            return Affine(affine[0].double().numpy())
        seen = look(network, *images, affine, masks=count)
        similarity = similarity_as_registered(images[0], seen.warped, seen.counted)
        if similarity not in BETWEEN_KINDS:
            return Affine(affine[0].double().numpy())
        found = register_affine(fixed, moving, masks)
        both = torch.stack((torch.eye(2, 3), torch.from_numpy(found.matrix.astype(np.float32))))
        twice = [image.expand(2, -1, -1, -1) for image in images]
        settings = settings_for(similarity)
        judged = optimise(twice[0], twice[1], settings, affine=both, fixed_mask=on, moving_mask=of)
        without, after = judged.energy.tolist()
        if after < without - MARGIN:
            return found
        return Affine(np.eye(2, 3), found.reason or "no affine map brings a deformable registration further")

    def batch(self, pairs: Sequence[tuple[Array, Array]]) -> list[Affine]:
        """Return the maps of several pairs of fixed and moving images, but for the last digits those of each alone.

        Pairs of one size that are plainly alike as they lie take half the time.
        """
        network = general_network(self.device)
        sizes = {image.shape for pair in pairs for image in pair}
        if network is None or self.wide or len(sizes) > 1 or not all(np.ptp(image) for pair in pairs for image in pair):
            return [self(*pair) for pair in pairs]
        fixed, moving = (
            torch.cat([_image(image) for image in side]).to(self.device) for side in zip(*pairs, strict=True)
        )
        atlas = fixed[:1]
        found = quick_affines(network, atlas if (fixed == atlas).all() else fixed, moving)
        affines, alike = (tensor.cpu() for tensor in found)
        return [
            Affine(affine.double().numpy()) if quick else self(*pair)
            for pair, affine, quick in zip(pairs, affines, alike.tolist(), strict=True)
        ]


class AffineMethod:
    """Affine registration alone, as a Method."""

    name = "affine"

    def __init__(self) -> None:
        self._align = Aligner()
        self.provenance: Mapping[str, Any] = {"search": self._align.version}

    def __call__(self, pair: Pair) -> Transform:
        """Register a pair: flow, affine part and inverse are the affine map."""
        start = time.perf_counter()
        matrix = self._align(pair.fixed, pair.moving, mask_arrays(pair)).matrix
        seconds = time.perf_counter() - start
        flow, size = affine_flow(matrix, pair.fixed.shape), pair.moving.shape
        inverse = np.linalg.inv(np.vstack((matrix, (0, 0, 1))))[:2]
        return Transform(flow=flow, seconds=seconds, affine_flow=flow, inverse_flow=affine_flow(inverse, size))


def _image(array: Array) -> Tensor:
    image = torch.from_numpy(np.ascontiguousarray(array, np.float32))[None, None]
    return (image - image.min()) / (image.max() - image.min())


def _weights_digest() -> str:
    path = general_path()
    return file_digest(path)[:16] if path.is_file() else "no network"
