"""Pairs of images to register: the data set, the order of an epoch, and the batches of a training.

An item is a dict of tensors (1, H, W): `fixed_image`, `moving_image` and, where labels are asked for, `fixed_label`,
`moving_label`; where images are aligned, also `affine` (2, 3), which maps a pixel (y, x, 1) of the fixed image to the
moving one.
"""

import os
import signal
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal, NotRequired, TypedDict, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from regstudio.data.formats import SMALLEST_SIDE
from regstudio.data.layout import Case
from regstudio.data.loaders import ImageLoader, LabelLoader
from regstudio.data.parallel import in_order
from regstudio.data.problems import FileError
from regstudio.errors import DataError

READING_THREADS = 4  # at most, in the first pass over the files

Item = dict[str, torch.Tensor]


class ValidationPair(TypedDict):
    """A case's images and, where both have one, labels, each (1, H, W)."""

    id: str
    fixed_image: torch.Tensor
    moving_image: torch.Tensor
    fixed_label: NotRequired[torch.Tensor]
    moving_label: NotRequired[torch.Tensor]


class RegistrationDataset(Dataset[Item]):
    """Pairs of a fixed and a moving image out of some cases, all of one size.

    In mode 'atlas' item i is (atlas, case i), and the atlas is loaded once. In mode 'pair' the items are all n (n - 1)
    ordered pairs of different cases, of which an epoch draws n: each case is the moving image once, its partner chance.
    With a `label_loader`, every case must have a label, unless `partly_labelled`: what lacks one then has a label of
    -1 everywhere. `aligned` holds the affine map of each image, and may be filled after this is made. Raises
    DataError, naming the file, where one cannot be used.
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
        aligned: Mapping[Path, npt.NDArray[np.float64]] | None = None,
    ) -> None:
        self._partly_labelled, self._aligned = partly_labelled, aligned
        self.cases, self.mode = tuple(cases), mode
        self._image_loader, self._label_loader = image_loader or ImageLoader(), label_loader
        if mode == "atlas" and atlas is None:
            raise DataError("There is no atlas to register to. Give one, or use mode 'pair'.")
        if len(self.cases) < (1 if mode == "atlas" else 2):
            raise DataError(f"Mode '{mode}' needs more images than {len(self.cases)}. Add some.")
        self._reference = atlas if mode == "atlas" and atlas is not None else self.cases[0]
        reference = _load(self._reference, self._image_loader, label_loader)
        self._atlas = reference if mode == "atlas" else None
        self._shape = reference["image"].shape
        if min(self._shape[1:]) < SMALLEST_SIDE:
            what = f"is smaller than {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels"
            raise FileError(self._reference.image, what, "Save it in a higher resolution.")

    def __len__(self) -> int:
        """Return the number of different items, which in mode 'pair' is more than an epoch has."""
        return len(self.cases) * (1 if self.mode == "atlas" else len(self.cases) - 1)

    def __getitem__(self, index: int) -> Item:
        """Return item `index`; in mode 'pair' index / (n - 1) is the moving case, and the rest its partner."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self._atlas is not None:
            pair = _pair(self._atlas, self._case(index))
            if self._aligned is not None:
                pair["affine"] = torch.from_numpy(self._aligned[self.cases[index].image].astype(np.float32))
            return pair
        moving, other = divmod(index, len(self.cases) - 1)
        return _pair(self._case(other + (other >= moving)), self._case(moving))

    def epoch_order(self, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw the items of one pass over the cases in their order: as many as there are cases."""
        order = generator.permutation(len(self.cases))
        if self.mode == "pair":
            order = order * (len(self.cases) - 1) + generator.integers(len(self.cases) - 1, size=len(self.cases))
        return order

    def _case(self, index: int) -> Item:
        case = self.cases[index]
        labels = None if self._partly_labelled and case.label is None else self._label_loader
        loaded = _load(case, self._image_loader, labels)
        if self._label_loader is not None and labels is None:
            loaded["label"] = torch.full(loaded["image"].shape, -1)
        for path, tensor in zip((case.image, case.label), loaded.values(), strict=False):
            _refuse_other_size(path, tensor.shape, self._reference.image, self._shape)
        return loaded


def load_validation_pair(
    case: Case, atlas: Case, image_loader: ImageLoader, label_loader: LabelLoader | None = None
) -> ValidationPair:
    """Load a case and the atlas, with both labels where there are both; raises DataError if a size differs."""
    labelled = label_loader is not None and case.label is not None and atlas.label is not None
    fixed = _load(atlas, image_loader, label_loader if labelled else None)
    moving = _load(case, image_loader, label_loader if labelled else None)
    for path, tensor in zip((case.image, case.label), moving.values(), strict=False):
        _refuse_other_size(path, tensor.shape, atlas.image, fixed["image"].shape)
    return cast(ValidationPair, {"id": case.id, **_pair(fixed, moving)})


def _load(case: Case, image_loader: ImageLoader, label_loader: LabelLoader | None) -> Item:
    loaded = {"image": torch.from_numpy(image_loader(case.image))}
    if label_loader is not None:
        if case.label is None:
            raise FileError(case.image, "has no label, though labels are asked for", "Add it, or train without labels.")
        loaded["label"] = torch.from_numpy(label_loader(case.label))
    return loaded


def _pair(fixed: Item, moving: Item) -> Item:
    return {f"fixed_{k}": v for k, v in fixed.items()} | {f"moving_{k}": v for k, v in moving.items()}


def _refuse_other_size(path: Path | None, shape: torch.Size, reference: Path, wanted: torch.Size) -> None:
    if path is not None and shape != wanted:
        own, other = (f"{height} x {width}" for _, height, width in (shape, wanted))
        what = f"its size is {own} pixels, but that of {reference.name} is {other}"
        raise FileError(path, what, "Resize it, or let --resize_to_atlas do so.")


class EpochSampler(Sampler[int]):
    """The items of an epoch in an order that depends on seed and epoch alone, from any place in it onwards.

    An epoch has `length` items, by default those of one pass over the cases.
    """

    def __init__(self, dataset: RegistrationDataset, *, seed: int, length: int | None = None) -> None:
        self._dataset, self._seed, self._length = dataset, seed, length or len(dataset.cases)
        self.start(0)

    def start(self, epoch: int, skip: int = 0) -> None:
        """Make the next iteration that of `epoch`, without its first `skip` items."""
        self._epoch, self._skip = epoch, skip

    def __len__(self) -> int:
        """Return the number of items left in the epoch."""
        return max(0, self._length - self._skip)

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of the items."""
        random = np.random.default_rng([self._seed, self._epoch])
        passes = -(-self._length // len(self._dataset.cases))
        order = np.concatenate([self._dataset.epoch_order(random) for _ in range(passes)])
        yield from order[self._skip : self._length].tolist()


class TrainingLoader:
    """The batches of a training, epoch by epoch, each a function of seed, epoch and step alone.

    Images are (B, 1, H, W); the atlas, being the same for all, comes as (1, 1, H, W). An epoch is `steps` batches, or
    if that is None one pass over the cases, without a last short batch. A few threads load ahead, which suits all
    formats but those that are decoded in Python. With `num_workers` > 0, processes do: they are spawned, not forked,
    since a fork of a program with threads (a browser's, a training's) may hang, and so a script needs its
    `if __name__ == "__main__"`.
    """

    def __init__(
        self,
        dataset: RegistrationDataset,
        *,
        batch_size: int,
        seed: int,
        num_workers: int = 0,
        pin_memory: bool = False,
        steps: int | None = None,
    ) -> None:
        images = len(dataset.cases)
        if images < batch_size:
            raise DataError(
                f"There are {images} images for batches of {batch_size}. Lower --batch_size, or add images."
            )
        self._steps, self._batch_size = steps or images // batch_size, batch_size
        self._sampler = EpochSampler(dataset, seed=seed, length=self._steps * batch_size)
        self._batches = _Batches(dataset)
        self._indices = BatchSampler(self._sampler, batch_size, drop_last=True)
        self._pin_memory, self._given = pin_memory, 0
        self._processes: DataLoader[Item | DataError] | None = None
        if num_workers > 0:
            self._processes = DataLoader(
                self._batches,
                batch_size=None,
                sampler=self._indices,
                num_workers=num_workers,
                persistent_workers=True,
                multiprocessing_context="spawn",
                worker_init_fn=_ignore_interrupt,
                generator=torch.Generator(),  # or it would draw from the global one, and an exact resume would be lost
            )

    def __len__(self) -> int:
        """Return the number of steps in a whole epoch."""
        return self._steps

    def epoch(self, number: int, *, skip: int = 0) -> Generator[Item, None, None]:
        """Yield the batches of epoch `number`, without its first `skip`; raises DataError where a file fails.

        Close the generator to end the threads of an epoch that is left early.
        """
        self._sampler.start(number, skip * self._batch_size)
        with closing(self._outcomes()) as outcomes:
            for batch in outcomes:
                if isinstance(batch, DataError):
                    raise batch
                self._given += self._batch_size
                yield {name: t.pin_memory() for name, t in batch.items()} if self._pin_memory else batch

    def _outcomes(self) -> Generator[Item | DataError, None, None]:
        if self._processes is not None:
            yield from self._processes
        else:
            # Once the files are kept, one thread keeps up; more would only get in the training's way for Python's lock.
            first = self._given < len(self._batches.dataset.cases)
            workers = min(READING_THREADS, os.cpu_count() or 1) if first else 1
            yield from in_order(self._batches.__getitem__, self._indices, workers=workers)


class _Batches(Dataset[Item | DataError]):
    """Batches by the indices of their items; or the error met, which a loading process would wrap in a traceback."""

    def __init__(self, dataset: RegistrationDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, indices: list[int]) -> Item | DataError:
        try:
            items = [self.dataset[index] for index in indices]
        except DataError as error:
            return error
        once = ("fixed_image", "fixed_label") if self.dataset.mode == "atlas" else ()
        return {key: items[0][key][None] if key in once else _stack([i[key] for i in items]) for key in items[0]}


def _stack(tensors: list[torch.Tensor]) -> torch.Tensor:
    # In NumPy: torch would start its threads once more in each thread that loads.
    return torch.from_numpy(np.stack([tensor.numpy() for tensor in tensors]))


def _ignore_interrupt(worker: int) -> None:
    # Ctrl-C reaches every process of the terminal; the training alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
