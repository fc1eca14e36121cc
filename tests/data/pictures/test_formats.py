"""What is read from each format: pixels, ids, slices, affines."""

import struct
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it
from PIL import Image, ImageOps

from regstudio.data.pictures import formats
from regstudio.data.pictures.formats import extension, read_image, read_label, stem
from regstudio.networks import base
from tests.pictures import BYTES, GREY, HEIGHT, WIDTH, ids, ramp, save_itk, save_palette


def test_pictures_need_the_sides_that_the_networks_need() -> None:
    assert formats.MIN_SIDE == base.MIN_SIDE


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
def test_extension_and_stem_of_a_file_name(name: str, ending: str, bare: str) -> None:
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


def test_one_bit_images_are_read(tmp_path: Path) -> None:
    Image.fromarray(BYTES > 99).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").array, BYTES > 99)


@pytest.mark.parametrize("channels", [3, 4])
def test_npy_with_bytes_in_channels_is_colour(tmp_path: Path, channels: int) -> None:
    np.save(tmp_path / "a.npy", np.stack([BYTES] * channels, axis=-1))
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy").array, BYTES)


@pytest.mark.parametrize("dtype", ["bool", "<i2", ">i4", ">f4", "f2", "u8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_files_of_every_dtype_are_read(tmp_path: Path, dtype: str, order: str) -> None:
    array = np.asarray(BYTES, dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    read = read_image(tmp_path / "a.npy").array
    assert read.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_counts_columns_first(tmp_path: Path, dtype: type, ending: str) -> None:
    affine = np.array([[0, 0.75, 0, 10], [0.5, 0, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]])
    nib.Nifti1Image(BYTES.T.astype(dtype), affine).to_filename(tmp_path / f"a{ending}")
    picture = read_image(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(picture.array, BYTES.astype(dtype))
    np.testing.assert_array_equal(picture.array, sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"a{ending}"))))
    assert picture.array.dtype == dtype
    np.testing.assert_allclose(picture.affine, affine[:, [1, 0, 2, 3]])
    assert picture.spacing == pytest.approx((0.75, 0.5))  # rows, columns
    assert picture.geometry.axes == (1, 0)


def test_a_network_of_0_1_sees_nifti_as_nibabel_shows_it(tmp_path: Path) -> None:
    affine = np.array([[0, 0.75, 0, 10], [0.5, 0, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]])
    nib.Nifti1Image(BYTES, affine).to_filename(tmp_path / "a.nii")
    picture = read_image(tmp_path / "a.nii", axes="nibabel")
    np.testing.assert_array_equal(picture.array, BYTES)
    np.testing.assert_allclose(picture.affine, affine)
    assert picture.geometry.axes == (0, 1)
    save_itk(tmp_path / "a.mha", GREY)
    np.testing.assert_array_equal(read_image(tmp_path / "a.mha", axes="nibabel").array, GREY)


def test_nifti_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    nib.Nifti1Image(BYTES.T, np.eye(4)).to_filename(path)
    content = bytearray(path.read_bytes())
    struct.pack_into("<ff", content, 112, 2, -1000)  # scl_slope, scl_inter
    path.write_bytes(content)
    np.testing.assert_allclose(read_image(path).array, 2.0 * BYTES - 1000)
    np.testing.assert_array_equal(read_label(path).array, 2 * BYTES.astype(int) - 1000)


def test_nifti_colour_becomes_grey(tmp_path: Path) -> None:
    pixels = np.zeros(BYTES.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for channel in "RGB":
        pixels[channel] = BYTES
    nib.Nifti1Image(pixels.T, np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz").array, BYTES)


@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".dcm"])
def test_itk_formats_are_read(tmp_path: Path, ending: str) -> None:
    save_itk(tmp_path / f"a{ending}", GREY)
    picture = read_image(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(picture.array, GREY)
    assert picture.spacing == pytest.approx((0.75, 0.5))  # rows, columns


def test_itk_colour_becomes_grey(tmp_path: Path) -> None:
    save_itk(tmp_path / "a.mha", np.stack([BYTES] * 3, axis=-1), isVector=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.mha").array, BYTES)


def test_itk_and_nifti_give_the_same_affine(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.stack([GREY, GREY // 2, GREY // 3]))
    image.SetSpacing((0.5, 0.75, 2.0))
    image.SetOrigin((10, -20, 30))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
    from_itk = read_image(tmp_path / "a.mha", slice_axis=0, slice_index=2)
    from_nifti = read_image(tmp_path / "a.nii.gz", slice_axis=2, slice_index=2)
    np.testing.assert_array_equal(from_itk.array, from_nifti.array)
    np.testing.assert_allclose(from_itk.affine, from_nifti.affine, atol=1e-5)
    x, y, z = image.TransformIndexToPhysicalPoint((7, 3, 2))
    np.testing.assert_allclose(from_itk.affine @ (3, 7, 0, 1), (-x, -y, z, 1))


def test_palette_labels_keep_their_indices(tmp_path: Path) -> None:
    save_palette(tmp_path / "a.png", ids(), [0, 0, 0, 255, 0, 0, 0, 255, 0, 9, 9, 9] * 3)
    np.testing.assert_array_equal(read_label(tmp_path / "a.png").array, ids())


def test_sixteen_bit_labels_keep_their_ids(tmp_path: Path) -> None:
    labels = ids(values=(0, 255, 256, 40000))
    Image.fromarray(labels.astype(np.uint16)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png").array, labels)


@pytest.mark.parametrize("slope", [0.9999999998, 1 + 6e-8])
def test_ids_that_a_rounded_slope_has_missed_by_a_little_are_taken(tmp_path: Path, slope: float) -> None:
    labels, path = ids(values=(0, 1, 2, 30000)), tmp_path / "a.nii.gz"
    image = nib.Nifti1Image(labels.T.astype(np.int16), np.eye(4))
    image.header.set_slope_inter(slope, 0)
    image.to_filename(path)
    np.testing.assert_array_equal(read_label(path).array, labels)
    nib.Nifti2Image(labels.T * slope, np.eye(4)).to_filename(tmp_path / "b.nii")
    np.testing.assert_array_equal(read_label(tmp_path / "b.nii").array, labels)


def test_large_ids_in_floats_are_labels(tmp_path: Path) -> None:
    labels = ids(values=(0, 1, 2, 4_000_000_000))
    np.save(tmp_path / "a.npy", labels.astype(np.float64))
    np.testing.assert_array_equal(read_label(tmp_path / "a.npy").array, labels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif"])
def test_pictures_and_labels_are_turned_upright(tmp_path: Path, ending: str, orientation: int) -> None:
    """As Pillow's own exif_transpose turns them."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(ids().astype(np.uint8) * 30)
    options = {"tiffinfo": exif} if ending == ".tif" else {"exif": exif}
    image.save(tmp_path / f"a{ending}", quality=100, **options)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image)).astype(int)
    for read in (read_image, read_label):
        assert np.abs(read(tmp_path / f"a{ending}").array.astype(int) - expected).max() < (
            25 if ending == ".jpg" else 1
        )


def png(path: Path, array: np.ndarray, depth: int, kind: int) -> Path:
    """Write rows of packed samples as a PNG of the given depth and kind of colour."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.tobytes() for row in array)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, kind, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_sixteen_bits_of_coloured_png_are_kept(tmp_path: Path, kind: int, channels: int) -> None:
    grey = (ramp() * 4000).astype(np.uint16)
    samples = np.stack([grey] * min(3, channels) if channels > 2 else [grey], axis=-1)
    if channels % 2 == 0:
        samples = np.dstack([samples, GREY])  # opacity
    path = png(tmp_path / "a.png", samples.astype(">u2"), 16, kind)
    np.testing.assert_array_equal(read_image(path).array, grey)
    np.testing.assert_array_equal(read_label(path).array, grey)
    coloured = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)
    if kind == 2:
        read = read_image(png(tmp_path / "b.png", coloured.astype(">u2"), 16, kind)).array
        assert np.abs(read - coloured @ np.array([0.299, 0.587, 0.114])).max() < 0.51


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_grey_png_of_few_bits_keeps_its_ids(tmp_path: Path, depth: int) -> None:
    labels = ids(values=tuple(range(2**depth)))
    bits = (labels[..., None] >> np.arange(depth)[::-1] & 1).astype(np.uint8)
    path = png(tmp_path / "a.png", np.packbits(bits.reshape(HEIGHT, -1), axis=1), depth, 0)
    np.testing.assert_array_equal(read_label(path).array, labels)


def test_one_bit_labels_are_read(tmp_path: Path) -> None:
    Image.fromarray(ids() == 7).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png").array, ids() == 7)


def test_labels_in_three_equal_channels_are_read(tmp_path: Path) -> None:
    Image.fromarray(np.stack([ids().astype(np.uint8)] * 3, axis=-1)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png").array, ids())


def test_integers_stored_as_floats_are_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ids().astype(np.float32))
    read = read_label(tmp_path / "a.npy").array
    assert read.dtype == np.int64
    np.testing.assert_array_equal(read, ids())


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float64])
def test_nifti_labels_are_integers(tmp_path: Path, dtype: type) -> None:
    nib.Nifti1Image(ids().T.astype(dtype), np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    read = read_label(tmp_path / "a.nii.gz").array
    assert read.dtype.kind in "iu"
    np.testing.assert_array_equal(read, ids())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_of_a_nifti_volume_is_read(tmp_path: Path, axis: int) -> None:
    volume = np.random.default_rng(0).random((33, 40, 56)).astype(np.float32)
    affine = nib.affines.from_matvec(np.diag([1.0, 2.0, 3.0]) @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]), (5, 6, 7))
    nib.Nifti1Image(volume, affine).to_filename(tmp_path / "a.nii.gz")
    picture = read_image(tmp_path / "a.nii.gz", slice_axis=axis, slice_index=4)
    np.testing.assert_array_equal(picture.array, volume.take(4, axis).T)
    inside = [9, 8]
    inside.insert(axis, 4)
    np.testing.assert_allclose(picture.affine @ (8, 9, 0, 1), affine @ (*inside, 1), rtol=1e-6)


def test_a_page_of_a_tiff_is_read(tmp_path: Path) -> None:
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
    np.testing.assert_array_equal(picture.array, GREY.T)
    kept = [size for size, length in zip((1.0, 2.0, 3.0), shape, strict=False) if length > 1]
    assert picture.spacing == pytest.approx(kept[::-1])
