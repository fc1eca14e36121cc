"""MetaImage (.mha), NRRD and DICOM, through SimpleITK; DICOM is only read."""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.codecs.stored import Stored, refuse_huge
from regstudio.data.problems import FileError

_READERS = {".mha": "MetaImageIO", ".nrrd": "NrrdImageIO", ".dcm": "GDCMImageIO"}
_DETACHED = {
    ".mha": re.compile(rb"^ElementDataFile\s*=(?!\s*LOCAL\b)", re.MULTILINE | re.IGNORECASE),
    ".nrrd": re.compile(rb"^data ?file:", re.MULTILINE | re.IGNORECASE),
}
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's world axes to those of NIfTI; its own inverse
_stderr_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Header:
    """What is kept of a file beside its pixels and its place: its number of dimensions, and its metadata."""

    dimension: int
    metadata: dict[str, str] = field(default_factory=dict)


def decode(path: Path, key: str) -> Stored:
    """Decode a file to arrays in the order (slice,) row, column."""
    kind = path.suffix.lower()
    _refuse_detached(path, kind)
    sitk = simpleitk()
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_READERS[kind])  # by itself, ITK would take any content behind any extension
    reader.SetFileName(str(path))
    with _stderr_silenced():
        reader.ReadImageInformation()
        channels = reader.GetNumberOfComponents()
        pixel = sitk.Image([1] * reader.GetDimension(), reader.GetPixelID(), channels)
        refuse_huge(path, reader.GetSize(), pixel.GetSizeOfPixelComponent() * channels)
        image = reader.Execute()
    array = sitk.GetArrayFromImage(image)
    if channels > 1 and (channels not in (3, 4) or array.dtype.kind != "u"):
        raise FileError(path, f"holds {channels} values for each pixel", "Save a picture with one, or in colour.")
    metadata = {} if kind == ".dcm" else _own_metadata(image)  # a patient's name must not travel on
    header = Header(dimension=min(3, image.GetDimension()), metadata=metadata)
    return Stored(array=array, colour=channels > 1, affine=_affine(image), header=header)


def _refuse_detached(path: Path, kind: str) -> None:
    # A header may name another file to take the pixels from: an uploaded one must not read the server's disk.
    with path.open("rb") as stream:
        head = stream.read(2**16).replace(b"\r", b"").split(b"\n\n")[0]
    if kind in _DETACHED and _DETACHED[kind].search(head):
        raise FileError(path, "keeps its pixels in another file", "Save it with the pixels inside.")


def _own_metadata(image: Any) -> dict[str, str]:
    keys = [key for key in image.GetMetaDataKeys() if not key.startswith(("ITK_", "NRRD_"))]
    return {key: image.GetMetaData(key) for key in keys}


def _affine(image: Any) -> npt.NDArray[np.float64] | None:
    dimension = image.GetDimension()
    if dimension > 3:
        return None
    lps = np.eye(4)
    lps[:dimension, :dimension] = np.reshape(image.GetDirection(), (dimension, dimension)) * image.GetSpacing()
    lps[:dimension, 3] = image.GetOrigin()
    backwards = [*reversed(range(dimension)), *range(dimension, 4)]  # ITK counts x, y, z; arrays count z, y, x
    affine: npt.NDArray[np.float64] = (LPS_TO_RAS @ lps)[:, backwards] + 0.0  # turns -0.0 into 0.0
    return affine


def encode(path: Path, key: str, stored: Stored) -> None:
    """Write a .mha or .nrrd file: a volume of one slice where it came from a volume or leaves the plane z = 0."""
    sitk = simpleitk()
    lps = np.eye(4) if stored.affine is None else LPS_TO_RAS @ stored.affine[:, [1, 0, 2, 3]] + 0.0
    header = stored.header if isinstance(stored.header, Header) else Header(dimension=2)
    flat = header.dimension == 2 and not (lps[2, [0, 1, 3]].any() or lps[:2, 2].any())
    dimension = 2 if flat else 3
    spacing = np.linalg.norm(lps[:dimension, :dimension], axis=0)
    image = sitk.GetImageFromArray(stored.array if flat else stored.array[None])
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:dimension, :dimension] / spacing).ravel().tolist())
    image.SetOrigin(lps[:dimension, 3].tolist())
    for name, value in header.metadata.items():
        image.SetMetaData(name, value)
    sitk.WriteImage(image, str(path))


@cache
def simpleitk() -> Any:
    """Return the module SimpleITK, imported at first use (it takes half a second), with its own warnings off."""
    import SimpleITK as sitk  # noqa: N813  the name that everybody gives it

    module: Any = sitk  # its functions carry no types
    module.ProcessObject.SetGlobalWarningDisplay(False)
    return module


@contextmanager
def _stderr_silenced() -> Iterator[None]:
    # At a damaged file MetaIO and GDCM write to the C++ std::cerr, which neither Python nor ITK's own switch reaches.
    with _stderr_lock, ExitStack() as undo:
        with suppress(OSError):  # a program without a console has no descriptor 2
            kept = os.dup(2)
            undo.callback(os.close, kept)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            undo.callback(os.close, nowhere)
            os.dup2(nowhere, 2)
            undo.callback(os.dup2, kept, 2)
        yield
