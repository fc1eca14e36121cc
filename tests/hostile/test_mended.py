"""What hostile files once did in silence, or worse: each is one message now."""

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from regstudio.cli import main
from regstudio.data.loading.loaders import rescale
from regstudio.data.pictures.formats import read_image
from regstudio.data.problems import FileError, shown_path
from regstudio.errors import printable
from tests.hostile import headers
from tests.hostile.corpus import dicoms, rasters
from tests.pictures import HEIGHT, WIDTH

DAMAGED = "cannot be read as {}; it is damaged, or not what its name says"


def refusal(path: Path) -> str:
    with pytest.raises(FileError) as caught:
        read_image(path)
    return caught.value.what


@pytest.mark.parametrize("interlace", [0, 1])
def test_a_png_that_ends_before_its_last_row_is_refused(tmp_path: Path, interlace: int) -> None:
    rows = b"".join(b"\0" + bytes(range(WIDTH)) for _ in range(HEIGHT))
    path = tmp_path / "a.png"
    path.write_bytes(rasters.png(WIDTH, HEIGHT * 10, rows, interlace=interlace))
    assert refusal(path) == DAMAGED.format(".png")
    path.write_bytes(rasters.png(WIDTH, HEIGHT + 1, rows + bytes(WIDTH + 1)))  # a last row of zeros that is there
    assert read_image(path).array.shape == (HEIGHT + 1, WIDTH)


def test_dicom_of_fewer_pixels_than_it_declares_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    for elements in ({"Rows": HEIGHT + 1}, {"Columns": 65_535}, {"NumberOfFrames": "2"}, {"SamplesPerPixel": 3}):
        path.write_bytes(dicoms.dicom(**elements))
        assert refusal(path) == DAMAGED.format(".dcm"), elements
    path.write_bytes(dicoms.dicom(BitsAllocated=65_535))
    assert refusal(path) == "holds pixels of 65535 bits"
    path.write_bytes(dicoms.dicom())
    assert read_image(path).array.shape == (HEIGHT, WIDTH)


def test_dicom_of_sequences_within_sequences_is_refused(tmp_path: Path) -> None:
    """GDCM goes as deep as they are nested, and ends the program."""
    nested = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    content = dicoms.dicom()
    place = content.index(b"\xe0\x7f\x10\x00")
    path = tmp_path / "a.dcm"
    path.write_bytes(content[:place] + nested * 20_000 + content[place:])
    assert refusal(path) == DAMAGED.format(".dcm")


@pytest.mark.parametrize("name", ["a.png", "a.nii.gz", "a.dcm", "a"])
def test_pipes_are_not_waited_for_and_loops_of_links_are_named(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert refusal(tmp_path / name).startswith(("is no ordinary file", "this format is not supported"))
    (tmp_path / "moving").mkdir()
    (tmp_path / "moving" / name).symlink_to(name)
    result = CliRunner().invoke(main, ["check", "--data_base_dir", str(tmp_path), "--fixed_subdir", "moving"])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "Errno" not in result.output


def test_what_files_are_named_cannot_steer_a_terminal() -> None:
    assert shown_path("two\nlines\x1b[2J\u202e") == "two\\x0alines\\x1b[2J\\u202e"
    assert printable("\udcf6 \n", lines=True) == "\\xf6 \n"
    assert str(FileError(Path("a"), "holds '\x1b[2J'", "No.")) == "a: holds '\\x1b[2J'. No."


@pytest.mark.parametrize("spacing", ["1e300 1e300", "1e7 1e7", "1e-10 1"])
def test_a_place_that_no_picture_has_is_unknown(tmp_path: Path, spacing: str) -> None:
    path = headers.metaimage(tmp_path / "a.mha", ElementSpacing=spacing)
    assert read_image(path).geometry is None


def test_headers_of_many_lines_are_refused(tmp_path: Path) -> None:
    path = headers.metaimage(tmp_path / "a.mha", *(f"C{number} = x" for number in range(10_000)))
    assert refusal(path) == DAMAGED.format(".mha")


def test_the_range_of_values_may_exceed_the_largest_number() -> None:
    largest = np.finfo(np.float64).max
    np.testing.assert_allclose(rescale(np.array([[-largest, 0, largest]])), [[0, 0.5, 1]])
