"""`regstudio bench`: how fast this machine trains, beside what it could compute at most."""

import statistics
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import torch

MATRIX = 1024


@click.command()
@click.option("--size", type=click.IntRange(32), default=256, show_default=True, help="height and width in pixels")
@click.option("--batch_size", type=click.IntRange(1), default=1, show_default=True, help="images in a step")
@click.option("--steps", type=click.IntRange(1), default=20, show_default=True, help="number of timed steps")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N")
def bench(size: int, batch_size: int, steps: int, device: str) -> None:
    """Time a training step and compare it with the machine's float32 matrix products.

    Steps and products take turns, and the fastest of each is compared: what else a machine does only adds time.
    """
    from torch.utils.flop_counter import FlopCounterMode

    from regstudio.networks.device import find_device

    where = find_device(device)
    step = _training_step(size, batch_size, where)
    with FlopCounterMode(display=False) as counter:
        step()
    step()
    memory = _peak_megabytes(where)
    product = _matrix_product(where)
    product()
    turns = [(_seconds(step, where), min(_seconds(product, where) for _ in range(10))) for _ in range(steps)]
    step_times, product_times = zip(*turns, strict=True)
    step_time, product_time = min(step_times), min(product_times)

    step_rate = counter.get_total_flops() / step_time / 1e9
    product_rate = 2 * MATRIX**3 / product_time / 1e9
    click.echo(f"Device             {where}")
    click.echo(f"Matrix product     {product_rate:.0f} GFLOP/s (float32, {MATRIX} x {MATRIX})")
    click.echo(f"Training step      {step_time:.3f} s ({size} x {size}, batch {batch_size}, float32)")
    click.echo(f"                   {statistics.median(step_times):.3f} s in the median of {steps}")
    click.echo(f"                   {counter.get_total_flops() / 1e9:.1f} GFLOP by torch.utils.flop_counter")
    click.echo(
        f"                   {step_rate:.0f} GFLOP/s, {step_rate / product_rate:.0%} of the matrix product's rate"
    )
    click.echo(f"Peak memory        {memory}")


def _training_step(size: int, batch_size: int, device: "torch.device") -> Callable[[], object]:
    """Return a function that takes one training step, with all settings at their defaults."""
    import torch

    from regstudio.config import TrainConfig
    from regstudio.training.setup import learner_of

    learner = learner_of(TrainConfig(), steps_per_epoch=1, device=device)
    generator = torch.Generator().manual_seed(0)
    batch = {
        "fixed_image": torch.rand(1, 1, size, size, generator=generator).to(device),
        "moving_image": torch.rand(batch_size, 1, size, size, generator=generator).to(device),
    }
    return lambda: learner.step(batch, 0)


def _matrix_product(device: "torch.device") -> Callable[[], object]:
    import torch

    a, b = torch.rand(2, MATRIX, MATRIX, device=device)
    return lambda: a @ b


def _seconds(function: Callable[[], object], device: "torch.device") -> float:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def _peak_megabytes(device: "torch.device") -> str:
    import torch

    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 1e6:.0f} MB on the device"
    try:
        import resource
    except ImportError:
        return "not measured on this system"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{peak / (1e6 if sys.platform == 'darwin' else 1e3 / 1.024):.0f} MB for the whole process"
