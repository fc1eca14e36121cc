"""The batches of a training: the order of an epoch, and what reads ahead of it."""

import os
import signal
from collections.abc import Generator, Iterator
from contextlib import closing

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from regstudio.data.dataset import Item, RegistrationDataset
from regstudio.distributed import SINGLE_PROCESS, Group
from regstudio.errors import DataError
from regstudio.threads import map_in_order

READING_THREADS = 4  # at most, in the first pass over the files


class EpochSampler(Sampler[int]):
    """The items of an epoch in an order that depends on seed and epoch alone, from any place in it onwards.

    An epoch has `length` items, by default those of one pass over the cases, shared out among the group's processes.
    """

    def __init__(
        self, dataset: RegistrationDataset, *, seed: int, length: int | None = None, group: Group = SINGLE_PROCESS
    ) -> None:
        self._dataset, self._seed, self._length = dataset, seed, length or len(dataset.cases)
        self._own = group.shard
        self.start(0)

    def start(self, epoch: int, skip: int = 0) -> None:
        """Make the next iteration that of `epoch`, without its first `skip` items."""
        self._epoch, self._skip = epoch, skip

    def __len__(self) -> int:
        """Return the number of items left in the epoch."""
        return len(range(self._skip, self._length)[self._own])

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of the items."""
        random = np.random.default_rng([self._seed, self._epoch])
        passes = -(-self._length // len(self._dataset.cases))
        order = np.concatenate([self._dataset.epoch_order(random) for _ in range(passes)])
        yield from order[self._skip : self._length][self._own].tolist()


class TrainingLoader:
    """The batches of a training, epoch by epoch, each a function of seed, epoch and step alone.

    Images are (B, 1, H, W); the atlas, being the same for all, comes as (1, 1, H, W). An epoch is `steps` batches, or
    if that is None one pass over the cases, without a last short batch. A few threads load ahead, which suits all
    formats but those that are decoded in Python. With `num_workers` > 0, processes do: they are spawned, not forked,
    since a fork of a program with threads (a browser's, a training's) may hang, and so a script needs its
    `if __name__ == "__main__"`. Each process of a `group` has `batch_size` images of a step; together they are those of
    one process with a batch of all.
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
        group: Group = SINGLE_PROCESS,
    ) -> None:
        images, self._step_size = len(dataset.cases), batch_size * group.size
        if images < self._step_size:
            what = f"batches of {batch_size}" + f" in {group.size} processes" * (group.size > 1)
            raise DataError(f"There are {images} images for {what}. Lower --batch_size, or add images.")
        self._steps = steps or images // self._step_size
        self._sampler = EpochSampler(dataset, seed=seed, length=self._steps * self._step_size, group=group)
        self._batches = _Batches(dataset)
        self._indices = BatchSampler(self._sampler, batch_size, drop_last=True)
        self._pin_memory, self._threads, self._given = pin_memory, min(READING_THREADS, group.cores), 0
        self._processes: DataLoader[Item | DataError] | None = None
        if num_workers > 0:
            self._processes = DataLoader(
                self._batches,
                batch_size=None,
                sampler=self._indices,
                num_workers=num_workers,
                persistent_workers=True,
                multiprocessing_context="spawn",
                worker_init_fn=_stand_apart,
                generator=torch.Generator(),  # or it would draw from the global one, and an exact resume would be lost
            )

    def __len__(self) -> int:
        """Return the number of steps in a whole epoch."""
        return self._steps

    def epoch(self, number: int, *, skip: int = 0) -> Generator[Item, None, None]:
        """Yield the batches of epoch `number`, without its first `skip`; raises DataError where a file fails.

        Close the generator to end the threads of an epoch that is left early.
        """
        self._sampler.start(number, skip * self._step_size)
        with closing(self._outcomes()) as outcomes:
            for batch in outcomes:
                if isinstance(batch, DataError):
                    raise batch
                self._given += len(batch["moving_image"])
                yield {name: t.pin_memory() for name, t in batch.items()} if self._pin_memory else batch

    def _outcomes(self) -> Generator[Item | DataError, None, None]:
        if self._processes is not None:
            yield from self._processes
        else:
            # Once the files are kept, one thread keeps up; more would only get in the training's way for Python's lock.
            first = self._given < len(self._batches.dataset.cases)
            yield from map_in_order(self._batches.__getitem__, self._indices, workers=self._threads if first else 1)


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


def _stand_apart(worker: int) -> None:
    # Ctrl-C, and the SIGTERM of torchrun, reach every process of a group; the training alone decides what they mean.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name == "posix":
        os.setpgrp()
