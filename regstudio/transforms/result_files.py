"""The files of one registration: warped image and label in the inputs' own formats, and the flow for us and for ITK.

All lie on the fixed image's grid, and at its place in the world where the fixed file tells one; an inverse flow lies on
the moving image's. A result that is already there is replaced, atomically; a file that was read never is.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.formats import Picture, extension
from regstudio.data.problems import FileError
from regstudio.data.writing import output_extension, resized_affine, write_image, write_label
from regstudio.files import atomic_path, write_text
from regstudio.transforms.itk_field import ENDING, place_of, write_field
from regstudio.transforms.registration import Registration
from regstudio.transforms.resampling import points_into, sample_linear

Array = npt.NDArray[Any]

_NIFTI = (".nii", ".nii.gz")
_WHOLE_NUMBERS_ONLY = (".png", ".tif", ".tiff", ".bmp")  # and at most 16 bits of them
CONVENTION = "(2, H, W) in pixels, (dy, dx), on the grid of 'on'; pull-back: warped(p) = image(p + flow(p))"


def save_registration(
    registration: Registration, out: Path, name: str, *, image_key: str = "img", label_key: str = "label"
) -> tuple[Path, ...]:
    """Write the warped image, the flow and, if there is one, the warped label of a pair of files; return the paths.

    - NAME_warped, and with a label NAME_warped_seg: in format, type and header of the moving files, at the place of the
      fixed file where that has an affine. JPEG becomes PNG, DICOM becomes MHA, and so does a TIFF of other numbers than
      16-bit ones. The image keeps its intensities, see `sample_linear`.
    - NAME_flow.npy: (2, H, W) float32, pixels, (dy, dx); NAME_flow.json beside it states that convention.
    - NAME_displacement.nii.gz: the same for ITK and ANTs, see `write_field`.
    - NAME_inverse_flow.npy, .json and NAME_inverse_displacement.nii.gz, where the transform has an inverse.

    Raises FileError where a result would replace a file that was read, or its format cannot hold it; ValueError for a
    pair that was not read from files.
    """
    pictures = registration.pair.pictures
    if pictures is None:
        raise ValueError("the pair was not read from files")
    fixed, moving, label, ids = pictures.fixed, pictures.moving, pictures.moving_label, registration.warped_label
    warped = out / f"{name}_warped{result_extension(moving)}"
    seg = None if label is None or ids is None else out / f"{name}_warped_seg{result_extension(label)}"
    flows = [(out / f"{name}_", registration.flow, fixed, moving)]
    if registration.inverse_flow is not None:
        flows.append((out / f"{name}_inverse_", registration.inverse_flow, moving, fixed))
    targets = [warped, *(path for start, *_ in flows for path in _flow_paths(start)), *([seg] if seg else [])]
    inputs = [picture.path for picture in (fixed, moving, label) if picture is not None]
    for target in targets:
        refuse_input(target, inputs)
    points = points_into(moving.array.shape, registration.flow)
    write_image(warped, sample_linear(moving.array, points), like=placed(moving, fixed), key=image_key)
    for start, flow, on, into in flows:
        _write_flow(start, flow, on, into)
    if label is not None and ids is not None and seg is not None:
        write_label(seg, ids, like=placed(label, fixed), key=label_key)
    return tuple(path for path in targets if path.exists())


def placed(picture: Picture, fixed: Picture) -> Picture:
    """Return the header to write results with: the picture's own, at the fixed image's place where that is known."""
    if fixed.affine is None:
        return picture
    header = picture.header
    if extension(picture.path) in _NIFTI and header is not None:
        header = header.copy()
        # The codes name the space that an affine leads to, and come with it; 0 would say that it leads nowhere.
        codes = 2, 0
        if extension(fixed.path) in _NIFTI and fixed.header is not None:
            codes = int(fixed.header["sform_code"]), int(fixed.header["qform_code"])
            header.set_xyzt_units(*fixed.header.get_xyzt_units())
        header["sform_code"], header["qform_code"] = codes if any(codes) else (2, 0)
        if len(header.get_data_shape()) == 2 and not place_of(fixed).flat:
            header.set_data_shape((*header.get_data_shape(), 1))  # as 2-D, ITK could not place it in space
    return replace(picture, array=fixed.array, affine=fixed.affine, header=header)


def refuse_input(target: Path, inputs: list[Path]) -> None:
    """Raise FileError where writing `target` would replace one of `inputs`."""
    if target.exists() and any(path.exists() and target.samefile(path) for path in inputs):
        raise FileError(target, "is read from, and the result would take its place", "Choose another --out.")


def result_extension(picture: Picture) -> str:
    """Return the ending of what is written in the picture's own format, or in one that can hold its numbers."""
    ending, array = output_extension(picture.path), picture.array
    fits = array.dtype.kind in "bui" and array.min() >= 0 and array.max() < 2**16
    return ending if fits or ending not in _WHOLE_NUMBERS_ONLY else ".mha"


def _flow_paths(start: Path) -> tuple[Path, Path, Path]:
    names = ("flow.npy", "flow.json", f"displacement{ENDING}")
    return tuple(start.with_name(start.name + name) for name in names)  # type: ignore[return-value]


def _write_flow(start: Path, flow: Array, on: Picture, into: Picture) -> None:
    """Write a flow on the grid of `on` that pulls `into` back: in pixels, in words, and for ITK."""
    pixels, words, field = _flow_paths(start)
    with atomic_path(pixels) as temporary:
        np.save(temporary, flow)
    shape = flow.shape[1:]
    affine = resized_affine(on, shape)
    record = {
        "convention": CONVENTION,
        "on": on.path.name,
        "image": into.path.name,
        "image_size": list(into.array.shape),
        "affine": None if affine is None else affine.tolist(),
        "affine_convention": "(row, column, slice, 1) of 'on' to RAS+ in mm; null where the file knows no place",
    }
    write_text(words, json.dumps(record, indent=2) + "\n")
    if not write_field(field, flow, place_of(on, shape), place_of(into, shape)):
        field.unlink(missing_ok=True)  # one of an earlier registration
