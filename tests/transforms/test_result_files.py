"""Results in the formats they came from, at the place they belong to, in the units they had."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image
from scipy import ndimage

from regstudio.data.pictures.formats import read_image, read_label
from regstudio.data.pictures.picture import Picture
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.data.problems import FileError
from regstudio.methods.network import NetworkMethod
from regstudio.registering.two_images import register
from regstudio.transforms.resampling import points_into, sample_linear
from regstudio.transforms.result_files import save_registration
from tests.known_flows import register_files_as, registered_by, shifted

FLOW_FILES = ["x_flow.npy", "x_flow.json", "x_displacement.nii.gz"]
X_FIRST = [1, 0, 2, 3]
OBLIQUE = np.array([[0, -2, 0, 5], [1.5, 0, 0, -7], [0, 0, 3, 11], [0, 0, 0, 1]], float)


def write_ct(path: Path, image: np.ndarray, affine: np.ndarray = OBLIQUE) -> np.ndarray:
    """Write a slice in Hounsfield units as int16, with a header to be kept; return its values."""
    values = np.rint(image * 2000 - 1024).astype(np.int16)
    file = nib.Nifti1Image(values.T[..., None], None)  # nibabel counts x, the columns, first
    file.header.set_xyzt_units("mm", "sec")
    file.header["descrip"] = b"a CT"
    file.set_sform(affine[:, X_FIRST], code=4)
    file.set_qform(affine[:, X_FIRST], code=1)
    nib.save(file, path)
    return values


def save(method: NetworkMethod, out: Path, fixed: Path, moving: Path, label: Path | None = None) -> dict[str, Path]:
    pictures = read_image(fixed), read_image(moving)
    label_picture = None if label is None else read_label(label)
    written = save_registration(register_files_as(method, *pictures, label_picture), out, "x")
    assert sorted(written) == sorted(out.iterdir())
    ends = {".json": "_convention"}
    return {path.name.removeprefix("x_").split(".")[0] + ends.get(path.suffix, ""): path for path in written}


def test_nifti_keeps_header_units_and_dtype(
    tmp_path: Path, shift: NetworkMethod, image: np.ndarray, label: np.ndarray
) -> None:
    values = write_ct(tmp_path / "ct.nii.gz", image)
    write_label(tmp_path / "ct_seg.nii.gz", label, like=read_image(tmp_path / "ct.nii.gz"))
    write_image(tmp_path / "fixed.png", image)
    written = save(shift, tmp_path / "out", tmp_path / "fixed.png", tmp_path / "ct.nii.gz", tmp_path / "ct_seg.nii.gz")
    assert [path.name for path in written.values()] == ["x_warped.nii.gz", *FLOW_FILES, "x_warped_seg.nii.gz"]

    warped, seg = (nib.load(written[name]) for name in ("warped", "warped_seg"))
    np.testing.assert_array_equal(np.asarray(warped.dataobj)[..., 0].T, shifted(values, outside=-1024))
    assert warped.get_data_dtype() == np.int16
    assert bytes(warped.header["descrip"]).rstrip(b"\0") == b"a CT"
    np.testing.assert_array_equal(np.asarray(seg.dataobj)[..., 0].T, shifted(label))
    for file in (warped, seg):
        np.testing.assert_allclose(file.affine, OBLIQUE[:, X_FIRST])
        assert file.header.get_zooms()[:3] == (2, 1.5, 3)
        assert (file.header["sform_code"], file.header["qform_code"]) == (4, 1)
        assert file.header.get_xyzt_units() == ("mm", "sec")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mha", ".nrrd"])
def test_results_lie_where_the_fixed_image_lies(
    ending: str, tmp_path: Path, shift: NetworkMethod, image: np.ndarray
) -> None:
    place = np.array([[1, 0, 0, 50], [0, 2, 0, 60], [0, 0, 1, 70], [0, 0, 0, 1]], float)
    write_ct(tmp_path / "fixed.nii", image, affine=place)
    write_ct(tmp_path / "ct.nii", image)
    moving = tmp_path / f"moving{ending}"
    write_image(moving, read_image(tmp_path / "ct.nii").array, like=read_image(tmp_path / "ct.nii"))
    written = save(shift, tmp_path / "out", tmp_path / "fixed.nii", moving)
    np.testing.assert_allclose(read_image(written["warped"]).affine, place)
    np.testing.assert_allclose(json.loads(written["flow_convention"].read_text())["affine"], place)


@pytest.mark.parametrize(("fixed", "codes"), [("fixed.nii", (4, 1)), ("fixed.mha", (2, 0))])
def test_a_nifti_without_a_place_gets_the_fixed_one(
    fixed: str, codes: tuple[int, int], tmp_path: Path, shift: NetworkMethod, image: np.ndarray
) -> None:
    write_ct(tmp_path / "fixed.nii", image)
    if fixed != "fixed.nii":
        write_image(tmp_path / fixed, image, like=read_image(tmp_path / "fixed.nii"))
    nib.save(nib.Nifti1Image(image.T, None), tmp_path / "x.nii")
    written = save(shift, tmp_path / "out", tmp_path / fixed, tmp_path / "x.nii")
    file = nib.load(written["warped"])
    np.testing.assert_allclose(file.affine, OBLIQUE[:, X_FIRST])
    assert (file.header["sform_code"], file.header["qform_code"]) == codes


@pytest.mark.parametrize(
    ("ending", "label_ending", "expected"),
    [
        (".png", ".png", ["x_warped.png", "x_warped_seg.png"]),
        (".jpg", ".npy", ["x_warped.png", "x_warped_seg.npy"]),
        (".tif", ".nii", ["x_warped.tif", "x_warped_seg.nii"]),
        (".bmp", ".png", ["x_warped.bmp", "x_warped_seg.png"]),
        (".npy", ".npz", ["x_warped.npy", "x_warped_seg.npz"]),
        (".npz", ".npz", ["x_warped.npz", "x_warped_seg.npz"]),
        (".mha", ".mha", ["x_warped.mha", "x_warped_seg.mha"]),
        (".nrrd", ".png", ["x_warped.nrrd", "x_warped_seg.png"]),
    ],
)
def test_each_family_stays_itself(
    ending: str,
    label_ending: str,
    expected: list[str],
    tmp_path: Path,
    shift: NetworkMethod,
    image: np.ndarray,
    label: np.ndarray,
) -> None:
    moving, seg = tmp_path / f"x{ending}", tmp_path / f"x_seg{label_ending}"
    write_image(moving, np.rint(image * 200 + 20).astype(np.uint8))
    write_label(seg, label)
    written = save(shift, tmp_path / "out", moving, moving, seg)
    assert [path.name for path in written.values()] == [expected[0], *FLOW_FILES, expected[1]]
    read = read_image(moving).array
    warped = read_image(written["warped"]).array
    np.testing.assert_array_equal(warped, shifted(read, outside=read.min()))
    assert warped.dtype == read.dtype == np.uint8
    np.testing.assert_array_equal(read_label(written["warped_seg"]).array, shifted(label))
    flow = np.load(written["flow"])
    assert (flow.shape, flow.dtype) == ((2, 40, 36), np.float32)
    assert (flow[0] == 2).all() and (flow[1] == -3).all()


def test_npz_keeps_its_keys(tmp_path: Path, shift: NetworkMethod, image: np.ndarray, label: np.ndarray) -> None:
    paths = tmp_path / "a.npz", tmp_path / "a_seg.npz"
    write_image(paths[0], image, key="pixels")
    write_label(paths[1], label, key="ids")
    picture, ids = read_image(paths[0], key="pixels"), read_label(paths[1], key="ids")
    result = register_files_as(shift, picture, picture, ids)
    save_registration(result, tmp_path, "b", image_key="pixels", label_key="ids")
    assert np.load(tmp_path / "b_warped.npz").files == ["pixels"]
    assert np.load(tmp_path / "b_warped_seg.npz").files == ["ids"]


def test_dicom_becomes_mha_at_its_place(tmp_path: Path, shift: NetworkMethod, image: np.ndarray) -> None:
    values = np.rint(image * 2000 - 1000).astype(np.int16)
    dicom = SimpleITK.GetImageFromArray(values[None])
    dicom.SetSpacing((0.7, 0.8, 2.0))
    SimpleITK.WriteImage(dicom, str(tmp_path / "x.dcm"))
    written = save(shift, tmp_path / "out", tmp_path / "x.dcm", tmp_path / "x.dcm")
    assert written["warped"].name == "x_warped.mha"
    warped = read_image(written["warped"])
    np.testing.assert_array_equal(warped.array, shifted(values, outside=-1000))
    assert warped.spacing == pytest.approx((0.8, 0.7))


def test_sixteen_bits_stay_and_so_does_a_tiff_of_floats(
    tmp_path: Path, shift: NetworkMethod, image: np.ndarray
) -> None:
    deep = np.rint(image * 40000).astype(np.uint16)
    write_image(tmp_path / "deep.png", deep)
    written = save(shift, tmp_path / "1", tmp_path / "deep.png", tmp_path / "deep.png")
    np.testing.assert_array_equal(np.asarray(Image.open(written["warped"])), shifted(deep))
    Image.fromarray(image * 3000 - 5).save(tmp_path / "float.tif")
    written = save(shift, tmp_path / "2", tmp_path / "deep.png", tmp_path / "float.tif")
    assert written["warped"].suffix == ".tif"
    assert tifffile.imread(written["warped"]).dtype == np.float32
    expected = shifted(image * 3000 - 5, outside=-5)
    np.testing.assert_allclose(read_image(written["warped"]).array, expected, rtol=1e-6, atol=1e-3)


def warp_intensities(moving: np.ndarray, flow: np.ndarray) -> np.ndarray:
    return sample_linear(moving, points_into(moving.shape, flow))


def test_intensities_between_pixels_equal_scipy(image: np.ndarray) -> None:
    points = np.indices(image.shape) + np.random.default_rng(0).normal(0, 4, (2, 40, 36))
    inside = ((points >= -0.5) & (points < np.reshape(image.shape, (2, 1, 1)) - 0.5)).all(axis=0)
    assert 100 < (~inside).sum() < 500
    for moving in (image.astype(np.float64) * 3 - 1, np.rint(image * 3000 - 1000).astype(np.int32)):
        expected = ndimage.map_coordinates(moving.astype(float), points, order=1, mode="nearest")
        expected[~inside] = moving.min()
        tolerance = 1e-12 if moving.dtype.kind == "f" else 0.5 + 1e-6
        found = warp_intensities(moving, points - np.indices(image.shape))
        assert found.dtype == moving.dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_a_moving_image_of_another_size_shows_the_same_field_of_view() -> None:
    ramp = np.arange(60.0)[:, None] + np.arange(80.0)
    warped = warp_intensities(ramp, np.zeros((2, 30, 40)))
    rows, columns = np.mgrid[:30, :40]
    np.testing.assert_allclose(warped, (2 * rows + 0.5) + (2 * columns + 0.5), atol=1e-9)
    grown = warp_intensities(ramp, np.zeros((2, 120, 160)))
    np.testing.assert_allclose(grown[0, 0], 0, atol=1e-9)  # the outer pixel goes on to the edge
    np.testing.assert_allclose(grown[1, 1], 0.5, atol=1e-9)
    np.testing.assert_allclose(grown[-1, -1], ramp[-1, -1], atol=1e-9)
    away = warp_intensities(ramp + 5, np.full((2, 30, 40), 2.0))
    np.testing.assert_allclose(away[-2:], 5)


def test_no_input_is_overwritten(tmp_path: Path, identity: NetworkMethod, image: np.ndarray) -> None:
    for name in ("a_warped.png", "b.npy"):
        write_image(tmp_path / name, image)
    before = (tmp_path / "a_warped.png").read_bytes()
    fixed = read_image(tmp_path / "a_warped.png")
    moving = Picture(array=fixed.array, path=tmp_path / "a.png")
    result = register_files_as(identity, fixed, moving)
    with pytest.raises(FileError, match=r"a_warped\.png: is read from"):
        save_registration(result, tmp_path, "a")
    assert (tmp_path / "a_warped.png").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_an_inverse_flow_lies_on_the_moving_grid(tmp_path: Path, shift: NetworkMethod, image: np.ndarray) -> None:
    place = np.array([[1, 0, 0, 50], [0, 2, 0, 60], [0, 0, 1, 70], [0, 0, 0, 1]], float)
    write_ct(tmp_path / "fixed.nii", image, affine=place)
    write_ct(tmp_path / "ct.nii", shifted(image))
    fixed, moving = (read_image(tmp_path / name) for name in ("fixed.nii", "ct.nii"))
    result = register(shift, fixed.array, moving.array)
    inverted = registered_by(result.flow, fixed, moving, inverse=-result.flow)
    written = save_registration(inverted, tmp_path / "out", "x")
    names = [path.name for path in written]
    assert names[4:] == ["x_inverse_flow.npy", "x_inverse_flow.json", "x_inverse_displacement.nii.gz"]
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "x_inverse_flow.npy"), -result.flow)
    record = json.loads((tmp_path / "out" / "x_inverse_flow.json").read_text())
    assert (record["on"], record["image"]) == ("ct.nii", "fixed.nii")
    np.testing.assert_allclose(record["affine"], OBLIQUE)
    there, back = (
        SimpleITK.DisplacementFieldTransform(
            SimpleITK.ReadImage(str(tmp_path / "out" / f"x_{name}.nii.gz"), SimpleITK.sitkVectorFloat64)
        )
        for name in ("displacement", "inverse_displacement")
    )
    point = SimpleITK.ReadImage(str(tmp_path / "fixed.nii")).TransformContinuousIndexToPhysicalPoint((20.0, 17.0, 0.0))
    assert back.TransformPoint(there.TransformPoint(point)) == pytest.approx(point, abs=1e-4)
    assert there.TransformPoint(point) != pytest.approx(point, abs=1)
