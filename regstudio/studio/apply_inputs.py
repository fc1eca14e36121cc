"""What the fields of the Apply tab name: the images, the fixed image, the folder of the results."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from regstudio.data.folders.archives import LIMITS, unpack_all
from regstudio.data.folders.layout import Case
from regstudio.data.folders.listing import LABEL_SUFFIX, MASK_SUFFIX, FolderListing, split_images_and_labels
from regstudio.data.pictures.formats import stem
from regstudio.errors import ConfigError, DataError
from regstudio.studio.applied import AppliedFolder, ApplyRecord, applied_folder, label_beside, open_applied
from regstudio.studio.page_words import NO_TRAINING
from regstudio.studio.studio import Studio
from regstudio.studio.uploads import add_files, staged, target_folder
from regstudio.studio.workspace import Workspace

if TYPE_CHECKING:  # which imports torch
    from regstudio.studio.view import Registrar
    from regstudio.studio.viewer import Viewer

MAX_REFINE = 1000  # steps for each image
IMAGES, FIXED = "images", "fixed"  # folders of what was uploaded


@dataclass(frozen=True, kw_only=True)
class ApplyForm:
    """The values of the tab's fields; `method` is one of `apply_control.methods`."""

    method: str
    name: str = ""
    folder: str = ""
    files: Sequence[Path] = ()
    labels: str = ""
    fixed: str = ""
    fixed_files: Sequence[Path] = ()
    refine: str = "auto"
    masks: str = ""
    fixed_mask: str = ""


def refine_steps(text: str) -> int | Literal["auto"]:
    """Return the steps that the field asks for; raises ConfigError for anything else."""
    text = str(text).strip() or "auto"
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) > MAX_REFINE:
        raise ConfigError(f"Refine is auto, or a number of steps from 0 to {MAX_REFINE}.")
    return int(text)


def fixed_image(
    studio: Studio, viewer: "Viewer", form: ApplyForm, registrar: "Registrar", workspace: Workspace
) -> Case:
    """Return the fixed image: the uploaded or the typed one, else the atlas of the run, or of the workspace's data.

    The form's mask of it counts more than one that the data folder has.
    """
    fixed = _fixed_image(studio, viewer, form, registrar, workspace)
    if not form.fixed_mask.strip():
        return fixed
    mask = studio.allowed(form.fixed_mask)
    if not mask.is_file():
        raise DataError(
            f"{mask}: there is no such file. Correct the path of the fixed image's mask, or leave it empty."
        )
    return replace(fixed, mask=mask)


def _fixed_image(
    studio: Studio, viewer: "Viewer", form: ApplyForm, registrar: "Registrar", workspace: Workspace
) -> Case:
    if form.fixed_files:
        folder = _received(studio, form.fixed_files, f"{_base(form)} {FIXED}", chosen=False)
        images, labels = split_images_and_labels(FolderListing().pictures(folder) or [])
        if len(images) != 1:
            raise DataError("The fixed image is one file, and if you like its label, named NAME_seg. Drop in no more.")
        return Case(id=stem(images[0]), image=images[0], label=labels[0] if labels else None)
    if form.fixed.strip():
        path = studio.allowed(form.fixed)
        if not path.is_file():
            raise DataError(f"{path}: there is no such file. Correct the path of the fixed image.")
        return Case(id=stem(path), image=path, label=label_beside(path))
    run = form.method.rpartition("/")[0]
    config = workspace.config if run == NO_TRAINING else viewer.config(run, registrar)
    assert not isinstance(config, AppliedFolder)
    atlas = studio.index(config).atlas
    if atlas is None:
        whose = "The chosen data folder" if run == NO_TRAINING else run
        raise DataError(f"{whose} has no atlas to register to. Name a fixed image, or drop one in.")
    return atlas


def moving_images(studio: Studio, form: ApplyForm) -> tuple[Path, Path | None, Path | None]:
    """Return the folder of the images, and those of their labels and masks where they lie in others."""
    labels = _named_folder(studio, form.labels, "labels")
    masks = _named_folder(studio, form.masks, "masks")
    if form.files:
        folder = _received(studio, form.files, _base(form), chosen=bool(form.name.strip()))
    elif form.folder.strip():
        folder = studio.allowed(form.folder)
    else:
        raise ConfigError("Name a folder of new images, or drop them in: a folder, many files, or one zip.")
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder. Correct its path, or drop the images in.")
    images, own_labels, own_masks = _folder_of_images(folder)
    return images, labels or own_labels, masks or own_masks


def _named_folder(studio: Studio, text: str, what: str) -> Path | None:
    if not text.strip():
        return None
    folder = studio.allowed(text)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder. Correct the folder of {what}, or leave it empty.")
    return folder


def _folder_of_images(folder: Path) -> tuple[Path, Path | None, Path | None]:
    """Return the one folder at or below `folder` that holds images, and those that hold their labels and masks."""
    holders = [place for place in (folder, *_below(folder)) if FolderListing().pictures(place)]
    others = [place for place in holders if place.name.endswith((LABEL_SUFFIX, MASK_SUFFIX))]
    images = [place for place in holders if place not in others]
    if not images:
        return folder, None, None  # which says what is wrong with it
    if len(images) > 1 and images[0] != folder:
        listed = ", ".join(str(place.relative_to(folder)) for place in images[:4])
        raise DataError(f"{folder}: several folders in it hold images: {listed}. Name one of them.")
    labels, masks = (images[0].with_name(images[0].name + suffix) for suffix in (LABEL_SUFFIX, MASK_SUFFIX))
    return images[0], labels if labels in others else None, masks if masks in others else None


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield path
            yield from _below(path)


def _received(studio: Studio, files: Sequence[Path], name: str, *, chosen: bool) -> Path:
    """Put uploaded files, or what a zip holds, into a new folder among the uploads; return it.

    A name that the user has `chosen` must be free; another one counts up.
    """
    names = (name if number == 1 else f"{name}_{number}" for number in itertools.count(1))
    folders = (target_folder(each, studio.roots[0], studio.allowed) for each in names)
    target = next(folder for folder in folders if chosen or not folder.exists())
    if target.exists():
        raise DataError(f"{target}: is there already. Name that folder, or choose another name for the results.")
    if len(files) == 1 and files[0].suffix.lower() == ".zip":
        with staged(target) as place:
            unpack_all(files[0], place, LIMITS)
            place.rename(target)
        return target
    add_files(files, target, ".")
    return target


def _base(form: ApplyForm) -> str:
    """Return the name that the form gives its results, or one made of the images' name."""
    source = form.folder.strip() or (form.files[0].name if len(form.files) == 1 else "")
    return form.name.strip() or _as_name(stem(Path(source)).removesuffix(".zip"))


def _as_name(text: str) -> str:
    return re.sub(r"[^\w .()-]", "_", text).strip("_ .-()") or IMAGES


def results_folder(studio: Studio, name: str, record: ApplyRecord) -> AppliedFolder:
    """Return the folder of a name, or one of a free name; one that was made in the same way goes on.

    Raises DataError where the named folder holds something else.
    """
    base = name.strip() or _as_name(Path(record.moving).name)
    for number in itertools.count(1):
        path = applied_folder(studio, base if number == 1 else f"{base}_{number}")
        if not path.exists() or _made_by(studio, path.name, record):
            return AppliedFolder(path=path, record=record)
        if name.strip():
            break
    raise DataError(f"{path}: holds other results. Choose another name for these.")


def _made_by(studio: Studio, name: str, record: ApplyRecord) -> bool:
    try:
        return open_applied(studio, name).record == record
    except DataError:
        return False
