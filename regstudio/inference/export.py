"""The files of one registration, in the inputs' own formats: NAME_warped, NAME_flow and NAME_warped_seg.

All lie on the fixed image's grid, and at its place in the world where the fixed file tells one. A result that is
already there is replaced, atomically; a file that was read never is.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from regstudio.data.codecs.nifti import nibabel
from regstudio.data.formats import Picture, extension
from regstudio.data.problems import FileError
from regstudio.data.writing import output_extension, write_arrays, write_image, write_label
from regstudio.files import atomic_path
from regstudio.inference.registrar import Registration
from regstudio.networks.warp import SpatialTransformer

Array = npt.NDArray[Any]

_NIFTI = (".nii", ".nii.gz")
_WHOLE_NUMBERS_ONLY = (".png", ".tif", ".tiff", ".bmp")  # and at most 16 bits of them
FLOW_DESCRIPTION = "flow in pixels, (dy, dx), pull-back: warped(p) = moving(p + flow(p))"


def save_registration(
    registration: Registration,
    out: Path,
    name: str,
    *,
    fixed: Picture,
    moving: Picture,
    label: Picture | None = None,
    image_key: str = "img",
    label_key: str = "label",
) -> tuple[Path, ...]:
    """Write NAME_warped, NAME_flow and, with `label`, NAME_warped_seg into `out`; return their paths.

    The warped image and label keep the format and header of `moving` and `label`, and take the place of `fixed` where
    that has an affine. JPEG becomes PNG, DICOM becomes MHA, and so does a TIFF of other numbers than 16-bit ones. The
    image keeps its intensities, see `warp_intensities`. The flow is a NIfTI vector image (H, W, 1, 1, 2) where the
    image is NIfTI, `flow` in an npz file where it is npz, and else a .npy file: (2, H, W) float32, pixels, (dy, dx).

    Raises FileError where a result would take the place of a file that was read, or its format cannot hold it.
    """
    warped = out / f"{name}_warped{_extension(moving)}"
    flow = out / f"{name}_flow{extension(warped) if extension(warped) in (*_NIFTI, '.npz') else '.npy'}"
    targets = [warped, flow]
    if label is not None and registration.warped_label is not None:
        targets.append(out / f"{name}_warped_seg{_extension(label)}")
    for target in targets:
        _refuse_input(target, [picture.path for picture in (fixed, moving, label) if picture is not None])
    intensities = warp_intensities(moving.array, registration.flow)
    write_image(warped, intensities, like=_placed(moving, fixed), key=image_key)
    _write_flow(flow, registration.flow, warped)
    if label is not None and registration.warped_label is not None:
        write_label(targets[-1], registration.warped_label, like=_placed(label, fixed), key=label_key)
    return tuple(targets)


def warp_intensities(moving: Array, flow: Array) -> Array:
    """Pull an image's own intensities back along `flow` (2, H, W): (H, W) in the image's own dtype.

    Interpolated in float64, once, and rounded where the dtype has whole numbers only. What lies outside the image gets
    the image's minimum, which is what 0 stands for after normalisation: air in a CT, where 0 would be water. `moving`
    may have another size than the flow; it then shows the same field of view.
    """
    lowest = float(moving.min())
    above = torch.from_numpy(moving.astype(np.float64) - lowest)[None, None]
    points = torch.from_numpy(_flow_into(moving.shape, flow.astype(np.float64)))[None]
    warped = SpatialTransformer("bilinear")(above, points)[0, 0].numpy() + lowest
    result: Array = (np.rint(warped) if moving.dtype.kind in "bui" else warped).astype(moving.dtype)
    return result


def _flow_into(shape: tuple[int, ...], flow: Array) -> Array:
    """Change the flow (2, H, W) to point into an image of `shape` that shows the same field of view."""
    size = flow.shape[1:]
    if shape == size:
        return flow
    grid = np.indices(size)
    last, own_last = (np.reshape(lengths, (2, 1, 1)) - 1 for lengths in (size, shape))
    scale = (own_last + 1) / (last + 1)
    points = grid + flow
    inside = np.clip(points, 0, last)
    # The outer edges of the outer pixels coincide; between such an edge and its pixel's centre the pixel goes on.
    moved: Array = np.clip((inside + 0.5) * scale - 0.5, 0, own_last) + (points - inside) * scale - grid
    return moved


def _extension(picture: Picture) -> str:
    ending, array = output_extension(picture.path), picture.array
    fits = array.dtype.kind in "bui" and array.min() >= 0 and array.max() < 2**16
    return ending if fits or ending not in _WHOLE_NUMBERS_ONLY else ".mha"


def _placed(picture: Picture, fixed: Picture) -> Picture:
    """Return the header to write: the picture's own, at the fixed image's place where that is known."""
    if fixed.affine is None:
        return picture
    header = picture.header
    if extension(picture.path) in _NIFTI:
        # The codes name the space that an affine leads to, and come with it; 0 would say that it leads nowhere.
        codes = (
            [int(fixed.header[name]) for name in ("sform_code", "qform_code")]
            if extension(fixed.path) in _NIFTI
            else [0, 0]
        )
        header = header.copy()
        header["sform_code"], header["qform_code"] = codes if any(codes) else (2, 0)
    return replace(picture, array=fixed.array, affine=fixed.affine, header=header)


def _write_flow(path: Path, flow: Array, warped: Path) -> None:
    if extension(path) == ".npz":
        write_arrays(path, {"flow": flow})
        return
    with atomic_path(path) as temporary:
        if extension(path) == ".npy":
            np.save(temporary, flow)
            return
        nib = nibabel()
        like = nib.load(warped, mmap=False)
        header = like.header.copy()  # the flow lies where the warped image lies
        header.set_intent("vector")
        header["descrip"] = FLOW_DESCRIPTION.encode()
        header.set_data_dtype(np.float32)
        vectors = np.moveaxis(flow, 0, -1)[:, :, None, None, :]
        nib.save(type(like)(vectors, None, header), temporary)


def _refuse_input(target: Path, inputs: list[Path]) -> None:
    if target.exists() and any(path.exists() and target.samefile(path) for path in inputs):
        raise FileError(target, "is read from, and the result would take its place", "Choose another --out.")
