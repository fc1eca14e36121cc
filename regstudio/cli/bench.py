"""`regstudio bench`: speed of training, registration and reading, or the accuracy of all methods."""

import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from regstudio.cli.accuracy import measure_accuracy
from regstudio.cli.options import Command, choices
from regstudio.files import temporary_folder, write_text

if TYPE_CHECKING:
    from regstudio.bench.comparison import Key
    from regstudio.bench.reading import ReadingSpeed
    from regstudio.bench.steps import Speed

NETWORKS, PRECISIONS = choices("network"), choices("precision")
MAX_MEMORY_SHARE = 0.8  # of the device's memory; a measurement that needs more is skipped
FILE = click.Path(dir_okay=False, path_type=Path)
READING_IMAGES, WAITING_IMAGES = 32, 16
OF_SPEED = ("sizes", "batch_sizes", "networks", "precisions", "seconds", "busy", "compare")
OF_ACCURACY = ("folders", "methods", "cases", "markdown", "figure")
HEADER = "network     precision  size batch    step ms   GFLOP share   registration ms   GFLOP share   peak MB"


def _repeatable(name: str, kind: Any, default: tuple[Any, ...], what: str) -> Callable[[Command], Command]:
    """Return an option that may be given several times; the command gets a tuple called NAMEs."""
    given: dict[str, Any] = {"type": kind, "multiple": True, "default": default, "show_default": True}
    return click.option(f"--{name}", f"{name}s", help=f"{what} (repeatable)", **given)


@click.command()
@_repeatable("size", click.IntRange(32), (64, 128, 256, 512), "height and width in pixels")
@_repeatable("batch_size", click.IntRange(1), (1, 4, 8), "images in a step")
@_repeatable("network", click.Choice(NETWORKS), NETWORKS, "architecture")
@_repeatable("precision", click.Choice(PRECISIONS), PRECISIONS[:1], "what the networks and the products compute in")
@click.option("--seconds", type=click.FloatRange(0), default=4.0, show_default=True, help="for each line, at least")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N")
@click.option("--json", "file", type=FILE, help="write everything here, too")
@click.option("--busy", is_flag=True, help="time steps beside a busy process, too")
@click.option("--compare", type=FILE, help="tell the ratio to an earlier benchmark: a file that --json wrote")
@click.option("--accuracy", is_flag=True, help="measure how accurate all methods are on the data folders DIR")
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="[DIR]...")
@click.option("--methods", metavar="A,B", help="with --accuracy: these methods alone")
@click.option("--cases", type=click.IntRange(1), help="with --accuracy: the first so many of each folder")
@click.option("--markdown", type=FILE, help="with --accuracy: write tables to this file, to be pasted")
@click.option("--figure", type=FILE, help="with --accuracy: write a picture to this file")
def bench(
    sizes: tuple[int, ...],
    batch_sizes: tuple[int, ...],
    networks: tuple[str, ...],
    precisions: tuple[str, ...],
    seconds: float,
    device: str,
    file: Path | None,
    busy: bool,
    compare: Path | None,
    accuracy: bool,
    folders: tuple[Path, ...],
    methods: str | None,
    cases: int | None,
    markdown: Path | None,
    figure: Path | None,
) -> None:
    """Time training steps, registrations and reading, and compare them with the machine's matrix products.

    All take turns, and the fastest round of each counts, as other load only adds time. Each line is measured in a new
    process, so that its peak memory is its own.

    With --accuracy, measure all methods on data folders instead: on their validation images, or on all pairs of a
    folder of pairs. Labels are compared by Dice, landmarks by their distance (TRE). The preset `fast` is trained on
    each folder that has images to train on beside those.
    """
    _refuse_flags(OF_SPEED if accuracy else OF_ACCURACY, accuracy)
    if accuracy and not folders:
        raise click.UsageError("--accuracy needs data folders: regstudio bench --accuracy DIR...")
    from regstudio.bench.comparison import read_times
    from regstudio.bench.steps import machine

    earlier = read_times(compare) if compare else {}
    facts = machine(device)
    click.echo(_describe_machine(facts) + "\n")
    if accuracy:
        content = measure_accuracy(
            folders,
            names=tuple(name.strip() for name in methods.split(",")) if methods else (),
            cases=cases,
            device=device,
            markdown=markdown,
            figure=figure,
        )
    else:
        content = _measure_times(sizes, batch_sizes, networks, precisions, device, seconds, earlier)
        if busy:
            content["beside"] = _measure_beside(sizes, batch_sizes, networks, device, seconds)
    if file is not None:
        write_text(file, json.dumps({"machine": facts, **content}, indent=1, allow_nan=False) + "\n")


def _measure_times(
    sizes: tuple[int, ...],
    batch_sizes: tuple[int, ...],
    networks: tuple[str, ...],
    precisions: tuple[str, ...],
    device: str,
    seconds: float,
    earlier: "dict[Key, tuple[float, float]]",
) -> dict[str, Any]:
    """Print the times of steps, registrations and reading as they are measured; return them, JSON-ready."""
    from regstudio.bench.comparison import ratios
    from regstudio.bench.steps import measure_waiting

    click.echo(HEADER)
    speeds = []
    for combination in product(networks, precisions):
        for speed in _measure_speeds(*combination, sorted(sizes), sorted(batch_sizes), device, seconds):
            speeds.append(speed)
            click.echo(_row(speed))
    if earlier:
        click.echo("\nAs a share of the earlier time      size batch      step   registration")
        for speed, step, registration in ratios(speeds, earlier):
            row = _row_start(speed.network, speed.precision, speed.size, speed.batch_size)
            click.echo(f"{row:40}{step:8.2f}{registration:15.2f}")
    click.echo("\nformat     images a second: decoded   from memory     from disk")
    reading = []
    usual = min(256, max(sizes))
    for read in _read(usual):
        reading.append(read)
        click.echo(f"{read.ending:8}{read.decoded:26.0f}{read.from_memory:14.0f}{read.from_disk:14.0f}")
    with temporary_folder() as folder:
        waiting = measure_waiting(folder, usual, WAITING_IMAGES, device)
    click.echo(f"\nWaiting for images, from the second epoch on: {waiting:.2%} of the time")
    return {
        "networks": [asdict(speed) for speed in speeds],
        "reading": [asdict(read) for read in reading],
        "waiting_share": waiting,
    }


def _measure_beside(
    sizes: tuple[int, ...], batch_sizes: tuple[int, ...], networks: tuple[str, ...], device: str, seconds: float
) -> list[dict[str, Any]]:
    """Print the times of steps alone and beside a busy process, and return them, JSON-ready."""
    from regstudio.bench.beside import measure_beside

    click.echo("\nnetwork                size batch    step ms: alone   beside a busy process   ratio")
    found = []
    for network, size, batch_size in product(networks, sorted(sizes), sorted(batch_sizes)):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            one = process.submit(measure_beside, network, size, batch_size, device, seconds).result()
        found.append(asdict(one))
        row = _row_start(network, "", size, batch_size)
        click.echo(f"{row}{one.alone * 1e3:18.1f}{one.busy * 1e3:24.1f}{one.busy / one.alone:8.1f}")
    return found


def _refuse_flags(names: tuple[str, ...], accuracy: bool) -> None:
    """Raise a usage error where one of these parameters is given."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE and context.params[name] != ()
        if given and name in names:
            flag = parameter.opts[0] if isinstance(parameter, click.Option) else "a data folder"
            raise click.UsageError(f"{flag} goes {'without' if accuracy else 'with'} --accuracy.")


def _measure_speeds(
    network: str, precision: str, sizes: list[int], batch_sizes: list[int], device: str, seconds: float
) -> "Iterator[Speed]":
    """Measure from small to large; skip, with a message, what would not fit in memory, estimated from the last peak."""
    from regstudio.bench.steps import measure_speed, memory_of

    memory, bytes_per_pixel = memory_of(device), 0.0
    for size, batch_size in product(sizes, batch_sizes):
        pixels, line = size**2 * batch_size, _row_start(network, precision, size, batch_size)
        if memory is not None and bytes_per_pixel * pixels > MAX_MEMORY_SHARE * memory:
            click.echo(f"{line}    not measured: it takes about {bytes_per_pixel * pixels / 1e9:.0f} GB of memory")
            continue
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            try:
                speed = process.submit(measure_speed, network, precision, size, batch_size, device, seconds).result()
            except (BrokenProcessPool, RuntimeError) as error:  # the CPU's allocator raises a plain RuntimeError
                click.echo(f"{line}    not measured: {error}")
                continue
        bytes_per_pixel = speed.peak_bytes / pixels
        yield speed


def _read(size: int) -> "Iterator[ReadingSpeed]":
    from regstudio.bench.reading import reading_speeds

    with temporary_folder() as folder:
        yield from reading_speeds(folder, size=size, images=READING_IMAGES)


def _describe_machine(facts: dict[str, Any]) -> str:
    memory = "" if facts["memory"] is None else f", {facts['memory'] / 2**30:.0f} GiB"
    operators = "torch's operators alone" if facts["kernels"] is None else f"own kernels for {facts['kernels']}"
    return (
        f"{facts['device']}, {facts['threads']} threads{memory}; torch {facts['torch']}, {operators}\n"
        f"Matrix products: {facts['float32_products'] / 1e9:.0f} GFLOP/s in float32, "
        f"{facts['bfloat16_products'] / 1e9:.0f} in bfloat16"
    )


def _row_start(network: str, precision: str, size: int, batch_size: int) -> str:
    return f"{network:12}{precision:9}{size:6}{batch_size:6}"


def _row(speed: "Speed") -> str:
    return (
        f"{_row_start(speed.network, speed.precision, speed.size, speed.batch_size)}"
        f"{speed.step * 1e3:11.1f}{speed.step_flops / 1e9:8.1f}{speed.step_share:6.0%}"
        f"{speed.registration * 1e3:18.1f}{speed.registration_flops / 1e9:8.1f}{speed.registration_share:6.0%}"
        f"{speed.peak_bytes / 1e6:10.0f}"
    )
