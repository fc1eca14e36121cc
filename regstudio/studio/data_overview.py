"""What the Data tab shows of a data folder: a verdict, counts, problems and thumbnails.

Reading pictures needs torch, which is imported with the first picture: the page does not wait for it.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from regstudio.config import ReadingSection
from regstudio.data.checking.report import CheckReport
from regstudio.data.folders.label_names import LabelName, find_label_names, read_label_names
from regstudio.data.folders.layout import Case, DataIndex
from regstudio.data.geometry import Facing
from regstudio.data.pictures.formats import geometry_of, label_on_image, read_image, read_label
from regstudio.data.problems import FileError, shown_path
from regstudio.drawing.colours import Colour, from_hexadecimal, hexadecimal, label_colours
from regstudio.drawing.thumbnails import Picture, aspect_of, thumbnail
from regstudio.studio.page_words import on_the_page

PAGE_SIZE = 24  # thumbnails
OVERSAMPLED = 4  # pixels of a picture for each of its thumbnail, along a side
MAX_LABELS = 40  # in the legend

Captioned = tuple[Picture, str]
Colours = dict[int, Colour]  # by label id


def first_look(index: DataIndex) -> dict[str, Any]:
    """Return the verdict from file names alone, before any file is opened."""
    images = len(index.train) + len(index.validation)
    return {
        "state": "looking",
        "title": f"Opening {_count(images, 'image')} to see what is in them",
        "text": f"{_counts(index)} in {index.root}.",
        "sets": [],
        "labels": [],
    }


def progress(opened: tuple[int, int] | None) -> dict[str, Any]:
    """Return the progress of opening files, from 0 to 1 and in words; empty while none are being opened."""
    if opened is None:
        return {}
    return {"share": opened[0] / max(1, opened[1]), "text": f"{opened[0]:,} of {opened[1]:,} opened"}


def overview(report: CheckReport) -> dict[str, Any]:
    """Return the verdict: whether the data can be trained on or why not, the counts, and the legend of labels."""
    index, errors = report.index, report.index.errors
    if not index.root.is_dir():
        state, title = "empty", "No data yet"
        text = f"There is no folder {index.root}. Choose another above, upload one, or press Use demo data."
    elif is_unlaid(report):
        state, title = "blocked", "These files are not laid out for training yet"
        text = f"Look at what is proposed above, and press Import. {index.root} stays as it is."
    elif errors:
        state, title = "blocked", f"Training cannot start yet: {_count(len(errors), 'error')}"
        more = f" And {len(errors) - 1} more, in the list below." if len(errors) > 1 else ""
        text = f"{shown_path(errors[0].path, index.root)}: {errors[0].what}. {on_the_page(errors[0].remedy)}{more}"
    else:
        state, title = "ready", "Ready to train"
        text = f"{_counts(index)}.{_dice(report)}{_others(index)}"
    sets = [] if state == "empty" or is_unlaid(report) else _sets(report)
    return {"state": state, "title": title, "text": text, "sets": sets, "labels": _legend(report)}


def is_unlaid(report: CheckReport) -> bool:
    """Whether a folder is there, but none of the layout's folders is in it: it may hold images as they come."""
    index = report.index
    named = index.atlas or index.train or index.validation or index.table
    return index.root.is_dir() and not named and any(index.root.iterdir())


def refusal(reason: str, still: Path) -> dict[str, Any]:
    """Return the verdict on a folder that cannot be opened; the data folder `still` is in use."""
    keeps = f" The Train tab goes on using {still}." if still.is_dir() else ""
    title, text = "This folder cannot be opened", on_the_page(reason) + keeps
    return {"state": "blocked", "title": title, "text": text, "sets": [], "labels": []}


def colours_of(report: CheckReport) -> Colours:
    """Return the colour of each label id in the data set: its own where the file of label names gives one."""
    colours = label_colours(number for part in report.sets.values() for number in part.label_pixels)
    own = {number: label.colour for number, label in _names(report).items() if label.colour and number in colours}
    return colours | {number: from_hexadecimal(colour) for number, colour in own.items()}


def _names(report: CheckReport) -> dict[int, LabelName]:
    """Return the names of labels that the data folder gives; none where they cannot be read."""
    path = find_label_names(report.index.root)
    try:
        return {} if path is None else read_label_names(path)
    except FileError:  # which the Viewer says
        return {}


def picture(
    case: Case, reading: ReadingSection, colours: Colours | None, *, size: int, atlas: Case | None = None
) -> Captioned:
    """Return a case's image with its label outlined, and a caption; blank if the file cannot be read.

    It is turned until it lies as `atlas` does, as a training turns it. Only label ids in `colours` are outlined; all of
    this label if it is None.
    """
    from regstudio.data.loading.loaders import normalised

    where: dict[str, Any] = {"slice_axis": reading.slice_axis, "slice_index": reading.slice_index}
    facing = None if atlas is None else _facing(atlas, where)
    try:
        read = read_image(case.image, key=reading.image_key, colour=True, **where)
    except FileError:
        return thumbnail(np.full((size, size), 0.15), size=size), f"{case.id}: cannot be read"
    turned = read.turned_to(facing)
    every = max(1, min(turned.size) // (OVERSAMPLED * size))  # a huge picture is not made huger
    turned = replace(turned, array=turned.array[::every, ::every])
    image, aspect = turned.colours, aspect_of(turned.spacing)
    if image is None:
        image = normalised(turned.grey, reading.normalise)
    try:
        label = read_label(case.label, key=reading.label_key, **where) if case.label else None
        ids = None if label is None else label_on_image(label, read.geometry, facing).array
    except FileError:
        return thumbnail(image, size=size, aspect=aspect), f"{case.id}: its label cannot be read"
    return thumbnail(image, ids, size=size, colours=colours, aspect=aspect), case.id


def _facing(atlas: Case, where: dict[str, Any]) -> Facing | None:
    try:
        geometry = geometry_of(atlas.image, **where)
    except FileError:  # which its own picture says
        return None
    return None if geometry is None else geometry.facing


def sheet_page(cases: Sequence[Case], page: int) -> tuple[int, Sequence[Case], str]:
    """Return the number of the nearest existing page, its cases, and their range in words."""
    last = max(0, (len(cases) - 1) // PAGE_SIZE)
    page = min(max(page, 0), last)
    shown = cases[page * PAGE_SIZE : (page + 1) * PAGE_SIZE]
    if not shown:
        return 0, shown, "There are none."
    return page, shown, f"{page * PAGE_SIZE + 1} to {page * PAGE_SIZE + len(shown)} of {len(cases)}"


def _counts(index: DataIndex) -> str:
    labelled = sum(case.label is not None for case in index.validation)
    what = "pair" if _is_paired(index) else "image"
    parts = [f"{_count(len(index.train), what)} to train on", f"{len(index.validation)} to validate on"]
    return " and ".join(parts) + (f" ({labelled} with labels)" if index.validation else "")


def _is_paired(index: DataIndex) -> bool:
    return index.atlas is None and any(case.fixed for case in (*index.train, *index.validation))


def _dice(report: CheckReport) -> str:
    index = report.index
    sides = ((case, case.fixed or index.atlas) for case in index.validation)
    scored = any(case.label and fixed and fixed.label for case, fixed in sides)
    return " Validation will measure Dice." if scored else " There will be no Dice, for lack of labels."


def _others(index: DataIndex) -> str:
    counts = {name: sum(problem.severity == name for problem in index.problems) for name in ("warning", "note")}
    named = [_count(count, name) for name, count in counts.items() if count]
    return f" See the {' and '.join(named)} below." if named else ""


def _sets(report: CheckReport) -> list[list[str]]:
    """Return the counts as rows (set, images, usable, labels, sizes, formats)."""
    rows = []
    for name, part in report.sets.items():
        if name == "atlas" and _is_paired(report.index):
            continue
        unopened = report.unopened(name)
        images = f"{part.images + unopened:,}" + (f" ({part.images:,} opened)" if unopened else "")
        sizes = list(part.sizes.items())
        named = [size if len(sizes) == 1 else f"{size} ({count})" for size, count in sizes[:3]]
        named += [f"{len(sizes) - 3} more sizes"] if len(sizes) > 3 else []
        formats = sorted(part.formats | part.label_formats)
        usable = f"{part.usable + unopened:,}"
        labels = f"{part.labels:,}" + f", and {part.masks:,} masks" * bool(part.masks)
        rows.append([name, images, usable, labels, ", ".join(named), ", ".join(formats)])
    return rows


def _legend(report: CheckReport) -> list[dict[str, str]]:
    names = _names(report)
    legend = [
        {
            "name": f"{number} {names[number].name}" if number in names else f"label {number}",
            "colour": hexadecimal(colour),
        }
        for number, colour in colours_of(report).items()
    ]
    more = len(legend) - MAX_LABELS
    return legend[:MAX_LABELS] + ([{"name": f"and {more} more", "colour": "transparent"}] if more > 0 else [])


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
