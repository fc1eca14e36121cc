"""The report of a run without a page."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from regstudio.config import build_config
from regstudio.errors import ConfigError, DataError, RunError
from regstudio.studio import run_report as reporting
from regstudio.studio.studio import Studio


@pytest.fixture
def trained(studio: Studio, one_run: Path) -> Studio:
    """A studio with a run."""
    shutil.copytree(one_run, studio.runs_dir / "first")
    return studio


@pytest.mark.slow
def test_a_report_lies_in_the_run_and_is_offered_as_a_copy(trained: Studio, tmp_path: Path) -> None:
    run, seen = trained.run("first"), []

    def watch(results: Iterable[Any], total: int) -> Iterable[Any]:
        for result in results:
            seen.append((result.scores.id, total))
            yield result

    assert reporting.copied(run, tmp_path / "copies") == []
    with pytest.raises(RunError, match="no report yet"):
        reporting.page_of(run)
    assert ("not registered", "none") in reporting.comparable()
    folder = reporting.write(trained, run, watch, ["none"])
    assert folder == run.path / "report"
    assert seen == 2 * [("phantom_05", 2), ("phantom_06", 2)]
    page = (folder / "report.html").read_text()
    assert reporting.page_of(run) == page
    assert "<h3>none</h3>" in page
    assert "Registration report: first/best_model" in page
    assert "Worst cases" in page
    copies = [Path(path) for path in reporting.copied(run, tmp_path / "copies")]
    assert [path.name for path in copies] == list(reporting.FILES)
    assert copies[0].read_text() == page
    assert all(path.parent == tmp_path / "copies" / "first" for path in copies)


def test_what_cannot_be_reported_on_says_why(trained: Studio, tmp_path: Path) -> None:
    run = trained.run("first")
    with pytest.raises(RunError, match="only shows runs"):
        reporting.write(trained.shared(["first"]), run)
    config = run.config()
    run.write_config(build_config({"data_base_dir": Path("/etc")}, config))
    with pytest.raises(ConfigError, match="may not be opened"):
        reporting.write(trained, run)
    (tmp_path / "empty").mkdir()
    run.write_config(build_config({"data_base_dir": tmp_path / "empty"}, config))
    with pytest.raises(DataError, match="first cannot be evaluated"):
        reporting.write(trained, run)
    shutil.rmtree(run.best_path.parent)
    with pytest.raises(RunError, match="end of the first epoch"):
        reporting.write(trained, run)
