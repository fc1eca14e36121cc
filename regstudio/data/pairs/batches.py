"""The batches of a training: a sampler for the order, and a loader that prefetches in threads or processes."""

import os
import signal
from collections.abc import Generator, Iterator
from contextlib import closing

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from regstudio.data.pairs.dataset import Item, RegistrationDataset
from regstudio.distributed import SINGLE_PROCESS, Group
from regstudio.errors import DataError
from regstudio.threads import map_in_order

MAX_READING_THREADS = 4  # in the first pass over the files


class EpochSampler(Sampler[int]):
    """Samples the items of an epoch in an order that depends only on seed and epoch, so that a resume is exact.

    An epoch has `length` items, by default one pass over the cases. Each process of the group samples its shard.
    """

    def __init__(
        self, dataset: RegistrationDataset, *, seed: int, length: int | None = None, group: Group = SINGLE_PROCESS
    ) -> None:
        self._dataset, self._seed, self._length = dataset, seed, length or len(dataset.cases)
        self._shard = group.shard
        self.start(0)

    def start(self, epoch: int, skip: int = 0) -> None:
        """Set the epoch of the next iteration, and how many of its first items to skip."""
        self._epoch, self._skip = epoch, skip

    def __len__(self) -> int:
        """Return the number of remaining items of this process."""
        return len(range(self._skip, self._length)[self._shard])

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of the items of this process."""
        random = np.random.default_rng([self._seed, self._epoch])
        passes = -(-self._length // len(self._dataset.cases))
        order = np.concatenate([self._dataset.epoch_order(random) for _ in range(passes)])
        yield from order[self._skip : self._length][self._shard].tolist()


class TrainingLoader:
    """Loads the batches of a training epoch by epoch; a batch depends only on seed, epoch and step.

    Images are (B, 1, H, W); the atlas, the same for all, is (1, 1, H, W). Points are (B, n, 2), NaN where a pair has
    fewer than n. An epoch has `steps` batches, by default one
    pass over the cases without a last short batch.

    A few threads prefetch, which suits every format that is not decoded in Python. With `num_workers` > 0, processes
    prefetch. They are spawned, since a fork of a program with threads may hang; a script therefore needs
    `if __name__ == "__main__"`.

    Each process of `group` loads `batch_size` images a step: its shard of the batch that one process alone would load.

    >>> loader = TrainingLoader(dataset, batch_size=4, seed=0)
    >>> for batch in loader.epoch(0): ...
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
        self._batch_dataset = _BatchDataset(dataset)
        self._batch_sampler = BatchSampler(self._sampler, batch_size, drop_last=True)
        self._pin_memory, self._threads, self._images_loaded = pin_memory, min(MAX_READING_THREADS, group.cores), 0
        self._processes: DataLoader[Item | DataError] | None = None
        if num_workers > 0:
            self._processes = DataLoader(
                self._batch_dataset,
                batch_size=None,
                sampler=self._batch_sampler,
                num_workers=num_workers,
                persistent_workers=True,
                multiprocessing_context="spawn",
                worker_init_fn=_ignore_signals,
                generator=torch.Generator(),  # otherwise it draws from the global one, and no resume is exact
            )

    def __len__(self) -> int:
        """Return the number of steps of an epoch."""
        return self._steps

    def epoch(self, number: int, *, skip: int = 0) -> Generator[Item, None, None]:
        """Yield the batches of epoch `number` without the first `skip`; raises DataError at the batch whose file fails.

        Close the generator to leave an epoch early; that ends its threads.
        """
        self._sampler.start(number, skip * self._step_size)
        with closing(self._batches_or_errors()) as batches:
            for batch in batches:
                if isinstance(batch, DataError):
                    raise batch
                self._images_loaded += len(batch["moving_image"])
                yield {name: _pinned(tensor) for name, tensor in batch.items()} if self._pin_memory else batch

    def _batches_or_errors(self) -> Generator[Item | DataError, None, None]:
        if self._processes is not None:
            yield from self._processes
        else:
            # With cached files one thread is enough; more would compete with the training for the interpreter lock.
            first_pass = self._images_loaded < len(self._batch_dataset.dataset.cases)
            yield from map_in_order(
                self._batch_dataset.__getitem__, self._batch_sampler, workers=self._threads if first_pass else 1
            )


class _BatchDataset(Dataset[Item | DataError]):
    """Whole batches; an error is returned, since a loading process would wrap a raised one in a traceback."""

    def __init__(self, dataset: RegistrationDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, indices: list[int]) -> Item | DataError:
        try:
            items = [self.dataset[index] for index in indices]
        except DataError as error:
            return error
        shared = ("fixed_image", "fixed_label", "fixed_mask") if self.dataset.has_atlas else ()
        return {key: items[0][key][None] if key in shared else _stack([i[key] for i in items]) for key in items[0]}


def _stack(tensors: list[torch.Tensor]) -> torch.Tensor:
    if tensors[0].is_cuda:
        return torch.stack(tensors)
    # In NumPy, since torch would start its own thread pool in every loading thread.
    arrays = [tensor.numpy() for tensor in tensors]
    if arrays[0].ndim == 2 and len({len(array) for array in arrays}) > 1:  # points, as many as a pair has
        most = max(map(len, arrays))
        arrays = [np.pad(array, ((0, most - len(array)), (0, 0)), constant_values=np.nan) for array in arrays]
    return torch.from_numpy(np.stack(arrays))


def _pinned(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor that a GPU can copy while the CPU goes on; it may lie on the GPU already."""
    return tensor if tensor.is_cuda else tensor.pin_memory()


def _ignore_signals(worker: int) -> None:
    # Ctrl-C and torchrun's SIGTERM reach every process of a process group; only the trainer shall act on them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name == "posix":
        os.setpgrp()
