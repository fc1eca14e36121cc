"""ITK displacement fields: vectors in mm (LPS) from a reference grid to moving space, as ITK and ANTs use them.

A flow is in array pixels, warped(p) = moving(p + flow(p)); ITK moves physical points. So the vector at the fixed pixel
p is M(p + flow(p)) - F(p), where F and M map pixels of the fixed and the moving file to physical points as ITK reads
these files: the difference of the two geometries is part of the displacement.
"""

import struct
import warnings
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.codecs import itk, nifti
from regstudio.data.codecs.bounds import check_gzip, check_header
from regstudio.data.codecs.silence import silence_stderr
from regstudio.data.geometry import LPS_TO_RAS
from regstudio.data.loading.loaders import DataWarning
from regstudio.data.pictures.formats import extension
from regstudio.data.pictures.picture import Picture
from regstudio.data.pictures.planes import NIFTI
from regstudio.data.problems import FileError
from regstudio.files import atomic_path, temporary_folder

Array = npt.NDArray[Any]

FIELD_EXTENSION = ".nii.gz"
NIFTI_HEADER_BYTES = 352  # before the pixels
_READERS = {".nii": "NiftiImageIO", ".nii.gz": "NiftiImageIO", ".mha": "MetaImageIO", ".nrrd": "NrrdImageIO"}
_NO_GEOMETRY = np.eye(4)[:, [1, 0, 2, 3]]  # how ITK reads a file without geometry: rows along y, columns along x


@dataclass(frozen=True, kw_only=True, eq=False)
class ItkGeometry:
    """The geometry of a picture as ITK reads its file: `matrix` (4, 4) maps (row, column, slice, 1) to LPS in mm.

    `dimension` (2 or 3) is the number of axes that ITK sees; `rows_first` is true if ITK's x is the row index (NIfTI
    as version 0.1 read it).
    """

    path: Path
    matrix: Array
    dimension: int
    rows_first: bool

    @property
    def in_xy_plane(self) -> bool:
        """Whether the slice lies in ITK's x-y plane."""
        return np.allclose(self.matrix[2, :2], 0, atol=1e-6) and np.linalg.det(self.matrix[:2, :2]) != 0

    def to_physical(self, pixels: Array) -> Array:
        """Map pixels (2, ...), (row, column), to physical points (3, ...) in mm, LPS."""
        offsets = np.tensordot(self.matrix[:3, :2], pixels, axes=1)
        points: Array = offsets + np.reshape(self.matrix[:3, 3], (3, *[1] * (pixels.ndim - 1)))
        return points

    def to_pixels(self, points: Array, dimension: int) -> Array:
        """Map physical points (dimension, ...) in mm to pixels (2, ...); NaN for points in another slice."""
        linear, origin = self.matrix[:dimension, :dimension], self.matrix[:dimension, 3]
        index = np.tensordot(np.linalg.inv(linear), points - np.reshape(origin, (-1, *[1] * (points.ndim - 1))), axes=1)
        pixels: Array = index[:2]
        return pixels if dimension == 2 else np.where(np.abs(index[2]) <= 0.5, pixels, np.nan)


def itk_geometry(picture: Picture) -> ItkGeometry:
    """Return the geometry of a picture: without one of its own, the resolution of a TIFF or JPEG is ITK's spacing."""
    geometry = picture.geometry
    matrix = LPS_TO_RAS @ geometry.affine if geometry is not None else _NO_GEOMETRY  # LPS_TO_RAS is its own inverse
    if geometry is None and picture.tags is not None and picture.tags.spacing is not None:
        matrix = matrix @ np.diag([*picture.tags.spacing, 1, 1])
    return ItkGeometry(
        path=picture.path,
        matrix=matrix,
        dimension=2 if geometry is None else geometry.dimension,
        rows_first=geometry is not None and geometry.rows_first and extension(picture.path) in NIFTI,
    )


def node_geometry(picture: ItkGeometry, step: tuple[float, float]) -> ItkGeometry:
    """Return the geometry of nodes that are `step` pixels of a picture apart, from its first pixel on."""
    return replace(picture, matrix=picture.matrix @ np.diag([*step, 1, 1]))


def write_field(
    path: Path, flow: Array, reference: ItkGeometry, moving: ItkGeometry, *, step: tuple[float, float] = (1.0, 1.0)
) -> bool:
    """Write a flow (2, H, W) between two files as an ITK displacement field in mm (LPS): a NIfTI with intent vector.

    `reference` is the geometry of the flow's nodes, which are `step` pixels of their file apart, `moving` that of the
    image it pulls back. The field is 2-D if ITK reads the moving file as 2-D and both lie in the x-y plane; otherwise
    3-D, with the slice twice. Writes nothing, warns and returns False if the grid's axes are not orthogonal, which ITK
    cannot express.
    """
    dimension = 2 if moving.dimension == 2 and moving.in_xy_plane and reference.in_xy_plane else 3
    grid = np.indices(flow.shape[1:])
    targets = moving.to_physical(grid * np.reshape(step, (2, 1, 1)) + flow)
    vectors = np.moveaxis(targets - reference.to_physical(grid), 0, -1)[..., :dimension]
    axes = reference.matrix[:dimension, [0, 1, 2] if reference.rows_first else [1, 0, 2]][:, :dimension]
    spacing = np.linalg.norm(axes, axis=0)
    direction = axes / spacing
    if not np.allclose(direction.T @ direction, np.eye(dimension), atol=1e-4):
        what = "its axes are not at right angles, which ITK cannot express; no displacement field is written"
        warnings.warn(DataWarning(f"{reference.path}: {what}. Use the flow in pixels."), stacklevel=2)
        return False
    array = vectors.swapaxes(0, 1) if reference.rows_first else vectors
    sitk = itk.simpleitk()
    # ITK reads a NIfTI vector image of one slice back as 2-D, so write the slice twice.
    stack = array if dimension == 2 else np.stack([array, array])
    image = sitk.GetImageFromArray(np.ascontiguousarray(stack, np.float32), isVector=True)
    image.SetSpacing(spacing.tolist())
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin(reference.matrix[:dimension, 3].tolist())
    with temporary_folder() as folder:
        uncompressed = folder / "field.nii"  # our own compression is faster than ITK's
        sitk.WriteImage(image, str(uncompressed))
        content = uncompressed.read_bytes()
        if len(content) < NIFTI_HEADER_BYTES + 4 * stack.size:  # ITK says nothing of a full disk here
            raise OSError(f"{uncompressed}: only {len(content):,} bytes were written")
    with atomic_path(path) as temporary:
        nifti.write_bytes(temporary, content)
    return True


def read_field(path: Path, image: Picture) -> tuple[Array, Array]:
    """Read an ITK displacement field for warping `image`: its flow (2, H, W) and the affine (4, 4) to RAS+ in mm.

    The flow lies on the field's grid, with values in pixels of `image` and NaN where the field points out of its slice.
    Raises FileError if the file is no displacement field.
    """
    sitk = itk.simpleitk()
    moving = itk_geometry(image)
    vectors, matrix = _read_vectors(path, sitk)
    dimension = vectors.shape[-1]
    reference = ItkGeometry(path=path, matrix=matrix, dimension=dimension, rows_first=False)
    grid = np.indices(vectors.shape[:2])
    targets = reference.to_physical(grid)[:dimension] + np.moveaxis(vectors, -1, 0)
    if dimension == 2 and not moving.in_xy_plane:
        what = f"has two dimensions, and {image.path.name} does not lie in the plane of x and y"
        raise FileError(path, what, "Use the flow in pixels.")
    return moving.to_pixels(targets, dimension) - grid, LPS_TO_RAS @ matrix


def _read_vectors(path: Path, sitk: Any) -> tuple[Array, Array]:
    """Return a field's vectors (H, W, dimension) in mm and the matrix (4, 4) from (y, x, z, 1) to LPS in mm."""
    remedy = "Name a displacement field in mm, as antsRegistration and RegStudio write it (..._displacement.nii.gz)."
    if not path.is_file():
        raise FileError(path, "there is no such file", "Check the name.")
    if extension(path) not in _READERS:
        raise FileError(path, f"is no displacement field: fields are {', '.join(_READERS)}", remedy)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_READERS[extension(path)])  # otherwise ITK accepts any content behind any extension
    reader.SetFileName(str(path))
    try:
        check_header(path)
        if extension(path) == ".nii.gz":
            check_gzip(path)
        with silence_stderr():
            image = reader.Execute()
    except (RuntimeError, OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise FileError(path, "cannot be read as a displacement field", remedy) from error
    array, dimension = sitk.GetArrayFromImage(image), image.GetDimension()
    if array.ndim != dimension + 1 or array.shape[-1] != dimension or (dimension == 3 and (array != array[:1]).any()):
        raise FileError(path, f"holds {array.shape}, not a vector of 2 or 3 for each pixel of one slice", remedy)
    if not np.isfinite(array).all():
        raise FileError(path, "holds NaN or infinity", "Export it again.")
    matrix = np.eye(4)
    matrix[:dimension, :dimension] = np.reshape(image.GetDirection(), (dimension, dimension)) * image.GetSpacing()
    matrix[:dimension, 3] = image.GetOrigin()
    return (array if dimension == 2 else array[0]).astype(np.float64), matrix[:, [1, 0, 2, 3]]
