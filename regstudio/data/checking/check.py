"""Check a data set before training: open every file, and report what is there, what is wrong, and what to do."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.checking.case import EXPORT_UPRIGHT, CheckedCase, Role
from regstudio.data.checking.masks import check_mask
from regstudio.data.checking.orientation import (
    explained,
    likeness,
    sampled,
    small_picture,
    turn_of_image,
    turn_of_label,
)
from regstudio.data.checking.points import check_landmarks
from regstudio.data.checking.report import CheckReport, SetSummary
from regstudio.data.checking.sets import compare_sets
from regstudio.data.folders.layout import Case, DataIndex
from regstudio.data.geometry import MAX_ANGLE, turn_to
from regstudio.data.loading.loaders import Normalise, clip_outliers, grey_picture, rescale
from regstudio.data.loading.working_grid import GridRule
from regstudio.data.pictures.colour import Background
from regstudio.data.pictures.formats import MIN_SIDE, extension, label_on_image, read_image, read_label
from regstudio.data.pictures.picture import Picture
from regstudio.data.problems import FileError, Mend
from regstudio.threads import map_in_order

_SQUEEZED = 1 / 3  # of the range of values: less for nearly all pixels is worth a warning


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How files are read: the options of the loaders, and the rule of the working grid."""

    image_key: str = "img"
    label_key: str = "label"
    slice_axis: int | None = None
    slice_index: int | None = None
    rule: GridRule = GridRule()  # noqa: RUF009  frozen
    normalise: Normalise = "minmax"
    grey: str = "luminance"
    background: Background = "auto"


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
    fixed = list(dict.fromkeys(case.fixed for case in (*index.train, *index.validation) if case.fixed))
    sets: dict[Role, Sequence[Case]] = {"atlas": [index.atlas] if index.atlas else []}
    sets |= {"fixed": fixed} if fixed else {}
    sets |= {"training": index.train, "validation": index.validation}
    files = iter(progress([(role, case) for role, cases in sets.items() for case in cases]))
    results: dict[Role, list[CheckedCase]] = {role: [] for role in sets}
    partners: dict[Case | None, CheckedCase] = {}

    def checked(file: tuple[Role, Case]) -> CheckedCase:
        return _check_case(file, options, partners.get(file[1].fixed))

    if index.atlas:  # first, since the others are compared with it
        partners[None] = _check_case(next(files), options, None)
        results["atlas"].append(partners[None])
    for some in (islice(files, len(fixed)), files):
        with closing(map_in_order(checked, some)) as done:
            for case in done:
                results[case.role].append(case)
                if case.role == "fixed":
                    partners[case.case] = case
    problems = [problem for cases in results.values() for case in cases for problem in case.problems]
    usable = replace(
        index,
        atlas=index.atlas and _with_usable_mask(index.atlas, partners[None]),
        train=tuple(checked.usable for checked in results["training"] if checked.usable),
        validation=tuple(checked.usable for checked in results["validation"] if checked.usable),
        problems=(*index.problems, *problems, *compare_sets(index, results)),
    )
    return CheckReport(index=usable, sets={role: _summary(cases) for role, cases in results.items()})


def _with_usable_mask(atlas: Case, checked: CheckedCase) -> Case:
    return replace(atlas, mask=None if checked.usable is None else checked.usable.mask)


def _check_case(file: tuple[Role, Case], options: ReadOptions, atlas: CheckedCase | None) -> CheckedCase:
    checked = CheckedCase(case=file[1], role=file[0], usable=file[1])
    _check_image(checked, options, atlas)
    _check_label(checked, options, atlas)
    where = {"slice_axis": options.slice_axis, "slice_index": options.slice_index}
    check_mask(checked, atlas, key=options.label_key, **where)
    check_landmarks(checked, atlas)
    if atlas is not None and atlas.role == "fixed" and checked.usable is not None:
        checked.usable = replace(checked.usable, fixed=atlas.usable)
        if atlas.usable is None:
            checked.mark_unusable(checked.case.image, "its fixed image cannot be used", "Mend that one.")
    return checked


def _check_image(checked: CheckedCase, options: ReadOptions, atlas: CheckedCase | None) -> None:
    path = checked.case.image
    try:
        where: dict[str, Any] = {"slice_axis": options.slice_axis, "slice_index": options.slice_index}
        stored = grey_picture(read_image(path, key=options.image_key, colour=True, **where), options.grey)
    except FileError as error:
        checked.mark_unusable(path, error.what, error.remedy)
        return
    turned = stored.turned_to(atlas.facing if atlas else None)
    array = turned.array
    checked.size, checked.geometry, checked.facing = array.shape, stored.geometry, stored.facing
    _check_orientation(checked, stored, array, atlas)
    pixels = rescale(array)
    if min(array.shape) < MIN_SIDE:
        what = f"is {_size_text(array.shape)} pixels, and less than {MIN_SIDE} is too few"
        checked.add("error", path, what, "Save it in a higher resolution, or remove it.")
    else:
        _note_size(checked, turned, options.rule, atlas)
    if pixels.any():
        checked.digest = hashlib.blake2b(pixels.tobytes() + _size_text(array.shape).encode()).digest()
    else:
        checked.mark_unusable(path, "every pixel has the same value", "Export it again.")
    if options.normalise == "minmax":
        _warn_of_outliers(checked, path, array)


def _note_size(checked: CheckedCase, picture: Picture, rule: GridRule, atlas: CheckedCase | None) -> None:
    """Say what is done with an image that is registered in another size than its own."""
    checked.grid = rule.grid(picture.size, picture.spacing) if atlas is None else atlas.grid
    if checked.grid is None:  # the atlas could not be read
        return
    place = checked.grid.place(picture.size, picture.spacing)
    if place.is_identity or (atlas and place == atlas.place):
        checked.place = place
        return
    checked.place, grid = place, _size_text(place.grid)
    remedy = "Results have the fixed image's full size; --working_size and --fit change the grid."
    if atlas is None:
        checked.add("note", checked.case.image, f"is registered on a grid of {grid} pixels", remedy)
        return
    rows, columns = place.covered
    whole = (rows.stop - rows.start, columns.stop - columns.start) == place.grid
    how = "filling it" if whole else "whole, with 0 around it"
    what = f"differs from {atlas.title} in size or shape: it is brought onto the grid of {grid} pixels, {how}"
    mend: Mend = "" if rule.fit == "pad" and whole else "fill" if rule.fit == "pad" else "keep_shape"
    checked.add("note", checked.case.image, what, remedy, mend=mend)


def _warn_of_outliers(checked: CheckedCase, path: Path, array: npt.NDArray[Any]) -> None:
    """Warn where a few very bright or dark pixels squeeze the rest into a small part of [0, 1]."""
    usual, whole = (float(values.max()) - float(values.min()) for values in (clip_outliers(array), array))
    if usual < _SQUEEZED * whole:
        what = f"all but one in a hundred of its pixels lie within {usual / whole:.1%} of its range of values"
        remedy = "Use --normalise percentile, or take the bright or dark spots out."
        checked.add("warning", path, what, remedy)


def _check_orientation(
    checked: CheckedCase, stored: Picture, array: npt.NDArray[Any], atlas: CheckedCase | None
) -> None:
    """Warn of an image that lies at an angle to the atlas, or that would fit it far better turned or mirrored."""
    path, checked.small = checked.case.image, small_picture(array)
    checked.sampled = sampled(rescale(array))
    if atlas is None:
        return
    if stored.facing is not None and atlas.facing is not None:
        _, angle = turn_to(stored.facing, atlas.facing)
        if angle > MAX_ANGLE:
            what = f"its axes lie at {angle:.0f} degrees to those of {atlas.title}"
            remedy = f"Resample it onto {atlas.title}'s axes, or take a slice of the same plane."
            checked.add("warning", path, what, remedy)
            return
    if atlas.small is None or checked.small is None:
        return
    checked.likeness = likeness(checked.small, atlas.small)
    turn = turn_of_image(checked.likeness)
    if turn is not None:
        checked.add("warning", path, f"fits {atlas.title} far better {turn}", EXPORT_UPRIGHT)


def _check_label_orientation(checked: CheckedCase, label: npt.NDArray[Any]) -> None:
    """Warn of a label that would explain its image far better turned or mirrored."""
    path, image = checked.case.label, checked.sampled
    if path is None or image is None or checked.size != label.shape:
        return
    checked.explained = explained(sampled(label), image)
    turn = turn_of_label(checked.explained)
    if turn is not None:
        checked.add("warning", path, f"fits its image far better {turn}", EXPORT_UPRIGHT)


def _check_label(checked: CheckedCase, options: ReadOptions, atlas: CheckedCase | None) -> None:
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
        mend = checked.mend_of_size(array.shape) if path != checked.case.image else ""
        checked.mark_unusable(path, what, "Export it again from the image.", mend)
    unknown = sorted(checked.pixels.keys() - atlas.pixels.keys() - {0}) if atlas and atlas.pixels else []
    if atlas and unknown:
        what = f"has label ids that {atlas.title} lacks: {', '.join(map(str, unknown))}"
        checked.add("warning", path, what, f"Give them to {atlas.title}; they are left out of the Dice.")
    if atlas:
        _compare_palettes(checked, path, atlas)


def _compare_palettes(checked: CheckedCase, path: Path, atlas: CheckedCase) -> None:
    if checked.palette is None or atlas.palette is None:
        return
    shared = sorted(checked.pixels.keys() & atlas.pixels.keys())
    differ = [i for i in shared if (checked.palette[i] != atlas.palette[i]).any()]
    if differ:
        what = f"its palette gives other colours than {atlas.title}'s to the label ids {', '.join(map(str, differ))}"
        remedy = "Make sure that the ids mean the same: only ids are compared, never colours."
        checked.add("warning", path, what, remedy)


def _summary(results: list[CheckedCase]) -> SetSummary:
    cases = [checked.case for checked in results]
    return SetSummary(
        images=len(cases),
        usable=sum(checked.usable is not None for checked in results),
        labels=sum(case.label is not None for case in cases),
        masks=sum(case.mask is not None for case in cases),
        sizes=dict(Counter(_size_text(checked.size) for checked in results if checked.size).most_common()),
        formats=dict(Counter(extension(case.image) for case in cases).most_common()),
        label_formats=dict(Counter(extension(case.label) for case in cases if case.label).most_common()),
        label_pixels=dict(sorted(sum((checked.pixels for checked in results), Counter()).items())),
    )


def _size_text(size: tuple[int, ...] | None) -> str:
    return " x ".join(map(str, size or ()))
