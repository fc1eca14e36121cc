import io
import pickle
import re
import struct
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it
from PIL import Image

from regstudio.data.formats import EXTENSIONS, extension, read_image, read_label, stem
from regstudio.errors import DataError
from tests.pictures import HEIGHT, WIDTH, gzip_header_only, ids, ramp, save_palette

GREY = (ramp() * 60000).astype(np.uint16)
BYTES = (ramp() * 250).astype(np.uint8)


def message(path: Path, read=read_image, **options) -> str:
    """The message a user gets, without the folder."""
    with pytest.raises(DataError) as caught:
        read(path, **options)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def save_itk(path: Path, array: np.ndarray, **options) -> None:
    image = sitk.GetImageFromArray(array, **options)
    image.SetSpacing([0.5, 0.75, 2.0][: image.GetDimension()])
    sitk.WriteImage(image, str(path))


@pytest.mark.parametrize(
    ("name", "ending", "bare"),
    [
        ("a.b.nii.gz", ".nii.gz", "a.b"),
        ("A.NII.GZ", ".nii.gz", "A"),
        ("x.PNG", ".png", "x"),
        ("x.y.tiff", ".tiff", "x.y"),
        ("notes.txt", "", "notes.txt"),
        ("archive.gz", "", "archive.gz"),
    ],
)
def test_extension_and_stem(name: str, ending: str, bare: str) -> None:
    assert (extension(name), stem(name)) == (ending, bare)
    assert (extension(Path("dir.npz") / name), stem(Path("dir.npz") / name)) == (ending, bare)


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_sixteen_bits_are_kept(tmp_path: Path, ending: str) -> None:
    Image.fromarray(GREY).save(tmp_path / f"a{ending}")
    picture = read_image(tmp_path / f"a{ending}")
    assert picture.array.dtype == np.uint16
    np.testing.assert_array_equal(picture.array, GREY)
    assert picture.spacing is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA"])
def test_colour_becomes_its_luminance(tmp_path: Path, mode: str) -> None:
    colours = np.stack([BYTES, BYTES[::-1], BYTES[:, ::-1]], axis=-1)
    image = Image.fromarray(colours).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(BYTES))  # dropped, not multiplied
    image.save(tmp_path / "a.png")
    expected = np.asarray(image.convert("RGB").convert("L")).astype(int)
    assert np.abs(read_image(tmp_path / "a.png").array - expected).max() <= 1


def test_grey_stays_exact_in_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(np.stack([BYTES] * 3, axis=-1)).save(tmp_path / "a.bmp")
    np.testing.assert_array_equal(read_image(tmp_path / "a.bmp").array, BYTES)


def test_one_bit_images(tmp_path: Path) -> None:
    Image.fromarray(BYTES > 99).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").array, BYTES > 99)


@pytest.mark.parametrize("channels", [3, 4])
def test_npy_with_bytes_in_channels_is_colour(tmp_path: Path, channels: int) -> None:
    np.save(tmp_path / "a.npy", np.stack([BYTES] * channels, axis=-1))
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy").array, BYTES)


@pytest.mark.parametrize("dtype", ["bool", "<i2", ">i4", ">f4", "f2", "u8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_dtypes(tmp_path: Path, dtype: str, order: str) -> None:
    array = np.asarray(BYTES, dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    read = read_image(tmp_path / "a.npy").array
    assert read.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_axes_and_affine_are_those_of_nibabel(tmp_path: Path, dtype: type, ending: str) -> None:
    affine = np.array([[0, 0.75, 0, 10], [0.5, 0, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]])
    nib.Nifti1Image(BYTES.astype(dtype), affine).to_filename(tmp_path / f"a{ending}")
    picture = read_image(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(picture.array, BYTES.astype(dtype))
    assert picture.array.dtype == dtype
    np.testing.assert_allclose(picture.affine, affine)
    assert picture.spacing == pytest.approx((0.5, 0.75))


def test_nifti_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    nib.Nifti1Image(BYTES, np.eye(4)).to_filename(path)
    content = bytearray(path.read_bytes())
    struct.pack_into("<ff", content, 112, 2, -1000)  # scl_slope, scl_inter
    path.write_bytes(content)
    np.testing.assert_allclose(read_image(path).array, 2.0 * BYTES - 1000)
    np.testing.assert_array_equal(read_label(path).array, 2 * BYTES.astype(int) - 1000)


def test_nifti_colour(tmp_path: Path) -> None:
    pixels = np.zeros(BYTES.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for channel in "RGB":
        pixels[channel] = BYTES
    nib.Nifti1Image(pixels, np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz").array, BYTES)


@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".dcm"])
def test_itk_formats(tmp_path: Path, ending: str) -> None:
    save_itk(tmp_path / f"a{ending}", GREY)
    picture = read_image(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(picture.array, GREY)
    assert picture.spacing == pytest.approx((0.75, 0.5))  # rows, columns


def test_itk_colour(tmp_path: Path) -> None:
    save_itk(tmp_path / "a.mha", np.stack([BYTES] * 3, axis=-1), isVector=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.mha").array, BYTES)


def test_the_same_place_in_the_world_from_itk_and_nifti(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.stack([GREY, GREY // 2, GREY // 3]))
    image.SetSpacing((0.5, 0.75, 2.0))
    image.SetOrigin((10, -20, 30))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
    from_itk = read_image(tmp_path / "a.mha", slice_axis=0, slice_index=2)
    from_nifti = read_image(tmp_path / "a.nii.gz", slice_axis=2, slice_index=2)
    np.testing.assert_array_equal(from_itk.array, from_nifti.array.T)
    np.testing.assert_allclose(from_itk.affine, from_nifti.affine[:, [1, 0, 2, 3]], atol=1e-5)
    x, y, z = image.TransformIndexToPhysicalPoint((7, 3, 2))
    np.testing.assert_allclose(from_itk.affine @ (3, 7, 0, 1), (-x, -y, z, 1))


def test_palette_labels_keep_their_indices(tmp_path: Path) -> None:
    save_palette(tmp_path / "a.png", ids(), [0, 0, 0, 255, 0, 0, 0, 255, 0, 9, 9, 9] * 3)
    np.testing.assert_array_equal(read_label(tmp_path / "a.png").array, ids())


def test_sixteen_bit_labels_keep_their_ids(tmp_path: Path) -> None:
    labels = ids(values=(0, 255, 256, 40000))
    Image.fromarray(labels.astype(np.uint16)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png").array, labels)


def test_one_bit_labels(tmp_path: Path) -> None:
    Image.fromarray(ids() == 7).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png").array, ids() == 7)


def test_labels_in_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(np.stack([ids().astype(np.uint8)] * 3, axis=-1)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png").array, ids())


def test_whole_floats_are_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ids().astype(np.float32))
    read = read_label(tmp_path / "a.npy").array
    assert read.dtype == np.int64
    np.testing.assert_array_equal(read, ids())


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float64])
def test_integer_nifti_labels(tmp_path: Path, dtype: type) -> None:
    nib.Nifti1Image(ids().astype(dtype), np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    read = read_label(tmp_path / "a.nii.gz").array
    assert read.dtype.kind in "iu"
    np.testing.assert_array_equal(read, ids())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_of_a_nifti_volume(tmp_path: Path, axis: int) -> None:
    volume = np.random.default_rng(0).random((33, 40, 56)).astype(np.float32)
    affine = nib.affines.from_matvec(np.diag([1.0, 2.0, 3.0]) @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]), (5, 6, 7))
    nib.Nifti1Image(volume, affine).to_filename(tmp_path / "a.nii.gz")
    picture = read_image(tmp_path / "a.nii.gz", slice_axis=axis, slice_index=4)
    np.testing.assert_array_equal(picture.array, volume.take(4, axis))
    inside = [8, 9]
    inside.insert(axis, 4)
    np.testing.assert_allclose(picture.affine @ (8, 9, 0, 1), affine @ (*inside, 1), rtol=1e-6)


def test_a_page_of_a_tiff(tmp_path: Path) -> None:
    pages = [Image.fromarray(GREY // n) for n in (1, 2, 3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", slice_axis=0, slice_index=1).array, GREY // 2)


def test_a_slice_is_taken_from_volumes_only(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GREY)
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy", slice_axis=0, slice_index=9).array, GREY)


@pytest.mark.parametrize("shape", [(1, HEIGHT, WIDTH), (HEIGHT, 1, WIDTH), (HEIGHT, WIDTH, 1), (HEIGHT, WIDTH, 1, 1)])
def test_axes_of_length_one_are_squeezed(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", GREY.reshape(shape))
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy").array, GREY)
    nib.Nifti1Image(GREY.reshape(shape), np.diag([1.0, 2.0, 3.0, 1.0])).to_filename(tmp_path / "a.nii")
    picture = read_image(tmp_path / "a.nii")
    np.testing.assert_array_equal(picture.array, GREY)
    kept = [size for size, length in zip((1.0, 2.0, 3.0), shape, strict=False) if length > 1]
    assert picture.spacing == pytest.approx(kept)


DAMAGED = "cannot be read as {}; it is damaged, or not what its name says. Copy or export it again."


@pytest.mark.parametrize("ending", EXTENSIONS)
def test_other_content_than_the_name_says(tmp_path: Path, ending: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"This is no picture. " * 40)
    assert message(path) == DAMAGED.format(ending)
    assert message(path, read_label) == DAMAGED.format(ending)
    assert capfd.readouterr() == ("", "")  # no decoder may write to the user's console


@pytest.mark.parametrize("ending", [e for e in EXTENSIONS if e not in (".jpeg", ".tiff")])
def test_truncated_files(tmp_path: Path, ending: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"a{ending}"
    if ending in (".png", ".jpg", ".tif", ".bmp"):
        Image.fromarray(BYTES).save(path)
    elif ending == ".npy":
        np.save(path, GREY)
    elif ending == ".npz":
        np.savez(path, img=GREY)
    else:
        save_itk(path, GREY)
    read_image(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert message(path) == DAMAGED.format(ending)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("ending", EXTENSIONS)
def test_empty_files(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a{ending}").touch()
    assert message(tmp_path / f"a{ending}") == "is empty (0 bytes). Copy or export it again."


def test_missing_files_folders_and_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dir.png").mkdir()
    (tmp_path / "a.npy").touch()
    assert message(tmp_path / "none.png") == "there is no such file. Check the name."
    assert message(tmp_path / "dir.png") == "is a folder, not a file. Name one of the files in it."

    def forbidden(path: Path) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "stat", forbidden)
    assert message(tmp_path / "a.npy") == "may not be read (permission denied). Change its permissions."


def test_unsupported_formats(tmp_path: Path) -> None:
    assert message(tmp_path / "a.gif") == (
        "this format is not supported. Supported are "
        ".png, .jpg, .jpeg, .tif, .tiff, .bmp, .npy, .npz, .nii, .nii.gz, .mha, .nrrd, .dcm."
    )


def test_the_error_survives_a_process_boundary(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / "none.png")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301  its own pickle


def test_a_missing_npz_key_lists_those_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=GREY, seg=ids())
    remedy = "Name the right one with --image_key (for images) or --label_key (for labels)."
    assert message(tmp_path / "a.npz") == f"has no array named 'img'; the arrays there: 'image', 'seg'. {remedy}"
    assert message(tmp_path / "a.npz", read_label) == (
        f"has no array named 'label'; the arrays there: 'image', 'seg'. {remedy}"
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.npz", key="image").array, GREY)
    np.testing.assert_array_equal(read_label(tmp_path / "a.npz", key="seg").array, ids())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("ending", [".npy", ".nii.gz", ".tif", ".mha"])
def test_nan_and_infinity(tmp_path: Path, bad: float, ending: str) -> None:
    array = ramp().astype(np.float32)
    array[3, 5] = bad
    path = tmp_path / f"a{ending}"
    {
        ".npy": lambda: np.save(path, array),
        ".nii.gz": lambda: nib.Nifti1Image(array, np.eye(4)).to_filename(path),
        ".tif": lambda: Image.fromarray(array).save(path),
        ".mha": lambda: save_itk(path, array),
    }[ending]()
    assert message(path) == "holds NaN or infinity in 1 pixels. Replace them, for instance by 0."


def test_labels_that_are_not_whole(tmp_path: Path) -> None:
    remedy = "Save the ids as integers, and resample labels with nearest neighbour only."
    for bad in (0.5, np.nan, 1e30):
        labels = ids().astype(np.float64)
        labels[1, 2] = bad
        np.save(tmp_path / "a.npy", labels)
        assert message(tmp_path / "a.npy", read_label) == (
            f"a label map holds whole numbers, this one holds {bad:g}. {remedy}"
        )


def test_labels_in_colour(tmp_path: Path) -> None:
    Image.fromarray(np.stack([BYTES, BYTES, BYTES // 2], axis=-1)).save(tmp_path / "a.png")
    assert message(tmp_path / "a.png", read_label) == (
        "is a colour picture, and colours are no label ids. "
        "Save it with a palette, or with one channel that holds the ids 0, 1, 2, ..."
    )


VOLUME = (
    "is a volume of 5 x 40 x 56 pixels, not a 2-D picture. "
    "Take a slice with --slice_axis (0, 1 or 2) and --slice_index (counted from 0)."
)


@pytest.mark.parametrize("ending", [".npy", ".nii", ".mha", ".tif"])
def test_volumes_and_slices_outside_them(tmp_path: Path, ending: str) -> None:
    volume = np.stack([GREY // n for n in range(1, 6)])
    path = tmp_path / f"a{ending}"
    if ending == ".npy":
        np.save(path, volume)
    elif ending == ".nii":
        nib.Nifti1Image(volume, np.eye(4)).to_filename(path)
    elif ending == ".mha":
        save_itk(path, volume)
    else:
        pages = [Image.fromarray(page) for page in volume]
        pages[0].save(path, save_all=True, append_images=pages[1:])
    assert message(path) == VOLUME
    assert message(path, slice_axis=0) == VOLUME
    assert message(path, read_label) == VOLUME
    for axis, index in ((0, 5), (0, -1), (3, 0), (-1, 0), (2, 56)):
        assert message(path, slice_axis=axis, slice_index=index) == (
            f"its size is 5 x 40 x 56, so there is no slice {index} along axis {axis}. "
            "Choose a --slice_axis of 0, 1 or 2 and a --slice_index below the size along it."
        )


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY.astype(complex), "holds complex128 numbers, which are no picture. Save real numbers."),
        (np.array([["a", "b"]]), "holds '<U1' values, not numbers. Save a numeric array."),
        (np.zeros((0, 5)), "holds no pixels (its size is 0 x 5). Export it again."),
        (np.zeros(7), "has the size 7, which is no 2-D picture. Save one with rows and columns."),
        (np.array(3.0), "has the size 1, which is no 2-D picture. Save one with rows and columns."),
        (
            np.zeros((2, 3, 4, 5)),
            "has the size 2 x 3 x 4 x 5, which is no 2-D picture. Save one with rows and columns.",
        ),
    ],
)
def test_arrays_that_are_no_picture(tmp_path: Path, array: np.ndarray, expected: str) -> None:
    np.save(tmp_path / "a.npy", array)
    assert message(tmp_path / "a.npy") == expected


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "sprung",)

    np.save(tmp_path / "a.npy", np.array([[Trap()]], object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", img=np.array([[Trap()]], object), allow_pickle=True)
    for path in (tmp_path / "a.npy", tmp_path / "a.npz"):
        assert message(path) == "holds 'object' values, not numbers. Save a numeric array."
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Trap()))
    assert message(tmp_path / "b.npy") == DAMAGED.format(".npy")
    assert not (tmp_path / "sprung").exists()


def test_vectors_are_no_picture(tmp_path: Path) -> None:
    save_itk(tmp_path / "a.mha", np.zeros((HEIGHT, WIDTH, 2), np.float32), isVector=True)
    assert message(tmp_path / "a.mha") == "holds 2 values for each pixel. Save a picture with one, or in colour."


def test_pages_of_different_sizes(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.tif", save_all=True, append_images=[Image.fromarray(GREY[::2, ::2])])
    assert message(tmp_path / "a.tif") == (
        "holds 2 pages of different sizes. Save the one to use as a file of its own."
    )


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".mha", "NDims = 2\nDimSize = 4 4\nElementType = MET_UCHAR\nElementDataFile = /etc/hostname\n"),
        (".nrrd", "NRRD0004\ntype: uchar\ndimension: 2\nsizes: 4 4\nencoding: raw\ndata file: /etc/hostname\n\n"),
    ],
)
def test_headers_that_point_to_another_file(tmp_path: Path, ending: str, content: str) -> None:
    (tmp_path / f"a{ending}").write_text(content)
    assert message(tmp_path / f"a{ending}") == "keeps its pixels in another file. Save it with the pixels inside."


TOO_LARGE = r"is too large \([\d x]+ pixels; the limits are [\d,]+ pixels a picture and [\d,]+ bytes a file\)\. Save it"


def test_a_bomb_in_numpy_files(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)})
    (tmp_path / "a.npy").write_bytes(stream.getvalue())
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("img.npy", stream.getvalue())
    assert re.match(TOO_LARGE, message(tmp_path / "a.npy"))
    assert re.match(TOO_LARGE, message(tmp_path / "a.npz"))


def test_a_bomb_in_an_image(tmp_path: Path) -> None:
    Image.new("1", (12000, 7000)).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 50_000
    assert re.match(TOO_LARGE, message(tmp_path / "a.png"))


def test_a_bomb_in_a_nifti_header(tmp_path: Path) -> None:
    gzip_header_only(tmp_path / "a.nii.gz", (30000, 30000))
    assert re.match(TOO_LARGE, message(tmp_path / "a.nii.gz"))
    gzip_header_only(tmp_path / "b.nii.gz", (HEIGHT, WIDTH), start=2e9)
    assert message(tmp_path / "b.nii.gz") == ("its header takes 2,000,000,000 bytes. Save the file without extensions.")


def test_a_bomb_in_an_itk_header(tmp_path: Path) -> None:
    header = "NDims = 2\nDimSize = 90000 90000\nElementType = MET_DOUBLE\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_text(header)
    assert re.match(TOO_LARGE, message(tmp_path / "a.mha"))
