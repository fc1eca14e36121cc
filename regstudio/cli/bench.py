"""`regstudio bench`: how fast this machine trains, registers and reads, beside what it could compute at most."""

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from regstudio.files import write_text

if TYPE_CHECKING:
    from regstudio.data.speed import ReadingSpeed
    from regstudio.training.measuring import Speed

NETWORKS = ("corrmlp", "voxelmorph")
MOST_OF_MEMORY = 0.8  # of the device's, beyond which a measurement is not even tried
READ_IMAGES, WAITED_FOR = 32, 16
HEADER = "network      size batch    step ms   GFLOP share   registration ms   GFLOP share   peak MB"


@click.command()
@click.option(
    "--size",
    "sizes",
    type=click.IntRange(32),
    multiple=True,
    default=(64, 128, 256, 512),
    show_default=True,
    help="height and width in pixels (repeatable)",
)
@click.option(
    "--batch_size",
    "batch_sizes",
    type=click.IntRange(1),
    multiple=True,
    default=(1, 4, 8),
    show_default=True,
    help="images in a step (repeatable)",
)
@click.option(
    "--network",
    "networks",
    type=click.Choice(NETWORKS),
    multiple=True,
    default=NETWORKS,
    show_default=True,
    help="architecture (repeatable)",
)
@click.option("--seconds", type=click.FloatRange(0), default=4.0, show_default=True, help="for each line, at least")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="write everything here, too")
def bench(
    sizes: tuple[int, ...],
    batch_sizes: tuple[int, ...],
    networks: tuple[str, ...],
    seconds: float,
    device: str,
    file: Path | None,
) -> None:
    """Time training steps, registrations and reading, and compare them with the machine's matrix products.

    All take turns, and the fastest of each is compared: what else a machine does only adds time. Each line is measured
    in a process of its own, so that its peak of memory is its own.
    """
    from regstudio.training.measuring import machine, measure_waiting

    found = machine(device)
    click.echo(_described(found))
    click.echo(f"\n{HEADER}")
    speeds = []
    for network in networks:
        for speed in _measured(network, sorted(sizes), sorted(batch_sizes), device, seconds):
            speeds.append(speed)
            click.echo(_row(speed))
    click.echo("\nformat     images a second: decoded   from memory     from disk")
    reading = []
    for read in _read(min(256, max(sizes))):
        reading.append(read)
        click.echo(f"{read.ending:8}{read.decoded:26.0f}{read.from_memory:14.0f}{read.from_disk:14.0f}")
    with TemporaryDirectory() as folder:
        waiting = measure_waiting(Path(folder), min(256, max(sizes)), WAITED_FOR, device)
    click.echo(f"\nWaiting for images, from the second epoch on: {waiting:.2%} of the time")
    if file is not None:
        content = {
            "machine": found,
            "networks": [asdict(speed) for speed in speeds],
            "reading": [asdict(read) for read in reading],
            "waiting_share": waiting,
        }
        write_text(file, json.dumps(content, indent=1) + "\n")


def _measured(network: str, sizes: list[int], batch_sizes: list[int], device: str, seconds: float) -> "Iterator[Speed]":
    """Measure from small to large; what would not fit in the memory, judged by what did, is said and left out."""
    from regstudio.training.measuring import measure, memory_of

    memory, bytes_per_pixel = memory_of(device), 0.0
    for size, batch_size in ((size, batch_size) for size in sizes for batch_size in batch_sizes):
        pixels = size**2 * batch_size
        if memory is not None and bytes_per_pixel * pixels > MOST_OF_MEMORY * memory:
            click.echo(
                f"{network:12}{size:5}{batch_size:6}    not measured: it takes about "
                f"{bytes_per_pixel * pixels / 1e9:.0f} GB of memory"
            )
            continue
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            try:
                speed = process.submit(measure, network, size, batch_size, device, seconds).result()
            except (BrokenProcessPool, RuntimeError) as error:  # the CPU's allocator raises a plain RuntimeError
                click.echo(f"{network:12}{size:5}{batch_size:6}    not measured: {error}")
                continue
        bytes_per_pixel = speed.peak_bytes / pixels
        yield speed


def _read(size: int) -> "Iterator[ReadingSpeed]":
    from regstudio.data.speed import reading_speeds

    with TemporaryDirectory() as folder:
        yield from reading_speeds(Path(folder), size=size, images=READ_IMAGES)


def _described(found: dict[str, Any]) -> str:
    memory = "" if found["memory"] is None else f", {found['memory'] / 2**30:.0f} GiB"
    return (
        f"{found['device']}, {found['threads']} threads{memory}; torch {found['torch']}\n"
        f"Matrix products of 1024 x 1024: {found['float32_products'] / 1e9:.0f} GFLOP/s in float32, "
        f"{found['bfloat16_products'] / 1e9:.0f} in bfloat16"
    )


def _row(speed: "Speed") -> str:
    return (
        f"{speed.network:12}{speed.size:5}{speed.batch_size:6}"
        f"{speed.step * 1e3:11.1f}{speed.step_flops / 1e9:8.1f}{speed.step_share:6.0%}"
        f"{speed.registration * 1e3:18.1f}{speed.registration_flops / 1e9:8.1f}{speed.registration_share:6.0%}"
        f"{speed.peak_bytes / 1e6:10.0f}"
    )
