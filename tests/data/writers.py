"""Writers of one slice at one place in the world: every format, by every common program, in every way they have."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it
import tifffile
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

ORIENTATIONS = ("LPS", "RAS", "ARS", "PLS")
Write = Callable[[Path, sitk.Image], None]


def in_the_world(array: np.ndarray, angle: float = 0, spacing: tuple[float, float] = (0.8, 1.3)) -> sitk.Image:
    """A slice at a place of its own, turned in its plane; `spacing` is that of columns and rows."""
    image = sitk.GetImageFromArray(array[None])
    image.SetSpacing((*spacing, 2.5))
    image.SetOrigin((-31, 17, 40))
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    image.SetDirection((cosine, -sine, 0, sine, cosine, 0, 0, 0, 1))
    return image


def by_simpleitk(path: Path, image: sitk.Image) -> None:
    sitk.WriteImage(image, str(path))


def by_simpleitk_in_2d(path: Path, image: sitk.Image) -> None:
    sitk.WriteImage(image[:, :, 0], str(path))


def by_nibabel(path: Path, image: sitk.Image) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    nib.save(nib.Nifti1Image(sitk.GetArrayFromImage(image).T, np.diag([-1, -1, 1, 1]) @ affine), path)


def by_pydicom(path: Path, image: sitk.Image) -> None:
    array = sitk.GetArrayFromImage(image)[0].astype(np.uint16)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = pydicom.Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Modality, data.SamplesPerPixel, data.PhotometricInterpretation = "MR", 1, "MONOCHROME2"
    data.Rows, data.Columns = array.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    direction = np.reshape(image.GetDirection(), (3, 3))
    data.ImageOrientationPatient = [f"{value:.9f}" for value in (*direction[:, 0], *direction[:, 1])]
    data.ImagePositionPatient = [f"{value:.6f}" for value in image.GetOrigin()]
    data.PixelSpacing = [image.GetSpacing()[1], image.GetSpacing()[0]]  # rows, columns
    data.PixelData = array.tobytes()
    data.save_as(path, enforce_file_format=True)


def by_numpy(path: Path, image: sitk.Image) -> None:
    np.save(path, sitk.GetArrayFromImage(image)[0])


def by_pillow(path: Path, image: sitk.Image) -> None:
    Image.fromarray(sitk.GetArrayFromImage(image)[0]).save(path)


def by_tifffile(path: Path, image: sitk.Image) -> None:
    tifffile.imwrite(path, sitk.GetArrayFromImage(image)[0])


def array_of(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)[0]


def affine_of(image: sitk.Image, signs: tuple[int, int, int] = (-1, -1, 1)) -> np.ndarray:
    """The matrix from (x, y, z, 1) to the world: RAS, or with other `signs` of LPS another one."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([*signs, 1]) @ affine


def by_nibabel_in_nifti_2(path: Path, image: sitk.Image) -> None:
    nib.save(nib.Nifti2Image(sitk.GetArrayFromImage(image).T, affine_of(image)), path)


def by_nibabel_big_endian(path: Path, image: sitk.Image) -> None:
    header = nib.Nifti1Header(endianness=">")
    nib.save(nib.Nifti1Image(sitk.GetArrayFromImage(image).T.astype(">i2"), affine_of(image), header), path)


def by_nibabel_with_slope(path: Path, image: sitk.Image) -> None:
    file = nib.Nifti1Image(sitk.GetArrayFromImage(image).T.astype(np.int16) * 2 + 6, affine_of(image))
    content = bytearray(file.to_bytes())
    content[112:120] = np.array([0.5, -3], "<f4").tobytes()  # slope and intercept
    path.write_bytes(content)


def by_nibabel_with_one_affine(path: Path, image: sitk.Image, form: str = "q") -> None:
    file = nib.Nifti1Image(sitk.GetArrayFromImage(image).T, None)
    file.header.set_zooms(image.GetSpacing())
    (file.set_qform if form == "q" else file.set_sform)(affine_of(image), 1 if form == "q" else 2)
    nib.save(file, path)


def by_nibabel_with_an_sform_alone(path: Path, image: sitk.Image) -> None:
    by_nibabel_with_one_affine(path, image, "s")


def by_simpleitk_compressed(path: Path, image: sitk.Image) -> None:
    sitk.WriteImage(image, str(path), useCompression=True)


def by_hand_in_mha(path: Path, image: sitk.Image) -> None:
    """Big-endian and with the names that older programs write."""
    direction = np.reshape(image.GetDirection(), (3, 3))
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "True",
        "Orientation": " ".join(map(repr, direction.T.ravel().tolist())),
        "Position": " ".join(map(repr, image.GetOrigin())),
        "ElementSpacing": " ".join(map(repr, image.GetSpacing())),
        "DimSize": " ".join(map(str, image.GetSize())),
        "ElementType": "MET_USHORT",
        "ElementDataFile": "LOCAL",
    }
    header = "".join(f"{name} = {value}\n" for name, value in fields.items())
    path.write_bytes(header.encode() + sitk.GetArrayFromImage(image).astype(">u2").tobytes())


def nrrd(path: Path, image: sitk.Image, space: str, signs: tuple[int, int, int], encoding: str) -> None:
    affine, array = affine_of(image, signs), sitk.GetArrayFromImage(image)
    vectors = [f"({','.join(map(repr, vector.tolist()))})" for vector in affine[:3].T]
    raw = array.astype(">i2").tobytes()
    data = {"raw": raw, "gzip": gzip.compress(raw), "ascii": " ".join(map(str, array.ravel())).encode()}[encoding]
    lines = [
        "NRRD0004",
        "# by hand",
        "type: short",
        "dimension: 3",
        f"space: {space}",
        f"sizes: {' '.join(map(str, image.GetSize()))}",
        f"space directions: {' '.join(vectors[:3])}",
        "kinds: domain domain domain",
        *["endian: big"] * (encoding != "ascii"),
        f"encoding: {encoding}",
        f"space origin: {vectors[3]}",
    ]
    path.write_bytes("\n".join([*lines, "", ""]).encode() + data)


def by_hand_in_nrrd(space: str, signs: tuple[int, int, int], encoding: str) -> Write:
    return lambda path, image: nrrd(path, image, space, signs, encoding)


def by_pydicom_as(change: Callable[[pydicom.Dataset], Any]) -> Write:
    def write(path: Path, image: sitk.Image) -> None:
        by_pydicom(path, image)
        data = pydicom.dcmread(path)
        change(data)
        implicit = data.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
        pydicom.dcmwrite(path, data, implicit_vr=implicit, little_endian=True)

    return write


def _implicit(data: pydicom.Dataset) -> None:
    data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian


def _with_rescale(data: pydicom.Dataset) -> None:
    data.PixelData = (np.frombuffer(data.PixelData, np.uint16) + 1000).tobytes()
    data.RescaleSlope, data.RescaleIntercept = 1, -1000


def by_pillow_with_a_palette(path: Path, image: sitk.Image) -> None:
    picture = Image.fromarray(array_of(image))
    picture.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
    picture.save(path)


def by_pillow_with_exif(path: Path, image: sitk.Image) -> None:
    """Stored lying on its side, with the tag that says so."""
    exif = Image.Exif()
    exif[274] = 6  # the first row is the right side, the first column the top
    Image.fromarray(np.ascontiguousarray(np.rot90(array_of(image)))).save(path, exif=exif)


def by_tifffile_as(**options: Any) -> Write:
    return lambda path, image: tifffile.imwrite(path, array_of(image), **options)


def by_numpy_in_columns(path: Path, image: sitk.Image) -> None:
    np.save(path, np.asfortranarray(array_of(image).astype(">i4")))


def by_numpy_in_an_archive(path: Path, image: sitk.Image) -> None:
    np.savez_compressed(path, img=array_of(image), label=array_of(image))


PLACED: dict[str, tuple[str, Write]] = {
    "SimpleITK .nii": (".nii", by_simpleitk),
    "SimpleITK .nii.gz in 2-D": (".nii.gz", by_simpleitk_in_2d),
    "SimpleITK .mha": (".mha", by_simpleitk),
    "SimpleITK .mha in 2-D": (".mha", by_simpleitk_in_2d),
    "SimpleITK .mha, compressed": (".mha", by_simpleitk_compressed),
    "SimpleITK .nrrd": (".nrrd", by_simpleitk),
    "SimpleITK .nrrd, compressed": (".nrrd", by_simpleitk_compressed),
    "nibabel .nii.gz": (".nii.gz", by_nibabel),
    "nibabel NIfTI-2": (".nii", by_nibabel_in_nifti_2),
    "nibabel, big-endian": (".nii.gz", by_nibabel_big_endian),
    "nibabel with slope and intercept": (".nii", by_nibabel_with_slope),
    "nibabel, qform alone": (".nii", by_nibabel_with_one_affine),
    "nibabel, sform alone": (".nii", by_nibabel_with_an_sform_alone),
    "MetaImage by hand": (".mha", by_hand_in_mha),
    "NRRD in LPS": (".nrrd", by_hand_in_nrrd("left-posterior-superior", (1, 1, 1), "gzip")),
    "NRRD in RAS": (".nrrd", by_hand_in_nrrd("right-anterior-superior", (-1, -1, 1), "raw")),
    "NRRD in LAS": (".nrrd", by_hand_in_nrrd("LAS", (1, -1, 1), "ascii")),
    "pydicom .dcm": (".dcm", by_pydicom),
    "pydicom, implicit": (".dcm", by_pydicom_as(_implicit)),
    "pydicom, compressed": (".ima", by_pydicom_as(lambda data: data.compress(RLELossless))),
    "pydicom with intercept": (".dcm", by_pydicom_as(_with_rescale)),
}
UNPLACED: dict[str, tuple[str, Write]] = {
    "Pillow .png": (".png", by_pillow),
    "Pillow .png with a palette": (".png", by_pillow_with_a_palette),
    "Pillow .png on its side": (".png", by_pillow_with_exif),
    "Pillow .tif": (".tif", by_pillow),
    "Pillow .bmp": (".bmp", by_pillow),
    "SimpleITK .png": (".png", by_simpleitk_in_2d),
    "SimpleITK .tif": (".tif", by_simpleitk_in_2d),
    "tifffile .tif": (".tif", by_tifffile),
    "tifffile, big-endian": (".tiff", by_tifffile_as(byteorder=">", bigtiff=True, compression="zlib")),
    "tifffile in tiles": (".tif", by_tifffile_as(tile=(16, 16))),
    "NumPy .npy": (".npy", by_numpy),
    "NumPy, columns first": (".npy", by_numpy_in_columns),
    "NumPy .npz": (".npz", by_numpy_in_an_archive),
}


def written(
    folder: Path, writer: str, array: np.ndarray, orientation: str = "LPS", angle: float = 0, name: str = "x"
) -> Path:
    ending, write = (PLACED | UNPLACED)[writer]
    path = folder / f"{name}{ending}"
    write(path, sitk.DICOMOrient(in_the_world(array, angle), orientation))
    return path
