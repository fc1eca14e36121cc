"""Correction by hand: landmarks that a person places steer the registration of one pair, and are kept with it."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, TypeAdapter

from regstudio.data.folders.listing import LABEL_SUFFIX, POINTS_SUFFIX, FolderListing
from regstudio.data.landmarks.landmarks import Family
from regstudio.data.landmarks.placed import FAMILIES, write_placed
from regstudio.data.pairs.pair import Pair
from regstudio.data.pictures.formats import extension, stem
from regstudio.errors import ConfigError, DataError
from regstudio.methods.correction import corrected
from regstudio.schema import Number, SchemaError, validate
from regstudio.studio.hand_start import start_path, write_start
from regstudio.studio.studio import Studio
from regstudio.studio.uploads import target_folder
from regstudio.studio.view import View
from regstudio.transforms.registration import Registration

MAX_PLACED = 500  # landmarks of one pair

Places = npt.NDArray[np.float64]  # (n, 2): y and x in pixels
Placed = npt.NDArray[np.float64]  # (n, 4): y and x in the fixed image, then in the moving one, in pixels of the grid

_PLACED = TypeAdapter(
    Annotated[list[Annotated[list[Number], Field(min_length=4, max_length=4)]], Field(max_length=MAX_PLACED)]
)


def read_placed(value: object) -> Placed:
    """Return landmarks that the browser sent; raises ConfigError for what are none."""
    try:
        rows = validate(value, _PLACED)
    except SchemaError as error:
        raise ConfigError(f"The landmarks cannot be used: {error}.") from None
    return np.array(rows, np.float64).reshape(-1, 4)


def corrected_view(view: View, placed: Placed) -> View:
    """Return the view with its first method corrected by the landmarks; raises DataError for one outside its image."""
    if not len(placed):
        return view
    (title, first), *others = view.registrations
    size = np.array(first.pair.fixed.shape)
    if not ((placed > -0.5) & (placed < np.tile(size, 2) - 0.5)).all():
        raise DataError("A landmark lies outside its image. Place it on the image.")
    pair = replace(first.pair, fixed_points=placed[:, :2], moving_points=placed[:, 2:])
    steered = Registration(pair=pair, transform=corrected(pair, first.transform))
    return replace(view, registrations=((f"{title}, corrected", steered), *others))


def write_view_points(view: View, folder: Path, family: Family) -> tuple[Path, ...]:
    """Write the landmarks of a view's pair in pixels, or mm, of its files; return the paths, none without landmarks."""
    pair = view.registrations[0][1].pair
    files, places = pair.pictures, _places_in_files(pair)
    if files is None or places is None:
        return ()
    fixed, moving = places
    fixed_stem, moving_stem, names = stem(files.fixed.path), stem(files.moving.path), _numbers(len(fixed))
    if family == "bigwarp":
        return (write_placed(folder, f"{moving_stem}_bigwarp", family, moving, names, fixed=fixed),)
    if fixed_stem == moving_stem:
        fixed_stem += "_fixed"
    return (
        write_placed(folder, fixed_stem, family, fixed, names, affine=files.fixed.affine),
        write_placed(folder, moving_stem, family, moving, names, affine=files.moving.stored_affine),
    )


def family_of(value: object) -> Family:
    """Return the form of files of landmarks that the page asks for; raises ConfigError for an unknown one."""
    for family in FAMILIES:
        if family == value:
            return family
    raise ConfigError(f"There are no files of landmarks in the form {value!r:.40}.")


def add_to_training(studio: Studio, view: View, name: str) -> Path:
    """Put the files of a view's pair, their labels and landmarks into a folder of pairs; return that folder.

    The folder is that of an upload's name, or a path. Both images are named after the moving one; what is there under
    that name is replaced if it is the same pair. A start by hand is kept for whoever opens the pair there. Raises
    DataError and ConfigError.
    """
    pair, start = view.registrations[0][1].pair, view.chosen.start
    places = _places_in_files(pair)
    if places is None and start.is_identity:
        raise DataError("There are no landmarks to train on. Place some on both images, or lay the moving one by hand.")
    folder = target_folder(name, studio.roots[0], studio.allowed)
    case = view.chosen.case
    own = stem(case.image)
    for side, source in (("fixed", case.fixed or view.chosen.reader.fixed), ("moving", case)):
        _copy(source.image, folder / side, own)
        if source.label is not None:
            _copy(source.label, folder / f"{side}_seg", f"{own}{LABEL_SUFFIX}")
    kept = start_path(folder / "moving" / case.image.name)
    kept.unlink(missing_ok=True)
    if not start.is_identity:
        write_start(kept, start.on(pair.fixed.shape))
    for side, points in zip(("fixed", "moving"), places or (), strict=places is not None):
        write_placed(folder / f"{side}{POINTS_SUFFIX}", own, "table", points, _numbers(len(points)))
    return folder


def _copy(file: Path, folder: Path, name: str) -> None:
    """Copy a file under a name of its own, in place of one of the same content; raises DataError for another."""
    target = folder / f"{name}{extension(file) or file.suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    others = [path for path in FolderListing().pictures(folder) or [] if stem(path) == name]
    if any(path != target or path.read_bytes() != file.read_bytes() for path in others):
        raise DataError(f"{others[0]}: another image of that name is there already. Choose another data folder.")
    if not others:
        shutil.copyfile(file, target)


def _places_in_files(pair: Pair) -> tuple[Places, Places] | None:
    """Return the landmarks of a pair in pixels of its files, as these are stored; None where it has none."""
    files = pair.pictures
    if files is None or pair.fixed_points is None or pair.moving_points is None or not len(pair.fixed_points):
        return None
    on, image = pair.places
    turn, shape = files.moving.turn, files.moving.stored_shape
    return on.to_picture(pair.fixed_points), turn.points(image.to_picture(pair.moving_points), shape, back=True)


def _numbers(count: int) -> list[str]:
    return [str(number) for number in range(1, count + 1)]
