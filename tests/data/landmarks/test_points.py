from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it

from regstudio.data.folders.listing import FolderListing
from regstudio.data.landmarks.files import check_pair, check_within, corresponding, find_landmarks, read_landmarks
from regstudio.data.pictures.formats import read_image
from regstudio.errors import DataError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_are_taken_by_their_names(tmp_path: Path) -> None:
    one = read_landmarks(write(tmp_path / "a.csv", "y,x\n1,2\n3.5,4\n"))
    other = read_landmarks(write(tmp_path / "b.csv", "\ufeffname, x, y, note\ntip,2,1,?\nbase,4,3.5,\n"))
    np.testing.assert_array_equal(one.places, [[1, 2], [3.5, 4]])
    np.testing.assert_array_equal(other.places, one.places)
    assert other.names == ("tip", "base")
    check_pair(one, other)


def test_landmarks_are_found_beside_the_image_or_in_a_sibling_folder(tmp_path: Path) -> None:
    image = tmp_path / "moving" / "a.nii.gz"
    assert find_landmarks(image) is None
    apart = write(tmp_path / "moving_points" / "a_points.csv", "y,x\n1,2\n")
    assert find_landmarks(image) == apart
    beside = write(tmp_path / "moving" / "a_points.csv", "y,x\n1,2\n")
    assert find_landmarks(image) == beside


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no landmarks"),
        ("y,x\n", "holds no landmarks"),
        ("\n \n", "holds no landmarks"),
        ('"Pt-0","false","2","1","9","9"\n"Pt-1"\n', "holds no landmarks"),
        ('"Pt-0","true","2","1","9","9"\n"Pt-1","true"\n', "has lines of different lengths"),
        ("y,x\n1," + "2" * 200_000, "cannot be read as a table"),
        ("1,2\n3,4\n", "has no columns y and x"),
        ("y,x\n1,2\n3,left\n", "line 3 holds 'left' where a number should be"),
        ("y,x\n1\n", "line 2 holds 'nothing'"),
        ("y,x\n1,nan\n", "line 2 holds 'nan'"),
    ],
)
def test_a_bad_table_is_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "a_points.csv", text)
    with pytest.raises(DataError, match=message) as caught:
        read_landmarks(path)
    assert str(path) in str(caught.value)
    assert "y,x" in str(caught.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    for content in (b"\x89PNG\r\n\x1a\n", b"\x81\x00y,x", b"\xff\xfe\x00\x00\x01", b"y,x\n1,2\0\n"):
        (tmp_path / "a.csv").write_bytes(content)
        with pytest.raises(DataError, match="cannot be read as a table"):
            read_landmarks(tmp_path / "a.csv")
    with pytest.raises(DataError, match="there is no such file"):
        read_landmarks(tmp_path / "b.csv")


def test_landmarks_that_do_not_correspond_are_refused(tmp_path: Path) -> None:
    two = read_landmarks(write(tmp_path / "two.csv", "name,y,x\ntip,1,2\nbase,3,4\n"))
    one = read_landmarks(write(tmp_path / "one.csv", "y,x\n1,2\n"))
    turned = read_landmarks(write(tmp_path / "turned.csv", "name,y,x\nbase,3,4\ntip,1,2\n"))
    with pytest.raises(DataError, match=r"one\.csv: holds 1 landmarks, but .*two\.csv holds 2"):
        check_pair(two, one)
    with pytest.raises(DataError, match="line 2 is named base, but tip in"):
        check_pair(two, turned)


def test_landmarks_outside_their_image_are_refused(tmp_path: Path) -> None:
    landmarks = read_landmarks(write(tmp_path / "a.csv", "y,x\n0,0\n39.4,35.4\n12,50\n"))
    check_within(landmarks, (40, 51))
    with pytest.raises(DataError, match="line 4, y = 12 and x = 50, lies outside its image of 40 x 36 pixels"):
        check_within(landmarks, (40, 36))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize(
    "text",
    [
        "y,x\n1,2\n3.5,4\n",
        ",X,Y\n1,2,1\n2,4,3.5\n",  # ImageJ, ANHIR
        " ,Area,Mean,X,Y\r\n1,0,5,2,1\r\n2,0,5,4,3.5\r\n",
        "X;Y;name\n2;1;a\n4;3,5;b\n",  # with a comma for the point
        "x\ty\n2\t1\n4\t3.5\n",
        "\n\ny,x\n1,2\n\n3.5,4\n\n",
        '"Pt-0","true","2","1","9","9"\n"Pt-1","false","7","7","7","7"\n"Pt-2","true","4","3.5","9","9"\n',
        '"Pt-0","true","2","1","0","9","9","0"\n"Pt-2","true","4","3.5","0","9","9","0"\n',
    ],
)
def test_tables_are_read_as_the_field_writes_them(tmp_path: Path, text: str, encoding: str) -> None:
    bom = b"\xff\xfe" if encoding == "utf-16-le" else b""
    (tmp_path / "a.csv").write_bytes(bom + text.encode(encoding))
    np.testing.assert_array_equal(read_landmarks(tmp_path / "a.csv", "moving").places, [[1, 2], [3.5, 4]])


def test_bigwarp_holds_the_points_of_both_images(tmp_path: Path) -> None:
    inactive = '"Pt-1","false","2","1","Infinity","-Infinity"'
    text = f'"Pt-0","true","2","1","20","10"\n{inactive}\n"Pt-2","true","4","3","40","30"\n'
    path = write(tmp_path / "a.csv", text)
    moving, fixed = read_landmarks(path, "moving"), read_landmarks(path, "fixed")
    np.testing.assert_array_equal(moving.places, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(fixed.places, [[10, 20], [30, 40]])
    assert (fixed.names, fixed.lines) == (("Pt-0", "Pt-2"), (1, 3))


SLICER = """# Markups fiducial file version = 4.11
# CoordinateSystem = {}
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
1,{},0,0,0,1,1,1,0,tip,,
2,{},0,0,0,1,1,1,0,base,,
"""


@pytest.mark.parametrize("system", ["RAS", "0", "LPS", "1"])
@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
def test_slicer_s_places_become_pixels_by_the_image(tmp_path: Path, ending: str, system: str) -> None:
    image = sitk.GetImageFromArray(np.zeros((40, 36), np.uint8) + np.arange(36, dtype=np.uint8))
    image.SetSpacing((0.5, 0.75))
    image.SetOrigin((10, -20))
    sitk.WriteImage(image, str(tmp_path / f"a{ending}"))
    sign = 1 if system in ("LPS", "1") else -1
    places = [(*(sign * value for value in image.TransformIndexToPhysicalPoint(xy)), 0) for xy in ((2, 1), (30, 7))]
    text = SLICER.format(system, *(",".join(map(str, place)) for place in places))
    landmarks = read_landmarks(write(tmp_path / "a_points.fcsv", text))
    assert find_landmarks(tmp_path / f"a{ending}") == landmarks.path
    assert (landmarks.names, landmarks.lines) == (("tip", "base"), (4, 5))
    picture = read_image(tmp_path / f"a{ending}")
    found = landmarks.on(picture.affine).places
    expected = np.array([[1, 2], [7, 30]])
    np.testing.assert_allclose(found if ending != ".nii.gz" else np.sort(found), expected, atol=1e-5)


def test_slicer_s_places_in_an_image_without_geometry_are_pixels(tmp_path: Path) -> None:
    path = write(tmp_path / "a_points.fcsv", SLICER.format("LPS", "2,1,0", "30,7,0"))
    np.testing.assert_allclose(read_landmarks(path).on(None).places, [[1, 2], [7, 30]])
    path = write(tmp_path / "a_points.fcsv", SLICER.format("RAS", "-2,-1,0", "-30,-7,0"))
    np.testing.assert_allclose(read_landmarks(path).on(None).places, [[1, 2], [7, 30]])
    with pytest.raises(DataError, match="is in the coordinates 'IJK'"):
        read_landmarks(write(tmp_path / "b.fcsv", SLICER.format("IJK", "2,1,0", "30,7,0")))


def test_landmark_files_are_no_pictures_and_no_problem(tmp_path: Path) -> None:
    for name in ("a_points.csv", "b_points.fcsv"):
        write(tmp_path / name, "y,x\n")
    listing = FolderListing()
    assert (listing.pictures(tmp_path), listing.problems) == ([], [])


def test_landmarks_of_an_image_in_the_working_folder_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "moving").mkdir()
    monkeypatch.chdir(tmp_path / "moving")
    assert find_landmarks(Path("a.png")) is None
    (tmp_path / "moving_points").mkdir()
    (tmp_path / "moving_points" / "a_points.csv").touch()
    assert find_landmarks(Path("a.png")) == tmp_path / "moving_points" / "a_points.csv"


def test_numbered_landmarks_belong_together_where_one_image_has_more(tmp_path: Path) -> None:
    for name, rows in (("a", "1,10,11\n2,20,21\n3,30,31\n"), ("b", "3,33,34\n1,13,14\n")):
        (tmp_path / f"{name}.csv").write_text(f",X,Y\n{rows}")
    fixed, moving = corresponding(*(read_landmarks(tmp_path / f"{name}.csv") for name in "ab"))
    np.testing.assert_array_equal(fixed.places, [[11, 10], [31, 30]])
    np.testing.assert_array_equal(moving.places, [[14, 13], [34, 33]])
    (tmp_path / "c.csv").write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match="holds 1 landmarks, but"):
        corresponding(*(read_landmarks(tmp_path / f"{name}.csv") for name in "ac"))
