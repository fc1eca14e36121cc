"""Displacements as ITK and ANTs know them: vectors in mm (LPS) from points of one file's grid to points of another's.

A flow says warped(p) = moving(p + flow(p)) in pixels of arrays; ITK moves physical points. So the vector at the fixed
pixel p is M(p + flow(p)) - F(p), where F and M take pixels of the fixed and the moving file to the world as ITK reads
these files: the difference of the two geometries is part of the displacement.
"""

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.codecs import itk, nifti
from regstudio.data.formats import Picture, extension
from regstudio.data.loaders import DataWarning
from regstudio.data.problems import FileError
from regstudio.data.writing import resize_matrix
from regstudio.files import atomic_path

Array = npt.NDArray[Any]

ENDING = ".nii.gz"
_TO_MM = {"micron": 1e-3, "meter": 1e3}
_PIXELS = np.eye(4)[:, [1, 0, 2, 3]]  # what ITK takes a file to be that knows no place: rows along y, columns along x


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """Where a picture lies as ITK reads its file: `matrix` (4, 4) takes (row, column, slice, 1) to LPS, in mm.

    `dimension` is 2 or 3, what ITK counts in the file; `rows_first` is true where ITK's x runs along the rows (NIfTI).
    """

    path: Path
    matrix: Array
    dimension: int
    rows_first: bool

    @property
    def flat(self) -> bool:
        """Whether rows and columns lie in ITK's plane of x and y."""
        return np.allclose(self.matrix[2, :2], 0, atol=1e-6) and np.linalg.det(self.matrix[:2, :2]) != 0

    def world(self, pixels: Array) -> Array:
        """Take pixels (2, ...) of rows and columns to the world: (3, ...)."""
        turned = np.tensordot(self.matrix[:3, :2], pixels, axes=1)
        moved: Array = turned + np.reshape(self.matrix[:3, 3], (3, *[1] * (pixels.ndim - 1)))
        return moved

    def pixels(self, world: Array, dimension: int) -> Array:
        """Take points (dimension, ...) of the world to pixels (2, ...); NaN where they lie in another slice."""
        square, origin = self.matrix[:dimension, :dimension], self.matrix[:dimension, 3]
        index = np.tensordot(np.linalg.inv(square), world - np.reshape(origin, (-1, *[1] * (world.ndim - 1))), axes=1)
        found: Array = index[:2]
        return found if dimension == 2 else np.where(np.abs(index[2]) <= 0.5, found, np.nan)


def place_of(picture: Picture, shape: tuple[int, ...] | None = None) -> Place:
    """Return where a picture lies, or would lie if it had `shape` and showed the same field of view."""
    header, is_nifti = picture.header, extension(picture.path) in (".nii", ".nii.gz")
    matrix, dimension = _PIXELS, 2
    if picture.affine is not None:
        matrix = itk.LPS_TO_RAS @ picture.affine  # which is its own inverse
        dimension = header.dimension if isinstance(header, itk.Header) else 3
    if is_nifti and header is not None:
        dimension = min(3, len(header.get_data_shape()))
        if picture.affine is not None:
            matrix = _as_itk_reads(picture.affine, header)
    return Place(
        path=picture.path,
        matrix=matrix @ resize_matrix(picture.array.shape, shape or picture.array.shape),
        dimension=dimension,
        rows_first=is_nifti,
    )


def _as_itk_reads(affine: Array, header: Any) -> Array:
    """Return a NIfTI picture's matrix to LPS in mm, in the two cases where ITK differs from nibabel's affine too."""
    matrix: Array = itk.LPS_TO_RAS @ affine
    if not (header["sform_code"] or header["qform_code"]):
        # Nothing is known but the spacing: nibabel puts the middle at 0 and turns x round, ITK does neither.
        zooms = np.ones(4)
        zooms[: min(3, len(header.get_zooms()))] = header.get_zooms()[:3]
        matrix = np.diag(zooms) @ np.linalg.inv(header.get_base_affine()) @ affine
    return np.diag([*[_TO_MM.get(header.get_xyzt_units()[0], 1.0)] * 3, 1.0]) @ matrix


def write_field(path: Path, flow: Array, on: Place, into: Place) -> bool:
    """Write a flow (2, H, W) as an ITK displacement field on the grid `on`, a NIfTI with intent vector, LPS, mm.

    `into` is the place of what is pulled back, `on` that of the grid, each at the flow's size. The field has two
    dimensions where ITK reads the file `into` so and both lie flat; else three, with the slice twice. Returns False,
    with a warning, where the grid has no right angles, which ITK cannot express.
    """
    dimension = 2 if into.dimension == 2 and into.flat and on.flat else 3
    grid = np.indices(flow.shape[1:])
    vectors = np.moveaxis(into.world(grid + flow.astype(np.float64)) - on.world(grid), 0, -1)[..., :dimension]
    axes = on.matrix[:dimension, [0, 1, 2] if on.rows_first else [1, 0, 2]][:, :dimension]
    spacing = np.linalg.norm(axes, axis=0)
    direction = axes / spacing
    if not np.allclose(direction.T @ direction, np.eye(dimension), atol=1e-4):
        what = "its axes are not at right angles, which ITK cannot express; no displacement field is written"
        warnings.warn(DataWarning(f"{on.path}: {what}. Use the flow in pixels."), stacklevel=2)
        return False
    array = vectors.swapaxes(0, 1) if on.rows_first else vectors
    sitk = itk.simpleitk()
    # Of one slice alone, ITK would read a NIfTI vector image back as 2-D; so the slice is there twice.
    stack = array if dimension == 2 else np.stack([array, array])
    image = sitk.GetImageFromArray(np.ascontiguousarray(stack, np.float32), isVector=True)
    image.SetSpacing(spacing.tolist())
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin(on.matrix[:dimension, 3].tolist())
    with TemporaryDirectory() as folder:
        plain = Path(folder, "field.nii")  # which is sooner compressed by others than by ITK
        sitk.WriteImage(image, str(plain))
        content = plain.read_bytes()
    with atomic_path(path) as temporary:
        nifti.write_bytes(temporary, content)
    return True


def read_field(path: Path, image: Picture) -> tuple[Array, Array]:
    """Read an ITK displacement field, for pulling `image` back: its flow (2, H, W), and its affine to RAS+.

    The flow's grid is the field's, its values pixels of `image`, with NaN where the field points out of its slice. Rows
    and columns are x and y of the field where the image is NIfTI, else y and x, as for images of these formats. Raises
    FileError for a file that is no such field.
    """
    sitk = itk.simpleitk()
    place = place_of(image)
    vectors, matrix = _vectors(path, sitk)
    dimension = vectors.shape[-1]
    if place.rows_first:
        vectors, matrix = vectors.swapaxes(0, 1), matrix[:, [1, 0, 2, 3]]
    on = Place(path=path, matrix=matrix, dimension=dimension, rows_first=place.rows_first)
    grid = np.indices(vectors.shape[:2])
    targets = on.world(grid)[:dimension] + np.moveaxis(vectors, -1, 0)
    if dimension == 2 and not place.flat:
        what = f"has two dimensions, and {image.path.name} does not lie in the plane of x and y"
        raise FileError(path, what, "Use the flow in pixels.")
    return place.pixels(targets, dimension) - grid, itk.LPS_TO_RAS @ matrix


def _vectors(path: Path, sitk: Any) -> tuple[Array, Array]:
    """Return a field's vectors (H, W, dimension) and the matrix (4, 4) of (y, x, z, 1) to LPS."""
    remedy = "Name a displacement field in mm, as antsRegistration and RegStudio write it (..._displacement.nii.gz)."
    if not path.is_file():
        raise FileError(path, "there is no such file", "Check the name.")
    try:
        if extension(path) in (".nii", ".nii.gz"):
            nifti.refuse_huge_header(path)
        image = sitk.ReadImage(str(path))
    except (RuntimeError, OSError, EOFError, struct.error) as error:
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
