"""Check the landmarks of a case: that they can be read, lie in their image, and correspond to the fixed image's.

A file that cannot be used is a warning: images are trained on without it, and no distance is measured.
"""

from regstudio.data.checking.case import CheckedCase
from regstudio.data.landmarks.files import find_landmarks, read_landmarks
from regstudio.data.landmarks.landmarks import Landmarks, check_within, corresponding
from regstudio.data.problems import FileError


def check_landmarks(checked: CheckedCase, fixed: CheckedCase | None) -> None:
    """Add a warning for landmarks of a case, or of the pair that it makes with `fixed`, that cannot be used."""
    try:
        own = _landmarks(checked, fixed is None)
    except FileError as error:
        checked.add("warning", error.path, error.what, error.remedy, left_out=True)
        return
    if own is None or fixed is None:
        return
    try:
        target = _landmarks(fixed, True)
        if target is not None:
            corresponding(target, own)
    except FileError as error:
        if error.path == own.path:  # else it was said of the fixed image
            checked.add("warning", error.path, error.what, error.remedy, left_out=True)


def _landmarks(checked: CheckedCase, is_fixed: bool) -> Landmarks | None:
    """Return the landmarks of a case, in pixels of its file; None without any."""
    path = checked.case.points or find_landmarks(checked.case.image)
    if path is None or checked.size is None:
        return None
    affine = None if checked.geometry is None else checked.geometry.affine
    landmarks = read_landmarks(path, "fixed" if is_fixed else "moving").on(affine)
    # Of the file, which may have been turned where it knows its place.
    size = checked.size if checked.facing is None else (max(checked.size),) * 2
    check_within(landmarks, size)
    return landmarks
