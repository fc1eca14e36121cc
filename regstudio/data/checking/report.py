"""The report of a check: for programs as a dict, for people as text."""

from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from regstudio.data.folders.layout import DataIndex
from regstudio.data.problems import Problem, shown_path

_MAX_FILES = 5  # shown for each problem
_MAX_PROBLEMS = 20  # shown for each severity; also of label ids


@dataclass(frozen=True, kw_only=True)
class SetSummary:
    """The counts of one set: atlas, training or validation."""

    images: int
    usable: int
    labels: int
    sizes: dict[str, int]  # "height x width" -> images, the most frequent first
    formats: dict[str, int]  # extension -> images
    label_formats: dict[str, int]
    label_pixels: dict[int, int]  # label id -> pixels
    masks: int = 0


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """The index with usable files only and with every problem, and a summary of each set by name."""

    index: DataIndex
    sets: dict[str, SetSummary]

    @property
    def can_train(self) -> bool:
        """Whether nothing stops a training."""
        return not self.index.errors

    def unopened(self, name: str) -> int:
        """Return the number of images of a set that were not opened, and count as usable."""
        indexed = {"training": self.index.train, "validation": self.index.validation}.get(name, ())
        return max(0, len(indexed) - self.sets[name].usable)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types; the keys do not change between versions."""
        sets = {name: asdict(summary) for name, summary in self.sets.items()}
        for summary in sets.values():
            summary["label_pixels"] = {str(i): pixels for i, pixels in summary["label_pixels"].items()}
        atlas = self.index.atlas
        sets["atlas"] |= {
            "image": str(atlas.image) if atlas else None,
            "label": str(atlas.label) if atlas and atlas.label else None,
        }
        return {
            "data_base_dir": shown_path(self.index.root),
            "can_train": self.can_train,
            **sets,
            "problems": [_problem(problem) for problem in self.index.problems],
        }

    def to_text(self) -> str:
        """Return the report for a terminal: the verdict, the sets, the labels, then each problem with its files."""
        verdict = "Ready to train." if self.can_train else "Cannot train before the errors below are mended."
        parts = [f"{shown_path(self.index.root)}: {verdict}", _table(self._set_rows())]
        unopened = sum(self.unopened(name) for name in self.sets)
        if unopened:
            parts.append(f"{unopened:,} of the images are not opened yet; regstudio check opens all.")
        if any(summary.label_pixels for summary in self.sets.values()):
            parts.append(_table(self._label_rows()))
        for severity, title in (("error", "Errors"), ("warning", "Warnings"), ("note", "Notes")):
            problems = [problem for problem in self.index.problems if problem.severity == severity]
            if problems:
                parts.append(f"{title} ({len(problems)})\n" + _problem_list(problems, self.index.root))
        return "\n\n".join(parts) + "\n"

    def _set_rows(self) -> list[list[str]]:
        masked = any(found.masks for found in self.sets.values())
        rows = [["", "images", "usable", "labels", *["masks"] * masked, "sizes", "formats"]]
        for name, found in self.sets.items():
            formats = found.formats | found.label_formats
            unopened = self.unopened(name)
            numbers = (found.images + unopened, found.usable + unopened, found.labels, *(found.masks,) * masked)
            counts = [str(n) for n in numbers]
            rows.append([name, *counts, _size_counts(found.sizes), ", ".join(sorted(formats))])
        return rows

    def _label_rows(self) -> list[list[str]]:
        with_labels = {name: summary for name, summary in self.sets.items() if summary.label_pixels}
        ids = sorted(set().union(*(summary.label_pixels for summary in with_labels.values())))
        rows = [["label", *(f"{name} pixels" for name in with_labels)]]
        shown = ids if len(ids) <= _MAX_PROBLEMS else ids[:_MAX_PROBLEMS]
        rows += [[str(i), *(f"{summary.label_pixels.get(i, 0):,}" for summary in with_labels.values())] for i in shown]
        if len(ids) > len(shown):
            rows.append([f"and {len(ids) - len(shown)} more", *([""] * len(with_labels))])
        return rows


def _problem(problem: Problem) -> dict[str, Any]:
    fields = asdict(problem) | {"path": shown_path(problem.path)}
    del fields["mend"]  # which is the page's
    return fields


def _size_counts(sizes: dict[str, int]) -> str:
    shown = list(sizes.items())[:3]
    text = ", ".join(size if len(sizes) == 1 else f"{size} ({count})" for size, count in shown)
    return text if len(sizes) <= 3 else f"{text} and {len(sizes) - 3} more"


def _table(rows: list[list[str]]) -> str:
    """Align rows in columns: words and the first column to the left, numbers to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    is_number = [
        column[-1].replace(",", "").isdigit() and place > 0 for place, column in enumerate(zip(*rows, strict=True))
    ]
    lines = []
    for row in rows:
        cells = zip(row, widths, is_number, strict=True)
        lines.append("  " + "  ".join(c.rjust(w) if right else c.ljust(w) for c, w, right in cells).rstrip())
    return "\n".join(lines)


def _problem_list(problems: list[Problem], root: Path) -> str:
    """Return each different problem once, with the first few of its files."""
    files = defaultdict(list)
    for problem in problems:
        files[problem.what, problem.remedy, problem.left_out].append(problem.path)
    lines = []
    for (what, remedy, left_out), paths in list(files.items())[:_MAX_PROBLEMS]:
        shown = [shown_path(path, root) for path in paths[:_MAX_FILES]]
        if len(paths) > _MAX_FILES:
            shown.append(f"and {len(paths) - _MAX_FILES} more")
        outcome = " (left out)" if left_out else ""
        if len(paths) == 1:
            lines.append(f"  {shown[0]}: {what}{outcome}. {remedy}")
        else:
            lines.append(f"  {len(paths)} files: {what}{outcome}. {remedy}")
            lines += [f"      {path}" for path in shown]
    if len(files) > _MAX_PROBLEMS:
        lines.append(f"  and {len(files) - _MAX_PROBLEMS} more kinds of problem")
    return "\n".join(lines)
