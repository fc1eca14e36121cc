"""Opening every file of a data set before a training does: what is there, what is amiss, and what to do about it."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from regstudio.data.check_report import CheckReport, SetSummary
from regstudio.data.formats import MIN_SIDE, extension, read_image, read_label
from regstudio.data.layout import Case, DataIndex
from regstudio.data.loaders import rescale
from regstudio.data.problems import FileError, Problem, Severity
from regstudio.threads import map_in_order

Role = Literal["atlas", "training", "validation"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How files are read: the options of the loaders, and whether sizes may differ from the atlas's."""

    image_key: str = "img"
    label_key: str = "label"
    slice_axis: int | None = None
    slice_index: int | None = None
    resize_to_atlas: bool = False


@dataclass(kw_only=True)
class _Finding:
    """What is known of a case once its files were opened; `usable` is the case without what cannot be used."""

    case: Case
    role: Role
    usable: Case | None
    problems: list[Problem] = field(default_factory=list)
    size: tuple[int, ...] | None = None
    digest: bytes = b""
    pixels: Counter[int] = field(default_factory=Counter)

    def add(self, severity: Severity, path: Path, what: str, remedy: str, *, left_out: bool = False) -> None:
        self.problems.append(Problem(severity=severity, path=path, what=what, remedy=remedy, left_out=left_out))

    def unusable(self, path: Path, what: str, remedy: str) -> None:
        """Add a problem that costs a file, or in the case of the atlas the training."""
        of_atlas = self.role == "atlas"
        self.add("error" if of_atlas else "warning", path, what, remedy, left_out=not of_atlas)
        if path == self.case.image or self.role == "validation":
            self.usable = None
        elif self.usable is not None:
            self.usable = replace(self.usable, label=None)


def check(
    index: DataIndex,
    reading: Reading | None = None,
    *,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = lambda jobs: jobs,
) -> CheckReport:
    """Open every file of an index, in parallel, and report; `progress` may wrap the sequence of files, as tqdm does.

    What is wrong with the atlas is an error, and so is a size that does not fit. Any other file that cannot be used is
    left out, with a warning: an image with its label, a training label alone, a validation label with its image.
    """
    reading = reading or Reading()
    sets = {"atlas": [index.atlas] if index.atlas else [], "training": index.train, "validation": index.validation}
    files = iter(progress([(role, case) for role, cases in sets.items() for case in cases]))
    findings: dict[str, list[_Finding]] = {role: [] for role in sets}
    atlas = None
    if index.atlas:  # which the others are compared with
        atlas = _examine(next(files), reading, None)
        findings["atlas"].append(atlas)
    with closing(map_in_order(lambda file: _examine(file, reading, atlas), files)) as found:
        for finding in found:
            findings[finding.role].append(finding)
    own = [problem for found in findings.values() for finding in found for problem in finding.problems]
    checked = replace(
        index,
        train=tuple(finding.usable for finding in findings["training"] if finding.usable),
        validation=tuple(finding.usable for finding in findings["validation"] if finding.usable),
        problems=(*index.problems, *own, *_compare(index, **findings)),
    )
    return CheckReport(index=checked, sets={role: _summary(found) for role, found in findings.items()})


def _examine(file: tuple[Role, Case], reading: Reading, atlas: _Finding | None) -> _Finding:
    finding = _Finding(case=file[1], role=file[0], usable=file[1])
    _examine_image(finding, reading, atlas)
    _examine_label(finding, reading, atlas)
    return finding


def _examine_image(finding: _Finding, reading: Reading, atlas: _Finding | None) -> None:
    path = finding.case.image
    try:
        array = read_image(
            path, key=reading.image_key, slice_axis=reading.slice_axis, slice_index=reading.slice_index
        ).array
    except FileError as error:
        finding.unusable(path, error.what, error.remedy)
        return
    finding.size = array.shape
    pixels = rescale(array)
    if min(array.shape) < MIN_SIDE:
        what = f"is {_by(array.shape)} pixels, and less than {MIN_SIDE} is too few"
        finding.add("error", path, what, "Save it in a higher resolution, or remove it.")
    elif atlas and atlas.size not in (None, array.shape) and not reading.resize_to_atlas:
        what = f"is {_by(array.shape)} pixels, unlike the atlas with {_by(atlas.size)}"
        finding.add("error", path, what, "Resize it, or let --resize_to_atlas do so.")
    if pixels.any():
        finding.digest = hashlib.blake2b(pixels.tobytes() + _by(array.shape).encode()).digest()
    else:
        finding.unusable(path, "every pixel has the same value", "Export it again.")


def _examine_label(finding: _Finding, reading: Reading, atlas: _Finding | None) -> None:
    path = finding.case.label
    if path is None:
        return
    try:
        array = read_label(
            path, key=reading.label_key, slice_axis=reading.slice_axis, slice_index=reading.slice_index
        ).array
    except FileError as error:
        finding.unusable(path, error.what, error.remedy)
        return
    ids, counts = np.unique(array, return_counts=True)
    finding.pixels = Counter(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
    if extension(path) in (".jpg", ".jpeg"):
        finding.add("note", path, "JPEG changes label ids", "Save labels as PNG.")
    if finding.size not in (None, array.shape):
        what = f"is {_by(array.shape)} pixels, unlike its image with {_by(finding.size)}"
        if reading.resize_to_atlas:
            finding.unusable(path, what, "Export it again from the image.")
        else:
            finding.add("error", path, what, "Export it again from the image.")
    lacking = sorted(finding.pixels.keys() - atlas.pixels.keys() - {0}) if atlas and atlas.pixels else []
    if lacking:
        what = f"has label ids that the atlas lacks: {', '.join(map(str, lacking))}"
        finding.add("warning", path, what, "Give them to the atlas, or expect a Dice of 0 for them.")


def _compare(
    index: DataIndex, *, atlas: list[_Finding], training: list[_Finding], validation: list[_Finding]
) -> list[Problem]:
    """Return what is amiss with the sets taken together."""
    whole = _Finding(case=Case(id="", image=index.root), role="atlas", usable=None)
    known = {finding.digest: finding.case.image for finding in training if finding.digest}
    for finding in validation:
        if finding.digest in known:
            what = f"shows the same picture as the training image {known[finding.digest].name}"
            whole.add("warning", finding.case.image, what, "Remove one of the two, or the Dice will be too good.")
    seen = set().union(*(finding.pixels for finding in validation))
    missing = sorted(atlas[0].pixels.keys() - seen - {0}) if atlas and seen else []
    if missing and atlas[0].case.label:
        what = f"has label ids that no validation label has: {', '.join(map(str, missing))}"
        whole.add("warning", atlas[0].case.label, what, "Use the same ids everywhere, or expect a Dice of 0 for them.")
    if training and not any(finding.usable for finding in training):
        what = "none of its images can be used to train on"
        whole.add("error", training[0].case.image.parent, what, "Mend what the warnings say.")
    if validation and not any(finding.usable for finding in validation):
        what = "none of its images can be used, so nothing will be validated"
        whole.add("warning", validation[0].case.image.parent, what, "Mend what the other warnings say.")
    return whole.problems


def _summary(findings: list[_Finding]) -> SetSummary:
    cases = [finding.case for finding in findings]
    return SetSummary(
        images=len(cases),
        usable=sum(finding.usable is not None for finding in findings),
        labels=sum(case.label is not None for case in cases),
        sizes=dict(Counter(_by(finding.size) for finding in findings if finding.size).most_common()),
        formats=dict(Counter(extension(case.image) for case in cases).most_common()),
        label_formats=dict(Counter(extension(case.label) for case in cases if case.label).most_common()),
        label_pixels=dict(sorted(sum((finding.pixels for finding in findings), Counter()).items())),
    )


def _by(size: tuple[int, ...] | None) -> str:
    return " x ".join(map(str, size or ()))
