"""Write the results of a registration: warped image and label in the inputs' formats, the flow, an ITK field.

Pictures are sampled once, from the files, at the fixed image's own resolution, and have its geometry if the fixed file
has one. The flow leads from the fixed file's pixels to the moving file's, an inverse flow back. An existing result is
replaced atomically; an input file never is.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from regstudio.data.loading.working_grid import Size
from regstudio.data.pictures.formats import extension
from regstudio.data.pictures.picture import Picture
from regstudio.data.pictures.planes import NIFTI
from regstudio.data.pictures.writing import output_extension, write_image, write_label
from regstudio.data.problems import FileError
from regstudio.files import atomic_path, write_text
from regstudio.transforms.file_field import FileField
from regstudio.transforms.itk_field import FIELD_EXTENSION, itk_geometry, node_geometry, write_field
from regstudio.transforms.registration import Registration

Array = npt.NDArray[Any]

_SIXTEEN_BITS = (".png", ".bmp")  # at most, and unsigned integers alone
OutputSize = Literal["working", "fixed", "moving"]
CONVENTION = "(2, h, w), (dy, dx) in pixels of the files; pull-back: warped(p) = image(p + flow(p)), p a pixel of 'on'"


def save_registration(
    registration: Registration,
    out: Path,
    name: str,
    *,
    image_key: str = "img",
    label_key: str = "label",
    output_size: OutputSize = "fixed",
) -> tuple[Path, ...]:
    """Write the warped image, the flow and, with a label, the warped label to the folder `out`; return the paths.

    - NAME_warped, and with a label NAME_warped_seg: with the format, type and header of the moving files, and the
      geometry of the fixed file if it has one. JPEG becomes PNG, DICOM becomes MHA. The image keeps its
      channels and intensities, see `sample_linear`.
    - NAME_flow.npy: (2, h, w) float32, in pixels of the files, (dy, dx); NAME_flow.json states the convention. It has
      the fixed file's pixels, or for a very large one nodes that are farther apart (see FileField).
    - NAME_displacement.nii.gz: the same for ITK and ANTs, see `write_field`.
    - NAME_inverse_flow.npy, .json and NAME_inverse_displacement.nii.gz, if the transform has an inverse.

    `image_key` and `label_key` name the arrays in .npz files. `output_size` is that of the warped image and label: the
    fixed image's, that of the working grid, or such that pixels are as large as the moving image's. Raises FileError if
    a result would replace an input or its format cannot hold the values; ValueError if the pair has no files.
    """
    pictures = registration.pair.pictures
    if pictures is None:
        raise ValueError("the pair was not read from files")
    fixed, moving, label = pictures.fixed, pictures.moving, pictures.moving_label
    sizes: dict[OutputSize, Size] = {name: _output_size(registration, name) for name in ("working", "moving")}
    size = sizes.get(output_size, registration.pair.places[0].size)
    warped = out / f"{name}_warped{result_extension(moving)}"
    seg = None if label is None else out / f"{name}_warped_seg{result_extension(label)}"
    field, inverse = registration.file_field, registration.inverse_file_field
    flows = [(out / f"{name}_", field, fixed, moving)]
    if inverse is not None:
        flows.append((out / f"{name}_inverse_", inverse, moving, fixed))
    targets = [warped, *(path for prefix, *_ in flows for path in _flow_paths(prefix)), *([seg] if seg else [])]
    inputs = [picture.path for picture in (fixed, moving, label) if picture is not None]
    for target in targets:
        refuse_input(target, inputs)
    with _all_or_none(targets):
        like = with_geometry_of(moving, fixed)
        write_image(warped, field.warped(moving.array, size), like=like, key=image_key)
        for prefix, flow, reference, image in flows:
            _write_flow(prefix, flow, reference, image, sizes if flow is field else {})
        if label is not None and seg is not None:
            ids = field.warped(label.array, size, label=True)
            write_label(seg, ids, like=with_geometry_of(label, fixed), key=label_key)
    return tuple(path for path in targets if path.exists())


def _output_size(registration: Registration, wanted: OutputSize) -> Size:
    """Return the numbers of rows and columns of results on the working grid, or with pixels like the moving image's."""
    files, (on, image) = registration.pair.pictures, registration.pair.places
    pixel = on.step  # of the result, in pixels of the fixed file
    if wanted == "moving" and files is not None:
        own, other = files.fixed.spacing, files.moving.spacing
        if own is None or other is None:
            own, other = image.step, on.step
        pixel = other[0] / own[0], other[1] / own[1]
    rows, columns = (max(1, round(length / step)) for length, step in zip(on.size, pixel, strict=True))
    return rows, columns


@contextmanager
def _all_or_none(targets: Sequence[Path]) -> Iterator[None]:
    """Remove what the block wrote of `targets` if it fails: half of the results would pass for all of them."""
    before = {path: path.stat().st_ino for path in targets if path.exists()}
    try:
        yield
    except BaseException:
        for path in targets:
            if path.exists() and path.stat().st_ino != before.get(path):
                path.unlink()
        raise


def with_geometry_of(picture: Picture, fixed: Picture) -> Picture:
    """Return `picture` with the fixed image's grid and geometry, as a template for the header of a result."""
    size = np.broadcast_to(picture.array.dtype.type(0), fixed.size)
    if fixed.tags is not None and fixed.tags.resolution is not None:
        picture = replace(picture, tags=fixed.tags.with_profile_of(picture.tags))
    if fixed.geometry is None:
        return replace(picture, array=size)
    header = picture.header
    if extension(picture.path) in NIFTI and header is not None:
        header = header.copy()
        # The codes name the affine's target space, so they are copied with it; 0 would mark it as unknown.
        header["sform_code"], header["qform_code"] = (2, 0) if fixed.geometry.placed else (0, 0)
        if extension(fixed.path) in NIFTI and fixed.header is not None:
            for code in ("sform_code", "qform_code"):
                header[code] = fixed.header[code]
            header.set_xyzt_units(*fixed.header.get_xyzt_units())
        if len(header.get_data_shape()) == 2 and not itk_geometry(fixed).in_xy_plane:
            header.set_data_shape((*header.get_data_shape(), 1))  # a 2-D header cannot express this geometry in ITK
    geometry = replace(fixed.geometry, axes=(0, 1) if _as_0_1_read_it(picture) else (1, 0))
    return replace(picture, array=size, geometry=geometry, header=header)


def refuse_input(target: Path, inputs: list[Path]) -> None:
    """Raise FileError if writing `target` would replace one of `inputs`."""
    if target.exists() and any(path.exists() and target.samefile(path) for path in inputs):
        raise FileError(target, "is read from, and the result would take its place", "Choose another --out.")


def result_extension(picture: Picture) -> str:
    """Return the file extension for results of a picture: its own format, or .mha if that cannot hold its values."""
    suffix, array = output_extension(picture.path), picture.array
    fits = array.dtype.kind in "bui" and array.min() >= 0 and array.max() < 2**16
    return suffix if fits or suffix not in _SIXTEEN_BITS else ".mha"


def _flow_paths(prefix: Path) -> tuple[Path, Path, Path]:
    names = ("flow.npy", "flow.json", f"displacement{FIELD_EXTENSION}")
    return tuple(prefix.with_name(prefix.name + name) for name in names)  # type: ignore[return-value]


def _as_0_1_read_it(picture: Picture) -> bool:
    """Whether a NIfTI file was read with its x along the rows, for a network of 0.1."""
    return picture.geometry is not None and picture.geometry.rows_first != picture.turn.swap


def _write_flow(
    prefix: Path, field: FileField, reference: Picture, image: Picture, sizes: Mapping[OutputSize, Size]
) -> None:
    """Write a field on `reference` that pulls `image` back: as .npy, .json sidecar, with the `sizes`, and ITK field."""
    npy, sidecar, itk_path = _flow_paths(prefix)
    with atomic_path(npy) as temporary:
        np.save(temporary, field.flow)
    record = {
        "convention": CONVENTION,
        "on": reference.path.name,
        "size": list(field.size),
        "size_convention": "of 'on'; the flow's nodes are spread evenly from its first pixel to its last",
        **{f"{name}_size": list(size) for name, size in sizes.items()},
        "image": image.path.name,
        "image_size": list(field.image_size),
        "affine": None if reference.affine is None else reference.affine.tolist(),
        "affine_convention": "(row, column, slice, 1) of 'on' to RAS+ in mm; null where the file knows no place",
        "axes": "nibabel" if any(map(_as_0_1_read_it, (reference, image))) else "itk",
        "facing": None if image.facing is None else [list(axis) for axis in image.facing],
        "on_turn": astuple(reference.turn),
        "image_turn": astuple(image.turn),
        "turn_convention": "[swap rows and columns, then reverse rows, reverse columns]: from the file to this flow",
    }
    write_text(sidecar, json.dumps(record, indent=2) + "\n")
    nodes = node_geometry(itk_geometry(reference), field.step)
    if not write_field(itk_path, field.flow, nodes, itk_geometry(image), step=field.step):
        itk_path.unlink(missing_ok=True)  # remove the one of an earlier registration
