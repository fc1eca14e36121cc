"""Tables of pairs, pairs.csv: which moving image belongs to which fixed one, and what belongs to either.

Columns, by name in the first line and in any order: `fixed` and `moving`; and where they are wanted fixed_label,
moving_label, fixed_points, moving_points, fixed_mask, moving_mask, `split` (train, validation or test) and `subject`.
Paths are relative to the data folder. No picture is opened.
"""

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from regstudio.data.folders.case_files import Case
from regstudio.data.folders.listing import FolderListing
from regstudio.data.folders.splitting import subject_of
from regstudio.data.pictures.formats import EXTENSIONS, extension, stem
from regstudio.data.problems import FileError
from regstudio.data.text_tables import cells, columns_of, delimiter_of, read_text

_EXTRAS = ("label", "points", "mask")
_OF_FILES = tuple(f"{side}_{what}" for what in _EXTRAS for side in ("fixed", "moving"))
COLUMNS = ("fixed", "moving", *_OF_FILES, "split", "subject")
SPLITS = {"": "train", "train": "train", "training": "train", "val": "validation", "valid": "validation"} | {
    "validation": "validation",
    "test": "test",
}
_REMEDY = "Give it a first line `fixed,moving` and a line of two paths, relative to the data folder, for each pair."


@dataclass(frozen=True, kw_only=True)
class TablePairs:
    """The pairs of a table, in its order; those of the split "test" are in neither."""

    train: tuple[Case, ...] = ()
    validation: tuple[Case, ...] = ()


def read_pairs(table: Path, root: Path, listing: FolderListing, wanted: Callable[[str], object]) -> TablePairs:
    """Return the pairs of a table whose moving image has a `wanted` name; what cannot be used becomes a problem."""
    try:
        lines = read_text(table, _REMEDY)[0].splitlines()
        rows = cells(table, lines, _REMEDY, delimiter_of(lines))
        columns = columns_of(rows[0][1]) if rows else {}
        if not {"fixed", "moving"} <= columns.keys():
            raise FileError(table, "has no columns fixed and moving", _REMEDY)
    except FileError as error:
        listing.add("error", table, error.what, error.remedy)
        return TablePairs()
    found: dict[str, list[Case]] = {"train": [], "validation": [], "test": []}
    seen: set[Case] = set()
    fixed: dict[Case, Case] = {}  # one object for all pairs of a fixed image
    for line, row in rows[1:]:
        named = {name: row[at].strip() for name in COLUMNS if (at := columns.get(name, len(row))) < len(row)}
        what = _wrong(named, root)
        if what:
            listing.add("warning", table, f"line {line}: {what}", "Mend the line, or remove it.", left_out=True)
        elif wanted(PurePath(named["moving"]).name):
            own = _side(named, "fixed", root)
            case = replace(_side(named, "moving", root), fixed=fixed.setdefault(own, own))
            if case in seen:
                listing.add("warning", table, f"line {line} repeats another", "Remove one of them.", left_out=True)
                continue
            seen.add(case)
            found[SPLITS[named.get("split", "").lower()]].append(replace(case, subject=named.get("subject") or None))
    if found["test"]:
        remedy = "Name the split validation to measure them."
        listing.add("note", table, f"{len(found['test'])} pairs of the split test are not used", remedy)
    named_apart = _distinct(listing, table, [*found["train"], *found["validation"]])
    kept = {name: tuple(named_apart[case] for case in found[name] if case in named_apart) for name in found}
    return TablePairs(train=kept["train"], validation=kept["validation"])


def pairs_to_csv(splits: Mapping[str, Sequence[Case]], root: Path, atlas: Case | None = None) -> str:
    """Return the cases of each split as a table of pairs, which `read_pairs` reads again."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()

    def relative(path: Path | None) -> str:
        return "" if path is None else Path(os.path.relpath(path, root)).as_posix()

    for split, cases in splits.items():
        for case in cases:
            row = {"split": split, "subject": subject_of(case)}
            for side, of in (("fixed", case.fixed or atlas), ("moving", case)):
                if of is not None:
                    row |= {
                        side: relative(of.image),
                        f"{side}_label": relative(of.label),
                        f"{side}_points": relative(of.points),
                        f"{side}_mask": relative(of.mask),
                    }
            writer.writerow(row)
    return text.getvalue()


def _wrong(named: Mapping[str, str], root: Path) -> str | None:
    """Return what is wrong with a line; None if nothing is."""
    for side in ("fixed", "moving"):
        if not named.get(side):
            return f"names no {side} image"
        if not extension(named[side]):
            return f"{named[side]} is of no supported format ({', '.join(EXTENSIONS)})"
    if named.get("split", "").lower() not in SPLITS:
        return f"its split is {named['split']!r:.40}, and not train, validation or test"
    paths = (named[name] for name in COLUMNS if name not in ("split", "subject") and named.get(name))
    missing = next((path for path in paths if "\0" in path or not (root / path).is_file()), None)
    return None if missing is None else f"there is no file {missing}"


def _side(named: Mapping[str, str], side: str, root: Path) -> Case:
    def path(name: str) -> Path | None:
        return root / named[name] if named.get(name) else None

    image = root / named[side]
    label, points, mask = (path(f"{side}_{what}") for what in _EXTRAS)
    return Case(id=stem(image), image=image, label=label, points=points, mask=mask)


def _distinct(listing: FolderListing, table: Path, cases: list[Case]) -> dict[Case, Case]:
    """Return each case under a name of its own: of its file, of its folder, too, or of its fixed image's, too."""
    names: list[Callable[[Case], str]] = [
        lambda case: case.id,
        lambda case: f"{case.image.parent.name}_{case.id}",
        lambda case: f"{case.id}_to_{case.fixed and case.fixed.id}",
        lambda case: f"{case.image.parent.name}_{case.id}_to_{case.fixed and case.fixed.image.parent.name}",
    ]
    rule = next((rule for rule in names if len({rule(case) for case in cases}) == len(cases)), names[-1])
    named: dict[Case, Case] = {}
    counts = Counter(rule(case) for case in cases)
    for case in cases:
        if counts[rule(case)] > 1:
            what = f"several pairs are called {rule(case)}"
            listing.add("warning", table, what, "Give the files or their folders names of their own.", left_out=True)
        else:
            named[case] = replace(case, id=rule(case))
    return named
