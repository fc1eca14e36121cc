"""Images that are paired with each other: all of a subject, as in a time series, or any with any."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from regstudio.data.case_files import Case
from regstudio.data.splitting import subject_of

Pooling = Literal["subject", "all"]


def pooled(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return every image of the cases, fixed ones, too, once: with its subject, no fixed image, and a name of its own.

    Of several images of one name, each is called by its folder, too.
    """
    sides = [side for case in cases for side in (case.fixed and replace(case.fixed, subject=subject_of(case)), case)]
    images = {side.image: replace(side, fixed=None, subject=subject_of(side)) for side in sides if side}
    counts = Counter(case.id for case in images.values())
    return tuple(
        case if counts[case.id] == 1 else replace(case, id=f"{case.image.parent.name}_{case.id}")
        for case in images.values()
    )


def pair_groups(cases: Sequence[Case], pooling: Pooling) -> list[list[int]]:
    """Return the indices of the cases that may be paired with each other, group by group."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for number, case in enumerate(cases):
        groups[subject_of(case) if pooling == "subject" else ""].append(number)
    return list(groups.values())


def partnered(cases: Sequence[Case], pooling: Pooling) -> tuple[Case, ...]:
    """Return pairs to look at and to measure on, few and always the same: each image with the first of its subject.

    Where any goes with any, each image goes with the next one, and the last with the first.
    """
    pairs = []
    for group in pair_groups(cases, pooling):
        members = [cases[number] for number in group]
        fixed = [members[0]] * len(members) if pooling == "subject" else [*members[1:], members[0]]
        pairs += [(one, other) for one, other in zip(members, fixed, strict=True) if one is not other]
    return tuple(replace(case, id=f"{case.id}_to_{fixed.id}", fixed=fixed) for case, fixed in pairs)


def lonely(cases: Sequence[Case], pooling: Pooling) -> tuple[Case, ...]:
    """Return the cases that have nothing to be paired with."""
    return tuple(cases[group[0]] for group in pair_groups(cases, pooling) if len(group) == 1)
