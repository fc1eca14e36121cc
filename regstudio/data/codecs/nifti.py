"""NIfTI-1 and NIfTI-2, through nibabel, in its own axis order: the first axis is the rows, nothing is transposed."""

import logging
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from isal import igzip

from regstudio.data.codecs.bounds import check_header
from regstudio.data.codecs.decoded_file import DecodedFile, refuse_huge


def decode(path: Path, key: str) -> DecodedFile:
    """Decode a .nii or .nii.gz file; the array is a proxy that applies the header's slope and intercept when read."""
    check_header(path)
    image = nibabel().load(path, mmap=False)
    refuse_huge(path, image.shape, image.get_data_dtype().itemsize)
    affine, header = np.asarray(image.affine, np.float64), image.header
    if image.get_data_dtype().names:  # NIfTI's RGB types
        pixels = np.asanyarray(image.dataobj)
        colours = np.stack([pixels[channel] for channel in ("R", "G", "B")], axis=-1)
        return DecodedFile(array=colours, colour=True, affine=affine, header=header)
    return DecodedFile(array=image.dataobj, affine=affine, header=header)


def encode(path: Path, key: str, content: DecodedFile) -> None:
    """Write a .nii or .nii.gz file; if `content` came from a NIfTI file, with that file's header."""
    nib = nibabel()
    header = content.header if isinstance(content.header, nib.Nifti1Header) else None  # a Nifti2Header is one, too
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    if header is None:
        image = kind(content.array, np.eye(4) if content.affine is None else content.affine)
        image.header.set_xyzt_units("mm" if content.affine is not None else None)
    else:
        image = _with_header(kind, content, header)
    write_bytes(path, image.to_bytes())


def write_bytes(path: Path, nifti: bytes) -> None:
    """Write the bytes of a .nii file, compressed if the name ends in .gz: igzip takes a tenth of zlib's time."""
    path.write_bytes(igzip.compress(nifti, mtime=0) if path.suffix.lower() == ".gz" else nifti)


def _with_header(kind: Any, content: DecodedFile, header: Any) -> Any:
    array = content.array if len(header.get_data_shape()) == 2 else content.array[..., None]
    image = kind(array, None, header)  # copies the header
    image.set_data_dtype(array.dtype)
    image.header.set_slope_inter(1, 0)
    image.header["cal_min"] = image.header["cal_max"] = 0  # the display window, which is wrong for the new numbers
    # The header's affine is wrong for a slice of a volume and for another resolution.
    if content.affine is not None and not np.allclose(header.get_best_affine(), content.affine):
        codes = int(header["sform_code"]), int(header["qform_code"])
        image.header.set_zooms(np.linalg.norm(content.affine[:3, : array.ndim], axis=0))
        image.set_sform(content.affine, codes[0])
        image.set_qform(content.affine, codes[1])
    return image


@cache
def nibabel() -> Any:
    """Import nibabel at the first call, and keep its remarks on odd headers off the console."""
    import nibabel as nib

    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    return nib
