"""Any picture in any format: what is written is read back, and what SimpleITK writes is read as SimpleITK reads it."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regstudio.data.geometry import LPS_TO_RAS, Geometry
from regstudio.data.pictures.formats import read_image, read_label
from regstudio.data.pictures.picture import Picture
from regstudio.data.pictures.writing import write_image, write_label

WITH_A_PLACE = (".nii", ".nii.gz", ".mha", ".nrrd")
TYPES = {  # of grey, and of colours with their numbers of channels
    ".png": ("u1 u2", "u1 u2", (2, 3, 4)),
    ".bmp": ("u1", "u1", (3,)),
    ".tif": ("u1 u2 u4 i1 i2 i4 f4", "u1 u2 f4", (2, 3, 4)),
    ".npy": ("u1 u2 u4 i1 i2 i4 f4", "u1", (3, 4)),
    ".npz": ("u1 u2 u4 i1 i2 i4 f4", "u1", (3, 4)),
    ".nii": ("u1 u2 u4 i1 i2 i4 f4", "u1 u2", (3, 4)),
    ".nii.gz": ("u1 u2 u4 i1 i2 i4 f4", "u1 u2", (3, 4)),
    ".mha": ("u1 u2 u4 i1 i2 i4 f4", "u1 u2", (3, 4)),
    ".nrrd": ("u1 u2 u4 i1 i2 i4 f4", "u1 u2", (3, 4)),
}
sides = st.integers(2, 9)
lengths = st.floats(1e-3, 50)
angles = st.floats(-180, 180)
many = settings(max_examples=40, deadline=None, derandomize=True, database=None)


def of_type(dtype: str, shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    if dtype == "f4":
        return arrays(dtype, shape, elements=st.floats(-1e6, 1e6, width=32))
    return arrays(dtype, shape)


@st.composite
def pictures(draw: st.DrawFn, ending: str) -> np.ndarray:
    grey, colours, channels = TYPES[ending]
    size = draw(sides), draw(sides)
    if draw(st.booleans()):
        return draw(of_type(draw(st.sampled_from(grey.split())), size))
    return draw(of_type(draw(st.sampled_from(colours.split())), (*size, draw(st.sampled_from(channels)))))


@st.composite
def directions(draw: st.DrawFn) -> np.ndarray:
    """Any three axes at right angles, right-handed or left-handed."""
    turned = np.eye(3)[list(draw(st.permutations(range(3))))]
    for axis in range(3):
        cosine, sine = np.cos(np.deg2rad(angle := draw(angles))), np.sin(np.deg2rad(angle))
        rotation = np.eye(3)
        rotation[np.ix_([(axis + 1) % 3, (axis + 2) % 3], [(axis + 1) % 3, (axis + 2) % 3])] = [
            [cosine, -sine],
            [sine, cosine],
        ]
        turned = rotation @ turned
    return turned * draw(st.sampled_from([1, -1]))


@st.composite
def places(draw: st.DrawFn) -> np.ndarray:
    """A matrix from (row, column, slice, 1) to the world."""
    affine = np.eye(4)
    affine[:3, :3] = draw(directions()) * [draw(lengths) for _ in range(3)]
    affine[:3, 3] = [draw(st.floats(-1e3, 1e3)) for _ in range(3)]
    return affine


@pytest.mark.slow
@pytest.mark.parametrize("ending", TYPES)
def test_what_is_written_is_read_back(ending: str) -> None:
    @many
    @given(array=pictures(ending), affine=places())
    def check(array: np.ndarray, affine: np.ndarray) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder, f"a{ending}")
            like = Picture(array=array, path=path, geometry=Geometry(affine=affine))
            write_image(path, array, like=like)
            read = read_image(path, colour=True)
            assert read.array.dtype == array.dtype
            np.testing.assert_array_equal(read.array, array)
            if ending in WITH_A_PLACE:
                check_place(read, affine)
            if array.dtype.kind in "ui" and array.ndim == 2:
                write_label(path, array, like=like)
                label = read_label(path)
                np.testing.assert_array_equal(label.array, array)
                if ending in WITH_A_PLACE:
                    check_place(label, affine)

    check()


def check_place(read: Picture, affine: np.ndarray) -> None:
    assert read.geometry is not None
    scale = np.abs(affine).max()
    np.testing.assert_allclose(read.geometry.affine[:3, [0, 1, 3]], affine[:3, [0, 1, 3]], atol=1e-5 * scale)
    assert read.spacing == pytest.approx(np.linalg.norm(affine[:3, :2], axis=0), rel=1e-4)
    facing = (affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)).T
    np.testing.assert_allclose(read.facing, facing, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("ending", WITH_A_PLACE)
def test_what_simpleitk_writes_is_read_as_simpleitk_reads_it(ending: str) -> None:
    @many
    @given(data=st.data(), direction=directions(), compressed=st.booleans())
    def check(data: st.DataObject, direction: np.ndarray, compressed: bool) -> None:
        dtype, height, width = (
            data.draw(st.sampled_from([*TYPES[ending][0].split(), "f8", "i8"])),
            data.draw(sides),
            data.draw(sides),
        )
        kind = "f4" if dtype == "f8" else "i4" if dtype == "i8" else dtype
        image = sitk.GetImageFromArray(data.draw(of_type(kind, (1, height, width))).astype(dtype))
        image.SetSpacing([data.draw(lengths) for _ in range(3)])
        image.SetOrigin([data.draw(st.floats(-1e3, 1e3)) for _ in range(3)])
        image.SetDirection(direction.ravel().tolist())
        with TemporaryDirectory() as folder:
            path = Path(folder, f"a{ending}")
            sitk.WriteImage(image, str(path), useCompression=compressed)
            read, theirs = read_image(path), sitk.ReadImage(str(path))
            np.testing.assert_array_equal(read.array, sitk.GetArrayFromImage(theirs)[0])
            assert read.affine is not None
            assert read.spacing == pytest.approx(theirs.GetSpacing()[1::-1], rel=1e-6)
            for row, column in ((0, 0), (height - 1, 0), (0, width - 1)):
                world = LPS_TO_RAS @ (*theirs.TransformIndexToPhysicalPoint((column, row, 0)), 1)
                np.testing.assert_allclose(read.affine @ (row, column, 0, 1), world, rtol=1e-5, atol=1e-3)

    check()
