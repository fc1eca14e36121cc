"""The bytes of one sound picture in every format, as the usual writers write it."""

import gzip
import io
import tempfile
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it
import tifffile
from PIL import Image

from tests.pictures import BYTES, GREY


@cache
def sound(ending: str) -> bytes:
    """The picture `GREY`, or `BYTES` where a format holds no 16 bits."""
    stream = io.BytesIO()
    if ending in (".png", ".jpg", ".bmp"):
        Image.fromarray(GREY if ending == ".png" else BYTES).save(stream, {".jpg": "jpeg"}.get(ending, ending[1:]))
    elif ending == ".tif":
        tifffile.imwrite(stream, GREY, metadata=None)
    elif ending == ".npy":
        np.save(stream, GREY)
    elif ending == ".npz":
        np.savez(stream, img=GREY)
    elif ending == ".nii":
        return nib.Nifti1Image(GREY.T, np.eye(4)).to_bytes()
    elif ending == ".nii.gz":
        return gzip.compress(sound(".nii"), mtime=0)
    else:
        return by_itk(GREY, ending)
    return stream.getvalue()


ENDINGS = (".png", ".jpg", ".bmp", ".tif", ".npy", ".npz", ".nii", ".nii.gz", ".mha", ".nrrd", ".dcm")


def by_itk(array: np.ndarray, ending: str, *, compressed: bool = False, vectors: bool = False) -> bytes:
    """The bytes that SimpleITK writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a{ending}")
        sitk.WriteImage(sitk.GetImageFromArray(array, isVector=vectors), str(path), useCompression=compressed)
        return path.read_bytes()
