"""Colours in, colours out: `register` and `apply` warp each channel as SimpleITK does, in the type of the input."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it
import tifffile
from click.testing import CliRunner
from PIL import Image

from regstudio.cli import main
from regstudio.data.loading.loaders import ImageLoader
from regstudio.data.pictures.formats import read_image
from regstudio.networks.checkpoint import save_checkpoint
from tests.data.writers import by_pydicom, in_the_world
from tests.known_flows import constant_flow
from tests.transforms.test_itk_field import smooth

BYTES = np.stack([smooth(seed) for seed in (1, 2, 3, 4)], axis=-1).astype(np.uint8)  # red, green, blue, opacity
DEEP = BYTES.astype(np.uint16) * 251 + 7
GREY_AND_OPACITY = [0, 3]
AFFINE = np.array([[0.7, 0, 0, 5], [0, 1.3, 0, -7], [0, 0, 2, 11], [0, 0, 0, 1]])
Channels = slice | list[int]
RGB, RGBA = slice(3), slice(4)


def pillow(path: Path, array: np.ndarray) -> None:
    Image.fromarray(array).save(path)


def itk(path: Path, array: np.ndarray) -> None:
    image = sitk.GetImageFromArray(array, isVector=True)
    image.SetSpacing((0.7, 1.3))
    sitk.WriteImage(image, str(path))


def tiff(path: Path, array: np.ndarray, planarconfig: str = "contig") -> None:
    channels = array.shape[-1]
    planes = array if planarconfig == "contig" else np.moveaxis(array, -1, 0)
    kind = "rgb" if channels > 2 else "minisblack"
    extra = ["unassalpha"] if channels % 2 == 0 else []
    tifffile.imwrite(path, planes, photometric=kind, planarconfig=planarconfig, extrasamples=extra)


def planes(path: Path, array: np.ndarray) -> None:
    tiff(path, array, "separate")


def nibabel(path: Path, array: np.ndarray) -> None:
    fields = np.dtype([(name, np.uint8) for name in "RGBA"[: array.shape[-1]]])
    pixels = np.ascontiguousarray(array).view(fields)[..., 0].T
    nib.save(nib.Nifti1Image(pixels, AFFINE), path)


def numpy(path: Path, array: np.ndarray) -> None:
    np.save(path, array) if path.suffix == ".npy" else np.savez(path, img=array)


def dicom(path: Path, array: np.ndarray) -> None:
    by_pydicom(path, in_the_world(array[..., 0]))
    data = pydicom.dcmread(path)
    data.SamplesPerPixel, data.PlanarConfiguration, data.PhotometricInterpretation = 3, 0, "RGB"
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    data.PixelData = array.tobytes()
    data.save_as(path)


FILES: dict[str, tuple[str, Callable[[Path, np.ndarray], None], np.ndarray, Channels]] = {
    "PNG": (".png", pillow, BYTES, RGB),
    "PNG with opacity": (".png", pillow, BYTES, RGBA),
    "PNG, grey with opacity": (".png", pillow, BYTES, GREY_AND_OPACITY),
    "PNG of 16 bits": (".png", itk, DEEP, RGB),
    "PNG of 16 bits with opacity": (".png", itk, DEEP, RGBA),
    "PNG of 16 bits, grey with opacity": (".png", itk, DEEP, GREY_AND_OPACITY),
    "BMP": (".bmp", pillow, BYTES, RGB),
    "TIFF": (".tif", tiff, BYTES, RGB),
    "TIFF with opacity": (".tif", tiff, BYTES, RGBA),
    "TIFF, grey with opacity": (".tif", tiff, BYTES, GREY_AND_OPACITY),
    "TIFF of 16 bits": (".tif", tiff, DEEP, RGB),
    "TIFF of 16 bits in planes": (".tiff", planes, DEEP, RGBA),
    "TIFF of floats": (".tif", tiff, DEEP.astype(np.float32) - 3, RGB),
    "MHA": (".mha", itk, BYTES, RGB),
    "MHA of 16 bits with opacity": (".mha", itk, DEEP, RGBA),
    "NRRD": (".nrrd", itk, DEEP, RGB),
    "NIfTI by nibabel": (".nii.gz", nibabel, BYTES, RGB),
    "NIfTI by nibabel with opacity": (".nii", nibabel, BYTES, RGBA),
    "NIfTI by SimpleITK": (".nii.gz", itk, BYTES, RGB),
    "NIfTI by SimpleITK of 16 bits": (".nii", itk, DEEP, RGB),
    "NumPy": (".npy", numpy, BYTES, RGBA),
    "NumPy archive": (".npz", numpy, BYTES, RGB),
}


UNKNOWN_TO_ITK = ("NumPy", "NumPy archive", *(name for name in FILES if "grey with opacity" in name))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "c.pt"
    save_checkpoint(path, constant_flow(1.5, -2.25))
    return path


def run(*arguments: object) -> None:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output


def registered(checkpoint: Path, moving: Path) -> Path:
    """Register a file as a user does, and apply the saved flow to it again; return the warped file."""
    folder = moving.parent
    np.save(folder / "fixed.npy", smooth(9))
    run(
        *("register", "--checkpoint", checkpoint, "--fixed", folder / "fixed.npy", "--moving", moving),
        *("--out", folder / "out", "--device", "cpu"),
    )
    run("apply", "--flow", folder / "out" / "x_flow.npy", "--image", moving, "--out", folder / "again")
    (warped,) = (path for path in (folder / "out").glob("x_warped.*"))
    assert (folder / "again" / warped.name).read_bytes() == warped.read_bytes()
    return warped


def by_sitk(channel: np.ndarray, moving: Path, reference: np.ndarray) -> np.ndarray:
    """Return a channel of a file resampled by the displacement field that was written for it."""
    image = sitk.GetImageFromArray(channel.astype(np.float64))
    image.SetSpacing(read_image(moving).spacing[::-1] if read_image(moving).spacing else (1, 1))
    affine = read_image(moving).affine
    if affine is not None:
        image.SetOrigin((-affine[:2, 3]).tolist())
        image.SetDirection((-affine[:2, [1, 0]] / image.GetSpacing()).ravel().tolist())
    field = sitk.ReadImage(str(moving.parent / "out" / "x_displacement.nii.gz"), sitk.sitkVectorFloat64)
    if field.GetDimension() == 3:
        image = sitk.JoinSeries([image], affine[2, 3])
    grid = sitk.GetImageFromArray(reference if field.GetDimension() == 2 else reference[None])
    transform = sitk.DisplacementFieldTransform(field)
    warped = sitk.GetArrayFromImage(sitk.Resample(image, grid, transform, sitk.sitkLinear, float(channel.min())))
    return warped.reshape(reference.shape)


@pytest.mark.parametrize("name", FILES)
def test_each_channel_is_warped_as_simpleitk_does(name: str, checkpoint: Path, tmp_path: Path) -> None:
    ending, write, array, channels = FILES[name]
    array = array[..., channels]
    moving = tmp_path / f"x{ending}"
    write(moving, array)
    warped = registered(checkpoint, moving)
    assert warped.suffix == moving.suffix
    read = read_image(warped, colour=True).array
    assert (read.shape, read.dtype) == (array.shape, array.dtype)
    for channel in range(array.shape[-1]):
        expected = by_sitk(array[..., channel], moving, smooth(9))
        assert np.abs(expected - read[..., channel]).max() <= 0.6, channel
    if name not in UNKNOWN_TO_ITK:  # other programs see what was written
        np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(warped))).squeeze(), read)


@pytest.mark.slow
def test_jpeg_and_palettes_become_colours_and_dicom_mha(checkpoint: Path, tmp_path: Path) -> None:
    """In a folder each: what cannot be written, or interpolated, becomes what can."""
    colours = Image.fromarray(BYTES[..., RGB])
    for number, (ending, image, expected) in enumerate(
        (
            (".jpg", colours, ".png"),
            (".jpg", colours.convert("CMYK"), ".png"),
            (".png", colours.quantize(64), ".png"),
            (".tif", colours.quantize(64), ".tif"),
            (".dcm", None, ".mha"),
        )
    ):
        moving = tmp_path / str(number) / f"x{ending}"
        moving.parent.mkdir()
        dicom(moving, BYTES[..., RGB]) if image is None else image.save(moving)
        decoded = BYTES[..., RGB] if image is None else np.asarray(Image.open(moving).convert("RGB"))
        warped = registered(checkpoint, moving)
        assert warped.suffix == expected
        read = read_image(warped, colour=True).array
        assert read.shape == decoded.shape
        assert read.dtype == np.uint8
        for channel in range(3):
            expected_channel = by_sitk(decoded[..., channel], moving, smooth(9))
            assert np.abs(expected_channel - read[..., channel]).max() <= 0.6


def test_a_palette_of_greys_and_a_grey_file_stay_grey(checkpoint: Path, tmp_path: Path) -> None:
    image = Image.fromarray(BYTES[..., 0])
    image.putpalette(np.repeat(np.arange(256, dtype=np.uint8)[::-1], 3).tobytes())
    image.save(tmp_path / "x.png")
    assert read_image(registered(checkpoint, tmp_path / "x.png"), colour=True).array.ndim == 2
    np.testing.assert_array_equal(read_image(tmp_path / "x.png").array, 255 - BYTES[..., 0])


def test_the_network_sees_grey(tmp_path: Path) -> None:
    pillow(tmp_path / "x.png", BYTES)
    grey = BYTES[..., :3] @ np.array([0.299, 0.587, 0.114])
    seen = ImageLoader()(tmp_path / "x.png")[0]
    np.testing.assert_allclose(seen, (grey - grey.min()) / np.ptp(grey), atol=0.01)


@pytest.mark.parametrize("orientation", ["RAS", "ARS"])
def test_a_turned_colour_image_is_warped_in_place(orientation: str, checkpoint: Path, tmp_path: Path) -> None:
    channels = [sitk.DICOMOrient(in_the_world(BYTES[..., channel]), orientation) for channel in range(3)]
    sitk.WriteImage(sitk.Compose(channels), str(tmp_path / "x.mha"))
    sitk.WriteImage(in_the_world(smooth(9)), str(tmp_path / "fixed.mha"))
    run(
        *("register", "--checkpoint", checkpoint, "--fixed", tmp_path / "fixed.mha", "--moving", tmp_path / "x.mha"),
        *("--out", tmp_path / "out", "--device", "cpu"),
    )
    field = sitk.ReadImage(str(tmp_path / "out" / "x_displacement.nii.gz"), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(field)
    read = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "x_warped.mha")))
    for number, channel in enumerate(channels):
        image, lowest = sitk.Cast(channel, sitk.sitkFloat64), float(BYTES[..., number].min())
        reference = sitk.ReadImage(str(tmp_path / "fixed.mha"))
        expected = sitk.GetArrayFromImage(sitk.Resample(image, reference, transform, sitk.sitkLinear, lowest))
        assert np.abs(expected - read[..., number]).max() <= 0.6
