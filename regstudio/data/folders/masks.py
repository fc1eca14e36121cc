"""Masks of a data folder: files that are 0 where an image does not count.

The mask of NAME.ext is NAME_mask or NAME, of any format, in the folder beside the image's own whose name ends in _mask
(`validation_moving_mask/` for `validation_moving/`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from regstudio.data.folders.case_files import Case
from regstudio.data.folders.listing import MASK_SUFFIX, FolderListing
from regstudio.data.pictures.formats import stem


def mask_files(listing: FolderListing, folder: Path) -> dict[str, Path]:
    """Return the masks of a folder by the names of their images."""
    return {stem(path).removesuffix(MASK_SUFFIX): path for path in listing.pictures(folder) or []}


def with_masks(listing: FolderListing, cases: tuple[Case, ...], labels: Iterable[Path]) -> tuple[Case, ...]:
    """Return cases with the masks of the folders beside their images'; those of no image become problems.

    A folder that is one of `labels` holds no masks.
    """
    folders = {case.image.parent.with_name(case.image.parent.name + MASK_SUFFIX) for case in cases} - set(labels)
    found: Mapping[Path, dict[str, Path]] = {folder: mask_files(listing, folder) for folder in folders}
    images = {case.image.parent for case in cases}
    names = {stem(path) for folder in images for path in listing.pictures(folder) or []}
    for files in found.values():
        for name, path in files.items():
            if name not in names:
                remedy = f"Name it like its image, with {MASK_SUFFIX} added, or remove it."
                listing.add("warning", path, "there is no image to this mask", remedy, left_out=True)

    def mask(case: Case) -> Path | None:
        own = case.image.parent
        return found.get(own.with_name(own.name + MASK_SUFFIX), {}).get(case.id)

    return tuple(case if case.mask or mask(case) is None else replace(case, mask=mask(case)) for case in cases)
