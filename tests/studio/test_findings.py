"""Problems of a data folder, and what the page does about them at a click."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regstudio.data.folders.layout import DataIndex
from regstudio.data.pictures.formats import read_image, read_label
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.data.problems import Problem
from regstudio.errors import ConfigError
from regstudio.studio.data_overview import overview
from regstudio.studio.findings import Group, change_of, grouped
from regstudio.studio.studio import Studio
from regstudio.studio.workspace import Workspace
from tests.pictures import ramp


@pytest.fixture
def workspace(studio: Studio, demo: Path, tmp_path: Path) -> Workspace:
    """A workspace with a copy of the demo data."""
    shutil.copytree(demo, tmp_path / "copy")
    workspace = studio.workspace()
    workspace.choose_data(str(tmp_path / "copy"), {})
    return workspace


def groups(workspace: Workspace) -> list[Group]:
    workspace.forget_report()
    return grouped(workspace.report().index, workspace.config.layout)


def click(studio: Studio, workspace: Workspace, deed: str) -> Path:
    """Do the deed beside the first group that offers it, and open the folder."""
    shown = groups(workspace)
    place = next(n for n, group in enumerate(shown) if deed in [offered for offered, _ in group["deeds"]])
    folder, values = change_of(studio, workspace, {"group": place, "what": shown[place]["what"], "deed": deed})
    workspace.choose_data(str(folder), values)
    return folder


def test_alike_problems_stand_together_and_what_stops_a_training_comes_first(studio: Studio, tmp_path: Path) -> None:
    one = Problem(severity="note", path=tmp_path / "moving" / "a.png", what="is odd", remedy="Mend it.")
    other = replace(one, path=tmp_path / "moving" / "b.png")
    stops = replace(one, severity="error", path=tmp_path / "fixed" / "atlas.png")
    index = DataIndex(root=tmp_path, atlas=None, train=(), validation=(), problems=(one, stops, other))
    layout = studio.workspace().config.layout.model_copy(update={"data_base_dir": tmp_path})
    shown = grouped(index, layout)
    assert [(group["severity"], group["files"]) for group in shown] == [
        ("error", ["fixed/atlas.png"]),
        ("note", ["moving/a.png", "moving/b.png"]),
    ]
    assert shown[0]["deeds"] == shown[1]["deeds"] == []  # there are no such files


def test_labels_are_resized_in_a_copy_and_the_folder_stays_as_it_is(studio: Studio, workspace: Workspace) -> None:
    root = workspace.config.layout.data_base_dir
    image = sorted((root / "moving").iterdir())[0]
    label = root / "moving_seg" / f"{image.stem}_seg.png"
    ids = read_label(label).array
    write_label(label, ids[::2, ::2])
    (root / "labels.csv").write_text("id,name\n1,skull\n")
    before = {path: path.read_bytes() for path in root.rglob("*.*")}
    folder = click(studio, workspace, "resize")
    assert folder == studio.roots[0] / "data_uploads" / "copy_resized"
    mended = read_label(folder / "moving_seg" / label.name).array
    np.testing.assert_array_equal(mended, ids[::2, ::2].repeat(2, 0).repeat(2, 1))
    assert mended.shape == read_image(image).size
    assert {path: path.read_bytes() for path in root.rglob("*.*")} == before
    assert (folder / "labels.csv").is_file()
    assert not [group for group in groups(workspace) if "resize" in dict(group["deeds"])]
    assert overview(workspace.report())["state"] == "ready"


def test_a_label_of_another_shape_is_not_resized(workspace: Workspace) -> None:
    label = sorted((workspace.config.layout.data_base_dir / "moving_seg").iterdir())[0]
    write_label(label, read_label(label).array[:-8])
    assert [dict(group["deeds"]).keys() for group in groups(workspace) if "unlike its image" in group["what"]] == [
        {}.keys()
    ]


def test_images_of_another_shape_fill_the_grid_or_keep_their_shape(studio: Studio, workspace: Workspace) -> None:
    for name in ("wide_1", "wide_2"):
        write_image(workspace.config.layout.data_base_dir / "moving" / f"{name}.png", ramp(40, 90))
    group = next(group for group in groups(workspace) if "brought onto the grid" in group["what"])
    assert group["files"] == ["moving/wide_1.png", "moving/wide_2.png"]
    assert dict(group["deeds"]) == {"fill": "Resize all to fill the grid", "leave_out": "Leave all out"}
    click(studio, workspace, "fill")
    assert workspace.config.reading.fit == "stretch"
    click(studio, workspace, "keep_shape")
    assert workspace.config.reading.fit == "pad"


def test_some_are_set_apart_to_validate_on_where_there_is_no_folder_of_them(
    studio: Studio, workspace: Workspace
) -> None:
    shutil.rmtree(workspace.config.layout.data_base_dir / "validation_moving")
    assert not workspace.index().validation
    click(studio, workspace, "set_apart")
    assert "3 images to train on and 1 to validate on" in overview(workspace.report())["text"]


def test_images_are_left_out_and_taken_in_again(studio: Studio, workspace: Workspace) -> None:
    for name in ("bad_1", "bad_2"):
        (workspace.config.layout.data_base_dir / "moving" / f"{name}.png").write_bytes(b"no picture")
    click(studio, workspace, "leave_out")
    assert workspace.config.layout.leave_out == "moving/bad_1.png,moving/bad_2.png"
    assert not [group for group in groups(workspace) if group["severity"] == "warning"]
    click(studio, workspace, "take_in")
    assert workspace.config.layout.leave_out == ""
    click(studio, workspace, "leave_out")
    workspace.choose_data(str(studio.demo_dir), {})  # another folder, of which that names no file
    assert workspace.config.layout.leave_out == ""


@pytest.mark.parametrize(
    "change", [{"group": 9}, {"group": "0"}, {"what": "of before"}, {"deed": "resize"}, {"deed": []}]
)
def test_what_no_page_asks_is_refused(studio: Studio, workspace: Workspace, change: dict[str, Any]) -> None:
    (workspace.config.layout.data_base_dir / "moving" / "bad.png").write_bytes(b"no picture")
    asked = {"group": 0, "what": groups(workspace)[0]["what"], "deed": "leave_out"}
    for request in (asked | change, None, []):
        with pytest.raises(ConfigError, match=r"older problems|cannot do that"):
            change_of(studio, workspace, request)
