"""What a file is by its first bytes, whatever its name says; so that a sound file is never called damaged."""

from pathlib import Path

from regstudio.data.codecs.dicom import DICOM_ENDINGS, refuse_without_picture
from regstudio.data.problems import FileError

_RASTER = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")  # each is read under the ending of any other
_KINDS: tuple[tuple[int, bytes, str, tuple[str, ...]], ...] = (  # place, bytes, name, the endings that fit
    (0, b"\x89PNG\r\n\x1a\n", "a PNG", _RASTER),
    (0, b"\xff\xd8\xff", "a JPEG", _RASTER),
    (0, b"II*\0", "a TIFF", _RASTER),
    (0, b"MM\0*", "a TIFF", _RASTER),
    (0, b"II+\0", "a TIFF", _RASTER),
    (0, b"MM\0+", "a TIFF", _RASTER),
    (0, b"BM", "a BMP", _RASTER),
    (0, b"\x93NUMPY", "a NumPy array", (".npy",)),
    (0, b"PK\x03\x04", "a zip", (".npz",)),
    (0, b"\x1f\x8b", "a gzip", (".nii.gz",)),
    (0, b"NRRD000", "an NRRD", (".nrrd",)),
    (0, b"ObjectType", "a MetaImage", (".mha",)),
    (344, b"n+1\0", "a NIfTI", (".nii",)),
    (4, b"n+2\0", "a NIfTI", (".nii",)),
    (128, b"DICM", "a DICOM", DICOM_ENDINGS),
    (344, b"ni1\0", "the header of a two-part NIfTI", ()),
    (0, b"GIF8", "a GIF", ()),
    (8, b"WEBP", "a WebP", ()),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000", ()),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000", ()),
    (4, b"ftypheic", "a HEIC", ()),
    (4, b"ftypavif", "an AVIF", ()),
    (0, b"%PDF", "a PDF", ()),
    (0, b"\x89HDF", "an HDF5", ()),
    (0, b"MATLAB 5.0", "a MATLAB", ()),
    (0, b"8BPS", "a Photoshop", ()),
)


def refuse_other_kind(path: Path, ending: str) -> None:
    """Raise FileError if a file that could not be read is sound, but not of the kind that its ending says."""
    with path.open("rb") as stream:
        head = stream.read(352)
    for place, signature, name, endings in _KINDS:
        if head[place : place + len(signature)] == signature:
            if ending in DICOM_ENDINGS and ending in endings:
                refuse_without_picture(path)
            if ending not in endings:
                remedy = f"Name it {endings[0]}." if endings else "Save it as PNG, TIFF or NIfTI."
                raise FileError(path, f"is {name} file, in spite of its name", remedy)
            return
