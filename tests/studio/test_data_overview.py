import shutil
from dataclasses import replace

import numpy as np
import pytest

from regstudio.data.checking.report import CheckReport
from regstudio.data.folders.layout import Case
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.data.problems import Problem
from regstudio.studio.data_overview import (
    PAGE_SIZE,
    colours_of,
    first_look,
    is_unlaid,
    on_the_page,
    overview,
    picture,
    sheet_page,
)
from tests.data.writers import ORIENTATIONS, written
from tests.pictures import BYTES, ids, ramp


@pytest.fixture
def data(demo, tmp_path):
    """A copy of the demo data that a test may damage; the studio may open it."""
    return shutil.copytree(demo, tmp_path / "copy")


def problem(severity, name="moving/a.png"):
    return Problem(severity=severity, path=name, what="is odd", remedy="Mend it.")


def test_good_data_are_ready(studio):
    words = overview(studio.workspace().report())
    assert words["state"] == "ready"
    assert "4 images to train on and 2 to validate on (2 with labels)" in words["text"]
    assert [row[:4] for row in words["sets"]][1] == ["training", "4", "4", "4"]
    assert [entry["name"] for entry in words["labels"]] == [f"label {number}" for number in range(1, 6)]


def test_pairs_set_apart_are_counted_and_measured(studio, tmp_path):
    for number in (1, 2):
        for folder in ("fixed", "moving"):
            write_image(tmp_path / "pairs" / folder / f"p{number}.png", ramp(shift=number))
            write_label(tmp_path / "pairs" / f"{folder}_seg" / f"p{number}_seg.png", ids())
    studio.workspace().change_settings({"data_base_dir": tmp_path / "pairs", "validation_share": 0.5})
    words = overview(studio.workspace().report())
    text = words["text"]
    assert [row[0] for row in words["sets"]] == ["fixed", "training", "validation"]
    assert "1 pair to train on and 1 to validate on (1 with labels). Validation will measure Dice." in text


def test_data_with_errors_say_why_training_cannot_start(studio, data):
    (data / "fixed" / "atlas.png").write_bytes(b"no picture")
    studio.workspace().change_settings({"data_base_dir": data})
    words = overview(studio.workspace().report())
    assert words["state"] == "blocked"
    assert "1 error" in words["title"]
    assert words["text"].startswith("fixed/atlas.png: ")


def test_a_folder_that_is_not_there_says_what_to_do_next(studio, tmp_path):
    studio.workspace().change_settings({"data_base_dir": tmp_path / "none"})
    words = overview(studio.workspace().report())
    assert words["state"] == "empty"
    assert "Use demo data" in words["text"]
    assert words["sets"] == []


def test_images_beyond_those_opened_are_counted(studio):
    report = studio.workspace().report()
    more = tuple(Case(id=f"more {n}", image=report.index.root / f"{n}.png") for n in range(3))
    beyond = CheckReport(index=replace(report.index, train=report.index.train + more), sets=report.sets)
    assert overview(beyond)["sets"][1][1:3] == ["7 (4 opened)", "7"]


def test_the_first_look_counts_by_name(studio):
    assert first_look(studio.workspace().report().index)["title"].startswith("Opening 6 images")


def test_remedies_name_the_fields_of_the_page():
    assert on_the_page("Name one with --atlas_name.") == "Name one with “atlas name” under Advanced."
    assert "Data folder" in on_the_page("Name it with --data_base_dir.")


def test_a_file_that_cannot_be_read_is_a_blank_picture(studio, tmp_path):
    shown, caption = picture(
        Case(id="gone", image=tmp_path / "gone.png"), studio.workspace().config.reading, {}, size=32
    )
    assert shown.shape == (32, 32, 3)
    assert len(np.unique(shown)) == 1
    assert caption == "gone: cannot be read"


def test_pages_of_the_contact_sheet_end_where_the_cases_do(tmp_path):
    cases = [Case(id=str(n), image=tmp_path) for n in range(PAGE_SIZE + 1)]
    assert sheet_page(cases, 1)[1] == cases[PAGE_SIZE:]
    assert sheet_page(cases, 99)[0] == 1
    assert sheet_page(cases, -1)[2] == f"1 to {PAGE_SIZE} of {PAGE_SIZE + 1}"
    assert sheet_page([], 3) == (0, [], "There are none.")


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pictures_are_turned_to_the_atlas_as_a_training_turns_them(orientation, studio, tmp_path):
    label = ids().astype(np.uint8)
    atlas = Case(id="atlas", image=written(tmp_path, "nibabel .nii.gz", BYTES, "RAS", name="atlas"))
    upright, turned = (
        Case(
            id=way,
            image=written(tmp_path, "SimpleITK .mha", BYTES, way, name=way),
            label=written(tmp_path, "nibabel .nii.gz", label, label_way, name=f"{way}_seg"),
        )
        for way, label_way in (("RAS", "RAS"), (orientation, "PLS"))
    )
    expected, _ = picture(upright, studio.workspace().config.reading, None, size=56)
    shown, _ = picture(turned, studio.workspace().config.reading, None, size=56, atlas=atlas)
    np.testing.assert_array_equal(shown, expected)
    gone = replace(atlas, image=tmp_path / "gone.nii")
    stored, _ = picture(turned, studio.workspace().config.reading, None, size=56, atlas=gone)
    assert np.array_equal(stored, expected) == (orientation == "RAS")


def test_a_folder_of_images_as_they_come_is_no_fault_but_is_to_be_imported(studio, tmp_path):
    write_image(tmp_path / "flat" / "a.png", ramp())
    (tmp_path / "empty").mkdir()
    for folder, unlaid in (("flat", True), ("empty", False)):
        studio.workspace().change_settings({"data_base_dir": tmp_path / folder})
        report = studio.workspace().report()
        assert is_unlaid(report) == unlaid
        assert ("not laid out" in overview(report)["title"]) == unlaid
    assert not is_unlaid(studio.workspace("other").report())


def test_labels_have_the_names_and_colours_that_the_folder_gives_them(studio, data):
    (data / "labels.csv").write_text("id,name,colour\n2,left lung,#010203\n9,not here,\n")
    studio.workspace().change_settings({"data_base_dir": data})
    report = studio.workspace().report()
    legend = overview(report)["labels"]
    assert legend[1] == {"name": "2 left lung", "colour": "#010203"}
    assert legend[0]["name"] == "label 1"
    assert len(legend) == 5
    assert colours_of(report)[2] == (1, 2, 3)
    (data / "labels.csv").write_text("no table")
    assert overview(report)["labels"][1]["name"] == "label 2"
