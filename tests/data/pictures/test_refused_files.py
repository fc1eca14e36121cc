"""Damaged, hostile and unsuitable files: each is refused with a message for the user."""

import io
import pickle
import re
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from regstudio.data.pictures.formats import EXTENSIONS, read_image, read_label
from regstudio.errors import DataError
from tests.pictures import BYTES, GREY, HEIGHT, WIDTH, gzip_header_only, ids, ramp, save_itk


def message(path: Path, read=read_image, **options) -> str:
    """The message for the user, without the folder."""
    with pytest.raises(DataError) as caught:
        read(path, **options)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


DAMAGED = "cannot be read as {}; it is damaged, or not what its name says. Copy or export it again."


@pytest.mark.parametrize("ending", EXTENSIONS)
def test_content_of_another_format_is_refused(tmp_path: Path, ending: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"This is no picture. " * 40)
    assert message(path) == DAMAGED.format(ending)
    assert message(path, read_label) == DAMAGED.format(ending)
    assert capfd.readouterr() == ("", "")  # no decoder may write to the user's console


@pytest.mark.parametrize("ending", [e for e in EXTENSIONS if e not in (".jpeg", ".tiff", ".dicom", ".ima")])
def test_truncated_files_are_refused(tmp_path: Path, ending: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"a{ending}"
    if ending in (".png", ".jpg", ".tif", ".bmp"):
        Image.fromarray(BYTES).save(path)
    elif ending == ".npy":
        np.save(path, GREY)
    elif ending == ".npz":
        np.savez(path, img=GREY)
    else:
        save_itk(path, GREY)
    read_image(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert message(path) == DAMAGED.format(ending)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("ending", EXTENSIONS)
def test_empty_files_are_refused(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a{ending}").touch()
    assert message(tmp_path / f"a{ending}") == "is empty (0 bytes). Copy or export it again."


def test_missing_files_folders_and_files_without_permission_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dir.png").mkdir()
    (tmp_path / "a.npy").touch()
    assert message(tmp_path / "none.png") == "there is no such file. Check the name."
    assert message(tmp_path / "dir.png") == "is a folder, not a file. Name one of the files in it."

    def forbidden(path: Path) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "stat", forbidden)
    assert message(tmp_path / "a.npy") == "may not be read (permission denied). Change its permissions."


def test_unsupported_formats_are_refused(tmp_path: Path) -> None:
    assert message(tmp_path / "a.gif") == (
        "this format is not supported. Supported are "
        ".png, .jpg, .jpeg, .tif, .tiff, .bmp, .npy, .npz, .nii, .nii.gz, .mha, .nrrd, .dcm, .dicom, .ima."
    )


def test_the_error_can_be_pickled(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / "none.png")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301  its own pickle


def test_a_missing_npz_key_names_the_keys_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=GREY, seg=ids())
    remedy = "Name the right one with --image_key (for images) or --label_key (for labels)."
    assert message(tmp_path / "a.npz") == f"has no array named 'img'; the arrays there: 'image', 'seg'. {remedy}"
    assert message(tmp_path / "a.npz", read_label) == (
        f"has no array named 'label'; the arrays there: 'image', 'seg'. {remedy}"
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.npz", key="image").array, GREY)
    np.testing.assert_array_equal(read_label(tmp_path / "a.npz", key="seg").array, ids())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("ending", [".npy", ".nii.gz", ".tif", ".mha"])
def test_nan_and_infinity_are_refused(tmp_path: Path, bad: float, ending: str) -> None:
    array = ramp().astype(np.float32)
    array[3, 5] = bad
    path = tmp_path / f"a{ending}"
    {
        ".npy": lambda: np.save(path, array),
        ".nii.gz": lambda: nib.Nifti1Image(array, np.eye(4)).to_filename(path),
        ".tif": lambda: Image.fromarray(array).save(path),
        ".mha": lambda: save_itk(path, array),
    }[ending]()
    assert message(path) == "holds NaN or infinity in 1 pixels. Replace them, for instance by 0."


def test_labels_that_are_not_integers_are_refused(tmp_path: Path) -> None:
    remedy = "Save the ids as integers, and resample labels with nearest neighbour only."
    for bad in (0.5, 0.9985, 7.0011, np.nan, np.inf, np.float32(0.998)):
        labels = ids().astype(np.asarray(bad).dtype)
        labels[1, 2] = bad
        np.save(tmp_path / "a.npy", labels)
        assert message(tmp_path / "a.npy", read_label) == (
            f"a label map holds whole numbers, this one holds {bad}. {remedy}"
        )


def test_ids_that_are_too_large_are_named(tmp_path: Path) -> None:
    for bad, limit in ((1e30, 2**53 - 1), (np.uint64(2**63), 2**63 - 1)):
        np.save(tmp_path / "a.npy", ids().astype(np.asarray(bad).dtype) * 0 + bad)
        assert message(tmp_path / "a.npy", read_label) == (
            f"holds the label id {int(bad)}, and {limit} is the largest that is read. Give the labels smaller ids."
        )


def test_labels_in_colour_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.stack([BYTES, BYTES, BYTES // 2], axis=-1)).save(tmp_path / "a.png")
    assert message(tmp_path / "a.png", read_label) == (
        "is a colour picture, and colours are no label ids. "
        "Save it with a palette, or with one channel that holds the ids 0, 1, 2, ..."
    )


VOLUME = (
    "is a volume of 5 x 40 x 56 pixels, not a 2-D picture. "
    "Take a slice with --slice_axis (0, 1 or 2) and --slice_index (counted from 0)."
)


@pytest.mark.parametrize("ending", [".npy", ".nii", ".mha", ".tif"])
def test_volumes_without_a_slice_and_slices_outside_are_refused(tmp_path: Path, ending: str) -> None:
    volume = np.stack([GREY // n for n in range(1, 6)])
    path = tmp_path / f"a{ending}"
    if ending == ".npy":
        np.save(path, volume)
    elif ending == ".nii":
        nib.Nifti1Image(volume, np.eye(4)).to_filename(path)
    elif ending == ".mha":
        save_itk(path, volume)
    else:
        pages = [Image.fromarray(page) for page in volume]
        pages[0].save(path, save_all=True, append_images=pages[1:])
    assert message(path) == VOLUME
    assert message(path, slice_axis=0) == VOLUME
    assert message(path, read_label) == VOLUME
    for axis, index in ((0, 5), (0, -1), (3, 0), (-1, 0), (2, 56)):
        assert message(path, slice_axis=axis, slice_index=index) == (
            f"its size is 5 x 40 x 56, so there is no slice {index} along axis {axis}. "
            "Choose a --slice_axis of 0, 1 or 2 and a --slice_index below the size along it."
        )


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY.astype(complex), "holds complex128 numbers, which are no picture. Save real numbers."),
        (np.array([["a", "b"]]), "holds '<U1' values, not numbers. Save a numeric array."),
        (np.zeros((0, 5)), "holds no pixels (its size is 0 x 5). Export it again."),
        (np.zeros(7), "has the size 7, which is no 2-D picture. Save one with rows and columns."),
        (np.array(3.0), "has the size 1, which is no 2-D picture. Save one with rows and columns."),
        (
            np.zeros((2, 3, 4, 5)),
            "has the size 2 x 3 x 4 x 5, which is no 2-D picture. Save one with rows and columns.",
        ),
    ],
)
def test_arrays_that_are_no_picture_are_refused(tmp_path: Path, array: np.ndarray, expected: str) -> None:
    np.save(tmp_path / "a.npy", array)
    assert message(tmp_path / "a.npy") == expected


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "sprung",)

    np.save(tmp_path / "a.npy", np.array([[Trap()]], object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", img=np.array([[Trap()]], object), allow_pickle=True)
    for path in (tmp_path / "a.npy", tmp_path / "a.npz"):
        assert message(path) == "holds 'object' values, not numbers. Save a numeric array."
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Trap()))
    assert message(tmp_path / "b.npy") == DAMAGED.format(".npy")
    assert not (tmp_path / "sprung").exists()


def test_vector_images_are_refused(tmp_path: Path) -> None:
    save_itk(tmp_path / "a.mha", np.zeros((HEIGHT, WIDTH, 2), np.float32), isVector=True)
    assert message(tmp_path / "a.mha") == "holds 2 values for each pixel. Save a picture with one, or in colour."


def test_pages_of_different_sizes_are_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.tif", save_all=True, append_images=[Image.fromarray(GREY[::2, ::2])])
    assert message(tmp_path / "a.tif") == (
        "holds 2 pages of different sizes. Save the one to use as a file of its own."
    )


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".mha", "NDims = 2\nDimSize = 4 4\nElementType = MET_UCHAR\nElementDataFile = /etc/hostname\n"),
        (".nrrd", "NRRD0004\ntype: uchar\ndimension: 2\nsizes: 4 4\nencoding: raw\ndata file: /etc/hostname\n\n"),
    ],
)
def test_headers_that_point_to_another_file_are_refused(tmp_path: Path, ending: str, content: str) -> None:
    (tmp_path / f"a{ending}").write_text(content)
    assert message(tmp_path / f"a{ending}") == "keeps its pixels in another file. Save it with the pixels inside."


TOO_LARGE = r"is too large \([\d x]+ pixels; the limits are [\d,]+ pixels a picture and [\d,]+ bytes a file\)\. Save it"


def test_a_decompression_bomb_in_numpy_files_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)})
    (tmp_path / "a.npy").write_bytes(stream.getvalue())
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("img.npy", stream.getvalue())
    assert re.match(TOO_LARGE, message(tmp_path / "a.npy"))
    assert re.match(TOO_LARGE, message(tmp_path / "a.npz"))


def test_a_decompression_bomb_in_an_image_is_refused(tmp_path: Path) -> None:
    Image.new("1", (12000, 7000)).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 50_000
    assert re.match(TOO_LARGE, message(tmp_path / "a.png"))


def test_a_huge_size_in_a_nifti_header_is_refused(tmp_path: Path) -> None:
    gzip_header_only(tmp_path / "a.nii.gz", (30000, 30000))
    assert re.match(TOO_LARGE, message(tmp_path / "a.nii.gz"))
    gzip_header_only(tmp_path / "b.nii.gz", (HEIGHT, WIDTH), start=2e9)
    assert message(tmp_path / "b.nii.gz") == ("its header takes 2,000,000,000 bytes. Save the file without extensions.")


def test_a_huge_size_in_an_itk_header_is_refused(tmp_path: Path) -> None:
    header = "NDims = 2\nDimSize = 90000 90000\nElementType = MET_DOUBLE\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_text(header)
    assert re.match(TOO_LARGE, message(tmp_path / "a.mha"))
