"""The table of all cases, without a page."""

import csv
import shutil
from pathlib import Path

import pytest

from regstudio.config import build_config
from regstudio.errors import ConfigError, RunError
from regstudio.studio.case_table import CaseRow, CaseTable
from regstudio.studio.prefetcher import Prefetcher
from regstudio.studio.run_report import write
from regstudio.studio.studio import Studio
from regstudio.studio.viewer import Viewer
from regstudio.studio.viewer_session import Choice, ViewerSession


@pytest.fixture
def trained(studio: Studio, one_run: Path) -> Studio:
    shutil.copytree(one_run, studio.runs_dir / "first")
    return studio


def measured(studio: Studio, choice: Choice) -> CaseTable:
    table = CaseTable(ViewerSession(Viewer(studio), Prefetcher()))
    table.start(choice)
    table.join(60)
    return table


def test_all_cases_are_measured_as_the_report_does_worst_first(trained: Studio) -> None:
    table = measured(trained, Choice(run="first", checkpoint="best", compare="no training/none"))
    progress = table.progress()
    assert (progress["state"], progress["done"], progress["total"]) == ("finished", 2, 2)
    assert progress["methods"] == ["first, best", "not registered"]
    headings, rows = table.table()
    assert headings[0] == "Case"
    assert {"Dice before", "Dice A", "HD95 (pixels) A", "Quality B", "Folds % B"} <= set(headings)
    with (write(trained, trained.run("first")) / "cases.csv").open() as file:
        report = {row["id"]: row for row in csv.DictReader(file)}
    dice = [row[headings.index("Dice A")] for row in rows]
    assert dice == sorted(dice)
    for row in rows:
        own = report[str(row[0]).partition("/")[2]]
        assert row[headings.index("Dice A")] == pytest.approx(float(own["dice"]), abs=5e-4)
        assert row[headings.index("HD95 (pixels) A")] == pytest.approx(float(own["hd95"]), abs=5e-3)
        assert row[headings.index("Dice B")] == row[headings.index("Dice before")]


def test_a_case_that_cannot_be_read_is_first_and_says_why(trained: Studio, demo: Path, tmp_path: Path) -> None:
    shutil.copytree(demo, tmp_path / "own")
    run = trained.run("first")
    run.write_config(build_config({"data_base_dir": tmp_path / "own"}, run.config()))
    broken = next((tmp_path / "own" / "validation_moving").glob("*06*"))
    broken.write_bytes(b"no picture")
    headings, rows = measured(trained, Choice(run="first")).table()
    assert rows[0][0] == "validation/phantom_06"
    assert broken.name in str(rows[0][1])
    assert rows[1][headings.index("Dice")] is not None


def test_what_got_worse_is_marked_and_so_is_a_better_second() -> None:
    from regstudio.evaluation.scores import CaseScores

    def row(*scores: dict[str, float]) -> str:
        return CaseRow(case="x", scores=tuple(CaseScores(id="x", unit="mm", values=v, labels={}) for v in scores)).note

    assert row({"dice_before": 0.8, "dice": 0.7}, {"dice": 0.9}) == "got worse, second is better"
    assert row({"tre_before": 2, "tre": 1, "ncc_before": 1, "ncc": 0.1}, {"tre": 3}) == ""
    assert row({}) == ""


def test_it_measures_one_choice_at_a_time_and_not_for_guests(trained: Studio) -> None:
    guest = CaseTable(ViewerSession(Viewer(trained.shared(["first"])), Prefetcher(), read_only=True))
    with pytest.raises(ConfigError, match="does not measure"):
        guest.start(Choice(run="first"))
    table = CaseTable(ViewerSession(Viewer(trained), Prefetcher()))
    with pytest.raises(RunError):
        table.start(Choice(run="gone"))
    table.start(Choice(run="first"))
    table.stop()
    table.join(60)
    assert table.progress()["state"] in ("stopped", "finished")
