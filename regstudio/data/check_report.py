"""The outcome of a check: for programs as a dict, for people as text."""

from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from regstudio.data.layout import DataIndex
from regstudio.data.problems import Problem

_SHOWN_FILES = 5  # of those that share a problem
_SHOWN_PROBLEMS = 20  # different ones of one severity


@dataclass(frozen=True, kw_only=True)
class SetSummary:
    """What one of the sets (atlas, training, validation) holds: how many of what."""

    images: int
    usable: int
    labels: int
    sizes: dict[str, int]  # "height x width" -> images, the most frequent first
    formats: dict[str, int]  # extension -> images
    label_formats: dict[str, int]
    label_pixels: dict[int, int]  # label id -> pixels


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """The index without what cannot be used, with every problem; and a summary of the sets by name."""

    index: DataIndex
    sets: dict[str, SetSummary]

    @property
    def can_train(self) -> bool:
        """Whether nothing stops a training."""
        return not self.index.errors

    def unopened(self, name: str) -> int:
        """Return how many images of a set were not opened, and are taken to be usable."""
        indexed = {"training": self.index.train, "validation": self.index.validation}.get(name, ())
        return max(0, len(indexed) - self.sets[name].usable)

    def to_dict(self) -> dict[str, Any]:
        """Return the report made of what JSON knows, under keys that stay the same."""
        sets = {name: asdict(summary) for name, summary in self.sets.items()}
        for summary in sets.values():
            summary["label_pixels"] = {str(i): pixels for i, pixels in summary["label_pixels"].items()}
        atlas = self.index.atlas
        sets["atlas"] |= {
            "image": str(atlas.image) if atlas else None,
            "label": str(atlas.label) if atlas and atlas.label else None,
        }
        return {
            "data_base_dir": str(self.index.root),
            "can_train": self.can_train,
            **sets,
            "problems": [asdict(problem) | {"path": str(problem.path)} for problem in self.index.problems],
        }

    def to_text(self) -> str:
        """Return the report for a terminal: the verdict, what is there, then each problem with its files."""
        verdict = "Ready to train." if self.can_train else "Cannot train before the errors below are mended."
        parts = [f"{self.index.root}: {verdict}", _table(self._rows())]
        unopened = sum(self.unopened(name) for name in self.sets)
        if unopened:
            parts.append(f"{unopened:,} of the images are not opened yet; regstudio check opens all.")
        if any(summary.label_pixels for summary in self.sets.values()):
            parts.append(_table(self._label_rows()))
        for severity, title in (("error", "Errors"), ("warning", "Warnings"), ("note", "Notes")):
            problems = [problem for problem in self.index.problems if problem.severity == severity]
            if problems:
                parts.append(f"{title} ({len(problems)})\n" + _listed(problems, self.index.root))
        return "\n\n".join(parts) + "\n"

    def _rows(self) -> list[list[str]]:
        rows = [["", "images", "usable", "labels", "sizes", "formats"]]
        for name, found in self.sets.items():
            formats = found.formats | found.label_formats
            unopened = self.unopened(name)
            counts = [str(n) for n in (found.images + unopened, found.usable + unopened, found.labels)]
            rows.append([name, *counts, _counted(found.sizes), ", ".join(sorted(formats))])
        return rows

    def _label_rows(self) -> list[list[str]]:
        with_labels = {name: summary for name, summary in self.sets.items() if summary.label_pixels}
        ids = sorted(set().union(*(summary.label_pixels for summary in with_labels.values())))
        rows = [["label", *(f"{name} pixels" for name in with_labels)]]
        shown = ids if len(ids) <= _SHOWN_PROBLEMS else ids[:_SHOWN_PROBLEMS]
        rows += [[str(i), *(f"{summary.label_pixels.get(i, 0):,}" for summary in with_labels.values())] for i in shown]
        if len(ids) > len(shown):
            rows.append([f"and {len(ids) - len(shown)} more", *([""] * len(with_labels))])
        return rows


def _counted(sizes: dict[str, int]) -> str:
    most = list(sizes.items())[:3]
    named = ", ".join(size if len(sizes) == 1 else f"{size} ({count})" for size, count in most)
    return named if len(sizes) <= 3 else f"{named} and {len(sizes) - 3} more"


def _table(rows: list[list[str]]) -> str:
    """Return rows in columns: the first and those of words to the left, numbers to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    to_right = [
        column[-1].replace(",", "").isdigit() and place > 0 for place, column in enumerate(zip(*rows, strict=True))
    ]
    lines = []
    for row in rows:
        cells = zip(row, widths, to_right, strict=True)
        lines.append("  " + "  ".join(c.rjust(w) if right else c.ljust(w) for c, w, right in cells).rstrip())
    return "\n".join(lines)


def _listed(problems: list[Problem], root: Path) -> str:
    """Return each different problem once, with the first of the files that have it."""
    files = defaultdict(list)
    for problem in problems:
        files[problem.what, problem.remedy, problem.left_out].append(problem.path)
    lines = []
    for (what, remedy, left_out), paths in list(files.items())[:_SHOWN_PROBLEMS]:
        some = paths[:_SHOWN_FILES]
        shown = [str(path.relative_to(root)) if path.is_relative_to(root) else str(path) for path in some]
        if len(paths) > len(some):
            shown.append(f"and {len(paths) - len(some)} more")
        outcome = " (left out)" if left_out else ""
        if len(paths) == 1:
            lines.append(f"  {shown[0]}: {what}{outcome}. {remedy}")
        else:
            lines.append(f"  {len(paths)} files: {what}{outcome}. {remedy}")
            lines += [f"      {path}" for path in shown]
    if len(files) > _SHOWN_PROBLEMS:
        lines.append(f"  and {len(files) - _SHOWN_PROBLEMS} more kinds of problem")
    return "\n".join(lines)
