"""At the end of a training: below which quality most of the bad results lie, by the labels of the validation images."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from regstudio.data.folders.layout import Case
from regstudio.networks.base import RegistrationNetwork
from regstudio.networks.checkpoint import QUALITY_THRESHOLD, load_checkpoint, save_checkpoint
from regstudio.networks.device import images_at_once
from regstudio.runs.run import Run
from regstudio.threads import divide_cpu_threads, map_in_order
from regstudio.training.setup import Parts
from regstudio.training.validation import network_method, register_case
from regstudio.transforms.doubtful import threshold_of

MAX_CASES = 50  # evenly spaced: they are refined, as `register` does, at a tenth of a second each or two


def cases_of(parts: Parts) -> list[Case]:
    """Return the validation images that are measured: those with labels, up to MAX_CASES."""
    every = -(-len(parts.validation) // MAX_CASES) or 1
    return [case for case in parts.validation[::every] if case.label is not None]


def judged(
    parts: Parts, model: RegistrationNetwork, cases: Sequence[Case], stop_requested: Callable[[], bool]
) -> Iterator[tuple[float, float] | None]:
    """Yield quality and Dice of each case, refined as `register` does; None without labels, or after a stop."""
    at_once = images_at_once(parts.device, parts.image_loader(parts.reference.image).size)

    def judge(case: Case) -> tuple[float, float] | None:
        if stop_requested():
            return None
        found = register_case(parts, case, replace(network_method(parts, model, case), refine="auto"))
        return None if found.dice is None else (found.quality, found.dice.mean)

    return map_in_order(judge, cases, workers=at_once, initializer=divide_cpu_threads(at_once))


def calibrate(parts: Parts, run: Run, stop_requested: Callable[[], bool]) -> None:
    """Measure quality and Dice of the best network's validation images; write the threshold to best_model.pt.

    Nothing is written where too few of them have labels (see `threshold_of`), or when a stop is requested.
    """
    if not run.best_path.is_file():
        return
    checkpoint = load_checkpoint(run.best_path)
    model = checkpoint.model(run.best_path).to(parts.device).eval().requires_grad_(False)
    results = judged(parts, model, cases_of(parts), stop_requested)
    known = [result for result in results if result is not None]
    threshold = threshold_of([quality for quality, _ in known], [dice for _, dice in known])
    if threshold is not None and not stop_requested():
        save_checkpoint(
            run.best_path, replace(checkpoint, metrics={**checkpoint.metrics, QUALITY_THRESHOLD: threshold})
        )
