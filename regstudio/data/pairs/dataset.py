"""The dataset of image pairs for training and validation.

An item is a dict of tensors (1, H, W): `fixed_image`, `moving_image` and, with labels, `fixed_label`, `moving_label`.
With masks it also has `fixed_mask` and `moving_mask`, 1 where an image counts; with alignment `affine` (2, 3), which
maps a pixel (y, x, 1) of the fixed image to the moving image; with landmarks `fixed_points` and `moving_points` (n, 2),
y and x in pixels, n of each pair its own and perhaps 0.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NotRequired, TypedDict, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from regstudio.data.folders.layout import Case
from regstudio.data.landmarks.landmarks import PairPoints
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.pairs.masks import MaskLoader
from regstudio.data.pictures.formats import MIN_SIDE
from regstudio.data.problems import FileError
from regstudio.errors import DataError

Item = dict[str, torch.Tensor]

GPU_SHARE = 0.25  # of its memory, for images


class ValidationPair(TypedDict):
    """A case's images and, if both images have one, labels, and masks where there are any, each (1, H, W)."""

    id: str
    fixed_image: torch.Tensor
    moving_image: torch.Tensor
    fixed_label: NotRequired[torch.Tensor]
    moving_label: NotRequired[torch.Tensor]
    fixed_mask: NotRequired[torch.Tensor]
    moving_mask: NotRequired[torch.Tensor]


class RegistrationDataset(Dataset[Item]):
    """Pairs of a fixed and a moving image from the given cases, all of one size.

    Where files know their place, axes are exchanged and reversed until all lie as the atlas does (in mode 'pair', as
    the first case).

    In mode 'atlas' item i is (atlas, case i), and the atlas is loaded once; where all cases have a fixed image of their
    own, it is (that, case i). In mode 'pair' the items are all n (n - 1)
    ordered pairs of different cases. An epoch draws n of them: each case is the moving image once, with a random
    partner, of its own group where there are `groups` of case numbers.

    With a `label_loader`, every case must have a label; with `partly_labelled`, a missing label is -1 everywhere.
    `aligned` maps a case to its affine map, and may be filled later. `landmarks` gives those of a case and its fixed
    image, or None. With `masks` every item has those of both images, of ones where all of an image counts. On a GPU as
    `device` lie the images, labels and masks of every item; those that were read stay there, up to a share of its
    memory. Raises DataError, which names the file, if one cannot be used.

    >>> dataset = RegistrationDataset(index.train, atlas=index.atlas)
    >>> dataset[0]["moving_image"].shape
    torch.Size([1, 128, 128])
    """

    def __init__(
        self,
        cases: Sequence[Case],
        *,
        atlas: Case | None = None,
        mode: Literal["atlas", "pair"] = "atlas",
        image_loader: ImageLoader | None = None,
        label_loader: LabelLoader | None = None,
        partly_labelled: bool = False,
        aligned: Mapping[Case, npt.NDArray[np.float64]] | None = None,
        groups: Sequence[Sequence[int]] | None = None,
        landmarks: Callable[[Case, Case], PairPoints | None] | None = None,
        masks: MaskLoader | None = None,
        device: torch.device | None = None,
    ) -> None:
        self._partly_labelled, self._aligned, self._landmarks = partly_labelled, aligned, landmarks
        self._masks = masks
        self._on_gpu = _OnGPU(device) if device is not None and device.type == "cuda" else None
        self.cases, self.mode = tuple(cases), mode
        # Each case's group, and its place in it.
        self._group_of = {number: (group, at) for group in groups or () for at, number in enumerate(group)}
        own = mode == "atlas" and atlas is None
        if own and not all(case.fixed for case in self.cases):
            raise DataError("There is no atlas to register to. Give one, or use mode 'pair'.")
        if len(self.cases) < (1 if mode == "atlas" else 2):
            raise DataError(f"Mode '{mode}' needs more images than {len(self.cases)}. Add some.")
        self._reference = atlas if mode == "atlas" and atlas is not None else self.cases[0].fixed or self.cases[0]
        self._image_loader = (image_loader or ImageLoader()).facing_as(self._reference.image)
        self._label_loader = label_loader and label_loader.facing_as(self._reference.image)
        reference = _load(self._reference, self._image_loader, self._label_loader)
        if masks is not None:
            reference["mask"] = _mask(self._reference, reference, masks)
        if self._on_gpu is not None:
            reference = self._on_gpu.put(self._reference, reference)
        self._atlas = reference if mode == "atlas" and not own else None
        self._shape = reference["image"].shape
        if min(self._shape[1:]) < MIN_SIDE:
            what = f"is smaller than {MIN_SIDE} x {MIN_SIDE} pixels"
            raise FileError(self._reference.image, what, "Save it in a higher resolution.")

    def __len__(self) -> int:
        """Return the number of different items; in mode 'pair' an epoch has fewer."""
        return len(self.cases) * (1 if self.mode == "atlas" else len(self.cases) - 1)

    def __getitem__(self, index: int) -> Item:
        """Return item `index`; in mode 'pair' index // (n - 1) is the moving case, and the remainder its partner."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self.mode == "atlas":
            case = self.cases[index]
            fixed = case.fixed or self._reference
            pair = _pair(self._case(fixed) if self._atlas is None else self._atlas, self._case(case))
            if self._aligned is not None:
                pair["affine"] = torch.from_numpy(self._aligned[case].astype(np.float32))
        else:
            moving, other = divmod(index, len(self.cases) - 1)
            case, fixed = self.cases[moving], self.cases[other + (other >= moving)]
            pair = _pair(self._case(fixed), self._case(case))
        return pair if self._landmarks is None else pair | _points(self._landmarks(case, fixed))

    @property
    def has_atlas(self) -> bool:
        """Whether all items have the same fixed image."""
        return self._atlas is not None

    def epoch_order(self, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw the item indices of one pass over the cases, in random order: as many as there are cases."""
        order = generator.permutation(len(self.cases))
        if self.mode == "pair" and self._group_of:
            others = np.array([self._other(int(moving), generator) for moving in order])
            order = order * (len(self.cases) - 1) + others - (others > order)
        elif self.mode == "pair":
            order = order * (len(self.cases) - 1) + generator.integers(len(self.cases) - 1, size=len(self.cases))
        return order

    def _other(self, moving: int, generator: np.random.Generator) -> int:
        """Draw a partner of the same group."""
        group, at = self._group_of[moving]
        place = int(generator.integers(len(group) - 1))
        return group[place + (place >= at)]

    def _case(self, case: Case) -> Item:
        if self._on_gpu is None:
            return self._read(case)
        return self._on_gpu.items.get(case) or self._on_gpu.put(case, self._read(case))

    def _read(self, case: Case) -> Item:
        labels = None if self._partly_labelled and case.label is None else self._label_loader
        loaded = _load(case, self._image_loader, labels)
        if self._label_loader is not None and labels is None:
            loaded["label"] = torch.full(loaded["image"].shape, -1)
        if self._masks is not None:
            loaded["mask"] = _mask(case, loaded, self._masks)
        for kind, tensor in loaded.items():
            refuse_other_size(_path(case, kind), tensor.shape, self._reference.image, self._shape)
        return loaded


class _OnGPU:
    """What of each case lies on a GPU; `items` are those that stay, up to GPU_SHARE of its memory."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._room = device, int(GPU_SHARE * torch.cuda.get_device_properties(device).total_memory)
        self.items: dict[Case, Item] = {}

    def put(self, case: Case, loaded: Item) -> Item:
        """Copy an item to the GPU, and keep it there if there is room."""
        item = {kind: tensor.to(self._device) for kind, tensor in loaded.items()}
        size = sum(tensor.nbytes for tensor in item.values())
        if size <= self._room:
            self._room -= size
            self.items[case] = item
        return item


def load_validation_pair(
    case: Case,
    fixed_case: Case,
    image_loader: ImageLoader,
    label_loader: LabelLoader | None = None,
    masks: MaskLoader | None = None,
) -> ValidationPair:
    """Load a case and its fixed image, with labels if both have one, and masks; raises DataError if a size differs."""
    image_loader = image_loader.facing_as(fixed_case.image)
    label_loader = label_loader and label_loader.facing_as(fixed_case.image)
    labelled = label_loader is not None and case.label is not None and fixed_case.label is not None
    fixed = _load(fixed_case, image_loader, label_loader if labelled else None)
    moving = _load(case, image_loader, label_loader if labelled else None)
    if masks is not None:
        fixed["mask"], moving["mask"] = _mask(fixed_case, fixed, masks), _mask(case, moving, masks)
    for kind, tensor in moving.items():
        refuse_other_size(_path(case, kind), tensor.shape, fixed_case.image, fixed["image"].shape)
    return cast(ValidationPair, {"id": case.id, **_pair(fixed, moving)})


def _load(case: Case, image_loader: ImageLoader, label_loader: LabelLoader | None) -> Item:
    loaded = {"image": torch.from_numpy(image_loader(case.image))}
    if label_loader is not None:
        if case.label is None:
            raise FileError(case.image, "has no label, though labels are asked for", "Add it, or train without labels.")
        loaded["label"] = torch.from_numpy(label_loader(case.label, case.image))
    return loaded


def _mask(case: Case, loaded: Item, masks: MaskLoader) -> torch.Tensor:
    mask = masks(case, loaded["image"].numpy())
    return torch.ones_like(loaded["image"]) if mask is None else torch.from_numpy(mask)


def _path(case: Case, kind: str) -> Path | None:
    return {"image": case.image, "label": case.label, "mask": case.mask}[kind]


def _pair(fixed: Item, moving: Item) -> Item:
    return {f"fixed_{k}": v for k, v in fixed.items()} | {f"moving_{k}": v for k, v in moving.items()}


def _points(points: PairPoints | None) -> Item:
    places = (np.empty((0, 2)), np.empty((0, 2))) if points is None else (points.fixed, points.moving)
    fixed, moving = (torch.from_numpy(some.astype(np.float32)) for some in places)
    return {"fixed_points": fixed, "moving_points": moving}


def refuse_other_size(path: Path | None, shape: tuple[int, ...], reference: Path, wanted: tuple[int, ...]) -> None:
    """Raise FileError for an array (..., H, W) of another size than that of the reference file."""
    if path is not None and shape[-2:] != wanted[-2:]:
        own, other = (f"{height} x {width}" for *_, height, width in (shape, wanted))
        what = f"its size is {own} pixels, but that of {reference.name} is {other}"
        raise FileError(path, what, "Resize it, or give the loaders a grid.")
