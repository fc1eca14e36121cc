"""What there is to register in a data folder: every pair of it, or every image onto its atlas."""

from collections import Counter
from dataclasses import replace

from regstudio.data.folders.layout import Case, DataIndex, Layout, index_folder
from regstudio.data.problems import Problem
from regstudio.errors import DataError


def cases_to_register(layout: Layout) -> tuple[Case, tuple[Case, ...], tuple[Problem, ...]]:
    """Return a fixed image, every case of a data folder, under a name of its own, and what was left out.

    Cases have a fixed image of their own, where they make pairs. Raises DataError where there is nothing to register.
    """
    index = index_folder(layout)
    fixed = index.reference
    # A folder to register needs no images to train on, if it has others.
    if fixed is None or not index.shown:
        reasons = "\n".join(map(str, index.errors)) or f"{index.root}: holds no pair, and no atlas with images."
        raise DataError(reasons)
    return fixed, _named_apart(index), tuple(problem for problem in index.problems if problem.left_out)


def _named_apart(index: DataIndex) -> tuple[Case, ...]:
    """Return the cases, those of one name called by their folders, too."""
    counts = Counter(case.id for case in index.shown)
    return tuple(
        case if counts[case.id] == 1 else replace(case, id=f"{case.image.parent.name}_{case.id}")
        for case in index.shown
    )
