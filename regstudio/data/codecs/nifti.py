"""NIfTI-1 and NIfTI-2, through nibabel, with arrays and places as ITK has them.

nibabel counts x, y, z along the axes of an array, ITK z, y, x. A file may hold two affines that differ; which one ITK
takes, and what it makes of a file that holds none, is the rule here too, so that all programs see one place.
"""

import logging
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import igzip

from regstudio.data.codecs.bounds import check_gzip, check_header
from regstudio.data.codecs.decoded_file import DecodedFile, refuse_huge
from regstudio.data.geometry import LPS_TO_RAS

Array = npt.NDArray[Any]

_SCANNER = 1  # the code of an affine to the scanner's own world
_TO_MM = {"micron": 1e-3, "meter": 1e3}


def decode(path: Path, key: str) -> DecodedFile:
    """Decode a .nii or .nii.gz file; pixels are read, by its slope and intercept, when they are asked for."""
    check_header(path)
    image = nibabel().load(path, mmap=False)
    refuse_huge(path, image.shape, image.get_data_dtype().itemsize)
    header, dtype = image.header, image.get_data_dtype()
    kind = _Pixels
    if dtype.names is not None:  # NIfTI's own types of colours
        kind = _Colours
    elif len(image.shape) == 5 and image.shape[4] in (3, 4) and dtype.kind == "u":  # how ITK writes colours
        kind = _Channels
    affine, placed = itk_affine(header)
    return DecodedFile(
        array=kind(image.dataobj, path),
        colour=kind is not _Pixels,
        affine=affine,
        placed=placed,
        dimension=min(3, len(image.shape)),
        header=header,
    )


class _Pixels:
    """nibabel's proxy in the order of ITK: the axes of the file from the last to the first."""

    def __init__(self, proxy: Any, path: Path) -> None:
        self._proxy, self._path = proxy, path
        self.shape = tuple(reversed(proxy.shape))

    def __getitem__(self, index: tuple[Any, ...]) -> Array:
        if self._path.suffix.lower() == ".gz":
            check_gzip(self._path)
        pixels: Array = np.asanyarray(self._proxy[tuple(reversed(index))]).T
        return pixels


class _Colours(_Pixels):
    """The same of a picture whose pixels have fields R, G, B and perhaps A: these channels come last."""

    def __init__(self, proxy: Any, path: Path) -> None:
        super().__init__(proxy, path)
        self._names = proxy.dtype.names
        self.shape = (*self.shape, len(self._names))

    def __getitem__(self, index: tuple[Any, ...]) -> Array:
        pixels = super().__getitem__(index)
        return np.stack([pixels[channel] for channel in self._names], axis=-1)


class _Channels(_Pixels):
    """The same of a picture whose channels lie along a fifth axis: they come last."""

    def __init__(self, proxy: Any, path: Path) -> None:
        super().__init__(proxy, path)
        self.shape = (*self.shape[1:], self.shape[0])

    def __getitem__(self, index: tuple[Any, ...]) -> Array:
        return np.moveaxis(super().__getitem__((slice(None), *index)), 0, -1)


def itk_affine(header: Any) -> tuple[Array, bool]:
    """Return the affine (4, 4) from (x, y, z, 1) to RAS+ in mm as ITK reads it, and whether the file tells a place.

    ITK takes the sform if it is the only one, if it is the scanner's and has right angles, or if the qform says the
    same; else the qform. Spacings are pixdim's. Source: itk::NiftiImageIO of ITK 5.4.
    """
    zooms = np.ones(3)
    pixdim = np.abs(header.get_zooms()[:3])
    zooms[: len(pixdim)] = np.where(np.isfinite(pixdim) & (pixdim > 0), pixdim, 1)
    scale = np.diag([*[_TO_MM.get(header.get_xyzt_units()[0], 1.0)] * 3, 1.0])
    chosen = _chosen(header)
    if chosen is None:
        return scale @ LPS_TO_RAS @ np.diag([*zooms, 1.0]), False
    if _has_right_angles(chosen):  # of another one ITK knows nothing
        known = len(pixdim)
        chosen[:3, :known] *= zooms[:known] / np.linalg.norm(chosen[:3, :known], axis=0)
    return scale @ chosen + 0.0, True


def _chosen(header: Any) -> Array | None:
    """Return the affine that ITK would take, as it is stored; None if there is none that tells a place."""
    sform, sform_code = header.get_sform(coded=True)
    try:
        qform, _ = header.get_qform(coded=True)
    except ValueError:  # its quaternion is none
        qform = None
    found: list[Array] = [form for form in (sform, qform) if form is not None and _is_affine(form)]
    if len(found) == 2:
        first, second = found
        scanner = sform_code == _SCANNER and _has_right_angles(first)
        return first if scanner or np.allclose(first, second, atol=1e-4) else second
    return found[0] if found else None


def _is_affine(form: Array) -> bool:
    return bool(np.isfinite(form).all() and np.linalg.det(form[:3, :3]) != 0)


def _has_right_angles(form: Array) -> bool:
    axes = form[:3, :3] / np.linalg.norm(form[:3, :3], axis=0)
    return np.allclose(axes @ axes.T, np.eye(3), atol=1e-4)


def encode(path: Path, key: str, content: DecodedFile) -> None:
    """Write a .nii or .nii.gz file; if `content` came from a NIfTI file, with that file's header."""
    nib = nibabel()
    header = content.header if isinstance(content.header, nib.Nifti1Header) else None  # a Nifti2Header is one, too
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    if header is None:
        image = kind(_x_first(content), content.affine)  # without one, the file tells no place
        image.header.set_xyzt_units("mm" if content.affine is not None else None)
    else:
        image = _with_header(kind, content, header)
    is_vector = len(image.shape) == 5
    if is_vector or image.header.get_intent()[0] == "vector":
        image.header.set_intent("vector" if is_vector else "none")  # ITK aborts at vectors without a fifth axis
    write_bytes(path, image.to_bytes())


def write_bytes(path: Path, nifti: bytes) -> None:
    """Write the bytes of a .nii file, compressed if the name ends in .gz: igzip takes a tenth of zlib's time."""
    path.write_bytes(igzip.compress(nifti, mtime=0) if path.suffix.lower() == ".gz" else nifti)


def _x_first(content: DecodedFile) -> Array:
    """Return the array as NIfTI has it, x first; colours of 8 bits as its own type, others along a fifth axis."""
    array: Array = content.array
    if not content.colour:
        return array.T
    channels = array.shape[-1]
    if array.dtype == np.uint8 and channels > 2:
        fields = np.dtype([(name, np.uint8) for name in "RGBA"[:channels]])
        return np.ascontiguousarray(array).view(fields)[..., 0].T
    return array.swapaxes(0, 1)[:, :, None, None]


def _with_header(kind: Any, content: DecodedFile, header: Any) -> Any:
    array = _x_first(content)
    if array.ndim == 2 and len(header.get_data_shape()) > 2:
        array = array[..., None]
    image = kind(array, None, header)  # copies the header
    image.set_data_dtype(array.dtype)
    image.header.set_slope_inter(1, 0)
    image.header["cal_min"] = image.header["cal_max"] = 0  # the display window, which is wrong for the new numbers
    if content.affine is None:
        return image
    affine = np.diag([*[1 / _TO_MM.get(header.get_xyzt_units()[0], 1.0)] * 3, 1.0]) @ content.affine
    zooms = np.linalg.norm(affine[:3, : array.ndim], axis=0)[:3]
    image.header.set_zooms([*zooms, 1, 1][: array.ndim])
    sform, qform = (form(coded=True)[0] for form in (header.get_sform, header.get_qform))
    # The header's affines are wrong for a slice of a volume and for another resolution, and they may be two.
    if any(form is not None and not np.allclose(form, affine) for form in (sform, qform)):
        codes = int(header["sform_code"]), int(header["qform_code"])
        image.set_sform(affine, codes[0])
        image.set_qform(affine, codes[1])
    return image


@cache
def nibabel() -> Any:
    """Import nibabel at the first call, and keep its remarks on odd headers off the console."""
    import nibabel as nib

    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    return nib
