"""What is wrong with a data folder, alike problems together, and what the page can do about each at a click."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regstudio.config import LayoutSection
from regstudio.data.folders.layout import DataIndex
from regstudio.data.problems import Problem, shown_path
from regstudio.errors import ConfigError
from regstudio.studio.page_words import on_the_page
from regstudio.studio.studio import UPLOADS, Studio
from regstudio.studio.uploads import free_name
from regstudio.studio.workspace import Workspace

MAX_GROUPS = 200  # shown
MAX_FILES = 100  # shown of a group
SEVERITIES = ("error", "warning", "note")
_TITLES = {
    "fill": ("Resize to fill the grid", "Resize all to fill the grid"),
    "keep_shape": ("Keep its shape", "Keep their shapes"),
    "resize": ("Resize, in a copy of the folder", "Resize all, in a copy of the folder"),
    "take_in": ("Use it again", "Use all again"),
    "leave_out": ("Leave out", "Leave all out"),
    "set_apart": 2 * ("Set a fifth of the subjects apart",),
}
SET_APART = 0.2

Group = dict[str, Any]


def grouped(index: DataIndex, layout: LayoutSection) -> list[Group]:
    """Return the problems as groups: severity, what is wrong, what to do, the files, and buttons (deed, its title)."""
    return [_shown(problems, index.root, layout) for problems in _groups(index)[:MAX_GROUPS]]


def change_of(studio: Studio, workspace: Workspace, request: Any) -> tuple[Path, dict[str, Any]]:
    """Do what was clicked beside a group of problems; return the data folder to open and the settings to open it with.

    `request` is the page's: the place of the "group", what it says is wrong, and the "deed". Raises ConfigError where
    the page shows another folder's problems, or may not do that.
    """
    fields: Mapping[str, Any] = request if isinstance(request, Mapping) else {}
    report, layout = workspace.report(), workspace.config.layout
    groups, place, deed = _groups(report.index)[:MAX_GROUPS], fields.get("group"), fields.get("deed")
    if not isinstance(place, int) or not 0 <= place < len(groups) or groups[place][0].what != fields.get("what"):
        raise ConfigError("The page shows older problems. Press Open to look at the folder again.")
    problems = groups[place]
    if deed not in _deeds(problems, layout):
        raise ConfigError(f"{shown_path(problems[0].path)}: the page cannot do that. {problems[0].remedy}")
    root: Path = layout.data_base_dir
    if deed == "fill":
        return root, {"fit": "stretch"}
    if deed == "keep_shape":
        return root, {"fit": "pad"}
    if deed == "set_apart":
        return root, {"validation_share": SET_APART}
    if deed == "leave_out":
        return root, {"leave_out": ",".join(dict.fromkeys((*_names(layout), *_inside(problems, root))))}
    if deed == "take_in":
        back = {*_inside(problems, root), *(problem.path.name for problem in problems)}
        return root, {"leave_out": ",".join(name for name in _names(layout) if name not in back)}
    return _resized(studio, workspace, problems), {}


def _groups(index: DataIndex) -> list[list[Problem]]:
    """Return the problems that say the same together, errors first."""
    found: dict[Any, list[Problem]] = defaultdict(list)
    for problem in index.problems:
        found[problem.severity, problem.what, problem.remedy, problem.left_out, problem.mend].append(problem)
    return sorted(found.values(), key=lambda problems: SEVERITIES.index(problems[0].severity))


def _shown(problems: Sequence[Problem], root: Path, layout: LayoutSection) -> Group:
    first, files = problems[0], [shown_path(problem.path, root) for problem in problems]
    return {
        "severity": first.severity,
        "what": first.what,
        "outcome": "left out" if first.left_out else "",
        "remedy": on_the_page(first.remedy),
        "files": files[:MAX_FILES],
        "more": max(0, len(files) - MAX_FILES),
        "deeds": [[deed, _TITLES[deed][len(problems) > 1]] for deed in _deeds(problems, layout)],
    }


def _deeds(problems: Sequence[Problem], layout: LayoutSection) -> list[str]:
    """Return what can be done about a group; only moving images can be left out."""
    deeds = [str(problems[0].mend)] if problems[0].mend else []
    root = layout.data_base_dir
    folders = {root / layout.train_moving_subdir, root / layout.valid_moving_subdir}
    may_go = all(
        problem.path.parent in folders and "," not in problem.path.name and problem.path.is_file()
        for problem in problems
    )
    return [*deeds, *["leave_out"] * (may_go and "take_in" not in deeds)]


def _names(layout: LayoutSection) -> list[str]:
    return [name.strip() for name in layout.leave_out.split(",") if name.strip()]


def _inside(problems: Sequence[Problem], root: Path) -> list[str]:
    return [problem.path.relative_to(root).as_posix() for problem in problems]


def _resized(studio: Studio, workspace: Workspace, problems: Sequence[Problem]) -> Path:
    """Write a copy of the data folder with the labels or masks in their images' size, and return it."""
    from regstudio.data.importing.resized import write_resized

    config = workspace.config
    reading, root = config.reading, config.layout.data_base_dir
    out: Path = studio.roots[0] / UPLOADS / free_name(studio, f"{root.name}_resized")
    write_resized(
        workspace.index(),
        {problem.path for problem in problems},
        out,
        image_key=reading.image_key,
        label_key=reading.label_key,
        slice_axis=reading.slice_axis,
        slice_index=reading.slice_index,
        permitted=studio.is_inside,
    )
    return out
