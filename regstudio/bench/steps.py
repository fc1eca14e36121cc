"""Benchmark of training steps and registrations, compared with the machine's matrix products."""

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

from regstudio.bench.reading import waiting_share, write_pictures
from regstudio.config import build_config
from regstudio.data.loading.cache import Cache
from regstudio.data.loading.loaders import ImageLoader
from regstudio.data.pairs.batches import TrainingLoader
from regstudio.data.pairs.dataset import Item, RegistrationDataset
from regstudio.networks import ops
from regstudio.networks.device import find_device, wait_for
from regstudio.training.setup import build_learner
from regstudio.training.step import Learner

MATRIX_SIZE, GPU_MATRIX_SIZE = 1024, 8192  # rows and columns of the matrix products
_MIN_ROUNDS = 2
_PRODUCTS_PER_ROUND = 5  # each takes only a few milliseconds


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Speed of one network at one image size (size, size) and batch size; each time is the fastest of several rounds.

    `step` is a training step with default settings, `registration` the registration of a batch to one fixed image, both
    in seconds; `_flops` are their floating point operations by torch.utils.flop_counter. `products` is the rate of
    matrix products in the same precision, in operations a second, measured in the same rounds. `peak_bytes` is the peak
    memory of the process, or on a GPU the peak allocated there.
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


def measure_speed(network: str, precision: str, size: int, batch_size: int, device: str, seconds: float) -> Speed:
    """Measure a network for `seconds` and at least two rounds; call it in a new process for its own peak memory."""
    target = find_device(device)
    ops.compile_for_gpu()  # as in a long training
    learner, batch = _learner(network, target, precision), _batch(size, batch_size, target)

    def step() -> object:
        return learner.step(batch, 0)

    def register() -> object:
        return learner.model.register(batch["fixed_image"], batch["moving_image"])

    product, products = _product(target, getattr(torch, precision))
    timed_calls = [step, register, *[product] * _PRODUCTS_PER_ROUND]
    with ops.suspended():  # the flop counter does not see their operations, nor what a GPU replays
        flops = [_flops(call) for call in timed_calls[:2]]
    rounds: list[list[float]] = []
    started = time.perf_counter()
    while len(rounds) < _MIN_ROUNDS or time.perf_counter() - started < seconds:
        rounds.append([_seconds(call, target) for call in timed_calls])
    step_time, registration_time, *product_times = (min(times) for times in zip(*rounds, strict=True))
    peak_bytes = _peak_bytes(target)
    return Speed(
        network=network,
        precision=precision,
        size=size,
        batch_size=batch_size,
        step=step_time,
        step_flops=flops[0],
        registration=registration_time,
        registration_flops=flops[1],
        products=products / min(product_times),
        peak_bytes=peak_bytes,
    )


def step_of(network: str, size: int, batch_size: int, device: torch.device) -> Callable[[], object]:
    """Return a training step, with default settings, of a network on a batch of images (size, size)."""
    learner, batch = _learner(network, device), _batch(size, batch_size, device)
    return lambda: learner.step(batch, 0)


def measure_waiting(folder: Path, size: int, images: int, device: str) -> float:
    """Return the share of its second epoch that CorrMLP waits for images: new pictures (size, size) in `folder`."""
    target = find_device(device)
    learner = _learner("corrmlp", target)
    cases = write_pictures(folder, size=size, images=images, ending=".png")
    dataset = RegistrationDataset(cases, atlas=cases[0], image_loader=ImageLoader(cache=Cache(1)))
    loader = TrainingLoader(dataset, batch_size=1, seed=0, pin_memory=target.type == "cuda")

    def step(batch: Item) -> object:
        return learner.step(batch, 0)

    shares = [waiting_share(loader, step, epoch=epoch) for epoch in range(2)]
    return shares[1]


def machine(device: str) -> dict[str, Any]:
    """Describe the machine: processor, threads, memory in bytes, versions, kernels, rate of matrix products."""
    target = find_device(device)
    return {
        "device": torch.cuda.get_device_name(target) if target.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "memory": memory_of(device),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "kernels": ops.built_for() if target.type == "cpu" else None,
        "float32_products": _product_rate(target, torch.float32),
        "bfloat16_products": _product_rate(target, torch.bfloat16),
    }


def memory_of(device: str) -> int | None:
    """Return the memory of the device in bytes; None if unknown."""
    target = find_device(device)
    if target.type == "cuda":
        return int(torch.cuda.get_device_properties(target).total_memory)
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


def _product(device: torch.device, dtype: torch.dtype) -> tuple[Callable[[], object], int]:
    """Return a product of matrices, large enough for the device, and its floating point operations."""
    size = MATRIX_SIZE if device.type == "cpu" else GPU_MATRIX_SIZE
    a, b = torch.rand(2, size, size, device=device).to(dtype)
    return lambda: a @ b, 2 * size**3


def _product_rate(device: torch.device, dtype: torch.dtype) -> float:
    product, flops = _product(device, dtype)
    product()
    return flops / min(_seconds(product, device) for _ in range(20))


def _flops(call: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    wait_for(device)
    started = time.perf_counter()
    call()
    wait_for(device)
    return time.perf_counter() - started


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
