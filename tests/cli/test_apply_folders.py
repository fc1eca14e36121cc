"""`regstudio apply` on folders: each file with the flow of its name, with progress, and going on where it stopped."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from regstudio.cli import main
from regstudio.data.pictures.formats import read_image, read_label
from regstudio.data.pictures.writing import write_image, write_label
from tests.pictures import ids, ramp


def apply(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["apply", *map(str, arguments)])


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    """Flows of two images, up and to the left, by 2 and 3 pixels; p1 has an inverse, too, which is not taken."""
    folder = tmp_path / "flows"
    folder.mkdir()
    for name, dy, dx in (("p1", 2, 0), ("p1_inverse", -2, 0), ("p10", 0, 3)):
        flow = np.zeros((2, 40, 56), np.float32)
        flow[0], flow[1] = dy, dx
        np.save(folder / f"{name}_flow.npy", flow)
        record = {"image_size": [40, 56], "size": [40, 56], "affine": None, "axes": "itk"}
        (folder / f"{name}_flow.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for name in ("p1", "p1_t2", "p10"):
        write_image(folder / f"{name}.npy", ramp())
    write_label(folder / "p10_seg.png", ids())
    return folder


def test_each_file_takes_the_flow_of_its_name(flows: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "points").mkdir()
    (tmp_path / "points" / "p1_points.csv").write_text("y,x\n5,7\n")
    (tmp_path / "points" / "p10.csv").write_text("y,x\n5,7\n")
    sources = ("--image", images, "--label", images, "--points", tmp_path / "points")
    result = apply("--flow", flows, *sources, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "6 of 6 files are done; the results are in" in result.stdout
    out = tmp_path / "out"
    up, left = ramp()[2:], ramp()[:, 3:]
    for name in ("p1", "p1_t2"):
        np.testing.assert_allclose(read_image(out / f"{name}_warped.npy").array[:-2], up, atol=1e-6)
    np.testing.assert_allclose(read_image(out / "p10_warped.npy").array[:, :-3], left, atol=1e-6)
    np.testing.assert_array_equal(read_label(out / "p10_seg_warped.png").array[:, :-3], ids()[:, 3:])
    assert (out / "p1_points_moved.csv").read_text() == "y,x\n7.0000,7.0000\n"
    assert (out / "p10_moved.csv").read_text() == "y,x\n5.0000,10.0000\n"


def test_it_goes_on_where_it_stopped(flows: Path, images: Path, tmp_path: Path) -> None:
    arguments = ("--flow", flows, "--image", images, "--out", tmp_path / "out")
    (images / "p1_t2.npy").write_bytes(b"no picture")
    (images / "p2.npy").write_bytes((images / "p1.npy").read_bytes())
    first = apply(*arguments)
    assert first.exit_code == 1
    assert "2 of 4 files are done; the results are in" in first.stdout
    assert "p1_t2.npy: cannot be read as .npy" in first.stderr
    assert "p2.npy: has no flow of its name in that folder" in first.stderr
    (images / "p2.npy").unlink()
    write_image(images / "p1_t2.npy", ramp())
    changed = (tmp_path / "out" / "p1_warped.npy").stat().st_mtime_ns
    second = apply(*arguments)
    assert (second.exit_code, "3 of 3 files are done, 2 of them before" in second.stdout) == (0, True)
    assert (tmp_path / "out" / "p1_warped.npy").stat().st_mtime_ns == changed
    assert "3 of 3 files are done;" in apply(*arguments, "--overwrite").stdout
    np.save(flows / "p10_flow.npy", np.zeros((2, 40, 56), np.float32))
    assert "2 of them before" in apply(*arguments).stdout


def test_one_flow_is_for_all_files_of_a_folder(flows: Path, images: Path, tmp_path: Path) -> None:
    result = apply("--flow", flows / "p1_flow.npy", "--image", images, "--out", tmp_path / "out")
    assert "3 of 3 files are done" in result.stdout
    np.testing.assert_allclose(read_image(tmp_path / "out" / "p10_warped.npy").array[:-2], ramp()[2:], atol=1e-6)


def test_what_cannot_be_done_is_told(flows: Path, images: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, words in (
        (("--flow", empty, "--image", images), "empty: holds no flow (NAME_flow.npy). Name a folder that"),
        (("--flow", flows, "--image", empty), "empty: holds no image; it holds nothing"),
        (("--flow", flows, "--points", images), "images: holds no table of points; it holds p1.npy"),
        (("--flow", flows, "--image", images, "--label", images / "p1.npy"), "has the same name as"),
    ):
        result = apply(*arguments, "--out", tmp_path / "out")
        assert result.exit_code != 0
        assert words in str(result.exception) + result.output, arguments
    result = apply("--flow", flows, "--image", images, "--out", images)
    assert "among which the results would be lost" in str(result.exception) + result.output
