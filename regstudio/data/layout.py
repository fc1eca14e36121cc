"""The layout of the data folder: where atlas, images and labels are, and which label belongs to which image.

    data_base_dir/
      fixed/                  the atlas                      fixed_seg/               its label (optional)
      moving/                 NAME.ext, to train on          moving_seg/              NAME_seg.ext (optional)
      validation_moving/      NAME.ext, to validate on       validation_moving_seg/   NAME_seg.ext (optional)

Where fixed/ holds several images that bear the names of moving ones, there is no atlas: each moving image belongs to
the fixed image of its name, whose label is fixed_seg/NAME_seg.ext.

Only names are read here; no file is opened. Image and label may have different formats and the same folder.
"""

import fnmatch
import os
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from regstudio.data.formats import EXTENSIONS, stem
from regstudio.data.listing import LABEL_SUFFIX, FolderListing, short_list, split_images_and_labels
from regstudio.data.problems import NOT_UNICODE, Problem, is_unicode


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Names of the folders and files of a data set; each is a setting of the same name."""

    data_base_dir: Path
    fixed_subdir: str
    atlas_name: str
    fixed_seg_subdir: str
    atlas_seg_name: str
    train_moving_subdir: str
    train_moving_seg_subdir: str
    valid_moving_subdir: str
    valid_moving_seg_subdir: str
    file_pattern: str


@dataclass(frozen=True, kw_only=True)
class Case:
    """An image and its label, if it has one; `id` is the stem of the image's file name.

    `fixed` is the case that it is registered to, where it has one of its own; else that is the atlas. `points` is its
    file of landmarks, where that is not the one beside it.
    """

    id: str
    image: Path
    label: Path | None = None
    fixed: "Case | None" = None
    points: Path | None = None


@dataclass(frozen=True, kw_only=True)
class DataIndex:
    """The cases of a data folder in natural order, and every problem found in it."""

    root: Path
    atlas: Case | None
    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    problems: tuple[Problem, ...]

    @property
    def reference(self) -> Case | None:
        """The picture that all others are read like: the atlas, or in a folder of pairs the first fixed image."""
        return self.atlas or next((case.fixed for case in (*self.validation, *self.train) if case.fixed), None)

    @property
    def evaluated(self) -> tuple[Case, ...]:
        """The cases that methods are measured on: those for validation, or all pairs where none are set apart."""
        return self.validation or (() if self.atlas else self.train)

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that prevent training."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems that do not prevent training."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")


def index_folder(layout: Layout) -> DataIndex:
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
    train_dir, valid_dir = root / layout.train_moving_subdir, root / layout.valid_moving_subdir
    partners = _find_partners(layout, listing, (train_dir, valid_dir))
    atlas = None if partners else _find_atlas(layout, listing)
    train = find_cases(listing, train_dir, root / layout.train_moving_seg_subdir, layout.file_pattern)
    if not train:
        _explain_no_images(listing, train_dir, layout)
    validation = find_cases(listing, valid_dir, root / layout.valid_moving_seg_subdir, layout.file_pattern)
    if listing.pictures(valid_dir) is None:
        remedy = "Put images (and their labels) there to see how well unseen images are registered."
        listing.add("note", valid_dir, "there is no such folder, so nothing is validated", remedy)
    elif not validation:
        listing.add("warning", valid_dir, "holds no image to validate on", "Put some there, or remove the folder.")
    if partners:
        train, validation = (with_partners(listing, cases, partners) for cases in (train, validation))
    validation = _keep_labelled(listing, validation)
    _add_set_problems(listing, layout, atlas, train, validation)
    return DataIndex(root=root, atlas=atlas, train=train, validation=validation, problems=tuple(listing.problems))


def _find_partners(layout: Layout, listing: FolderListing, moving: tuple[Path, ...]) -> dict[str, Case]:
    """Return the fixed images of a folder of pairs by name; nothing where there is an atlas.

    A folder is no set of pairs with itself.
    """
    folder = layout.data_base_dir / layout.fixed_subdir
    images, _ = split_images_and_labels(listing.pictures(folder) or [])
    names = {stem(path) for path in images}
    if len(images) < 2 or folder in moving or (folder / layout.atlas_name).is_file():
        return {}
    if names.isdisjoint(stem(path) for moving_folder in moving for path in listing.pictures(moving_folder) or []):
        return {}
    cases = find_cases(listing, folder, layout.data_base_dir / layout.fixed_seg_subdir, "*")
    return {case.id: case for case in cases}


def with_partners(listing: FolderListing, cases: tuple[Case, ...], partners: dict[str, Case]) -> tuple[Case, ...]:
    """Return the cases that have a fixed image of their name, with it; the others become problems."""
    for case in cases:
        if case.id not in partners:
            remedy = "Put it into the folder of the fixed images, or remove this one."
            listing.add("warning", case.image, "has no fixed image of the same name", remedy, left_out=True)
    return tuple(replace(case, fixed=partners[case.id]) for case in cases if case.id in partners)


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
        if name.endswith(LABEL_SUFFIX):
            by_name[name.removesuffix(LABEL_SUFFIX)].append(path)
        else:
            remedy = f"Name it like its image with {LABEL_SUFFIX} added, as in NAME{LABEL_SUFFIX}.png for NAME.png."
            listing.add("warning", path, f"its name does not end in {LABEL_SUFFIX}", remedy, left_out=True)
    for name, paths in by_name.items():
        if name not in images:
            for path in paths:
                what = "there is no image to this label"
                listing.add("warning", path, what, "Add it, or remove this.", left_out=True)
        elif len(paths) > 1:
            what = f"the image {name} has several labels: {short_list(paths)}"
            listing.add("warning", paths[0], what, "Keep one of them.", left_out=True)
    return {name: paths[0] for name, paths in by_name.items() if len(paths) == 1}


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
