"""Folders of pairs: which fixed image each moving one belongs to, by name alone."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Literal

from regstudio.data.case_files import Case
from regstudio.data.listing import FolderListing

PairBy = Literal["name", "prefix"]
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
