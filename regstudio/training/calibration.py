"""At the end of a training: what `register` is to know of the best network, by its validation images.

Below which quality most of the bad results lie, and whether `--refine auto` makes the results better: where a network
sees what no similarity shows, it takes a little away.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from regstudio.data.folders.layout import Case
from regstudio.methods.network import Refine
from regstudio.networks.base import RegistrationNetwork
from regstudio.networks.checkpoint import QUALITY_THRESHOLD, REFINE_GAIN, load_checkpoint, save_checkpoint
from regstudio.networks.device import images_at_once
from regstudio.runs.run import Run
from regstudio.threads import divide_cpu_threads, map_in_order
from regstudio.training.setup import Parts
from regstudio.training.validation import landmark_errors, network_method, register_case
from regstudio.transforms.doubtful import MIN_FITTED, threshold_of
from regstudio.transforms.registration import Registration

MAX_CASES = 50  # evenly spaced: they are refined, as `register` does, at a tenth of a second each or two
Judged = tuple[float, float]  # quality and score of a result; a higher score is better


def cases_of(parts: Parts) -> list[Case]:
    """Return the validation images that are measured, up to MAX_CASES: those with labels, else those with landmarks.

    None for fewer than MIN_FITTED, which say nothing.
    """
    every = -(-len(parts.validation) // MAX_CASES) or 1
    some = parts.validation[::every]
    labelled = [case for case in some if case.label is not None]
    cases = labelled or [case for case in some if parts.landmarks.has_points(case, case.fixed or parts.reference)]
    return cases if len(cases) >= MIN_FITTED else []


def judged(
    parts: Parts, model: RegistrationNetwork, cases: Sequence[Case], stop_requested: Callable[[], bool]
) -> Iterator[tuple[Judged, Judged] | None]:
    """Yield quality and score of each case refined and as predicted; None without a score, or after a stop."""
    at_once = images_at_once(parts.device, parts.image_loader(parts.reference.image).size)

    def judge(case: Case) -> tuple[Judged, Judged] | None:
        if stop_requested():
            return None
        refined, predicted = (_judge(parts, model, case, refine) for refine in ("auto", 0))
        return None if refined is None or predicted is None else (refined, predicted)

    return map_in_order(judge, cases, workers=at_once, initializer=divide_cpu_threads(at_once))


def calibrate(parts: Parts, run: Run, stop_requested: Callable[[], bool]) -> None:
    """Register the validation images with the run's best network; write what refining brings, and the threshold.

    They are metrics of best_model.pt. The threshold is that of the way that `--refine auto` then goes, and is known
    where there are labels. Nothing is written for fewer than MIN_FITTED cases, or when a stop is requested.
    """
    if not run.best_path.is_file():
        return
    checkpoint = load_checkpoint(run.best_path)
    model = checkpoint.model(run.best_path).to(parts.device).eval().requires_grad_(False)
    cases = cases_of(parts)
    known = [result for result in judged(parts, model, cases, stop_requested) if result is not None]
    if stop_requested() or len(known) < MIN_FITTED:
        return
    gain = fmean(refined[1] - predicted[1] for refined, predicted in known)
    metrics = {name: value for name, value in checkpoint.metrics.items() if name != QUALITY_THRESHOLD}
    metrics[REFINE_GAIN] = gain
    taken = [refined if gain >= 0 else predicted for refined, predicted in known]
    threshold = threshold_of([quality for quality, _ in taken], [score for _, score in taken])
    if threshold is not None and cases[0].label is not None:
        metrics[QUALITY_THRESHOLD] = threshold
    save_checkpoint(run.best_path, replace(checkpoint, metrics=metrics))


def _judge(parts: Parts, model: RegistrationNetwork, case: Case, refine: Refine) -> Judged | None:
    found = register_case(parts, case, replace(network_method(parts, model, case), refine=refine))
    score = _score(parts, case, found)
    return None if score is None else (found.quality, score)


def _score(parts: Parts, case: Case, found: Registration) -> float | None:
    """The Dice or, where there are only landmarks, their mean distance as a negative number."""
    if case.label is not None:
        return None if found.dice is None else found.dice.mean
    points = parts.landmarks(case, case.fixed or parts.reference)
    return None if points is None else -dict(landmark_errors(points, found.flow))["tre"]
