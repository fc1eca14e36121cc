import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it
from PIL import Image

from regstudio.data.pictures.formats import read_image, read_label
from regstudio.data.pictures.writing import output_extension, write_arrays, write_image, write_label
from regstudio.errors import DataError
from tests.pictures import HEIGHT, WIDTH, ids, ramp, save_palette

LOSSLESS = [".png", ".tif", ".tiff", ".bmp", ".npy", ".npz", ".nii", ".nii.gz", ".mha", ".nrrd"]
PRECISION = {".png": 1 / 65535, ".tif": 1 / 65535, ".tiff": 1 / 65535, ".bmp": 1 / 255, ".jpg": 8 / 255}
AFFINE = np.array([[0, 0.75, 0, 10], [0.5, 0, 0, 20], [0, 0, -3, 30], [0, 0, 0, 1]])


@pytest.mark.parametrize("ending", [*LOSSLESS, ".jpg"])
def test_images_come_back(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "new" / f"a{ending}"
    write_image(path, ramp())
    read = read_image(path).array
    top = np.iinfo(read.dtype).max if read.dtype.kind == "u" else 1
    assert read.dtype == {1 / 65535: np.uint16, 1 / 255: np.uint8, 8 / 255: np.uint8}.get(PRECISION.get(ending), "f4")
    np.testing.assert_allclose(read / top, ramp(), atol=PRECISION.get(ending, 1e-7))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", LOSSLESS)
@pytest.mark.parametrize("values", [(0, 1, 2, 255), (0, 3, 256, 65535), (-5, 0, 1, 2), (0, 1, 2, 70000)])
def test_labels_come_back_or_are_refused(tmp_path: Path, ending: str, values: tuple[int, ...]) -> None:
    path, labels = tmp_path / f"a{ending}", ids(values=values)
    fits = {".bmp": 255, ".png": 65535}.get(ending, 10**9)
    if values[-1] <= fits and (values[0] >= 0 or fits == 10**9):
        write_label(path, labels)
        np.testing.assert_array_equal(read_label(path).array, labels)
    else:
        with pytest.raises(DataError) as caught:
            write_label(path, labels)
        assert str(caught.value) == (
            f"{path}: this format cannot hold the label ids {values[0]} to {max(values)} unchanged. "
            "Write .nii.gz, .npy or .mha instead."
        )
        assert not path.exists()


@pytest.mark.parametrize("ending", LOSSLESS)
def test_the_same_array_gives_the_same_bytes(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    write_image(first / f"image{ending}", ramp())
    write_label(first / f"label{ending}", ids())
    then = time.time() + 10**6
    monkeypatch.setattr(time, "time", lambda: then)
    write_image(second / f"other{ending}", np.asfortranarray(ramp()))
    write_label(second / f"label{ending}", ids().astype(np.float32))
    assert (first / f"image{ending}").read_bytes() == (second / f"other{ending}").read_bytes()
    assert (first / f"label{ending}").read_bytes() == (second / f"label{ending}").read_bytes()


def test_whole_numbers_are_written_as_they_are(tmp_path: Path) -> None:
    for dtype in (np.uint8, np.uint16):
        array = (ramp() * np.iinfo(dtype).max).astype(dtype)
        write_image(tmp_path / "a.png", array)
        np.testing.assert_array_equal(read_image(tmp_path / "a.png").array, array)
    hounsfield = (ramp() * 4000 - 1000).astype(np.int64)
    write_image(tmp_path / "a.nii.gz", hounsfield)
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz").array, hounsfield)


def test_rounding_beyond_one_is_clipped_but_another_scale_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", ramp() * 1.0005)
    assert read_image(tmp_path / "a.png").array.max() == 65535
    for array, values in ((ramp() * 300 - 20, "-20 to 280"), ((ramp() * 9).astype(int) - 4, "-4 to 5")):
        with pytest.raises(DataError) as caught:
            write_image(tmp_path / "b.png", array)
        assert str(caught.value) == (
            f"{tmp_path / 'b.png'}: this format cannot hold the values {values} of the image. "
            "Write .nii.gz, .npy or .mha instead."
        )


def test_formats_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"this format cannot be written\. Choose one of \.png, \.tif"):
        write_image(tmp_path / "a.dcm", ramp())
    with pytest.raises(DataError, match="this format cannot hold the label ids 0 to 7 unchanged"):
        write_label(tmp_path / "a.jpg", ids())
    with pytest.raises(DataError, match="a label map holds whole numbers, and these are not"):
        write_label(tmp_path / "a.png", ramp())
    assert list(tmp_path.iterdir()) == []


def test_output_extensions() -> None:
    outputs = {name: output_extension(name) for name in ("a.JPG", "a.jpeg", "a.dcm", "a.b.nii.gz", "a.tif", "a.png")}
    assert list(outputs.values()) == [".png", ".png", ".mha", ".nii.gz", ".tif", ".png"]


def test_arrays_of_any_shape(tmp_path: Path) -> None:
    flow = np.random.default_rng(0).random((2, HEIGHT, WIDTH)).astype(np.float32)
    write_arrays(tmp_path / "a.npz", {"flow": flow, "more": np.arange(3)})
    with np.load(tmp_path / "a.npz") as archive:
        np.testing.assert_array_equal(archive["flow"], flow)
        np.testing.assert_array_equal(archive["more"], np.arange(3))


def nifti(path: Path, array: np.ndarray, kind: type = nib.Nifti1Image) -> None:
    image = kind(array, AFFINE)
    image.set_sform(AFFINE, 4)
    image.set_qform(AFFINE, 1)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"a scan of the tests"
    image.header["cal_max"] = 4000
    image.to_filename(path)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("shape", [(WIDTH, HEIGHT), (WIDTH, HEIGHT, 1)])
def test_a_nifti_header_is_kept(tmp_path: Path, kind: type, shape: tuple[int, ...]) -> None:
    nifti(tmp_path / "a.nii.gz", (ramp() * 4000).astype(np.int16).T.reshape(shape), kind)
    like = read_image(tmp_path / "a.nii.gz")
    write_image(tmp_path / "b.nii.gz", ramp(), like=like)
    write_label(tmp_path / "c.nii", ids(), like=like)
    for name, dtype, array in (("b.nii.gz", np.float32, ramp()), ("c.nii", np.uint8, ids())):
        written = nib.load(tmp_path / name)
        assert isinstance(written, kind)
        assert written.shape == shape
        assert written.get_data_dtype() == dtype
        assert (int(written.header["sform_code"]), int(written.header["qform_code"])) == (4, 1)
        assert written.header.get_xyzt_units() == ("mm", "sec")
        assert written.header["descrip"] == b"a scan of the tests"
        assert written.header["cal_max"] == 0  # the window of other numbers
        np.testing.assert_allclose(written.affine, AFFINE)
        np.testing.assert_allclose(written.get_qform(), AFFINE, atol=1e-5)
        np.testing.assert_allclose(written.get_fdata().squeeze(), array.T, atol=1e-6)


def test_a_slice_has_its_position_in_the_volume(tmp_path: Path) -> None:
    nifti(tmp_path / "a.nii", np.zeros((33, WIDTH, HEIGHT), np.float32) + ramp().T.astype(np.float32))
    like = read_image(tmp_path / "a.nii", slice_axis=0, slice_index=5)
    write_image(tmp_path / "b.nii", ramp(), like=like)
    written = nib.load(tmp_path / "b.nii")
    assert written.shape == (WIDTH, HEIGHT, 1)
    for form in (written.get_sform(), written.get_qform()):
        np.testing.assert_allclose(form @ (3, 4, 0, 1), AFFINE @ (5, 3, 4, 1), rtol=1e-5)
    assert written.header.get_zooms() == pytest.approx((0.75, 3.0, 0.5))


@pytest.mark.parametrize("unit", ["micron", "mm", "meter"])
def test_a_nifti_keeps_its_unit_and_its_place(tmp_path: Path, unit: str) -> None:
    image = nib.Nifti1Image(ramp().T.astype(np.float32), AFFINE)
    image.header.set_xyzt_units(unit)
    image.to_filename(tmp_path / "a.nii")
    like = read_image(tmp_path / "a.nii")
    scale = {"micron": 1e-3, "mm": 1, "meter": 1e3}[unit]
    assert like.spacing == pytest.approx((0.75 * scale, 0.5 * scale))
    write_image(tmp_path / "b.nii", ramp(), like=like)
    assert nib.load(tmp_path / "b.nii").header.get_xyzt_units()[0] == unit
    np.testing.assert_allclose(nib.load(tmp_path / "b.nii").affine, AFFINE, atol=1e-6)
    write_image(tmp_path / "c.mha", ramp(), like=like)
    for name in ("b.nii", "c.mha"):
        np.testing.assert_allclose(read_image(tmp_path / name).affine, like.affine, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
@pytest.mark.parametrize("flat", [True, False])
def test_an_itk_header_is_kept(tmp_path: Path, ending: str, flat: bool) -> None:
    image = sitk.GetImageFromArray(ramp() if flat else ramp()[None])
    image.SetSpacing((0.5, 0.7) if flat else (0.5, 0.7, 3))
    image.SetOrigin((-4, 9) if flat else (-4, 9, 12))
    image.SetDirection((0, 1, -1, 0) if flat else (0, 1, 0, -1, 0, 0, 0, 0, 1))
    image.SetMetaData("Scanner", "of the tests")
    sitk.WriteImage(image, str(tmp_path / f"a{ending}"))
    write_label(tmp_path / f"b{ending}", ids(), like=read_image(tmp_path / f"a{ending}"))
    written = sitk.ReadImage(str(tmp_path / f"b{ending}"))
    assert written.GetSpacing() == pytest.approx(image.GetSpacing())
    assert written.GetOrigin() == pytest.approx(image.GetOrigin())
    assert written.GetDirection() == pytest.approx(image.GetDirection())
    assert written.GetMetaData("Scanner") == "of the tests"
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written).squeeze(), ids())


def test_the_affine_is_kept_across_formats(tmp_path: Path) -> None:
    nifti(tmp_path / "a.nii", ramp().T.astype(np.float32))
    like = read_image(tmp_path / "a.nii")
    write_image(tmp_path / "b.mha", ramp(), like=like)
    np.testing.assert_allclose(read_image(tmp_path / "b.mha").affine, AFFINE[:, [1, 0, 2, 3]], atol=1e-6)
    write_image(tmp_path / "c.nii.gz", ramp(), like=read_image(tmp_path / "b.mha"))
    np.testing.assert_allclose(nib.load(tmp_path / "c.nii.gz").affine, AFFINE, atol=1e-6)
    write_image(tmp_path / "d.png", ramp(), like=like)  # a format without an affine


def test_another_resolution_keeps_the_field_of_view(tmp_path: Path) -> None:
    nifti(tmp_path / "a.nii", ramp().T.astype(np.float32))
    write_image(tmp_path / "b.nii", ramp(20, 112), like=read_image(tmp_path / "a.nii"))
    written = nib.load(tmp_path / "b.nii")
    assert written.header.get_zooms()[:2] == pytest.approx((0.25, 1.5))
    corners = written.affine @ np.array([(-0.5, -0.5, 0, 1), (111.5, 19.5, 0, 1)]).T
    np.testing.assert_allclose(corners, AFFINE @ np.array([(-0.5, -0.5, 0, 1), (55.5, 39.5, 0, 1)]).T, rtol=1e-6)


def test_a_patients_name_is_not_written(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray((ramp() * 4000).astype(np.uint16))
    image.SetSpacing((0.5, 0.7))
    image.SetMetaData("0010|0010", "Doe^Jane")
    sitk.WriteImage(image, str(tmp_path / "a.dcm"))
    assert b"Doe^Jane" in (tmp_path / "a.dcm").read_bytes()
    write_image(tmp_path / f"b{output_extension('a.dcm')}", ramp(), like=read_image(tmp_path / "a.dcm"))
    assert b"Doe" not in (tmp_path / "b.mha").read_bytes()
    assert read_image(tmp_path / "b.mha").spacing == pytest.approx((0.7, 0.5))


def test_a_palette_is_kept(tmp_path: Path) -> None:
    save_palette(tmp_path / "a.png", ids(), [0, 0, 0, 255, 0, 0, 0, 0, 255])
    write_label(tmp_path / "b.png", ids()[::-1], like=read_label(tmp_path / "a.png"))
    with Image.open(tmp_path / "b.png") as image:
        assert image.mode == "P"
        assert image.getpalette()[3:9] == [255, 0, 0, 0, 0, 255]
    np.testing.assert_array_equal(read_label(tmp_path / "b.png").array, ids()[::-1])


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", ramp())
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(ValueError, match="a picture has two axes"):
        write_image(tmp_path / "a.png", ramp()[None])
    assert (tmp_path / "a.png").read_bytes() == before
