"""How fast networks train and register on this machine, beside what it multiplies at most."""

import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from regstudio.bench.reading import pictures, waiting_share
from regstudio.config import build_config
from regstudio.data.batches import TrainingLoader
from regstudio.data.cache import Cache
from regstudio.data.dataset import Item, RegistrationDataset
from regstudio.data.loaders import ImageLoader
from regstudio.networks import ops
from regstudio.networks.device import find_device
from regstudio.training.setup import build_learner
from regstudio.training.step import Learner

MATRIX = 1024  # rows and columns of the products
_MIN_ROUNDS = 2
_PRODUCTS = 5  # in a round; each takes but a few milliseconds


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One network at one size, (size, size), and batch size; of several rounds, the fastest each.

    `step` is a whole training step with all settings at their defaults, `registration` a batch warped onto one fixed
    image, in seconds; beside them the floating point operations by torch.utils.flop_counter. `products` is how many
    of them a second matrix products in the same precision take, timed in turn with the rest. `peak_bytes` is the most
    memory: that of the whole process, or on a GPU what was allocated there.
    """

    network: str
    precision: str
    size: int
    batch_size: int
    step: float
    step_flops: int
    registration: float
    registration_flops: int
    products: float
    peak_bytes: int

    @property
    def step_share(self) -> float:
        """The rate of a step as a share of the rate of matrix products."""
        return self.step_flops / self.step / self.products

    @property
    def registration_share(self) -> float:
        """The rate of a registration as a share of the rate of matrix products."""
        return self.registration_flops / self.registration / self.products


def measure(network: str, precision: str, size: int, batch_size: int, device: str, seconds: float) -> Speed:
    """Measure a network for `seconds`, and at least two rounds; in a process of its own, the memory is its alone."""
    where = find_device(device)
    learner, batch = _learner(network, where, precision), _batch(size, batch_size, where)

    def step() -> object:
        return learner.step(batch, 0)

    def register() -> object:
        with torch.no_grad():
            return learner.model.predict(batch["fixed_image"], batch["moving_image"])

    product = _product(where, getattr(torch, precision))
    works = [step, register, *[product] * _PRODUCTS]
    rounds: list[list[float]] = []
    started = time.perf_counter()
    while len(rounds) < _MIN_ROUNDS or time.perf_counter() - started < seconds:
        rounds.append([_seconds(work, where) for work in works])
    step_time, registration_time, *product_times = (min(times) for times in zip(*rounds, strict=True))
    peak_bytes = _peak_bytes(where)
    with ops.suspended():  # the kernels' operations are not counted
        flops = [_flops(work) for work in works[:3]]
    return Speed(
        network=network,
        precision=precision,
        size=size,
        batch_size=batch_size,
        step=step_time,
        step_flops=flops[0],
        registration=registration_time,
        registration_flops=flops[1],
        products=flops[2] / min(product_times),
        peak_bytes=peak_bytes,
    )


def measure_waiting(folder: Path, size: int, images: int, device: str) -> float:
    """Return the share of its second epoch that CorrMLP waits for images, new pictures (size, size) in `folder`."""
    where = find_device(device)
    learner = _learner("corrmlp", where)
    cases = pictures(folder, size=size, images=images, ending=".png")
    dataset = RegistrationDataset(cases, atlas=cases[0], image_loader=ImageLoader(cache=Cache(1)))
    loader = TrainingLoader(dataset, batch_size=1, seed=0, pin_memory=where.type == "cuda")

    def step(batch: Item) -> object:
        return learner.step({name: tensor.to(where, non_blocking=True) for name, tensor in batch.items()}, 0)

    shares = [waiting_share(loader, step, epoch=epoch) for epoch in range(2)]
    return shares[1]


def machine(device: str) -> dict[str, Any]:
    """Return what was measured on: processor, threads, memory in bytes, versions, kernels, matrix products a second."""
    where = find_device(device)
    return {
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "memory": memory_of(device),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "kernels": ops.built_for() if where.type == "cpu" else None,
        "float32_products": _product_rate(where, torch.float32),
        "bfloat16_products": _product_rate(where, torch.bfloat16),
    }


def memory_of(device: str) -> int | None:
    """Return how many bytes of memory the device has; None where that cannot be told."""
    where = find_device(device)
    if where.type == "cuda":
        return int(torch.cuda.get_device_properties(where).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _learner(network: str, device: torch.device, precision: str = "float32") -> Learner:
    return build_learner(build_config({"network": network, "precision": precision}), steps_per_epoch=1, device=device)


def _batch(size: int, batch_size: int, device: torch.device) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "fixed_image": torch.rand(1, 1, size, size, generator=generator).to(device),
        "moving_image": torch.rand(batch_size, 1, size, size, generator=generator).to(device),
    }


def _product(device: torch.device, dtype: torch.dtype) -> Callable[[], object]:
    a, b = torch.rand(2, MATRIX, MATRIX, device=device).to(dtype)
    return lambda: a @ b


def _product_rate(device: torch.device, dtype: torch.dtype) -> float:
    product = _product(device, dtype)
    product()
    return 2 * MATRIX**3 / min(_seconds(product, device) for _ in range(20))


def _flops(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # there is none on Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
