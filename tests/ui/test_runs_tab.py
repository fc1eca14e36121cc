import shutil
import zipfile

import pytest

from regstudio.runs.catalogue import summarise_run
from regstudio.studio import run_actions
from tests.ui.acting import fill

pytestmark = pytest.mark.browser


@pytest.fixture
def trained(studio, one_run):
    """Two runs with checkpoints."""
    for name in ("first", "second"):
        shutil.copytree(one_run, studio.runs_dir / name)


@pytest.fixture
def opened(studio_server, page):
    """The Runs tab of the studio."""
    page.goto(studio_server.url)
    page.get_by_role("tab", name="Runs").click()
    return page


def choose(page, name):
    page.locator("#runs-table [role=gridcell]", has_text=name).first.click()
    page.locator("#runs-selected").get_by_text(name, exact=True).wait_for()


def test_without_runs_it_says_what_to_do(opened):
    opened.get_by_text("There are no runs yet.").wait_for()


def test_selected_runs_are_compared(trained, opened):
    choose(opened, "first")
    choose(opened, "second")
    opened.wait_for_function("document.querySelectorAll('#runs-curves [data-of=dice] .trace.scatter').length === 2")


def test_a_run_is_renamed_and_its_note_is_kept(trained, studio, opened):
    choose(opened, "first")
    opened.get_by_text("Name, note and options").click()
    fill(opened, "#runs-note textarea", "<b>good</b>")
    opened.locator("#runs-keep").click()
    opened.locator("#runs-table [role=gridcell]", has_text="<b>good</b>").wait_for()
    fill(opened, "#runs-name :is(input, textarea)", "renamed")
    opened.locator("#runs-rename").click()
    opened.locator("#runs-table [role=gridcell]", has_text="renamed").wait_for()
    assert run_actions.read_note(studio.run("renamed")) == "<b>good</b>"


def test_deleting_asks_twice_and_moves_to_the_trash(trained, studio, opened):
    choose(opened, "first")
    opened.locator("#runs-delete").click()
    opened.locator("#runs-cancel").click()
    opened.locator("#runs-really").wait_for(state="hidden")
    assert studio.run("first")
    opened.locator("#runs-delete").click()
    opened.locator("#runs-really").click()
    opened.locator("#runs-table [role=gridcell]", has_text="first").wait_for(state="detached")
    assert (studio.runs_dir / run_actions.TRASH / "first" / "config.json").is_file()


def test_a_run_is_downloaded_whole(trained, opened, tmp_path):
    choose(opened, "first")
    with opened.expect_download() as download:
        opened.locator("#runs-pack").click()
    download.value.save_as(tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as file:
        assert "first/checkpoints/last.pt" in file.namelist()


def test_a_report_is_made_and_offered_and_again_after_a_reload(trained, studio, opened, tmp_path):
    choose(opened, "first")
    opened.locator("#runs-report").click()
    files = opened.locator("#runs-report-files")
    files.get_by_text("report").first.wait_for()
    with opened.expect_download() as download:
        files.locator("a[download='report.html']").click()
    download.value.save_as(tmp_path / "report.html")
    page = (studio.run("first").path / "report" / "report.html").read_text()
    assert (tmp_path / "report.html").read_text() == page
    assert "Worst cases" in page
    opened.reload()
    opened.get_by_role("tab", name="Runs").click()
    choose(opened, "first")
    files.locator("a[download='report.html']").wait_for()


def test_a_run_is_opened_in_the_viewer(trained, opened):
    choose(opened, "first")
    opened.locator("#runs-view").click()
    opened.locator("#viewer-run").wait_for()
    opened.wait_for_function("document.querySelector('#viewer-run input')?.value === 'first'")


def test_a_finished_run_goes_on_with_more_epochs(trained, studio, opened):
    choose(opened, "first")
    opened.locator("#runs-resume").click()
    opened.get_by_text("2 epochs are done already").wait_for()
    opened.get_by_text("Name, note and options").click()
    fill(opened, "#runs-epochs input", "3")
    opened.locator("#runs-resume").click()
    opened.locator("#tabs").get_by_role("tab", name="Train", selected=True).wait_for()
    assert studio.job.join(60)
    assert summarise_run(studio.run("first")).epochs_done == 3
