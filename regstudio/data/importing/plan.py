"""What an import will do: the pictures, their labels, the atlas, and who is set apart to validate on."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from regstudio.data.folders.case_files import Case
from regstudio.data.folders.splitting import split_by_subject, subject_of
from regstudio.data.importing.declared import declared
from regstudio.data.importing.labels import pair_labels, patient_folders
from regstudio.data.importing.options import ImportOptions
from regstudio.data.importing.points import of_a_slice, pair_points
from regstudio.data.importing.scans import Found, Scan
from regstudio.data.importing.slices import Cut, check_rules, indices_of, label_sizes, look, names_in
from regstudio.data.problems import FileError, Problem, shown_path
from regstudio.errors import ConfigError, DataError

MAX_PICTURES = 200_000
_FLAT = (".png", ".jpg", ".jpeg", ".bmp")  # never volumes: they are not opened before they are needed
_NAME_BYTES = 150

Role = Literal["atlas", "train", "validation", "left out"]
Progress = Callable[[Sequence[Any]], Iterable[Any]]
ChooseAtlas = Callable[[Sequence["Item"]], "Item"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One picture of the new data folder: a file, or the slice `index` along `axis` of a volume."""

    name: str
    subject: str
    scan: Scan
    label: Scan | None = None
    axis: int | None = None
    index: int | None = None
    points: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ImportPlan:
    """What an import will do, and what it leaves out and why.

    `set_aside` are the pictures that were left out by choice, and the labels that belong to no picture.
    """

    source: Path
    options: ImportOptions
    items: tuple[Item, ...]
    problems: tuple[Problem, ...]
    atlas: Item
    validation: frozenset[str] = frozenset()  # subjects
    archive: Path | None = None  # the zip that the source was unpacked from
    set_aside: tuple[Item, ...] = ()
    label_names: Path | None = None  # the source's file of names of labels

    @cached_property
    def _aside(self) -> frozenset[Item]:
        return frozenset(self.set_aside)

    def role(self, item: Item) -> Role:
        """Return what a picture is for."""
        if item == self.atlas:
            return "atlas"
        if item in self._aside:
            return "left out"
        return "validation" if item.subject in self.validation else "train"

    def rows(self) -> list[list[str]]:
        """Return the plan as a table: role, name, subject, where the picture comes from, its label."""
        return [
            [self.role(item), item.name, item.subject, self._origin(item), self.shown(item.label)]
            for item in self.ordered()
        ]

    def ordered(self) -> list[Item]:
        """Return the pictures by their roles, the atlas first and what was set aside last."""
        order = ("atlas", "train", "validation", "left out")
        return sorted((*self.items, *self.set_aside), key=lambda item: order.index(self.role(item)))

    def summary(self) -> str:
        """Return the plan in a sentence."""
        counts = Counter(self.role(item) for item in self.items)
        labels = sum(item.label is not None for item in self.items)
        marked = sum(item.points is not None for item in self.items)
        landmarks = f" and {marked:,} with landmarks" if marked else ""
        subjects = len({item.subject for item in self.items})
        return (
            f"{len(self.items):,} pictures of {subjects:,} subjects, {labels:,} with labels{landmarks}: the atlas "
            f"{self.atlas.name}, {counts['train']:,} to train on, {counts['validation']:,} to validate on"
        )

    def with_atlas(self, name: str) -> "ImportPlan":
        """Return the plan with another atlas, named as in the table, or by its file; raises ConfigError."""
        atlas, options = _named(self.items, name), replace(self.options, atlas=name)
        return _changed(_split(replace(self, atlas=atlas, options=options)))

    def _origin(self, item: Item) -> str:
        many = f" ({len(item.scan.paths)} files)" if item.scan.is_series else ""
        where = "" if item.index is None else f", slice {item.index} of axis {item.axis}"
        return self.shown(item.scan) + many + where

    def shown(self, scan: Scan | None) -> str:
        """Return where a file lies in the source; empty for none."""
        return "" if scan is None else shown_path(scan.path, self.source)


def plan_import(
    found: Found, source: Path, options: ImportOptions, choose: ChooseAtlas, progress: Progress = lambda jobs: jobs
) -> ImportPlan:
    """Return what an import of a source will do; raises DataError where too little can be read of it.

    `choose` proposes the atlas among pictures, where the options name none.
    """
    check_rules(options.slices, options.axis)
    if not 0 <= options.validation_share <= 0.9:
        raise ConfigError(f"validation_share: {options.validation_share} is not between 0 and 0.9.")
    pairs, unused = pair_labels(found.scans, declared(found.scans, options.changes, source))
    points, unread = pair_points([image for image, _ in pairs], found.points)
    problems = [*found.problems, *unused, *unread]
    items: list[Item] = []
    for image, label in progress(pairs):
        try:
            items += _marked(_items(image, label, options, problems), points.get(image), problems)
        except FileError as error:
            _leave_out(problems, error)
        if len(items) > MAX_PICTURES:
            raise DataError(f"{source}: this makes more than {MAX_PICTURES:,} pictures. Take fewer slices of each.")
    if len(items) < 2:
        reasons = "".join(f"\n{problem}" for problem in problems[:10])
        what = f"{'one picture' if items else 'no picture'} of it can be used, and an atlas and one more are needed"
        raise DataError(f"{shown_path(source)}: {what}. Name a folder that holds more.{reasons}")
    strays = _strays(found.scans, unused)
    both = tuple(_with_own_names([*items, *strays]))
    named, aside = both[: len(items)], both[len(items) :]
    atlas = _named(named, options.atlas) if options.atlas else choose([item for item in named if item.label] or named)
    plan = ImportPlan(
        source=source,
        options=options,
        items=named,
        problems=tuple(problems),
        atlas=atlas,
        set_aside=aside,
        label_names=found.label_names,
    )
    return _changed(_split(plan))


def _strays(scans: Sequence[Scan], unused: Sequence[Problem]) -> list[Item]:
    """Return the labels that belong to no image as if they were pictures: they can be looked at."""
    paths = {problem.path for problem in unused}
    return [Item(name=_names(scan)[0], subject="", scan=scan) for scan in scans if scan.path in paths]


def _items(image: Scan, label: Scan | None, options: ImportOptions, problems: list[Problem]) -> list[Item]:
    """Return the pictures that an image gives; what is wrong with its label becomes a problem."""
    image, inside = _with_keys(image, options)
    label = label or inside
    if label is not None and label is not inside and label.ending == ".npz":
        label = replace(label, key=_key(label, options.label_key))
    name, subject = _names(image)
    cut = None if image.ending in _FLAT else look(image.path, image.paths, image.key or "", options.axis)
    if label is not None:
        try:
            _compare(label, cut)
        except FileError as error:
            _leave_out(problems, error)
            label = None
    if cut is None:
        return [Item(name=name, subject=subject, scan=image, label=label)]
    sizes = None
    if options.slices == "largest-label" and label is not None:
        sizes = label_sizes(label.path, label.paths, label.key or "", cut.axis)
    digits = len(str(cut.length - 1))
    return [
        Item(name=f"{name}_{index:0{digits}d}", subject=subject, scan=image, label=label, axis=cut.axis, index=index)
        for index in indices_of(options.slices, cut.length, sizes)
    ]


def _marked(items: list[Item], points: Path | None, problems: list[Problem]) -> list[Item]:
    """Return the pictures of an image with its landmarks; slices of a volume have none."""
    if points is None:
        return items
    if any(item.index is not None for item in items):
        problems.append(of_a_slice(points))
        return items
    return [replace(item, points=points) for item in items]


def _compare(label: Scan, cut: Cut | None) -> None:
    """Raise FileError for a label that has another size than its volume."""
    own = (
        None if label.ending in _FLAT else look(label.path, label.paths, label.key or "", str(cut.axis) if cut else "0")
    )
    if (own and own.lengths) != (cut and cut.lengths):
        has = " x ".join(map(str, own.lengths)) if own else "two axes"
        wanted = " x ".join(map(str, cut.lengths)) if cut else "two axes"
        raise FileError(label.path, f"has {has} where its image has {wanted}", "Export it again from the image.")


def _with_keys(image: Scan, options: ImportOptions) -> tuple[Scan, Scan | None]:
    """Return an image with the key of its array in an .npz file, and the label that the same file holds."""
    if image.ending != ".npz":
        return image, None
    key = _key(image, options.image_key)
    names = names_in(image.path)
    inside = replace(image, key=options.label_key) if options.label_key in names and options.label_key != key else None
    return replace(image, key=key), inside


def _key(scan: Scan, wanted: str) -> str:
    """Return the wanted key, or the only one there is."""
    names = names_in(scan.path)
    return names[0] if len(names) == 1 else wanted


def _names(scan: Scan) -> tuple[str, str]:
    """Return a picture's name and the subject that it shows: its folder, or its name up to the first number."""
    folders = patient_folders(scan.folders)
    own = [folder for folder in folders if not scan.name.lower().startswith(folder.lower())]
    name = "_".join((*own, scan.name))
    name = re.sub(r"[\s/\\:*?\"<>|\x00-\x1f]+", "_", name).strip("._") or "image"
    while len(name.encode()) > _NAME_BYTES:
        name = name[1:]
    return name, folders[0] if folders else subject_of(Case(id=name, image=scan.path))


def _with_own_names(items: Sequence[Item]) -> Iterable[Item]:
    """Yield the items with names that differ, in upper and lower case too."""
    taken: set[str] = set()
    for item in items:
        name, number = item.name, 2
        while name.lower() in taken:
            name, number = f"{item.name}_{number}", number + 1
        taken.add(name.lower())
        yield replace(item, name=name)


def _named(items: Sequence[Item], name: str) -> Item:
    for item in items:
        if name in (item.name, item.scan.path.name, str(item.scan.path)):
            return item
    raise ConfigError(f"atlas: no picture of the import is called {name!r:.200}. Take a name from the table of it.")


def _split(plan: ImportPlan) -> ImportPlan:
    """Set subjects apart: of those with labels, where there are any, and never the atlas's own."""
    others = [item for item in plan.items if item.subject != plan.atlas.subject]
    subjects = {item.subject for item in others}
    labelled = {item.subject for item in others if item.label} or subjects
    if not plan.options.validation_share or not labelled:
        return replace(plan, validation=frozenset())
    cases = [Case(id=item.name, image=item.scan.path, subject=item.subject) for item in others]
    share = min(plan.options.validation_share * len(subjects) / len(labelled), 0.9)
    named = [case for case in cases if case.subject in labelled]
    _, apart = split_by_subject(named, share, plan.options.split_seed)
    return replace(plan, validation=frozenset(subject_of(case) for case in apart))


def _changed(plan: ImportPlan) -> ImportPlan:
    """Give pictures, and with each its subject, the roles that were chosen for them; the atlas stays what it is."""
    wanted = {name: role for name, role in plan.options.changes if name != plan.atlas.name}
    validation = set(plan.validation)
    for item in plan.items:
        if wanted.get(item.name) == "validation":
            validation.add(item.subject)
        elif wanted.get(item.name) == "train":
            validation.discard(item.subject)
    kept = tuple(item for item in plan.items if wanted.get(item.name) != "out")
    aside = (*(item for item in plan.items if wanted.get(item.name) == "out"), *plan.set_aside)
    return replace(plan, items=kept, validation=frozenset(validation), set_aside=aside)


def _leave_out(problems: list[Problem], error: FileError) -> None:
    problems.append(Problem(severity="warning", path=error.path, what=error.what, remedy=error.remedy, left_out=True))
