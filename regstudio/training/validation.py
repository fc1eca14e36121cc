"""Validation: register each validation pair with the current network and average the metrics."""

import math
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from statistics import fmean
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from regstudio.data.folders.layout import Case
from regstudio.data.landmarks.landmarks import PairPoints
from regstudio.data.pairs.dataset import load_validation_pair
from regstudio.data.pairs.pair import pair_of_tensors
from regstudio.methods.method import Method
from regstudio.methods.network import NetworkMethod
from regstudio.metrics import log_jacobian_std, target_registration_error
from regstudio.networks.base import RegistrationNetwork
from regstudio.networks.device import images_at_once
from regstudio.threads import divide_cpu_threads, map_in_order
from regstudio.training.setup import Parts
from regstudio.transforms.registration import Registration

Event = TypeVar("Event")
T = TypeVar("T")


def register_case(parts: Parts, case: Case, method: Method | None = None) -> Registration:
    """Register a case with a method or, if none is given, with the current network."""
    fixed = case.fixed or parts.reference
    pair = pair_of_tensors(load_validation_pair(case, fixed, parts.image_loader, parts.label_loader, parts.masks))
    method = method or network_method(parts, parts.learner.averaged.eval(), case)
    return Registration(pair=pair, transform=method(pair))


def network_method(parts: Parts, model: RegistrationNetwork, case: Case) -> NetworkMethod:
    """Return a network of this training as the method for a case, using its affine map if alignment is on."""
    aligned = parts.aligned
    return NetworkMethod(
        model=model, device=parts.device, find_affine=None if aligned is None else lambda _: aligned[case]
    )


def validate_case(parts: Parts, case: Case) -> dict[str, float]:
    """Return njd (pixels), njd_percent, sdlogj and, with labels, dice, dice_before and dice_ID of each label.

    With landmarks tre and tre_before in pixels of the fixed file, and tre_mm and tre_mm_before where its spacing is
    known. Without either, similarity and similarity_before, by the loss. Values that are not finite are left out.
    """
    registration = register_case(parts, case)
    metrics = {"njd": float(registration.folds.count), "njd_percent": registration.folds.percent}
    metrics["sdlogj"] = log_jacobian_std(registration.upright_flow)
    before, after = registration.dice_before, registration.dice
    if before is not None and after is not None:
        metrics |= {"dice": after.mean, "dice_before": before.mean}
        metrics |= {f"dice_{label_id}": value for label_id, value in after.per_label.items()}
    points = parts.landmarks(case, case.fixed or parts.reference)
    if points is not None:
        metrics |= dict(landmark_errors(points, registration.flow))
    if not {"dice", "tre"} & metrics.keys() and parts.learner.objective.compares_images:
        metrics |= dict(_similarity(parts, registration))
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


def landmark_errors(points: PairPoints, flow: npt.NDArray[Any]) -> Iterator[tuple[str, float]]:
    """Yield the mean distances of landmarks before registration and after, in pixels and where it can be in mm."""
    for unit, scale in (("", points.pixel), ("_mm", points.mm)):
        for stage, by in (("_before", None), ("", flow)) if scale is not None else ():
            errors = target_registration_error(points.fixed, points.moving, by, scale or points.pixel)
            yield f"tre{unit}{stage}", float(errors.mean())


def _similarity(parts: Parts, registration: Registration) -> Iterator[tuple[str, float]]:
    pair, flow = registration.pair, registration.flow
    stages = (("similarity_before", pair.moving, np.zeros_like(flow)), ("similarity", registration.warped, flow))
    with torch.no_grad():
        for name, moving, by in stages:
            fixed, other = (torch.from_numpy(image)[None, None] for image in (pair.fixed, moving))
            mask = registration.mask_by(by)
            counted = None if mask is None else torch.from_numpy(mask)[None, None]
            yield name, float(parts.learner.objective.similarity(fixed, other, counted))


def validate(parts: Parts, cases: Sequence[Case]) -> Generator[dict[str, float], None, None]:
    """Yield the metrics of each case in order; on the CPU, several small cases are validated in parallel."""
    at_once = images_at_once(parts.device, parts.image_loader(parts.reference.image).size)
    return map_in_order(partial(validate_case, parts), cases, workers=at_once, initializer=divide_cpu_threads(at_once))


def mean_metrics(pair_metrics: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over the pairs that have it."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for metrics in pair_metrics:
        for name, value in metrics.items():
            values[name].append(value)
    return {name: fmean(items) for name, items in values.items()}


def timed(work: Generator[Event, None, T]) -> Generator[Event, None, tuple[T, float]]:
    """Yield what `work` yields; return its result and its seconds, without those in which the consumer paused it."""
    seconds = 0.0
    with closing(work):
        while True:
            started = time.perf_counter()
            try:
                item = next(work)
            except StopIteration as end:
                return end.value, seconds + time.perf_counter() - started
            seconds += time.perf_counter() - started
            yield item
