"""Check the mask of a case: that it can be read, is as large as its image, and leaves some of it.

One that cannot be used is a warning: its image is then used whole.
"""

from dataclasses import replace

from regstudio.data.checking.case import CheckedCase
from regstudio.data.pictures.formats import label_on_image, read_label
from regstudio.data.problems import FileError, Mend


def check_mask(
    checked: CheckedCase, fixed: CheckedCase | None, *, key: str, slice_axis: int | None, slice_index: int | None
) -> None:
    """Add a warning for a mask that cannot be used, and leave it out; the arguments are those of `read_label`."""
    path = checked.case.mask
    if path is None:
        return
    what, remedy = "", "Export it again from the image."
    mend: Mend = ""
    try:
        stored = read_label(path, key=key, slice_axis=slice_axis, slice_index=slice_index)
        mask = label_on_image(stored, checked.geometry, fixed.facing if fixed else checked.facing).array
        if checked.size not in (None, mask.shape):
            size = " x ".join(map(str, mask.shape))
            what = f"is {size} pixels, unlike its image with {' x '.join(map(str, checked.size or ()))}"
            mend = checked.mend_of_size(mask.shape)
        elif not mask.any():
            what, remedy = "is 0 everywhere, so that nothing of its image would count", "Mark what counts."
    except FileError as error:
        what, remedy = error.what, error.remedy
    if what:
        checked.add("warning", path, what, remedy, left_out=True, mend=mend)
        if checked.usable is not None:
            checked.usable = replace(checked.usable, mask=None)
