"""Applying a method to new images from the page, without a page."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from regstudio.cli import main
from regstudio.data.pictures.formats import stem
from regstudio.data.pictures.writing import write_label
from regstudio.errors import ConfigError, DataError, RunError
from regstudio.studio import applied, apply_control
from regstudio.studio.apply_inputs import ApplyForm
from regstudio.studio.studio import Studio
from regstudio.studio.viewer import Viewer

QUICK = "no training/none"


@pytest.fixture
def new(studio: Studio, demo: Path, tmp_path: Path) -> Path:
    """A folder of new images, with a folder of their labels beside it."""
    shutil.copytree(demo / "moving", tmp_path / "new")
    shutil.copytree(demo / "moving_seg", tmp_path / "new_seg")
    return tmp_path / "new"


def applied_to(studio: Studio, **fields: object) -> applied.AppliedFolder:
    folder = apply_control.start(studio, Viewer(studio), ApplyForm(**{"method": QUICK, **fields}))  # type: ignore[arg-type]
    assert studio.register_job.join(60)
    return folder


def test_a_folder_is_registered_to_the_atlas_with_a_table_worst_first(studio: Studio, new: Path) -> None:
    (new / "bad.png").write_bytes(b"no picture")
    folder = applied_to(studio, folder=str(new), labels=str(new.with_name("new_seg")))
    done = apply_control.progress(studio)
    assert (done["state"], done["done"], done["total"], done["failed"], done["left"]) == ("finished", 5, 5, 1, None)
    rows = apply_control.rows(studio, "new")
    assert rows[0][0] == "bad"
    assert "bad.png" in str(rows[0][-1])
    dices = [row[applied.COLUMNS.index("Dice after")] for row in rows[1:]]
    assert dices == sorted(dices)
    assert {"metrics.csv", "apply.json", "phantom_01_warped.png"} <= {path.name for path in folder.path.iterdir()}
    again = Studio(
        runs_dir=studio.runs_dir, roots=studio.roots, demo_dir=studio.demo_dir, data_base_dir=studio.demo_dir
    )
    assert applied.applied_names(again) == ["new"]
    assert apply_control.rows(again, "new") == rows[1:]  # what failed is not in the journal


def test_the_command_line_goes_on_with_the_same_results(studio: Studio, new: Path, demo: Path) -> None:
    folder = applied_to(studio, folder=str(new))
    atlas = str(next((demo / "fixed").iterdir())), str(next((demo / "fixed_seg").iterdir()))
    words = ["register", "--method", "none", "--fixed", atlas[0], "--fixed_seg", atlas[1], "--moving", str(new)]
    said = CliRunner().invoke(main, [*words, "--out", str(folder.path)], catch_exceptions=False)
    assert "4 of 4 images registered, 4 of them before" in said.output
    applied_to(studio, folder=str(new))
    assert apply_control.progress(studio)["before"] == 4


def test_masks_count_as_they_do_on_the_command_line_and_are_kept(studio: Studio, new: Path, tmp_path: Path) -> None:
    masks, wrong = new.with_name("new_mask"), tmp_path / "nowhere"
    masks.mkdir()
    for path in new.iterdir():
        mask = np.zeros((48, 48), np.uint8)
        mask[10:30, 12:40] = 1
        write_label(masks / f"{stem(path)}_mask.png", mask)
    atlas_mask = masks / "phantom_01_mask.png"
    plain = applied_to(studio, folder=str(new), name="plain")
    folder = applied_to(studio, folder=str(new), masks=str(masks), fixed_mask=str(atlas_mask), name="masked")
    assert folder.record.masks == str(masks)
    assert {case.mask for case in folder.cases(studio)} == set(masks.iterdir())
    assert applied.open_applied(studio, "masked").fixed.mask == atlas_mask
    before = applied.COLUMNS.index("NCC before")
    unmasked, masked = (
        {row[0]: row[before] for row in apply_control.rows(studio, name)} for name in ("plain", "masked")
    )
    assert all(masked[name] != unmasked[name] for name in masked)
    assert plain.record.masks is None
    for fields in ({"masks": str(wrong)}, {"fixed_mask": str(wrong)}):
        with pytest.raises(DataError, match=r"nowhere: there is no such"):
            applied_to(studio, folder=str(new), **fields)


@pytest.mark.slow  # what was uploaded is read in another process
def test_uploads_lie_in_a_folder_of_their_own(studio: Studio, new: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "ward 7.zip", "w") as archive:
        for path in [*new.iterdir(), *new.with_name("new_seg").iterdir()]:
            archive.write(path, f"ward/{path.parent.name}/{path.name}")
    folder = applied_to(studio, files=[tmp_path / "ward 7.zip"], fixed_files=[new / "phantom_01.png"])
    uploads = studio.roots[0] / "data_uploads"
    assert folder.record.moving == str(uploads / "ward 7" / "ward" / "new")
    assert folder.record.labels == str(uploads / "ward 7" / "ward" / "new_seg")
    assert folder.record.fixed == str(uploads / "ward 7 fixed" / "phantom_01.png")
    files = [new / "phantom_01.png", new / "phantom_03.npy"]
    first, second = (applied_to(studio, files=files, name=name).path.name for name in ("", "mine"))
    assert (first, second) == ("images", "mine")
    with pytest.raises(DataError, match="is there already"):
        applied_to(studio, files=files, name="mine")


def test_a_case_opens_in_the_viewer_as_it_was_registered(studio: Studio, new: Path, one_run: Path) -> None:
    shutil.copytree(one_run, studio.runs_dir / "first")
    assert ("first, best", "first/best") in apply_control.methods(studio)
    applied_to(studio, folder=str(new), method="first/best", refine="2")
    viewer, run = Viewer(studio), "applied: new"
    assert run in viewer.runs()
    assert viewer.checkpoints(run) == ["first/best"]
    data = viewer.config(run)
    assert viewer.cases(data) == [f"phantom_0{number}" for number in (1, 2, 3, 4)]
    registrar = viewer.registrar(run)
    assert registrar.refine == 2
    metrics = viewer.view(viewer.chosen(data, "phantom_03"), [registrar]).registrations[0][1].metrics
    entry = next(row for row in apply_control.rows(studio, "new") if row[0] == "phantom_03")
    assert entry[1] == pytest.approx(metrics["quality"], abs=1e-3)
    shown = studio.shared(["first"])
    assert applied.applied_names(shown) == []
    with pytest.raises(RunError):
        Viewer(shown).registrar(run)


def test_what_cannot_be_applied_says_why(studio: Studio, new: Path, tmp_path: Path) -> None:
    shutil.copytree(new, tmp_path / "other")
    for fields, error, text in (
        ({}, ConfigError, "Name a folder of new images"),
        ({"folder": str(tmp_path / "gone")}, DataError, "there is no such folder"),
        ({"folder": "/etc"}, ConfigError, "may not be opened"),
        ({"folder": str(tmp_path)}, DataError, "several folders in it hold images: new, other"),
        ({"folder": str(new), "fixed": str(tmp_path / "gone.png")}, DataError, "there is no such file"),
        ({"folder": str(new), "name": "../x"}, ConfigError, "is no name for a folder"),
        ({"folder": str(new), "method": "no training/x"}, RunError, "There is no method"),
        ({"folder": str(new), "method": "first/best", "refine": "2"}, RunError, "is not a run"),
    ):
        with pytest.raises(error, match=text):
            applied_to(studio, **fields)
    applied_to(studio, folder=str(new), name="mine")
    with pytest.raises(DataError, match="holds other results"):
        applied_to(studio, folder=str(tmp_path / "other"), name="mine")


def test_all_files_of_a_folder_are_packed(studio: Studio, new: Path, tmp_path: Path) -> None:
    folder = applied_to(studio, folder=str(new))
    with zipfile.ZipFile(applied.pack(folder, tmp_path / "new.zip")) as archive:
        assert {"new/metrics.csv", "new/phantom_01_warped.png"} <= set(archive.namelist())


def test_what_got_worse_is_named() -> None:
    def row(name: str = "x", **metrics: float) -> applied.ApplyRow:
        return applied.ApplyRow(id=name, metrics=metrics)

    assert row(dice_before=0.8, dice=0.7, ncc_before=0.1, ncc=0.9).got_worse
    assert row(tre_before=1, tre=2).got_worse
    assert not row(tre_before=2, tre=1).got_worse
    assert not row().got_worse
    rows = [row(quality=0.2), row("y", quality=0.9)]
    assert [cells[-1] for cells in applied.table(rows)] == ["look at this one", ""]
    assert [cells[-1] for cells in applied.table(rows, threshold=0.9)] == ["look at this one"] * 2
