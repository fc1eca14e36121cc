"""A copy of a data folder in which labels and masks have the size of their images. The folder itself stays as it is."""

import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from regstudio.data.folders.archives import Limits, refuse_too_much
from regstudio.data.folders.case_files import Case
from regstudio.data.folders.data_index import DataIndex
from regstudio.data.folders.label_names import find_label_names
from regstudio.data.importing.execute import refuse_taken
from regstudio.data.landmarks.files import find_landmarks
from regstudio.data.loading.working_grid import nearest, same_shape, spanning
from regstudio.data.pictures.formats import read_image, read_label
from regstudio.data.pictures.writing import write_label
from regstudio.data.problems import shown_path
from regstudio.errors import DataError
from regstudio.files import name_full_disk
from regstudio.temporary import new_folder

_ANY_SIZE = Limits(max_files=10**9, max_bytes=2**62)


def write_resized(
    index: DataIndex,
    labels: Collection[Path],
    out: Path,
    *,
    image_key: str = "img",
    label_key: str = "label",
    slice_axis: int | None = None,
    slice_index: int | None = None,
    permitted: Callable[[Path], bool] = lambda path: True,
) -> int:
    """Copy a data folder to `out` with these labels or masks in their images' size, and return how many were resized.

    All or nothing; the keywords but `permitted` say how files are read. Raises DataError.
    """
    refuse_taken(out, index.root)
    files = [path for path in _files(index) if permitted(path)]
    foreign = next((path for path in files if not path.is_relative_to(index.root)), None)
    if foreign is not None:
        raise DataError(f"{foreign}: lies outside {index.root}, so that it cannot be copied along. Put it in there.")
    refuse_too_much(len(files), sum(path.stat().st_size for path in files), out, _ANY_SIZE)
    images = _images(index)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = new_folder(out.parent, ".upload-")
    count = 0
    try:
        staging.chmod(0o755)
        with name_full_disk(out, staging / "probe"):
            for path in files:
                target = staging / path.relative_to(index.root)
                target.parent.mkdir(parents=True, exist_ok=True)
                if path not in labels or path not in images:
                    shutil.copyfile(path, target)
                    continue
                where: dict[str, Any] = {"slice_axis": slice_axis, "slice_index": slice_index}
                image = read_image(images[path], key=image_key, colour=True, **where)
                label = read_label(path, key=label_key, **where)
                if not same_shape(label.size, image.size):
                    raise DataError(
                        f"{shown_path(path)}: has another shape than its image, so that resizing would distort it. "
                        "Export it again from the image."
                    )
                write_label(target, nearest(label.array, spanning(label.size, image.size)), like=label, key=label_key)
                count += 1
            if out.exists():
                out.rmdir()
            staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return count


def _files(index: DataIndex) -> list[Path]:
    """Return what belongs to a data set: its pictures, landmarks, names of labels and table of pairs."""
    found = [find_landmarks(case.image) for case in _sides(index)]
    return list(dict.fromkeys(path for path in (*index.files, *found, find_label_names(index.root)) if path))


def _images(index: DataIndex) -> dict[Path, Path]:
    """Return the image of each label and mask that is a file of its own."""
    return {
        path: case.image for case in _sides(index) for path in (case.label, case.mask) if path and path != case.image
    }


def _sides(index: DataIndex) -> list[Case]:
    cases = [case for case in (index.atlas, *index.train, *index.validation) if case]
    return list(dict.fromkeys([*cases, *(case.fixed for case in cases if case.fixed)]))
