"""How long a training takes on this machine: its parts are measured on a few steps and pairs, then counted."""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import torch

from regstudio.config import TrainConfig, build_config
from regstudio.data.folders.layout import Case, DataIndex
from regstudio.methods.affine import IDENTITY
from regstudio.methods.affine_cache import is_cached
from regstudio.methods.alignment import Aligner
from regstudio.methods.general import general_method
from regstudio.networks.base import MIN_SIDE
from regstudio.networks.device import images_at_once, wait_for
from regstudio.networks.replay import FIRST_CALLS
from regstudio.runs.run import Run
from regstudio.runs.time_left import Speeds
from regstudio.threads import limit_cpu_threads
from regstudio.training import calibration, comparison, examination
from regstudio.training.checkpointing import Checkpointer
from regstudio.training.saved_state import State
from regstudio.training.schedule import Schedule
from regstudio.training.setup import Parts, build
from regstudio.training.validation import register_case, validate

STEPS = 3  # timed at each image scale, after those that are slower
ALIGNED = 4  # images that are looked up: are their affine maps known already?
PLANNED = 1000  # steps that are asked for their image scale


class NotMeasuredError(Exception):
    """The measurement was told not to go on."""


def duration(config: TrainConfig, speeds: Speeds) -> float:
    """Return the seconds of a whole training with these settings, which may differ in how long and how often."""
    optimisation = config.optimisation
    epochs = optimisation.epochs - optimisation.initial_epoch
    total = optimisation.epochs * steps_per_epoch(config, speeds.images)
    schedule = Schedule(
        total=total, lr=1.0, start_scale=optimisation.start_scale, coarse_share=optimisation.coarse_share
    )
    places = range(0, total, max(1, total // PLANNED))
    shares = Counter(_scale(schedule.scale(place), speeds.size) for place in places)
    step = sum(count * speeds.steps[scale] for scale, count in shares.items()) / len(places)
    validations = epochs // config.validation.validation_freq
    ending = validations * speeds.validation + epochs * speeds.epoch
    return speeds.before + total * step * epochs / optimisation.epochs + ending + speeds.after


def steps_per_epoch(config: TrainConfig, images: int) -> int:
    """Return the steps of an epoch over so many training images."""
    optimisation = config.optimisation
    if optimisation.total_steps:
        return math.ceil(optimisation.total_steps / optimisation.epochs)
    whole = max(1, images // optimisation.batch_size)
    return min(whole, optimisation.steps_per_epoch or whole)


def measure(config: TrainConfig, index: DataIndex, may_go_on: Callable[[], bool] = lambda: True) -> Speeds:
    """Measure the parts of a training; raises a RegStudioError where it could not start, else as `train` would.

    Raises NotMeasuredError once `may_go_on` says no.
    """

    def go_on() -> None:
        if not may_go_on():
            raise NotMeasuredError

    with limit_cpu_threads(config.optimisation.threads):
        parts = build(build_config({"num_workers": 0}, config), index)
        before = _before(config, parts, go_on)
        if parts.aligned is not None:
            parts.aligned.update(dict.fromkeys((*parts.training, *parts.validation, parts.preview), IDENTITY))
        with closing(parts.loader.epoch(0)) as batches:
            batch = {name: tensor.to(parts.device) for name, tensor in next(batches).items()}
        scales = {_scale(2**power, parts.size) for power in range(config.optimisation.start_scale.bit_length())}
        steps = {scale: _step(parts, batch, scale, go_on) for scale in scales}
        validation = _validation(parts, go_on)
        epoch = _epoch_end(config, parts)
        go_on()
        after = _after(config, parts)
    return Speeds(
        steps=steps,
        validation=validation,
        epoch=epoch,
        before=before,
        after=after,
        images=len(parts.training),
        size=parts.size,
    )


def _scale(scale: int, size: tuple[int, int]) -> int:
    while scale > 1 and min(size) // scale < MIN_SIDE:
        scale //= 2
    return scale


def _seconds(parts: Parts, call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    wait_for(parts.device)
    return time.perf_counter() - started


def _step(parts: Parts, batch: Mapping[str, torch.Tensor], scale: int, go_on: Callable[[], None]) -> float:
    """Return the seconds of a step at an image scale; the weights that it changes are used for nothing else."""
    total = 10**6
    learner = parts.learner
    number = next(place for place in range(total) if learner.scale(place, parts.size) == scale)
    seconds, slower = [], FIRST_CALLS + 1 if learner.ahead else 1
    for _ in range(slower + STEPS):
        go_on()
        seconds.append(_seconds(parts, lambda: learner.step(batch, number)))
    return fmean(seconds[slower:])


def _validation(parts: Parts, go_on: Callable[[], None]) -> float:
    """Return the seconds of registering and scoring all validation images, several at once where there are cores."""
    if not parts.validation:
        return 0.0
    at_once = images_at_once(parts.device, parts.image_loader(parts.reference.image).size)
    some = parts.validation[:at_once]
    list(validate(parts, some[:1]))  # reads the files, too
    go_on()
    return _seconds(parts, lambda: list(validate(parts, some))) * len(parts.validation) / len(some)


def _epoch_end(config: TrainConfig, parts: Parts) -> float:
    """Return the seconds of saving an epoch's checkpoints and its preview."""
    with TemporaryDirectory(prefix="regstudio_") as folder:
        run = Run(Path(folder))
        for path in (run.last_path, run.pair_path):
            path.parent.mkdir(parents=True, exist_ok=True)
        saver = Checkpointer(config, parts, run)
        state = State(epoch=1)
        saver.preview(state)
        return _seconds(parts, lambda: (saver.epoch(state, {}, best=True), saver.preview(state)))


def _before(config: TrainConfig, parts: Parts, go_on: Callable[[], None]) -> float:
    """Return the seconds of examining a few pairs, and of finding the affine maps that are not known yet."""
    aligner = Aligner(wide=config.alignment.affine == "wide")
    cases = (*parts.training, *parts.validation)
    examined = min(examination.PAIRS, len(parts.validation or parts.training)) if config.validation.compare else 0
    if not examined and parts.aligned is None:
        return 0.0

    def images(case: Case) -> tuple[Any, Any]:
        return parts.image_loader((case.fixed or parts.reference).image)[0], parts.image_loader(case.image)[0]

    first = images(cases[0])
    aligner(*first)
    go_on()
    once = _seconds(parts, lambda: aligner(*first))
    sampled = cases[:: max(1, len(cases) // ALIGNED)][:ALIGNED] if parts.aligned is not None else ()
    unknown = sum(not is_cached(*images(case), aligner) for case in sampled) / max(1, len(sampled))
    return once * (examined + unknown * len(cases) / parts.group.cores)


def _after(config: TrainConfig, parts: Parts) -> float:
    """Return the seconds of comparing the network with what needs no training, and of measuring its quality."""
    if not config.validation.compare or not parts.validation:
        return 0.0
    general, case = general_method(device=parts.device), parts.validation[0]

    def both() -> None:
        register_case(parts, case)
        register_case(parts, case, general)

    compared = _seconds(parts, both) * min(comparison.CASES, len(parts.validation))
    cases = calibration.cases_of(parts)
    if not cases:
        return compared
    some = cases[: images_at_once(parts.device, parts.image_loader(parts.reference.image).size)]
    model = parts.learner.averaged.eval()
    once = _seconds(parts, lambda: list(calibration.judged(parts, model, some, lambda: False)))
    return compared + once * len(cases) / len(some)
