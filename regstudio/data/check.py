"""Check a data set before training: open every file, and report what is there, what is wrong, and what to do."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from regstudio.data.check_report import CheckReport, SetSummary
from regstudio.data.formats import MIN_SIDE, extension, label_on_image, read_image, read_label
from regstudio.data.geometry import MAX_ANGLE, TURNS, Facing, Geometry, turn_to
from regstudio.data.layout import Case, DataIndex
from regstudio.data.loaders import Normalise, clip_outliers, rescale
from regstudio.data.orientation import better_turn_of_image, better_turn_of_label, sampled, small_picture
from regstudio.data.picture import Picture
from regstudio.data.problems import FileError, Problem, Severity
from regstudio.threads import map_in_order

_EXPORT_UPRIGHT = "Look at both, and export it again the right way round."
_SQUEEZED = 1 / 3  # of the range of values: less for nearly all pixels is worth a warning

Role = Literal["atlas", "training", "validation"]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How files are read: the options of the loaders, and whether other sizes are resampled to the atlas's."""

    image_key: str = "img"
    label_key: str = "label"
    slice_axis: int | None = None
    slice_index: int | None = None
    resize_to_atlas: bool = False
    normalise: Normalise = "minmax"


@dataclass(kw_only=True)
class _CheckedCase:
    """A case whose files were opened; `usable` is the case without its unusable files."""

    case: Case
    role: Role
    usable: Case | None
    problems: list[Problem] = field(default_factory=list)
    size: tuple[int, ...] | None = None
    geometry: Geometry | None = None  # as it is stored
    facing: Facing | None = None
    small: npt.NDArray[np.float64] | None = None
    sampled: npt.NDArray[np.float32] | None = None
    digest: bytes = b""
    pixels: Counter[int] = field(default_factory=Counter)
    palette: npt.NDArray[np.uint8] | None = None

    def add(self, severity: Severity, path: Path, what: str, remedy: str, *, left_out: bool = False) -> None:
        self.problems.append(Problem(severity=severity, path=path, what=what, remedy=remedy, left_out=left_out))

    def mark_unusable(self, path: Path, what: str, remedy: str) -> None:
        """Add a problem, and leave the file out; without the atlas, nothing can be trained."""
        is_atlas = self.role == "atlas"
        self.add("error" if is_atlas else "warning", path, what, remedy, left_out=not is_atlas)
        if path == self.case.image or self.role == "validation":
            self.usable = None
        elif self.usable is not None:
            self.usable = replace(self.usable, label=None)


def check(
    index: DataIndex,
    options: ReadOptions | None = None,
    *,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = lambda jobs: jobs,
) -> CheckReport:
    """Open every file of an index in a thread pool, and report; `progress` may wrap the list of files, as tqdm does.

    Files are read as a training reads them: where they know their place, turned until they lie as the atlas does. A
    problem of the atlas is an error, and so is a size that does not fit, or a label that lies elsewhere than its image.
    Another unusable file is left out with a warning: an image together with its label, a training label alone, a
    validation label together with its image.
    """
    options = options or ReadOptions()
    sets = {"atlas": [index.atlas] if index.atlas else [], "training": index.train, "validation": index.validation}
    files = iter(progress([(role, case) for role, cases in sets.items() for case in cases]))
    results: dict[str, list[_CheckedCase]] = {role: [] for role in sets}
    atlas = None
    if index.atlas:  # first, since the others are compared with it
        atlas = _check_case(next(files), options, None)
        results["atlas"].append(atlas)
    with closing(map_in_order(lambda file: _check_case(file, options, atlas), files)) as done:
        for case in done:
            results[case.role].append(case)
    problems = [problem for cases in results.values() for case in cases for problem in case.problems]
    usable = replace(
        index,
        train=tuple(checked.usable for checked in results["training"] if checked.usable),
        validation=tuple(checked.usable for checked in results["validation"] if checked.usable),
        problems=(*index.problems, *problems, *_compare_sets(index, **results)),
    )
    return CheckReport(index=usable, sets={role: _summary(cases) for role, cases in results.items()})


def _check_case(file: tuple[Role, Case], options: ReadOptions, atlas: _CheckedCase | None) -> _CheckedCase:
    checked = _CheckedCase(case=file[1], role=file[0], usable=file[1])
    _check_image(checked, options, atlas)
    _check_label(checked, options, atlas)
    return checked


def _check_image(checked: _CheckedCase, options: ReadOptions, atlas: _CheckedCase | None) -> None:
    path = checked.case.image
    try:
        stored = read_image(path, key=options.image_key, slice_axis=options.slice_axis, slice_index=options.slice_index)
    except FileError as error:
        checked.mark_unusable(path, error.what, error.remedy)
        return
    array = stored.turned_to(atlas.facing if atlas else None).array
    checked.size, checked.geometry, checked.facing = array.shape, stored.geometry, stored.facing
    _check_orientation(checked, stored, array, atlas)
    pixels = rescale(array)
    if min(array.shape) < MIN_SIDE:
        what = f"is {_size_text(array.shape)} pixels, and less than {MIN_SIDE} is too few"
        checked.add("error", path, what, "Save it in a higher resolution, or remove it.")
    elif atlas and atlas.size not in (None, array.shape) and not options.resize_to_atlas:
        what = f"is {_size_text(array.shape)} pixels, unlike the atlas with {_size_text(atlas.size)}"
        checked.add("error", path, what, "Resize it, or let --resize_to_atlas do so.")
    if pixels.any():
        checked.digest = hashlib.blake2b(pixels.tobytes() + _size_text(array.shape).encode()).digest()
    else:
        checked.mark_unusable(path, "every pixel has the same value", "Export it again.")
    if options.normalise == "minmax":
        _warn_of_outliers(checked, path, array)


def _warn_of_outliers(checked: _CheckedCase, path: Path, array: npt.NDArray[Any]) -> None:
    """Warn where a few very bright or dark pixels squeeze the rest into a small part of [0, 1]."""
    usual, whole = (float(values.max()) - float(values.min()) for values in (clip_outliers(array), array))
    if usual < _SQUEEZED * whole:
        what = f"all but one in a hundred of its pixels lie within {usual / whole:.1%} of its range of values"
        remedy = "Use --normalise percentile, or take the bright or dark spots out."
        checked.add("warning", path, what, remedy)


def _check_orientation(
    checked: _CheckedCase, stored: Picture, array: npt.NDArray[Any], atlas: _CheckedCase | None
) -> None:
    """Warn of an image that lies at an angle to the atlas, or that would fit it far better turned or mirrored."""
    path, checked.small = checked.case.image, small_picture(array)
    checked.sampled = sampled(rescale(array))
    if atlas is None:
        return
    if stored.facing is not None and atlas.facing is not None:
        _, angle = turn_to(stored.facing, atlas.facing)
        if angle > MAX_ANGLE:
            what = f"its axes lie at {angle:.0f} degrees to those of the atlas"
            checked.add("warning", path, what, "Resample it onto the atlas's axes, or take a slice of the same plane.")
            return
    if atlas.small is None or checked.small is None:
        return
    turn = better_turn_of_image(checked.small, atlas.small)
    if turn is not None:
        checked.add("warning", path, f"fits the atlas far better {turn}", _EXPORT_UPRIGHT)


def _check_label_orientation(checked: _CheckedCase, label: npt.NDArray[Any]) -> None:
    """Warn of a label that would explain its image far better turned or mirrored."""
    path, image = checked.case.label, checked.sampled
    if path is None or image is None or checked.size != label.shape:
        return
    turn = better_turn_of_label(sampled(label), image)
    if turn is not None:
        checked.add("warning", path, f"fits its image far better {turn}", _EXPORT_UPRIGHT)


def _check_label(checked: _CheckedCase, options: ReadOptions, atlas: _CheckedCase | None) -> None:
    path = checked.case.label
    if path is None:
        return
    try:
        stored = read_label(path, key=options.label_key, slice_axis=options.slice_axis, slice_index=options.slice_index)
    except FileError as error:
        checked.mark_unusable(path, error.what, error.remedy)
        return
    checked.palette = stored.header if isinstance(stored.header, np.ndarray) else None
    try:
        facing = atlas.facing if atlas else checked.facing
        array = label_on_image(stored, checked.geometry, facing).array
        _check_label_orientation(checked, array)
    except FileError as error:
        checked.add("error", path, error.what, error.remedy)
        array = stored.array
    ids, counts = np.unique(array, return_counts=True)
    checked.pixels = Counter(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
    if extension(path) in (".jpg", ".jpeg"):
        checked.add("note", path, "JPEG changes label ids", "Save labels as PNG.")
    if checked.size not in (None, array.shape):
        what = f"is {_size_text(array.shape)} pixels, unlike its image with {_size_text(checked.size)}"
        if options.resize_to_atlas:
            checked.mark_unusable(path, what, "Export it again from the image.")
        else:
            checked.add("error", path, what, "Export it again from the image.")
    unknown = sorted(checked.pixels.keys() - atlas.pixels.keys() - {0}) if atlas and atlas.pixels else []
    if unknown:
        what = f"has label ids that the atlas lacks: {', '.join(map(str, unknown))}"
        checked.add("warning", path, what, "Give them to the atlas; they are left out of the Dice.")
    if atlas:
        _compare_palettes(checked, path, atlas)


def _compare_palettes(checked: _CheckedCase, path: Path, atlas: _CheckedCase) -> None:
    if checked.palette is None or atlas.palette is None:
        return
    shared = sorted(checked.pixels.keys() & atlas.pixels.keys())
    differ = [i for i in shared if (checked.palette[i] != atlas.palette[i]).any()]
    if differ:
        what = f"its palette gives other colours than the atlas's to the label ids {', '.join(map(str, differ))}"
        remedy = "Make sure that the ids mean the same: only ids are compared, never colours."
        checked.add("warning", path, what, remedy)


def _compare_sets(
    index: DataIndex, *, atlas: list[_CheckedCase], training: list[_CheckedCase], validation: list[_CheckedCase]
) -> list[Problem]:
    """Return the problems between the sets: pictures in both, missing label ids, nothing usable."""
    report = _CheckedCase(case=Case(id="", image=index.root), role="atlas", usable=None)
    if atlas and atlas[0].facing is None:
        _compare_places(report, [*training, *validation])
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


def _compare_places(report: _CheckedCase, cases: list[_CheckedCase]) -> None:
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


def _summary(results: list[_CheckedCase]) -> SetSummary:
    cases = [checked.case for checked in results]
    return SetSummary(
        images=len(cases),
        usable=sum(checked.usable is not None for checked in results),
        labels=sum(case.label is not None for case in cases),
        sizes=dict(Counter(_size_text(checked.size) for checked in results if checked.size).most_common()),
        formats=dict(Counter(extension(case.image) for case in cases).most_common()),
        label_formats=dict(Counter(extension(case.label) for case in cases if case.label).most_common()),
        label_pixels=dict(sorted(sum((checked.pixels for checked in results), Counter()).items())),
    )


def _size_text(size: tuple[int, ...] | None) -> str:
    return " x ".join(map(str, size or ()))
