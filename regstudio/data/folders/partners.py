"""Which image each one is paired with: the fixed one of its name, those of its subject, or any with any."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from regstudio.data.folders.case_files import Case
from regstudio.data.folders.listing import FolderListing
from regstudio.data.folders.splitting import subject_of

PairBy = Literal["name", "prefix"]
Pooling = Literal["subject", "all"]
_SEPARATORS = "_-. "  # after the part of a name that says which subject it is


def partner_name(name: str, fixed: Collection[str], pair_by: PairBy = "name") -> str | None:
    """Return the name in `fixed` that a moving image's name belongs to: its own or, by prefix, its longest beginning.

    >>> partner_name("p01_es", {"p01", "p02"}, "prefix")
    'p01'
    """
    if name in fixed or pair_by == "name":
        return name if name in fixed else None
    ends = [place for place, letter in enumerate(name) if letter in _SEPARATORS]
    return next((name[:end] for end in reversed(ends) if name[:end] in fixed), None)


def with_partners(
    listing: FolderListing, cases: tuple[Case, ...], partners: Mapping[str, Case], pair_by: PairBy = "name"
) -> tuple[Case, ...]:
    """Return the cases that have a fixed image of their name, with it; the others become problems."""
    paired = []
    for case in cases:
        name = partner_name(case.id, partners, pair_by)
        if name is None:
            of = "of the same name" if pair_by == "name" else "whose name its own begins with"
            remedy = "Put it into the folder of the fixed images, or remove this one."
            listing.add("warning", case.image, f"has no fixed image {of}", remedy, left_out=True)
        else:
            paired.append(replace(case, fixed=partners[name]))
    return tuple(paired)


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
