"""Scores of one registration, and the table METRICS: title, unit and direction of every score."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from regstudio.data.loading.working_grid import Spacing
from regstudio.data.pairs.pair import PIXELS, Pair
from regstudio.metrics import (
    dice,
    inverse_consistency,
    log_jacobian_std,
    ncc,
    nda,
    njd_one_sided,
    one_sided_determinants,
    ssim,
    surface_distance,
    target_registration_error,
)
from regstudio.transforms.registration import Registration
from regstudio.transforms.resampling import warp

Array = npt.NDArray[Any]
Stage = Literal["before", "affine", "after"]
STAGES: tuple[Stage, ...] = ("before", "affine", "after")
LABEL_RULE = (
    "A label that the fixed or the original moving image lacks is left out, as in Learn2Reg; "
    "one that the registration lost has a Dice of 0 and no surface distance."
)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Description of a score. The `unit` "distance" is mm or pixels, see Evaluation.unit.

    A `staged` metric is measured before registration, after the affine part (if there is one), and after registration.
    A metric `by_label` is measured for each label, and the case's value is the mean over its labels.
    """

    name: str
    title: str
    unit: Literal["", "%", "distance", "pixels", "s"]
    higher_is_better: bool
    help: str
    staged: bool = False
    by_label: bool = False

    def column(self, stage: Stage = "after") -> str:
        """Return the column of a stage: dice_before, dice_affine, dice."""
        return self.name if stage == "after" else f"{self.name}_{stage}"

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages at which it is measured."""
        return STAGES if self.staged else ("after",)


def _metric(name: str, title: str, unit: Any, better: Literal["higher", "lower"], text: str, **kind: bool) -> Metric:
    return Metric(name=name, title=title, unit=unit, higher_is_better=better == "higher", help=text, **kind)


METRICS: tuple[Metric, ...] = (
    _metric("dice", "Dice", "", "higher", "overlap of the labels, 0 to 1", staged=True, by_label=True),
    _metric(
        "hd95", "HD95", "distance", "lower", "95th percentile of the distances of outlines", staged=True, by_label=True
    ),
    _metric("assd", "ASSD", "distance", "lower", "mean distance of outlines, both ways", staged=True, by_label=True),
    _metric("tre", "TRE", "distance", "lower", "mean distance of landmarks", staged=True),
    _metric("ncc", "NCC", "", "higher", "local squared correlation in 9x9 windows, 0 to 1", staged=True),
    _metric("ssim", "SSIM", "", "higher", "structural similarity, 11x11 Gaussian windows, -1 to 1", staged=True),
    _metric("njd", "NJD", "pixels", "lower", "pixels with a Jacobian <= 0, central differences"),
    _metric("njd_percent", "NJD", "%", "lower", "their share of all pixels"),
    _metric("njd_one_sided", "NJD, one-sided", "pixels", "lower", "pixels with any of four one-sided Jacobians <= 0"),
    _metric("njd_one_sided_percent", "NJD, one-sided", "%", "lower", "their share of all pixels"),
    _metric("nda", "Folded area", "pixels", "lower", "non-diffeomorphic area: that of the inverted triangles"),
    _metric("nda_percent", "Folded area", "%", "lower", "its share of the image"),
    _metric("sdlogj", "SDlogJ", "", "lower", "standard deviation of log(Jacobian + 3), as in Learn2Reg"),
    _metric("jacobian_min", "Smallest Jacobian", "", "higher", "of the one-sided ones; <= 0 where there is a fold"),
    _metric("inverse_error", "Inverse error", "distance", "lower", "mean distance from where one came, there and back"),
    _metric("quality", "Quality", "", "higher", "how far the result is to be trusted, without labels: 0 to 1"),
    _metric("seconds", "Time", "s", "lower", "registration alone: no reading, no scores"),
)
# Every column in display order, and its metric.
COLUMNS: Mapping[str, Metric] = {metric.column(stage): metric for metric in METRICS for stage in metric.stages}


@dataclass(frozen=True, kw_only=True)
class CaseScores:
    """The scores of one case by column, see COLUMNS; scores that cannot be measured are missing.

    `labels` maps each scored label to its scores. `left_out` has the label ids that LABEL_RULE excludes, `lost` those
    that vanished in the warped label. `unit` is that of distances. `refinement` has the metrics of a refinement (with
    and without it) and those that the method measured itself.
    """

    id: str
    unit: str
    values: Mapping[str, float]
    labels: Mapping[int, Mapping[str, float]]
    left_out: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    refinement: Mapping[str, float] = field(default_factory=dict)


def score(registration: Registration) -> CaseScores:
    """Score a registration by any method: all METRICS that the pair and the transform allow.

    Image and label are warped by the flow here, so that all methods use the same interpolation: bilinear for images,
    nearest neighbour for labels. Scores that are not finite are left out.
    """
    pair = registration.pair
    labels: dict[int, dict[str, float]] = {label: {} for label in registration.scored_labels}
    values: dict[str, float] = {}
    for stage, flow, image in _stages(registration):
        for label, name, value in _label_scores(registration, flow, list(labels)):
            labels[label][COLUMNS[name].column(stage)] = value
        scores = _image_scores(registration, flow, image)
        values |= {COLUMNS[name].column(stage): value for name, value in scores.items()}
    for column in dict.fromkeys(name for own in labels.values() for name in own):
        values[column] = fmean(own[column] for own in labels.values() if column in own)
    values |= _flow_scores(registration)
    return CaseScores(
        id=pair.id,
        unit=pair.unit,
        values={name: float(value) for name, value in values.items() if np.isfinite(value)},
        labels=labels,
        left_out=_left_out(registration),
        lost=tuple(label for label, own in labels.items() if "hd95" not in own),
        refinement=_refinement_metrics(registration),
    )


def _refinement_metrics(registration: Registration) -> dict[str, float]:
    """Return ncc and dice with and without refinement, if there was one, and the transform's own metrics."""
    if registration.transform.unrefined_flow is None:
        return dict(registration.transform.metrics)
    return registration.metrics


def _stages(registration: Registration) -> Iterator[tuple[Stage, Array | None, Array]]:
    """Yield each stage with its flow, and the moving image that is warped by it."""
    pair, affine_flow = registration.pair, registration.affine_flow
    yield "before", None, pair.moving
    if affine_flow is not None:
        yield "affine", affine_flow, warp(pair.moving, affine_flow, "bilinear")
    yield "after", registration.flow, registration.warped


def _left_out(registration: Registration) -> tuple[int, ...]:
    pair, fixed = registration.pair, registration.fixed_label
    if fixed is None or pair.moving_label is None:
        return ()
    present = set(np.unique(fixed).tolist()) | set(np.unique(pair.moving_label).tolist())
    return tuple(sorted(present - {0} - set(registration.scored_labels)))


def _label_scores(
    registration: Registration, flow: Array | None, labels: list[int]
) -> Iterator[tuple[int, str, float]]:
    """Yield (label, metric name, value) for every scored label that is left by the masks."""
    found, pair = registration.labels_by(flow), registration.pair
    if found is None:
        return
    fixed, warped = found
    overlap = dice(fixed, warped, labels).per_label
    spacing = PIXELS if pair.spacing is None else _own_spacing(pair)
    for label in (label for label in labels if label in overlap):
        yield label, "dice", overlap[label]
        distance = surface_distance(fixed, warped, label, spacing)
        if distance is not None:
            yield label, "hd95", distance.hd95
            yield label, "assd", distance.assd


def _image_scores(registration: Registration, flow: Array | None, warped: Array) -> dict[str, float]:
    pair, mask = registration.pair, registration.mask_by(flow)
    values = {"ncc": ncc(pair.fixed, warped, mask=mask), "ssim": ssim(pair.fixed, warped, mask)}
    if pair.fixed_points is not None and pair.moving_points is not None:
        errors = target_registration_error(pair.fixed_points, pair.moving_points, flow, pair.distance_scale)
        values["tre"] = float(errors.mean())
    return values


def _own_spacing(pair: Pair) -> Spacing:
    """The spacing of the fixed file's own pixels."""
    rows, columns = pair.spacing or PIXELS
    step = pair.places[0].step
    return rows / step[0], columns / step[1]


def _flow_scores(registration: Registration) -> dict[str, float]:
    flow, central = registration.upright_flow, registration.folds
    one_sided, area = njd_one_sided(flow), nda(flow)
    values = {
        "njd": central.count,
        "njd_percent": central.percent,
        "njd_one_sided": one_sided.count,
        "njd_one_sided_percent": one_sided.percent,
        "nda": area.area,
        "nda_percent": area.percent,
        "sdlogj": log_jacobian_std(flow),
        "jacobian_min": float(one_sided_determinants(flow).min()),
        "quality": registration.quality,
        "seconds": registration.seconds,
    }
    if registration.inverse_flow is not None:
        scale = registration.pair.distance_scale
        values["inverse_error"] = inverse_consistency(flow, registration.inverse_flow, scale)
    return values
