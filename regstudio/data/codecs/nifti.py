"""NIfTI-1 and NIfTI-2, through nibabel, in its own axis order: the first axis is the rows, nothing is transposed."""

import gzip
import logging
import struct
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from isal import igzip

from regstudio.data.codecs.stored import Stored, refuse_huge
from regstudio.data.problems import FileError

MAX_HEADER = 2**24  # bytes of a header with its extensions


def decode(path: Path, key: str) -> Stored:
    """Decode a .nii or .nii.gz file; the array is a proxy that applies the header's slope and intercept."""
    refuse_far_pixels(path)
    image = nibabel().load(path, mmap=False)
    refuse_huge(path, image.shape, image.get_data_dtype().itemsize)
    affine, header = np.asarray(image.affine, np.float64), image.header
    if image.get_data_dtype().names:  # NIfTI's RGB types
        pixels = np.asanyarray(image.dataobj)
        colours = np.stack([pixels[channel] for channel in ("R", "G", "B")], axis=-1)
        return Stored(array=colours, colour=True, affine=affine, header=header)
    return Stored(array=image.dataobj, affine=affine, header=header)


def refuse_far_pixels(path: Path) -> None:
    """Raise FileError for a file that says it holds more than MAX_HEADER bytes before its pixels."""
    # Readers read whatever lies between header and pixels: in a .nii.gz, a few bytes on disk can be gigabytes of it.
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
        head = stream.read(540)
    for order in "<>":  # where NIfTI-1 and NIfTI-2 say how far into the file the pixels start
        for length, number, place in ((348, "f", 108), (540, "q", 168)):
            if struct.unpack_from(order + "i", head)[0] == length:
                start = struct.unpack_from(order + number, head, place)[0]
                if start > MAX_HEADER:
                    raise FileError(path, f"its header takes {start:,.0f} bytes", "Save the file without extensions.")


def encode(path: Path, key: str, stored: Stored) -> None:
    """Write a .nii or .nii.gz file, with the header of the NIfTI file it came from, if it did."""
    nib = nibabel()
    header = stored.header if isinstance(stored.header, nib.Nifti1Header) else None  # NIfTI-2's is one, too
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    if header is None:
        image = kind(stored.array, np.eye(4) if stored.affine is None else stored.affine)
        image.header.set_xyzt_units("mm" if stored.affine is not None else None)
    else:
        image = _with_header(kind, stored, header)
    write_content(path, image.to_bytes())


def write_content(path: Path, content: bytes) -> None:
    """Write what a .nii file holds to one, or to a .nii.gz file: in a tenth of zlib's time, hardly larger."""
    path.write_bytes(igzip.compress(content, mtime=0) if path.suffix.lower() == ".gz" else content)


def _with_header(kind: Any, stored: Stored, header: Any) -> Any:
    array = stored.array if len(header.get_data_shape()) == 2 else stored.array[..., None]
    image = kind(array, None, header)  # copies the header
    image.set_data_dtype(array.dtype)
    image.header.set_slope_inter(1, 0)
    image.header["cal_min"] = image.header["cal_max"] = 0  # the display window of other numbers than these
    # A slice of a volume, or a picture at another resolution, lies elsewhere than the header says.
    if stored.affine is not None and not np.allclose(header.get_best_affine(), stored.affine):
        codes = int(header["sform_code"]), int(header["qform_code"])
        image.header.set_zooms(np.linalg.norm(stored.affine[:3, : array.ndim], axis=0))
        image.set_sform(stored.affine, codes[0])
        image.set_qform(stored.affine, codes[1])
    return image


@cache
def nibabel() -> Any:
    """Return the module nibabel, imported at first use; its remarks on odd headers stay off the console."""
    import nibabel as nib

    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    return nib
