"""Benchmark of reading: images a second of each format, and the share of time a training waits for batches."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from regstudio.data.folders.layout import Case
from regstudio.data.loading.cache import Cache
from regstudio.data.loading.disk_cache import DiskCache
from regstudio.data.loading.loaders import ImageLoader
from regstudio.data.pairs.batches import TrainingLoader
from regstudio.data.pairs.dataset import Item, RegistrationDataset
from regstudio.data.pictures.writing import write_image

ENDINGS = (".png", ".jpg", ".tif", ".nii.gz", ".npy", ".npz", ".mha")
_ROUNDS = 3  # the fastest counts, as other load only adds time


@dataclass(frozen=True, kw_only=True)
class ReadingSpeed:
    """Images a second in training batches: decoded from files, from the memory cache, and from the disk cache."""

    ending: str
    decoded: float
    from_memory: float
    from_disk: float


def reading_speeds(
    folder: Path, *, size: int = 256, images: int = 64, batch_size: int = 8, endings: tuple[str, ...] = ENDINGS
) -> Iterator[ReadingSpeed]:
    """Measure each format on new 8-bit pictures (size, size) in `folder`; the files are in the system's page cache."""
    for ending in endings:
        cases = write_pictures(folder, size=size, images=max(images, batch_size), ending=ending)
        in_memory, on_disk = Cache(64), Cache(0, DiskCache(folder / "cache", 64))
        _images_a_second(cases, batch_size, in_memory)
        for _ in range(2):  # the first pass fills the memory cache, the second the disk cache
            _images_a_second(cases, batch_size, on_disk)
        speeds = [
            max(_images_a_second(cases, batch_size, cache) for _ in range(_ROUNDS))
            for cache in (None, in_memory, on_disk)
        ]
        yield ReadingSpeed(ending=ending, decoded=speeds[0], from_memory=speeds[1], from_disk=speeds[2])


def write_pictures(folder: Path, *, size: int, images: int, ending: str) -> list[Case]:
    """Write 8-bit pictures (size, size), about as hard to compress as radiographs, to `folder`; return their cases."""
    cases = [Case(id=str(number), image=folder / f"{number}{ending}") for number in range(images)]
    for number, case in enumerate(cases):
        write_image(case.image, _picture(size, number))
    return cases


def waiting_share(
    loader: TrainingLoader,
    step: Callable[[Item], object],
    *,
    epoch: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the share of an epoch's time spent waiting for batches; `step` uses each batch, `clock` gives seconds."""
    waited, started = 0.0, clock()
    with closing(loader.epoch(epoch)) as batches:
        requested = clock()
        for batch in batches:
            waited += clock() - requested
            step(batch)
            requested = clock()
    return waited / (clock() - started)


def _images_a_second(cases: list[Case], batch_size: int, cache: Cache | None) -> float:
    dataset = RegistrationDataset(cases, atlas=cases[0], image_loader=ImageLoader(cache=cache))
    loader = TrainingLoader(dataset, batch_size=batch_size, seed=0)
    started = time.perf_counter()
    images = sum(len(batch["moving_image"]) for batch in loader.epoch(0))
    return images / (time.perf_counter() - started)


def _picture(size: int, seed: int) -> npt.NDArray[np.uint8]:
    """Return an image (size, size) of waves with noise."""
    rows, columns = np.mgrid[0:size, 0:size] * (6 / size)
    waves = 128 + 90 * np.sin(rows + seed) * np.cos(columns - seed)
    noisy: npt.NDArray[np.float64] = waves + np.random.default_rng(seed).normal(0, 3, waves.shape)
    return noisy.round().clip(0, 255).astype(np.uint8)
