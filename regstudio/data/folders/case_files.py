"""The cases of a folder: which label belongs to which image, by name alone."""

import fnmatch
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from regstudio.data.folders.listing import LABEL_SUFFIX, FolderListing, label_owner, short_list, split_images_and_labels
from regstudio.data.pictures.formats import stem


@dataclass(frozen=True, kw_only=True)
class Case:
    """An image and its label, if it has one; `id` is the stem of the image's file name.

    `fixed` is the case that it is registered to, where it has one of its own; else that is the atlas. `points` is its
    file of landmarks, where that is not the one beside it. `subject` is who it shows, where a table says so.
    `mask` is the file that says where the image counts: not 0.
    """

    id: str
    image: Path
    label: Path | None = None
    fixed: "Case | None" = None
    points: Path | None = None
    subject: str | None = None
    mask: Path | None = None


def find_cases(listing: FolderListing, folder: Path, label_folder: Path, pattern: str) -> tuple[Case, ...]:
    """Return the images whose names match `pattern`, each with its label; problems are added to `listing`."""
    images, stray_labels = split_images_and_labels(listing.pictures(folder) or [])
    if label_folder != folder:
        for path in stray_labels:
            remedy = f"Move it to {label_folder}."
            listing.add("warning", path, "looks like a label among images", remedy, left_out=True)
    matches = re.compile(fnmatch.translate(unicodedata.normalize("NFC", pattern))).match
    matching = [path for path in images if matches(unicodedata.normalize("NFC", path.name))]
    if len(matching) < len(images):
        what = f"{len(images) - len(matching)} of {len(images)} images do not match the pattern '{pattern}'"
        listing.add("note", folder, what, "Change --file_pattern to use them.")
    labels = _find_labels(listing, label_folder, {stem(path) for path in images}, shared=label_folder == folder)
    cases: dict[str, Case] = {}
    for path in matching:
        name = stem(path)
        if name in cases:
            what = f"has the same name as {cases[name].image.name}, which is taken"
            listing.add("warning", path, what, "Rename it, if it is another picture.", left_out=True)
        else:
            cases[name] = Case(id=name, image=path, label=labels.get(name))
    return tuple(cases.values())


def _find_labels(listing: FolderListing, folder: Path, images: set[str], *, shared: bool) -> dict[str, Path]:
    """Return the label file of each image, by the image's stem; other files become problems."""
    pictures = listing.pictures(folder)
    if pictures is not None and not pictures:
        listing.add("warning", folder, "is empty", "Put the labels there, each named like its image with _seg added.")
    by_name = defaultdict(list)
    for path in split_images_and_labels(pictures or [])[1] if shared else pictures or []:
        name = stem(path)
        owner = label_owner(name)
        if owner is not None and (name.endswith(LABEL_SUFFIX) or shared):
            by_name[owner].append(path)
        else:
            remedy = f"Name it like its image with {LABEL_SUFFIX} added, as in NAME{LABEL_SUFFIX}.png for NAME.png."
            listing.add("warning", path, f"its name does not end in {LABEL_SUFFIX}", remedy, left_out=True)
    for name, paths in by_name.items():
        if len(paths) > 1 and (named := [path for path in paths if stem(path) == name + LABEL_SUFFIX]):
            for path in paths:
                if path not in named:
                    what = f"the image {name} has a label {name}{LABEL_SUFFIX}, which is taken"
                    listing.add("note", path, what, "Remove the one that is not wanted.", left_out=True)
            paths[:] = named
        if name not in images:
            for path in paths:
                what = "there is no image to this label"
                listing.add("warning", path, what, "Add it, or remove this.", left_out=True)
        elif len(paths) > 1:
            what = f"the image {name} has several labels: {short_list(paths)}"
            listing.add("warning", paths[0], what, "Keep one of them.", left_out=True)
    return {name: paths[0] for name, paths in by_name.items() if len(paths) == 1}
