"""Folders of results that the Apply tab makes: what they were made of, and the table of their cases.

APPLIED/NAME below the first root holds the results of one folder of images, and apply.json, which says how they were
made; so the Viewer opens its cases again, and a second start takes up where the first one stopped.
"""

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from regstudio.data.folders.layout import Case
from regstudio.data.folders.listing import LABEL_SUFFIX, FolderListing
from regstudio.data.pictures.formats import stem
from regstudio.data.problems import is_unicode
from regstudio.errors import ConfigError, DataError
from regstudio.files import atomic_path, write_text
from regstudio.schema import Count, Measure, SchemaError, Text, parse, read_bytes, shortened
from regstudio.studio.studio import Studio
from regstudio.transforms.doubtful import doubtful

APPLIED = "applied"  # the folder of all folders of results, below the first root
RECORD = "apply.json"
COLUMNS = (
    "Image", "Quality", "NCC before", "NCC after", "Dice before", "Dice after", "TRE before", "TRE after", "Folds %",
    "Seconds", "Note",
)  # fmt: skip
_MEASURES = ("quality", "ncc_before", "ncc", "dice_before", "dice", "tre_before", "tre", "njd_percent")
_NAME = re.compile(r"[^\W_][\w .()-]{0,99}")
_DECIMALS = 4


@dataclass(frozen=True, kw_only=True)
class ApplyRecord:
    """How a folder of results was made: `method` is a checkpoint or method as `Viewer.others` names it.

    Results up to the quality `threshold` are to be looked at; where it is None, the lowest tenth.
    """

    method: Text
    refine: Count | Literal["auto"]
    moving: Text
    labels: Text | None
    fixed: Text
    fixed_label: Text | None
    masks: Text | None = None
    fixed_mask: Text | None = None
    threshold: Measure | None = field(default=None, compare=False)


_RECORD = TypeAdapter(ApplyRecord)


@dataclass(frozen=True, kw_only=True)
class AppliedFolder:
    """A folder of results, and how it was made."""

    path: Path
    record: ApplyRecord

    @property
    def fixed(self) -> Case:
        """The fixed image of all cases."""
        image, label, mask = Path(self.record.fixed), self.record.fixed_label, self.record.fixed_mask
        return Case(id=stem(image), image=image, label=_path(label), mask=_path(mask))

    def cases(self, studio: Studio) -> tuple[Case, ...]:
        """Return the images; raises DataError if there are none, and ConfigError if one may not be read."""
        from regstudio.registering.batch import find_moving, with_masks  # which loads torch

        labels = None if self.record.labels is None else studio.allowed(self.record.labels)
        cases, _ = find_moving(studio.allowed(self.record.moving), labels)
        cases = with_masks(cases, None if self.record.masks is None else studio.allowed(self.record.masks))
        for path in (path for case in (self.fixed, *cases) for path in (case.image, case.label, case.mask)):
            if path is not None:
                studio.allowed(str(path))
        return cases

    def write(self) -> None:
        """Write the record; the folder is made where it is missing."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / RECORD, json.dumps(asdict(self.record), indent=2) + "\n")


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


@dataclass(frozen=True, kw_only=True)
class ApplyRow:
    """One case in the table."""

    id: str
    metrics: Mapping[str, Measure]
    seconds: float | None = None
    error: str | None = None

    @property
    def got_worse(self) -> bool:
        """Whether the registration made it worse: by its labels, else its landmarks, else its similarity."""
        for name, sign in (("dice", 1), ("tre", -1), ("ncc", 1)):
            if name in self.metrics:
                return sign * (self.metrics[name] - self.metrics.get(f"{name}_before", self.metrics[name])) < 0
        return False

    def cells(self, doubtful: bool) -> list[str | float | None]:
        """Return the row of the table, in the order of COLUMNS."""
        values = [self.metrics.get(name) for name in _MEASURES]
        note = self.error or ("got worse" if self.got_worse else "look at this one" if doubtful else "")
        seconds = None if self.seconds is None else round(self.seconds, 2)
        rounded = [None if value is None or value != value else round(value, _DECIMALS) for value in values]
        return [self.id, *rounded, seconds, note]


def applied_folder(studio: Studio, name: str) -> Path:
    """Return the folder of results of a name; it need not exist. Raises ConfigError for what is no name."""
    if not isinstance(name, str) or not _NAME.fullmatch(name.strip()):
        raise ConfigError(f"{shortened(name)} is no name for a folder. Use letters, digits, spaces and - _ . ( ).")
    return studio.allowed(str(studio.roots[0] / APPLIED / name.strip()))


def open_applied(studio: Studio, name: str) -> AppliedFolder:
    """Return the folder of results of a name; raises DataError if there is none."""
    path = applied_folder(studio, name)
    try:
        record = parse(read_bytes(path / RECORD), _RECORD)
    except SchemaError as error:
        raise DataError(f"{path / RECORD}: {error}. Apply a method to your images again, under another name.") from None
    return AppliedFolder(path=path, record=record)


def applied_names(studio: Studio) -> list[str]:
    """Return the names of the folders of results, the newest first; none in a read-only studio."""
    if studio.read_only or not (folder := studio.roots[0] / APPLIED).is_dir():
        return []
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and (path / RECORD).is_file()]
    found = [path for path in found if is_unicode(path) and studio.is_inside(path)]
    return [path.name for path in sorted(found, key=lambda path: (path / RECORD).stat().st_mtime, reverse=True)]


def label_beside(image: Path) -> Path | None:
    """Return the label NAME_seg beside an image NAME, if there is exactly one."""
    found = [path for path in FolderListing().pictures(image.parent) or [] if stem(path) == stem(image) + LABEL_SUFFIX]
    return found[0] if len(found) == 1 else None


def rows_of_journal(folder: AppliedFolder) -> list[ApplyRow]:
    """Return the rows of what is complete, as the folder's journal has them."""
    from regstudio.registering.journal import NAME, read_entries

    entries = {entry.id: entry for entry in read_entries(folder.path / NAME)}
    return [ApplyRow(id=entry.id, metrics=entry.metrics, seconds=entry.seconds) for entry in entries.values()]


def worst_first(rows: Sequence[ApplyRow]) -> list[ApplyRow]:
    """Return rows with those that failed first, then by Dice, or without labels by quality, the lowest first."""
    by = "dice" if any("dice" in row.metrics for row in rows) else "quality"
    return sorted(rows, key=lambda row: (row.error is None, row.metrics.get(by, 1.0), row.id))


def table(rows: Sequence[ApplyRow], threshold: float | None = None) -> list[list[str | float | None]]:
    """Return the table, worst first; those to be looked at by their quality are named."""
    named = doubtful({row.id: row.metrics["quality"] for row in rows if "quality" in row.metrics}, threshold)
    return [row.cells(row.id in named) for row in worst_first(rows)]


def pack(folder: AppliedFolder, path: Path) -> Path:
    """Write all files of a folder of results as one zip; return its path."""
    with atomic_path(path) as zipped, zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(folder.path.rglob("*")):
            if file.is_file() and not file.is_symlink() and not file.name.startswith("."):
                archive.write(file, Path(folder.path.name) / file.relative_to(folder.path))
    return path
