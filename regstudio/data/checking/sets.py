"""Check what the sets of a data set have to do with each other: the atlas, the training and the validation images."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from regstudio.data.checking.case import EXPORT_UPRIGHT, CheckedCase, Role
from regstudio.data.checking.orientation import turn_of_image, turn_of_label, turn_of_set
from regstudio.data.folders.layout import Case, DataIndex
from regstudio.data.geometry import MAX_ANGLE, TURNS, Turn, turn_to
from regstudio.data.problems import Problem

Fit = npt.NDArray[np.float64]  # (8,): how well a picture fits in each of the eight ways to turn it


def compare_sets(index: DataIndex, sets: Mapping[Role, list[CheckedCase]]) -> list[Problem]:
    """Return the problems between the sets: pictures in both, missing label ids, nothing usable."""
    atlas, training, validation = sets["atlas"], sets["training"], sets["validation"]
    report = CheckedCase(case=Case(id="", image=index.root), role="atlas", usable=None)
    if atlas and atlas[0].facing is None:
        _compare_places(report, [*training, *validation])
    theirs = "their fixed image" if "fixed" in sets else "the atlas"
    for cases in (training, validation):
        images = [(checked.case.image, checked.likeness) for checked in cases]
        labels = [(checked.case.label, checked.explained) for checked in cases]
        _judge_orientation(report, images, turn_of_image, f"images fit {theirs}")
        _judge_orientation(report, labels, turn_of_label, "labels fit their images")
    train_images = {checked.digest: checked.case.image for checked in training if checked.digest}
    for checked in validation:
        if checked.digest in train_images:
            what = f"shows the same picture as the training image {train_images[checked.digest].name}"
            report.add("warning", checked.case.image, what, "Remove one of the two, or the Dice will be too good.")
    seen = set().union(*(checked.pixels for checked in validation))
    missing = sorted(atlas[0].pixels.keys() - seen - {0}) if atlas and seen else []
    if missing and atlas[0].case.label:
        what = f"has label ids that no validation label has: {', '.join(map(str, missing))}"
        report.add("warning", atlas[0].case.label, what, "Use the same ids everywhere; these are left out of the Dice.")
    if training and not any(checked.usable for checked in training):
        what = "none of its images can be used to train on"
        report.add("error", training[0].case.image.parent, what, "Mend what the warnings say.")
    if validation and not any(checked.usable for checked in validation):
        what = "none of its images can be used, so nothing will be validated"
        report.add("warning", validation[0].case.image.parent, what, "Mend what the other warnings say.")
    return report.problems


def _judge_orientation(
    report: CheckedCase,
    fits: Sequence[tuple[Path | None, Fit | None]],
    turn_of_one: Callable[[Fit], Turn | None],
    fit: str,
) -> None:
    """Warn of a set that fits better turned or mirrored as a whole, too little in each file to be told of all alone."""
    known = [(path, ways) for path, ways in fits if path is not None and ways is not None]
    found = turn_of_set([ways for _, ways in known])
    if found is not None and not all(turn_of_one(ways) for _, ways in known):
        turn, count = found
        report.add("warning", known[0][0].parent, f"{count} of {len(known)} {fit} better {turn}", EXPORT_UPRIGHT)


def _compare_places(report: CheckedCase, cases: list[CheckedCase]) -> None:
    """Warn of images that lie otherwise than most, where the atlas knows no place that all could be turned to."""
    placed = [(checked.case.image, checked.facing) for checked in cases if checked.facing is not None]
    if not placed:
        return
    turns = [turn_to(facing, placed[0][1]) for _, facing in placed]
    groups = [(turn, angle > MAX_ANGLE) for turn, angle in turns]
    usual = placed[groups.index(Counter(groups).most_common(1)[0][0])][1]
    remedy = "Give the atlas as a file that knows its place, or export all images in one orientation."
    for path, facing in placed:
        turn, angle = turn_to(facing, usual)
        if angle > MAX_ANGLE:
            report.add("warning", path, f"its axes lie at {angle:.0f} degrees to those of most images", remedy)
        elif turn != TURNS[0]:
            what = f"lies as most images do only {turn}, and the atlas does not say how it lies"
            report.add("warning", path, what, remedy)
