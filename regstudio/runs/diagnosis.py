"""What the record of a training says about it, in a sentence each: what is seen, and what to do.

Every rule looks at the record alone, so that it speaks of a run of any process, while it trains and years later. Its
thresholds are those of real data: radiographs, skulls, hearts, brains in two modalities.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regstudio.config import TrainConfig
from regstudio.errors import RunError
from regstudio.runs.events import EpochDone, PairsExamined, RunFinished, TrainEvent
from regstudio.runs.run import Run

Kind = Literal["nothing learned", "worse", "overfitting", "over-warped", "askew", "other kinds", "slow"]

MIN_EPOCHS = 3  # validated ones, before a rule of the curves speaks while a run still trains
MIN_SHARE = 0.2  # of the training, by then
LEARNED = 0.01  # of Dice or similarity; of the landmarks' distance, twice that share
FOLDED = 1.0  # % of the pixels
ROUGH = 0.2  # SDlogJ
ASKEW = 0.08  # of the shorter side: radiographs of different people are 0.06 apart at most
LONG = 3 * 3600  # seconds
FAST_ENOUGH = 5e-4  # a smaller learning rate, from random weights, needs thousands of steps
SCORES = (("dice", "Dice"), ("tre", "TRE"), ("similarity", "similarity"))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is seen in a run, and what to do about it, in the words of the command line."""

    kind: Kind
    seen: str
    remedy: str

    def __str__(self) -> str:
        """Return both sentences, as the log has them."""
        return f"{self.seen} {self.remedy}"


def findings_of(run: Run) -> list[Finding]:
    """Return the findings on a run's record; raises RunError if its settings cannot be read."""
    return diagnose(run.config(), run.milestones())


def findings_beside(checkpoint: Path) -> list[Finding]:
    """Return the findings on the run that a checkpoint lies in; none where it lies elsewhere."""
    run = Run(checkpoint.resolve().parent.parent)
    try:
        return findings_of(run) if run.holds(run.config_path) and run.holds(run.events_path) else []
    except RunError:  # of a checkpoint, the record is not what counts
        return []


def diagnose(config: TrainConfig, events: Sequence[TrainEvent], seconds_left: float | None = None) -> list[Finding]:
    """Return the findings on a training by its settings and events, of which those of steps are not needed.

    `seconds_left` is how long it will still take, if it is known and the training goes on.
    """
    curve = _Curve(config, events)
    found = [*_of_images(config, events)]
    if curve.ripe:
        found += [*_nothing_learned(config, curve), *_overfitting(curve)]
    return [*found, *_over_warped(config, curve), *_slow(config, curve, seconds_left)]


class _Curve:
    """The validated epochs by the score that decides: Dice, else landmarks, else similarity."""

    def __init__(self, config: TrainConfig, events: Sequence[TrainEvent]) -> None:
        self.epochs = [event for event in events if isinstance(event, EpochDone)]
        last = self.epochs[-1].metrics if self.epochs else {}
        self.name, self.title = next(((name, title) for name, title in SCORES if name in last), ("", ""))
        needed = {self.name, f"{self.name}_before"}
        self.scored = [event for event in self.epochs if self.name and needed <= event.metrics.keys()]
        done = self.epochs[-1].epoch if self.epochs else 0
        ended = bool(events) and isinstance(events[-1], RunFinished)
        enough = len(self.scored) >= MIN_EPOCHS and done >= MIN_SHARE * config.optimisation.epochs
        self.ripe = bool(self.scored) and (enough or ended)

    @property
    def lower_is_better(self) -> bool:
        return self.name == "tre"

    @property
    def before(self) -> float:
        return self.scored[-1].metrics[f"{self.name}_before"]

    @property
    def best(self) -> EpochDone:
        return min(self.scored, key=lambda event: self.loss(event.metrics[self.name], self.before))

    def loss(self, value: float, since: float) -> float:
        """How much worse than `since` a value is; of distances half the share, so that one threshold serves."""
        return (value - since) / max(1e-9, since) / 2 if self.lower_is_better else since - value

    def shown(self, value: float) -> str:
        return f"{value:.2f} pixels" if self.lower_is_better else f"{value:.3f}"


def _of_images(config: TrainConfig, events: Sequence[TrainEvent]) -> Iterator[Finding]:
    examined = next((event for event in reversed(events) if isinstance(event, PairsExamined)), None)
    if examined is None or not examined.pairs:
        return
    loss = config.loss
    if 2 * examined.other_kinds > examined.pairs and not (loss.mind_weight or loss.mi_weight):
        yield Finding(
            kind="other kinds",
            seen=f"In {examined.other_kinds} of the {examined.pairs} pairs that were looked at, the two images are of "
            "different kinds: what is bright in one is not always bright, or always dark, in the other.",
            remedy="Correlation does not see what belongs together there: train with --mind_weight 10 --ncc_weight 0.",
        )
    elif config.alignment.affine == "none" and examined.shift > ASKEW:
        paired = config.layout.pairing in ("subject", "all")  # has no affine maps
        yield Finding(
            kind="askew",
            seen=f"The images lie askew: an affine map moves them by {100 * examined.shift:.0f} % of their side first.",
            remedy="Vary the images: --augment_affine 2." if paired else "Align them before: --affine auto.",
        )


def _nothing_learned(config: TrainConfig, curve: _Curve) -> Iterator[Finding]:
    best = curve.best.metrics[curve.name]
    lost = curve.loss(best, curve.before)
    if lost < -LEARNED:
        return
    since = f"after {curve.epochs[-1].epoch} epochs the best {curve.title} is {curve.shown(best)}"
    optimisation = config.optimisation
    slow = optimisation.lr < FAST_ENOUGH and optimisation.load_model is None
    faster = "Start from the network that RegStudio brings along, --load_model general, as the preset fast does"
    if lost > LEARNED:
        yield Finding(
            kind="worse",
            seen=f"The network makes it worse: {since}, and without registration it is {curve.shown(curve.before)}.",
            remedy=f"{faster}, and hold the flow smoother: --grad_weight {2 * config.loss.grad_weight or 1:g}.",
        )
        return
    yield Finding(
        kind="nothing learned",
        seen=f"Nothing is learned: {since}, and without registration it is {curve.shown(curve.before)}.",
        remedy=f"{faster}; or raise the learning rate: --lr 0.001."
        if slow
        else f"{faster}; if it does so already, see in the preview whether the two images show the same at all.",
    )


def _overfitting(curve: _Curve) -> Iterator[Finding]:
    best, last = curve.best, curve.scored[-1]
    since = len(curve.scored) - 1 - curve.scored.index(best)
    lost = curve.loss(last.metrics[curve.name], best.metrics[curve.name])
    comparable = best.scale == last.scale and {"loss"} <= best.losses.keys() & last.losses.keys()
    if since < 2 or lost < LEARNED or not comparable or last.losses["loss"] >= best.losses["loss"]:
        return
    yield Finding(
        kind="overfitting",
        seen=f"Overfitting: since epoch {best.epoch} the {curve.title} of the validation images went from "
        f"{curve.shown(best.metrics[curve.name])} to {curve.shown(last.metrics[curve.name])}, while the loss still "
        "falls.",
        remedy=f"Use best_model.pt, which is that of epoch {best.epoch}; train fewer epochs, or vary the images with "
        "--augment_affine 1 --augment_smooth 1.",
    )


def _over_warped(config: TrainConfig, curve: _Curve) -> Iterator[Finding]:
    measured = next((event.metrics for event in reversed(curve.epochs) if "njd_percent" in event.metrics), {})
    folds, rough = measured.get("njd_percent", 0.0), measured.get("sdlogj", 0.0)
    if folds <= FOLDED and rough <= ROUGH:
        return
    what = f"{folds:.1f} % of the pixels fold" if folds > FOLDED else f"areas change unevenly, SDlogJ {rough:.2f}"
    free = config.network.transform == "svf"
    yield Finding(
        kind="over-warped",
        seen=f"The images are warped more than anatomy allows: {what}.",
        remedy=f"Hold the flow smoother with --grad_weight {2 * config.loss.grad_weight or 1:g}"
        + ("." if free else ", or leave no folds at all: --transform svf."),
    )


def _slow(config: TrainConfig, curve: _Curve, seconds_left: float | None) -> Iterator[Finding]:
    whole = sum(event.seconds for event in curve.epochs) + (seconds_left or 0.0)
    if seconds_left is None or whole < LONG:
        return
    short = config.optimisation.total_steps is not None
    yield Finding(
        kind="slow",
        seen=f"This training takes {whole / 3600:.0f} hours in all on this machine.",
        remedy="Show the network smaller images: --network_side 128."
        if short and (config.network.network_side or 1000) > 128
        else "The preset fast takes minutes, from the network that RegStudio brings along; --epochs shortens this one.",
    )
