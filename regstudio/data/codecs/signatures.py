"""What a file is by its first bytes, whatever its name says; so that a sound file is never called damaged."""

from pathlib import Path

from regstudio.data.problems import FileError

_RASTER = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")  # each is read under the ending of any other
_DICOM = (".dcm", ".dicom", ".ima")
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
    (128, b"DICM", "a DICOM", _DICOM),
    (344, b"ni1\0", "the header of a NIfTI in two files", ()),
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


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM by its content; False where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def refuse_other_kind(path: Path, ending: str) -> None:
    """Raise FileError if a file that could not be read is sound, but not of the kind that its ending says."""
    with path.open("rb") as stream:
        head = stream.read(352)
    for place, signature, name, endings in _KINDS:
        if head[place : place + len(signature)] == signature:
            if ending in _DICOM and ending in endings:
                _refuse_without_picture(path)
            if ending not in endings:
                remedy = f"Name it {endings[0]}." if endings else "Save it as PNG, TIFF or NIfTI."
                raise FileError(path, f"is {name} file, in spite of its name", remedy)
            return


def _refuse_without_picture(path: Path) -> None:
    content = path.read_bytes()
    if b"\xe0\x7f\x10\x00" not in content and b"\x7f\xe0\x00\x10" not in content:  # the tag of the pixels
        raise FileError(path, "is a DICOM file that holds no picture", "Choose the image that belongs to it.")
