"""The rules of the data folder: where atlas, images and labels lie, which file belongs to which, and what is amiss.

    data_base_dir/
      fixed/                  the atlas                      fixed_seg/               its label (optional)
      moving/                 NAME.ext, to train on          moving_seg/              NAME_seg.ext (optional)
      validation_moving/      NAME.ext, to validate on       validation_moving_seg/   NAME_seg.ext (optional)

Only names are looked at here; no file is opened. Image and label may differ in format, and may share one folder.
"""

import fnmatch
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from regstudio.data.formats import EXTENSIONS, stem
from regstudio.data.listing import LABEL_SUFFIX, Listing, apart, some
from regstudio.data.problems import Problem


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Names of the folders and files of a data set; each is the command line's flag of the same name."""

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
    """One image and, where there is one, its label; `id` is the image's name without its extension."""

    id: str
    image: Path
    label: Path | None = None


@dataclass(frozen=True, kw_only=True)
class DataIndex:
    """What a data folder holds, in natural order of the names, and everything that is amiss in it."""

    root: Path
    atlas: Case | None
    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stop a training before it starts."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems that a training goes on with."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")


def index_folder(layout: Layout) -> DataIndex:
    """List the atlas and the cases of a data folder by name alone; problems are returned, never raised.

    A validation image without a label is left out if others have one; if none has, all are kept, without a Dice. Of
    two images with the same name but different extensions the first is taken. Nothing is left out for bearing the same
    name in training and validation: many data sets number both from 1.
    """
    root, names = layout.data_base_dir, Listing()
    if not root.is_dir():
        names.add("error", root, "there is no such folder", "Name the folder of your data with --data_base_dir.")
    elif not os.access(root, os.R_OK | os.X_OK):
        names.add("error", root, "may not be read (permission denied)", "Change its permissions.")
    if names.problems:
        return DataIndex(root=root, atlas=None, train=(), validation=(), problems=tuple(names.problems))
    atlas = _find_atlas(layout, names)
    train_dir, valid_dir = root / layout.train_moving_subdir, root / layout.valid_moving_subdir
    train = find_cases(names, train_dir, root / layout.train_moving_seg_subdir, layout.file_pattern)
    if not train:
        _explain_no_images(names, train_dir, layout)
    validation = find_cases(names, valid_dir, root / layout.valid_moving_seg_subdir, layout.file_pattern)
    if names.pictures(valid_dir) is None:
        remedy = "Put images (and their labels) there to see how well unseen images are registered."
        names.add("note", valid_dir, "there is no such folder, so nothing is validated", remedy)
    elif not validation:
        names.add("warning", valid_dir, "holds no image to validate on", "Put some there, or remove the folder.")
    validation = _labelled(names, validation)
    _compare(names, layout, atlas, train, validation)
    return DataIndex(root=root, atlas=atlas, train=train, validation=validation, problems=tuple(names.problems))


def _find_atlas(layout: Layout, names: Listing) -> Case | None:
    folder = layout.data_base_dir / layout.fixed_subdir
    pictures = names.pictures(folder)
    if pictures is None:
        names.add("error", folder, "there is no such folder", "Put the atlas there, or change --fixed_subdir.")
        return None
    images, _ = apart(pictures)
    image = _choose(names, folder / layout.atlas_name, images, "--atlas_name")
    if image is None:
        if not images:
            names.add("error", folder, "holds no image to use as the atlas", f"Put it there as {layout.atlas_name}.")
        return None
    label_folder = layout.data_base_dir / layout.fixed_seg_subdir
    candidates = names.pictures(label_folder)
    if candidates is None:
        return Case(id=stem(image), image=image)
    if not candidates:
        names.add("warning", label_folder, "is empty", f"Put the atlas's label there as {layout.atlas_seg_name}.")
    if label_folder == folder:
        _, candidates = apart(candidates)
    own = [path for path in candidates if stem(path) == stem(image) + LABEL_SUFFIX]
    label = _choose(names, label_folder / layout.atlas_seg_name, own or candidates, "--atlas_seg_name")
    return Case(id=stem(image), image=image, label=label)


def _choose(names: Listing, wanted: Path, candidates: list[Path], flag: str) -> Path | None:
    """Return the wanted file or, where it is not there, the only candidate; several are an error."""
    if wanted.is_file():
        return wanted
    if len(candidates) == 1:
        names.add("note", wanted, f"is not there; {candidates[0].name} is taken instead", f"Name another with {flag}.")
        return candidates[0]
    if candidates:
        listed = some(candidates)
        names.add("error", wanted, f"is not there, but several others are: {listed}", f"Name one with {flag}.")
    return None


def find_cases(names: Listing, folder: Path, label_folder: Path, pattern: str) -> tuple[Case, ...]:
    """Return the images of a folder whose names match, each with its label; what is amiss is added to `names`."""
    images, strays = apart(names.pictures(folder) or [])
    if label_folder != folder:
        for path in strays:
            names.add("warning", path, "looks like a label among images", f"Move it to {label_folder}.", left_out=True)
    matches = re.compile(fnmatch.translate(pattern)).match
    chosen = [path for path in images if matches(path.name)]
    if len(chosen) < len(images):
        what = f"{len(images) - len(chosen)} of {len(images)} images do not match the pattern '{pattern}'"
        names.add("note", folder, what, "Change --file_pattern to use them.")
    labels = _find_labels(names, label_folder, {stem(path) for path in images}, shared=label_folder == folder)
    cases: dict[str, Case] = {}
    for path in chosen:
        name = stem(path)
        if name in cases:
            what = f"has the same name as {cases[name].image.name}, which is taken"
            names.add("warning", path, what, "Rename it, if it is another picture.", left_out=True)
        else:
            cases[name] = Case(id=name, image=path, label=labels.get(name))
    return tuple(cases.values())


def _find_labels(names: Listing, folder: Path, images: set[str], *, shared: bool) -> dict[str, Path]:
    """Return the label of each image's name; what cannot be paired becomes a problem."""
    pictures = names.pictures(folder)
    if pictures is not None and not pictures:
        names.add("warning", folder, "is empty", "Put the labels there, each named like its image with _seg added.")
    by_name = defaultdict(list)
    for path in apart(pictures or [])[1] if shared else pictures or []:
        name = stem(path)
        if name.endswith(LABEL_SUFFIX):
            by_name[name.removesuffix(LABEL_SUFFIX)].append(path)
        else:
            remedy = f"Name it like its image with {LABEL_SUFFIX} added, as in NAME{LABEL_SUFFIX}.png for NAME.png."
            names.add("warning", path, f"its name does not end in {LABEL_SUFFIX}", remedy, left_out=True)
    for name, paths in by_name.items():
        if name not in images:
            for path in paths:
                names.add("warning", path, "there is no image to this label", "Add it, or remove this.", left_out=True)
        elif len(paths) > 1:
            what = f"the image {name} has several labels: {some(paths)}"
            names.add("warning", paths[0], what, "Keep one of them.", left_out=True)
    return {name: paths[0] for name, paths in by_name.items() if len(paths) == 1}


def _labelled(names: Listing, validation: tuple[Case, ...]) -> tuple[Case, ...]:
    if not any(case.label for case in validation):
        return validation
    for case in validation:
        if case.label is None:
            remedy = f"Add a label of the same name with {LABEL_SUFFIX} at its end."
            names.add("warning", case.image, "has no label, unlike other validation images", remedy, left_out=True)
    return tuple(case for case in validation if case.label)


def _explain_no_images(names: Listing, folder: Path, layout: Layout) -> None:
    pictures = names.pictures(folder)
    if pictures is None:
        there = [path for path in layout.data_base_dir.iterdir() if path.is_dir()]
        what = f"there is no such folder; {layout.data_base_dir} holds {some(there) if there else 'no folder'}"
        names.add("error", folder, what, "Put the training images there, or change --train_moving_subdir.")
    elif pictures:
        names.add("error", folder, f"no image matches the pattern '{layout.file_pattern}'", "Change --file_pattern.")
    else:
        names.add("error", folder, "holds no image to train on", f"Supported are {', '.join(EXTENSIONS)}.")


def _compare(
    names: Listing, layout: Layout, atlas: Case | None, train: tuple[Case, ...], validation: tuple[Case, ...]
) -> None:
    """Note what is odd about the sets taken together."""
    train_names = {case.id for case in train}
    both = [case.image for case in validation if case.id in train_names]
    if both:
        names.add(
            "warning",
            layout.data_base_dir / layout.valid_moving_subdir,
            f"{len(both)} of {len(validation)} images bear the name of a training image: {some(both)}",
            "If they are the same pictures, take them out of one of the two sets, or the Dice will be too good.",
        )
    if atlas is None or not validation:
        return
    label_folder = layout.data_base_dir / layout.valid_moving_seg_subdir
    if atlas.label is None and validation[0].label is not None:
        remedy = f"Put the atlas's label there as {layout.atlas_seg_name}."
        atlas_folder = layout.data_base_dir / layout.fixed_seg_subdir
        names.add("warning", atlas_folder, "the atlas has no label, so there will be no Dice", remedy)
    elif validation[0].label is None:
        remedy = "Put the labels there as NAME_seg, to see a Dice."
        names.add("note", label_folder, "the validation images have no labels, so there will be no Dice", remedy)
