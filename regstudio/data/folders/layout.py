"""The layout of the data folder: where atlas, images and labels are, and which label belongs to which image.

    data_base_dir/
      fixed/                  the atlas                      fixed_seg/               its label (optional)
      moving/                 NAME.ext, to train on          moving_seg/              NAME_seg.ext (optional)
      validation_moving/      NAME.ext, to validate on       validation_moving_seg/   NAME_seg.ext (optional)

Where fixed/ holds several images that bear the names of moving ones, there is no atlas: each moving image belongs to
the fixed image of its name, whose label is fixed_seg/NAME_seg.ext. A table, pairs.csv, may say which belong together.

Only names are read here, and that table; no picture is opened. Image and label may have different formats and the same
folder.
"""

import os
from dataclasses import replace
from pathlib import Path

from regstudio.data.folders.case_files import Case, find_cases
from regstudio.data.folders.data_index import DataIndex, Layout
from regstudio.data.folders.listing import LABEL_SUFFIX, FolderListing, short_list, split_images_and_labels
from regstudio.data.folders.masks import with_masks
from regstudio.data.folders.pair_table import read_pairs
from regstudio.data.folders.partners import PairBy, lonely, partner_name, partnered, pooled, with_partners
from regstudio.data.folders.splitting import split_by_subject, subject_of
from regstudio.data.pictures.formats import EXTENSIONS, stem
from regstudio.data.problems import NOT_UNICODE, Mend, Problem, is_unicode

__all__ = ["Case", "DataIndex", "Layout", "find_cases", "index_folder", "with_partners"]

_Partners = tuple[dict[str, Case], PairBy]


def index_folder(layout: Layout) -> DataIndex:
    """List the atlas and the cases of a data folder by name alone, without those to leave out; see `_index`."""
    found = _index(layout)
    if not layout.leave_out:
        return found
    train, validation = (
        tuple(case for case in cases if not layout.leaves_out(case)) for cases in (found.train, found.validation)
    )
    gone = [case.image for case in (*found.train, *found.validation) if layout.leaves_out(case)]
    what, remedy = "is left out as asked", "Take it out of --leave_out to use it."
    notes = tuple(
        Problem(severity="note", path=path, what=what, remedy=remedy, left_out=True, mend="take_in") for path in gone
    )
    if found.train and not train:
        notes += (Problem(severity="error", path=found.root, what="all its images are left out", remedy=remedy),)
    return replace(found, train=train, validation=validation, problems=(*found.problems, *notes))


def _index(layout: Layout) -> DataIndex:
    """List the atlas and the cases of a data folder by name alone; problems are returned, never raised.

    A validation image without a label is left out if others have one; if none has one, all are kept and there is no
    Dice. Of two images with the same stem, the first is used. The same name in training and validation is allowed,
    since many data sets number both from 1.
    """
    root, listing = layout.data_base_dir, FolderListing()
    if not is_unicode(root):
        listing.add("error", root, *NOT_UNICODE)
    elif not root.is_dir():
        listing.add("error", root, "there is no such folder", "Name the folder of your data with --data_base_dir.")
    elif not os.access(root, os.R_OK | os.X_OK):
        listing.add("error", root, "may not be read (permission denied)", "Change its permissions.")
    if listing.problems:
        return DataIndex(root=root, atlas=None, train=(), validation=(), problems=tuple(listing.problems))
    if layout.table is not None:
        return _paired_with_each_other(layout, listing, _index_table(layout, listing, layout.table))
    train_dir, valid_dir = root / layout.train_moving_subdir, root / layout.valid_moving_subdir
    partners = _find_partners(layout, listing, (train_dir, valid_dir))
    if layout.pairing == "pairs" and not partners:
        folder = root / layout.fixed_subdir
        listing.add("error", folder, "holds no fixed image for any moving one", "Name them alike, or by pairs.csv.")
    atlas = None if partners or layout.pairing in ("pairs", "subject", "all") else _find_atlas(layout, listing)
    train = find_cases(listing, train_dir, root / layout.train_moving_seg_subdir, layout.file_pattern)
    if not train:
        _explain_no_images(listing, train_dir, layout)
    validation = find_cases(listing, valid_dir, root / layout.valid_moving_seg_subdir, layout.file_pattern)
    train, validation = (with_masks(listing, cases, _label_folders(layout)) for cases in (train, validation))
    if atlas:
        (atlas,) = with_masks(listing, (atlas,), _label_folders(layout))
    if partners:
        train, validation = (with_partners(listing, cases, *partners) for cases in (train, validation))
        if not train:
            listing.add("error", train_dir, "holds no image of a pair to train on", "Mend what the warnings say.")
    if layout.validation_share and not validation:
        train, validation = _set_apart(listing, layout, train, train_dir)
    elif listing.pictures(valid_dir) is None:
        remedy = "Put images (and their labels) there, or set some apart with --validation_share 0.2, to see how well "
        remedy += "unseen images are registered."
        mend: Mend = "set_apart" if len(train) > 1 else ""
        listing.add("note", valid_dir, "there is no such folder, so nothing is validated", remedy, mend=mend)
    elif not validation:
        listing.add("warning", valid_dir, "holds no image to validate on", "Put some there, or remove the folder.")
    validation = _keep_labelled(listing, validation)
    _add_set_problems(listing, layout, atlas, train, validation)
    problems = tuple(listing.problems)
    found = DataIndex(root=root, atlas=atlas, train=train, validation=validation, problems=problems)
    return _paired_with_each_other(layout, listing, found)


def _paired_with_each_other(layout: Layout, listing: FolderListing, found: DataIndex) -> DataIndex:
    """Return the index with all images in pools, if that is asked for; those without a partner become problems."""
    pooling = layout.pooling
    if pooling is None:
        return found
    train, validation = pooled(found.train), pooled(found.validation)
    alone = {*lonely(train, pooling), *lonely(validation, pooling)}
    for case in sorted(alone, key=lambda case: case.image):
        what = f"is the only image of {case.subject}" if pooling == "subject" else "is the only image"
        listing.add("warning", case.image, what, "Add others to pair it with.", left_out=True)
    train = tuple(case for case in train if case not in alone)
    if found.train and not train:
        listing.add("error", found.root, "has no two images to pair", "Begin the names of a subject's images alike.")
    problems = tuple(listing.problems)
    return replace(found, train=train, validation=partnered(validation, pooling), problems=problems, pooling=pooling)


def _index_table(layout: Layout, listing: FolderListing, table: Path) -> DataIndex:
    """Index the pairs of a table."""
    pairs = read_pairs(table, layout.data_base_dir, listing, layout.wants)
    train, validation = pairs.train, pairs.validation
    if not train:
        listing.add("error", table, "holds no pair to train on", "Name a fixed and a moving image in each line.")
    elif layout.validation_share and not validation:
        train, validation = _set_apart(listing, layout, train, table)
    validation = _keep_labelled(listing, validation)
    return DataIndex(
        root=layout.data_base_dir,
        atlas=None,
        train=train,
        validation=validation,
        problems=tuple(listing.problems),
        table=table,
    )


def _set_apart(
    listing: FolderListing, layout: Layout, cases: tuple[Case, ...], place: Path
) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Split by subject, and say how."""
    train, validation = split_by_subject(cases, layout.validation_share, layout.split_seed)
    if cases and not validation:
        what = f"all images seem to show one subject, {subject_of(cases[0])}, so none can be set apart to validate on"
        remedy = "Begin each name with a subject's own number, or name the subjects in pairs.csv."
        listing.add("warning", place, what, remedy)
    elif cases:
        counts = [f"{len(side)} images of {len({subject_of(case) for case in side})}" for side in (train, validation)]
        what = f"{counts[0]} subjects are trained on, and {counts[1]} are set apart to validate on"
        remedy = "The subject of an image is its name up to its first number; pairs.csv may name others."
        listing.add("note", place, what, remedy)
    return train, validation


def _find_partners(layout: Layout, listing: FolderListing, moving: tuple[Path, ...]) -> _Partners | None:
    """Return the fixed images of a folder of pairs by name, and how pairs are found; None where there is an atlas.

    A folder is no set of pairs with itself.
    """
    folder = layout.data_base_dir / layout.fixed_subdir
    images, _ = split_images_and_labels(listing.pictures(folder) or [])
    names = {stem(path) for path in images}
    asked: PairBy | None = None if layout.pair_by == "csv" else layout.pair_by
    if layout.pairing == "atlas" or folder in moving or not images:
        return None
    if asked is None and layout.pairing is None and (len(images) < 2 or _has_atlas(layout)):
        return None
    theirs = [stem(path) for moving_folder in moving for path in listing.pictures(moving_folder) or []]
    ways: tuple[PairBy, ...] = ("name", "prefix")
    pair_by = asked or next((way for way in ways if any(partner_name(own, names, way) for own in theirs)), None)
    if pair_by is None:
        return None
    if asked is None and pair_by == "prefix":
        what = "each moving image belongs to the one here whose name its own begins with"
        listing.add("note", folder, what, "Say so with --pair_by prefix, or name an atlas with --atlas_name.")
    cases = find_cases(listing, folder, layout.data_base_dir / layout.fixed_seg_subdir, "*")
    return {case.id: case for case in with_masks(listing, cases, _label_folders(layout))}, pair_by


def _label_folders(layout: Layout) -> list[Path]:
    names = (layout.fixed_seg_subdir, layout.train_moving_seg_subdir, layout.valid_moving_seg_subdir)
    return [layout.data_base_dir / name for name in names]


def _has_atlas(layout: Layout) -> bool:
    return (layout.data_base_dir / layout.fixed_subdir / layout.atlas_name).is_file()


def _find_atlas(layout: Layout, listing: FolderListing) -> Case | None:
    folder = layout.data_base_dir / layout.fixed_subdir
    pictures = listing.pictures(folder)
    if pictures is None:
        listing.add("error", folder, "there is no such folder", "Put the atlas there, or change --fixed_subdir.")
        return None
    images, _ = split_images_and_labels(pictures)
    image = _choose_file(listing, folder / layout.atlas_name, images, "--atlas_name")
    if image is None:
        if not images:
            listing.add("error", folder, "holds no image to use as the atlas", f"Put it there as {layout.atlas_name}.")
        return None
    label_folder = layout.data_base_dir / layout.fixed_seg_subdir
    candidates = listing.pictures(label_folder)
    if candidates is None:
        return Case(id=stem(image), image=image)
    if not candidates:
        listing.add("warning", label_folder, "is empty", f"Put the atlas's label there as {layout.atlas_seg_name}.")
    if label_folder == folder:
        _, candidates = split_images_and_labels(candidates)
    same_name = [path for path in candidates if stem(path) == stem(image) + LABEL_SUFFIX]
    label = _choose_file(listing, label_folder / layout.atlas_seg_name, same_name or candidates, "--atlas_seg_name")
    return Case(id=stem(image), image=image, label=label)


def _choose_file(listing: FolderListing, wanted: Path, candidates: list[Path], flag: str) -> Path | None:
    """Return the wanted file or, if it does not exist, the only candidate; several candidates are an error."""
    if wanted.is_file():
        return wanted
    if len(candidates) == 1:
        what = f"is not there; {candidates[0].name} is taken instead"
        listing.add("note", wanted, what, f"Name another with {flag}.")
        return candidates[0]
    if candidates:
        what = f"is not there, but several others are: {short_list(candidates)}"
        listing.add("error", wanted, what, f"Name one with {flag}.")
    return None


def _keep_labelled(listing: FolderListing, validation: tuple[Case, ...]) -> tuple[Case, ...]:
    if not any(case.label for case in validation):
        return validation
    for case in validation:
        if case.label is None:
            remedy = f"Add a label of the same name with {LABEL_SUFFIX} at its end."
            listing.add("warning", case.image, "has no label, unlike other validation images", remedy, left_out=True)
    return tuple(case for case in validation if case.label)


def _explain_no_images(listing: FolderListing, folder: Path, layout: Layout) -> None:
    pictures = listing.pictures(folder)
    if pictures is None:
        folders = [path for path in layout.data_base_dir.iterdir() if path.is_dir()]
        found = short_list(folders) if folders else "no folder"
        what = f"there is no such folder; {layout.data_base_dir} holds {found}"
        listing.add("error", folder, what, "Put the training images there, or change --train_moving_subdir.")
    elif pictures:
        listing.add("error", folder, f"no image matches the pattern '{layout.file_pattern}'", "Change --file_pattern.")
    else:
        listing.add("error", folder, "holds no image to train on", f"Supported are {', '.join(EXTENSIONS)}.")


def _add_set_problems(
    listing: FolderListing, layout: Layout, atlas: Case | None, train: tuple[Case, ...], validation: tuple[Case, ...]
) -> None:
    """Add the problems between the sets: the same names in both, labels on one side only."""
    train_names = {case.id for case in train}
    both = [case.image for case in validation if case.id in train_names]
    if both:
        listing.add(
            "warning",
            layout.data_base_dir / layout.valid_moving_subdir,
            f"{len(both)} of {len(validation)} images bear the name of a training image: {short_list(both)}",
            "If they are the same pictures, take them out of one of the two sets, or the Dice will be too good.",
        )
    if atlas is None or not validation:
        return
    label_folder = layout.data_base_dir / layout.valid_moving_seg_subdir
    if atlas.label is None and validation[0].label is not None:
        remedy = f"Put the atlas's label there as {layout.atlas_seg_name}."
        atlas_folder = layout.data_base_dir / layout.fixed_seg_subdir
        listing.add("warning", atlas_folder, "the atlas has no label, so there will be no Dice", remedy)
    elif validation[0].label is None:
        remedy = "Put the labels there as NAME_seg, to see a Dice."
        listing.add("note", label_folder, "the validation images have no labels, so there will be no Dice", remedy)
