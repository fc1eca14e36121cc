"""One picture at one place in the world, in every format, by every writer, in every orientation: one array."""

from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it

from regstudio.data.folders.layout import Case
from regstudio.data.geometry import TURNS, Geometry, Turn, turn_to
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.pairs.dataset import RegistrationDataset, load_validation_pair
from regstudio.data.pairs.reader import PairReader
from regstudio.data.pictures.formats import read_image, read_label
from regstudio.data.pictures.writing import write_image
from regstudio.data.problems import FileError
from tests.data.writers import ORIENTATIONS, PLACED, UNPLACED, by_nibabel, by_pydicom, in_the_world, written
from tests.pictures import BYTES, HEIGHT, WIDTH, ids, ramp

SQUARE = (HEIGHT, HEIGHT)


def cases(folder: Path, image: np.ndarray, label: np.ndarray, angle: float, writer: str, labels: int) -> Iterator[Case]:
    """The same case, the image in each orientation, and its label by each of some writers in another one."""
    for place, orientation in enumerate(ORIENTATIONS):
        path = written(folder, writer, image, orientation, angle, name=orientation)
        first = list(PLACED).index(writer) + labels * place
        for number, other in enumerate((list(PLACED) * 3)[first : first + labels]):
            turned = ORIENTATIONS[(place + number) % len(ORIENTATIONS)]
            yield Case(
                id=f"{orientation} and {other} {turned}",
                image=path,
                label=written(folder, other, label, turned, angle, name=f"{orientation}_{number}_seg"),
            )


@pytest.mark.parametrize(
    ("size", "angle", "labels"), [((HEIGHT, WIDTH), 12, 4), (SQUARE, 0, 1)], ids=["rotated", "square"]
)
@pytest.mark.parametrize("writer", PLACED)
def test_every_format_and_orientation_is_the_same_array_on_the_atlas(
    writer: str, size: tuple[int, int], angle: float, labels: int, tmp_path: Path
) -> None:
    image, label = (ramp(*size) * 250).astype(np.uint8), ids(*size).astype(np.uint8)
    atlas = Case(
        id="atlas",
        image=written(tmp_path, "nibabel .nii.gz", image, "LPS", angle, name="atlas"),
        label=written(tmp_path, "SimpleITK .mha", label, "RAS", angle, name="atlas_seg"),
    )
    moving = list(cases(tmp_path, image, label, angle, writer, labels))
    assert len(moving) == len(ORIENTATIONS) * labels
    dataset = RegistrationDataset(moving, atlas=atlas, label_loader=LabelLoader())
    for number, case in enumerate(moving):
        item = dataset[number]
        for name, expected in (("image", (image - image.min()) / np.float32(np.ptp(image))), ("label", label)):
            np.testing.assert_array_equal(item[f"moving_{name}"][0], item[f"fixed_{name}"][0], err_msg=case.id)
            np.testing.assert_allclose(item[f"moving_{name}"][0], expected, atol=1e-6, err_msg=case.id)


def test_the_pair_for_a_method_and_for_validation_are_the_same(tmp_path: Path) -> None:
    image, label = BYTES, ids().astype(np.uint8)
    atlas = Case(
        id="atlas",
        image=written(tmp_path, "nibabel .nii.gz", image, "ARS", name="atlas"),
        label=written(tmp_path, "nibabel .nii.gz", label, "ARS", name="atlas_seg"),
    )
    case = Case(
        id="a",
        image=written(tmp_path, "SimpleITK .nrrd", image, "RAS", name="a"),
        label=written(tmp_path, "pydicom .dcm", label, "PLS", name="a_seg"),
    )
    pair = PairReader(fixed=atlas, image_loader=ImageLoader(), label_loader=LabelLoader())(case)
    np.testing.assert_array_equal(pair.moving, pair.fixed)
    np.testing.assert_array_equal(pair.moving_label, pair.fixed_label)
    assert pair.spacing == pytest.approx(pair.moving_spacing)
    loaded = load_validation_pair(case, atlas, ImageLoader(), LabelLoader())
    np.testing.assert_array_equal(loaded["moving_image"][0], pair.fixed)
    np.testing.assert_array_equal(loaded["moving_label"][0], pair.fixed_label)


@pytest.mark.parametrize("writer", [*UNPLACED, *PLACED])
def test_a_file_without_a_place_lies_as_it_is_stored(writer: str, tmp_path: Path) -> None:
    """Its label lies on it pixel for pixel, whatever place that knows; a label without a place follows its image."""
    path = written(tmp_path, writer, BYTES)
    np.testing.assert_array_equal(read_image(path).array, BYTES)
    atlas = Case(id="atlas", image=written(tmp_path, "nibabel .nii.gz", BYTES, "RAS", name="atlas"))
    reader = PairReader(fixed=atlas, image_loader=ImageLoader(), label_loader=LabelLoader())
    turned = Turn() if writer in UNPLACED else Turn(reverse_rows=True, reverse_columns=True)
    writers = [*UNPLACED, *PLACED]
    first = writers.index(writer) * 5
    for number, other in enumerate((writers * 6)[first : first + 5]):
        label = written(tmp_path, other, ids().astype(np.uint8), name=f"x_{number}_seg")
        np.testing.assert_array_equal(read_label(label).array, ids(), err_msg=other)
        pair = reader(Case(id="x", image=path, label=label))
        np.testing.assert_allclose(pair.moving, turned.array(BYTES / np.float32(BYTES.max())), atol=1e-6)
        np.testing.assert_array_equal(pair.moving_label, turned.array(ids()), err_msg=other)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_landmarks_of_a_turned_image_are_in_pixels_of_its_file(orientation: str, tmp_path: Path) -> None:
    atlas = Case(id="atlas", image=written(tmp_path, "SimpleITK .mha", BYTES, name="atlas"))
    case = Case(id="a", image=written(tmp_path, "nibabel .nii.gz", BYTES, orientation, name="a"))
    (tmp_path / "atlas_points.csv").write_text("y,x\n5,7\n31,12\n")
    stored = sitk.ReadImage(str(case.image))
    world = [sitk.ReadImage(str(atlas.image)).TransformIndexToPhysicalPoint((x, y, 0)) for y, x in ((5, 7), (31, 12))]
    rows = [stored.TransformPhysicalPointToContinuousIndex(point) for point in world]
    (tmp_path / "a_points.csv").write_text("y,x\n" + "".join(f"{y:.6f},{x:.6f}\n" for x, y, _ in rows))
    reader = PairReader(fixed=atlas, image_loader=ImageLoader(), label_loader=LabelLoader(), with_points=True)
    np.testing.assert_allclose(reader(case).moving_points, [[5, 7], [31, 12]], atol=1e-3)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_landmarks_in_mm_lie_on_a_turned_image(orientation: str, tmp_path: Path) -> None:
    for name, turned in (("atlas", "LPS"), ("a", orientation)):
        path = written(tmp_path, "nibabel .nii.gz", BYTES, turned, name=name)
        x, y, z = in_the_world(BYTES).TransformIndexToPhysicalPoint((7, 5, 0))
        head = "# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n# columns = id,x,y,z,label\n"
        (tmp_path / f"{name}_points.fcsv").write_text(f"{head}1,{x},{y},{z},apex\n")
    atlas = Case(id="atlas", image=tmp_path / "atlas.nii.gz")
    reader = PairReader(fixed=atlas, image_loader=ImageLoader(), label_loader=LabelLoader(), with_points=True)
    pair = reader(Case(id="a", image=path))
    np.testing.assert_allclose(pair.fixed_points, [[5, 7]], atol=1e-4)
    np.testing.assert_allclose(pair.moving_points, [[5, 7]], atol=1e-4)


@pytest.mark.parametrize("name", ["IM0001", "a.ima", "a.dicom"])
def test_dicom_of_any_name_knows_its_place(tmp_path: Path, name: str) -> None:
    by_pydicom(tmp_path / name, sitk.DICOMOrient(in_the_world(BYTES), "RAS"))
    atlas = written(tmp_path, "nibabel .nii.gz", BYTES, "LPS", name="atlas")
    loader = ImageLoader().facing_as(atlas)
    np.testing.assert_array_equal(loader.picture(tmp_path / name).array, BYTES)
    assert ImageLoader().facing_as(tmp_path / name).facing == ((0, 1, 0), (1, 0, 0))


def label_on(folder: Path, change: Callable[[sitk.Image], object]) -> PairReader:
    label = in_the_world(ids().astype(np.uint8))
    change(label)
    by_nibabel(folder / "a_seg.nii", label)
    case = Case(id="a", image=written(folder, "SimpleITK .mha", BYTES, "RAS", name="a"), label=folder / "a_seg.nii")
    return PairReader(fixed=case, image_loader=ImageLoader(), label_loader=LabelLoader())


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda image: image.SetSpacing((1.6, 2.6, 2.5)), "has a spacing of 2.6 x 1.6 mm, unlike its image with 1.3 x"),
        (lambda image: image.SetOrigin((-27, 17, 40)), "lies up to 4 mm away from its image"),
        (lambda image: image.SetOrigin((-31, 17, 45)), "lies up to 5 mm away from its image"),
        (lambda image: image.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, 1)), "lies up to 44 mm away from its image"),
    ],
    ids=["another spacing", "shifted", "another slice", "mirrored in the world"],
)
def test_a_label_that_lies_elsewhere_is_refused(
    change: Callable[[sitk.Image], object], what: str, tmp_path: Path
) -> None:
    reader = label_on(tmp_path, change)
    with pytest.raises(FileError, match=rf"a_seg\.nii: {what}"):
        reader(reader.fixed)


def test_rounding_moves_no_label(tmp_path: Path) -> None:
    reader = label_on(tmp_path, lambda image: image.SetOrigin((-31.01, 17.01, 40.001)))
    assert reader(reader.fixed).fixed_label is not None


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_a_turn_takes_pixels_places_and_points_alike(turn: Turn) -> None:
    geometry = Geometry(affine=np.array([[0, 0.8, 0, 3], [-1.3, 0, 0, 9], [0, 0, 2, 5], [0, 0, 0, 1]]))
    turned, there = turn.array(BYTES), turn.geometry(geometry, BYTES.shape)
    assert turned.shape == turn.shape(BYTES.shape)
    for y, x in ((0, 0), (3, 50), (39, 7)):
        (row, column), *_ = np.rint(turn.points(np.array([[y, x]]), BYTES.shape)).astype(int)
        assert turned[row, column] == BYTES[y, x]
        np.testing.assert_allclose(there.affine @ (row, column, 0, 1), geometry.affine @ (y, x, 0, 1))
        np.testing.assert_allclose(turn.points(np.array([[row, column]]), BYTES.shape, back=True), [[y, x]])
    assert geometry.facing is not None
    assert there.facing is not None
    back, angle = turn_to(there.facing, geometry.facing)
    np.testing.assert_array_equal(back.array(turned), BYTES)
    assert angle == pytest.approx(0, abs=0.02)


CODES = [(s, q) for s in (0, 1, 2, 4) for q in (0, 1, 3)]


@pytest.mark.parametrize(("sform", "qform"), CODES)
@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.7, 1.3, 2)])
@pytest.mark.parametrize("shape", [(WIDTH, HEIGHT), (WIDTH, HEIGHT, 1)])
@pytest.mark.parametrize("unit", ["mm", "micron", "meter"])
def test_a_nifti_lies_where_itk_reads_it(
    sform: int, qform: int, spacing: tuple[float, ...], shape: tuple[int, ...], unit: str, tmp_path: Path
) -> None:
    """Also where its two affines differ, as SPM's coregistration leaves them, and where it has none."""
    first, second = np.diag([*spacing, 1.0]), np.diag([*spacing, 1.0])
    angle = np.deg2rad(10)
    second[:2, :2] = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ second[:2, :2]
    second[:3, 3] = 8, -3, 5
    file = nib.Nifti1Image(BYTES.T.reshape(shape), None)
    file.set_qform(first, qform)
    file.set_sform(second, sform)
    file.header.set_xyzt_units(unit)
    nib.save(file, tmp_path / "a.nii")
    geometry, theirs = read_image(tmp_path / "a.nii").geometry, sitk.ReadImage(str(tmp_path / "a.nii"))
    assert geometry is not None
    assert geometry.placed == bool(sform or qform)
    assert geometry.dimension == theirs.GetDimension() == len(shape)
    assert geometry.spacing == pytest.approx(theirs.GetSpacing()[1::-1], rel=1e-5)
    for index in ((0, 0), (WIDTH - 1, HEIGHT - 1), (3, 20)):
        point = theirs.TransformIndexToPhysicalPoint((*index, 0)[: len(shape)])
        ours = (geometry.affine @ (index[1], index[0], 0, 1))[:3] * (-1, -1, 1)
        size = np.linalg.norm(theirs.GetSpacing())
        np.testing.assert_allclose(ours[: len(shape)], point, atol=1e-3 * size)


@pytest.mark.parametrize(("unit", "mm"), [("um", 1e-3), ("cm", 10), ("mm", 1), ("parsec", 1), ("", 1)])
@pytest.mark.parametrize("field", ["space units", "units"])
def test_an_nrrd_in_another_unit_lies_in_mm(field: str, unit: str, mm: float, tmp_path: Path) -> None:
    space = "space directions: (0.5,0) (0,2)\nspace origin: (30,40)" if "space" in field else "spacings: 0.5 2"
    dimension = "space dimension: 2\n" if "space" in field else ""
    head = f"NRRD0004\ntype: uint8\ndimension: 2\n{dimension}sizes: {WIDTH} {HEIGHT}\n{space}\nencoding: raw\n"
    (tmp_path / "a.nrrd").write_bytes(f'{head}{field}: "{unit}" "{unit}"\n\n'.encode() + BYTES.tobytes())
    read = read_image(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(read.array, BYTES)
    assert read.spacing == pytest.approx((2 * mm, 0.5 * mm))
    assert read.affine is not None
    assert abs(read.affine[:2, 3]) == pytest.approx([30 * mm, 40 * mm] if "space" in field else [0, 0])
    write_image(tmp_path / "b.nrrd", BYTES, like=read)
    np.testing.assert_allclose(read_image(tmp_path / "b.nrrd").affine, read.affine)


def test_an_x_ray_without_a_place_is_not_turned(tmp_path: Path) -> None:
    by_pydicom(tmp_path / "a.dcm", in_the_world(BYTES))
    data = pydicom.dcmread(tmp_path / "a.dcm")
    del data.ImageOrientationPatient, data.ImagePositionPatient
    data.save_as(tmp_path / "b.dcm")
    assert read_image(tmp_path / "a.dcm").facing == ((0, -1, 0), (-1, 0, 0))
    found = read_image(tmp_path / "b.dcm")
    assert found.facing is None
    np.testing.assert_array_equal(found.array, BYTES)
