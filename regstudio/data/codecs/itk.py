"""MetaImage (.mha), NRRD and DICOM, through SimpleITK; DICOM is only read."""

import re
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.codecs.bounds import check_header, nrrd_fields
from regstudio.data.codecs.decoded_file import DecodedFile, refuse_huge
from regstudio.data.codecs.dicom import as_black_is_zero
from regstudio.data.codecs.silence import silence_stderr
from regstudio.data.geometry import LPS_TO_RAS
from regstudio.data.problems import FileError
from regstudio.files import temporary_folder

_READERS = {".mha": "MetaImageIO", ".nrrd": "NrrdImageIO"}  # others are DICOM
_MM = {"um": 1e-3, "micron": 1e-3, "cm": 10.0, "m": 1000.0}  # in a unit of a .nrrd file
_DICOM_ORIENTATION = "0020|0037"  # Image Orientation (Patient), which X-rays lack


@dataclass(frozen=True, kw_only=True)
class Header:
    """The part of a header that is written again: number of dimensions, and metadata."""

    dimension: int
    metadata: dict[str, str] = field(default_factory=dict)


def decode(path: Path, key: str) -> DecodedFile:
    """Decode a file; the pixels are read when they are asked for."""
    kind = path.suffix.lower()
    check_header(path)
    sitk = simpleitk()
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_READERS.get(kind, "GDCMImageIO"))  # otherwise ITK accepts any content behind any extension
    reader.SetFileName(str(path))
    with silence_stderr():
        reader.ReadImageInformation()
        channels = reader.GetNumberOfComponents()
        pixel = sitk.Image([1] * reader.GetDimension(), reader.GetPixelID(), channels)
        refuse_huge(path, reader.GetSize(), pixel.GetSizeOfPixelComponent() * channels)
    if channels > 1 and (channels not in (3, 4) or sitk.GetArrayFromImage(pixel).dtype.kind != "u"):
        raise FileError(path, f"holds {channels} values for each pixel", "Save a picture with one, or in colour.")
    interpretation = _tag(reader, "0028|0004") if kind not in _READERS else ""
    metadata = _metadata(reader) if kind in _READERS else {}  # a patient's name must not get into the results
    header = Header(dimension=min(3, reader.GetDimension()), metadata=metadata)
    file = DecodedFile(
        array=_Pixels(reader, (*reversed(reader.GetSize()), *[channels] * (channels > 1))),
        colour=channels > 1,
        affine=_affine(reader, _unit(path) if kind == ".nrrd" else 1.0),
        placed=kind in _READERS or reader.HasMetaDataKey(_DICOM_ORIENTATION) or not _is_default(reader),
        dimension=header.dimension,
        header=header,
    )
    if interpretation == "MONOCHROME1":
        return replace(file, array=_StoredPixels(path, file.array.shape), white=_white(reader))
    return _with_palette(path, file) if interpretation == "PALETTE COLOR" else file


class _Pixels:
    """The array of a file whose header has been read: all of it is read when it is indexed."""

    def __init__(self, reader: Any, shape: tuple[int, ...]) -> None:
        self._reader, self.shape = reader, shape

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        with silence_stderr():
            image = self._reader.Execute()
        array: npt.NDArray[Any] = simpleitk().GetArrayFromImage(image)[index]
        return array


class _StoredPixels:
    """The array of a DICOM file in the numbers that are stored, where GDCM turns them over or makes them colours."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._path, self.shape = path, shape

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        with temporary_folder() as folder:
            copy = folder / "stored.dcm"
            copy.write_bytes(as_black_is_zero(self._path))
            array: npt.NDArray[Any] = read_as(copy, "GDCMImageIO")[index]
        return array


def _with_palette(path: Path, file: DecodedFile) -> DecodedFile:
    """Return a DICOM file that GDCM has made colours of, with its indices and its palette."""
    colours, indices = file.array[:], _StoredPixels(path, file.array.shape[:-1])[:]
    palette = np.zeros((max(256, int(indices.max()) + 1), 3), colours.dtype)
    palette[indices] = colours[..., :3]
    return replace(file, array=indices, colour=False, palette=palette)


def _white(reader: Any) -> float:
    """What an image is to be subtracted from where the file's numbers grow from white to black."""
    highest = -1 if _tag(reader, "0028|0103") == "1" else 2 ** int(_tag(reader, "0028|0101")) - 1
    return float(_tag(reader, "0028|1053") or 1) * highest + 2 * float(_tag(reader, "0028|1052") or 0)


def _tag(reader: Any, name: str) -> str:
    return str(reader.GetMetaData(name)).strip("\0 ") if reader.HasMetaDataKey(name) else ""


def read_as(path: Path, image_io: str) -> npt.NDArray[Any]:
    """Return the array of a file whose size was checked, in the order row, column, by the ImageIO of that name."""
    reader = simpleitk().ImageFileReader()
    reader.SetImageIO(image_io)
    reader.SetFileName(str(path))
    with silence_stderr():
        array: npt.NDArray[Any] = simpleitk().GetArrayFromImage(reader.Execute())
    return array


def write_deep_colours(path: Path, array: npt.NDArray[Any]) -> None:
    """Write a PNG of 16-bit colours (H, W, C), which Pillow cannot."""
    image = simpleitk().GetImageFromArray(array, isVector=True)
    simpleitk().WriteImage(image, str(path), useCompression=True, compressionLevel=1)


def _metadata(image: Any) -> dict[str, str]:
    keys = [key for key in image.GetMetaDataKeys() if not key.startswith(("ITK_", "NRRD_"))]
    return {key: image.GetMetaData(key) for key in keys}


def _is_default(image: Any) -> bool:
    """Whether direction and origin are those that ITK takes where a file tells none."""
    return np.array_equal(image.GetDirection(), np.eye(image.GetDimension()).ravel()) and not any(image.GetOrigin())


def _unit(path: Path) -> float:
    """Return the mm in the unit of a .nrrd file's places, which ITK does not look at; 1 where it tells none we know."""
    fields, _ = nrrd_fields(path)
    units = set(re.findall(r'"([^"]*)"', fields.get("spaceunits", fields.get("units", "")))) - {""}
    return _MM.get(units.pop().lower(), 1.0) if len(units) == 1 else 1.0


def _affine(image: Any, unit: float) -> npt.NDArray[np.float64]:
    """Return the matrix to RAS+ and mm of an image whose places are in a `unit` of that many mm."""
    dimension, known = image.GetDimension(), min(3, image.GetDimension())
    lps = np.eye(4)
    scaled = np.reshape(image.GetDirection(), (dimension, dimension)) * image.GetSpacing()
    lps[:known, :known] = scaled[:known, :known]
    lps[:known, 3] = image.GetOrigin()[:known]
    lps[:known] *= unit
    affine: npt.NDArray[np.float64] = LPS_TO_RAS @ lps + 0.0  # turns -0.0 into 0.0
    return affine


def encode(path: Path, key: str, content: DecodedFile) -> None:
    """Write a .mha or .nrrd file; if it came from a volume, or is not in the plane z = 0, as a volume of one slice."""
    sitk = simpleitk()
    lps = np.eye(4) if content.affine is None else LPS_TO_RAS @ content.affine + 0.0
    header = content.header if isinstance(content.header, Header) else Header(dimension=2)
    planar = header.dimension == 2 and not (lps[2, [0, 1, 3]].any() or lps[:2, 2].any())
    dimension = 2 if planar else 3
    spacing = np.linalg.norm(lps[:dimension, :dimension], axis=0)
    image = sitk.GetImageFromArray(content.array if planar else content.array[None], isVector=content.colour)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:dimension, :dimension] / spacing).ravel().tolist())
    image.SetOrigin(lps[:dimension, 3].tolist())
    for name, value in header.metadata.items():
        image.SetMetaData(name, value)
    sitk.WriteImage(image, str(path))


@cache
def simpleitk() -> Any:
    """Import SimpleITK at the first call, since that takes half a second, and turn its warnings off."""
    import SimpleITK as sitk  # noqa: N813  the name that everybody gives it

    module: Any = sitk  # its functions carry no types
    module.ProcessObject.SetGlobalWarningDisplay(False)
    return module
