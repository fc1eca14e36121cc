import shutil
import zipfile

import pytest

from regstudio.config import build_config
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


def test_a_run_is_renamed_and_keeps_its_note_and_one_typed_right_after(trained, studio, opened):
    choose(opened, "first")
    opened.get_by_text("Name, note, comparisons").click()
    fill(opened, "#runs-note textarea", "<b>good</b>")
    opened.locator("#runs-keep").click()
    opened.locator("#runs-table [role=gridcell]", has_text="<b>good</b>").wait_for()
    fill(opened, "#runs-name :is(input, textarea)", "renamed")
    opened.locator("#runs-rename").click()
    opened.locator("#runs-note textarea").fill("typed at once")
    opened.locator("#runs-table [role=gridcell]", has_text="renamed").wait_for()
    assert run_actions.read_note(studio.run("renamed")) == "<b>good</b>"
    opened.wait_for_timeout(4000)  # the next look at the list
    assert opened.locator("#runs-note textarea").input_value() == "typed at once"
    assert not opened.get_by_text("is not in the list of choices").count()
    opened.locator("#runs-keep").click()
    opened.locator("#runs-table [role=gridcell]", has_text="typed at once").wait_for()
    assert run_actions.read_note(studio.run("renamed")) == "typed at once"


def test_a_run_is_downloaded_whole_and_deleted_to_the_trash_after_a_question(trained, studio, opened, tmp_path):
    choose(opened, "first")
    with opened.expect_download() as download:
        opened.locator("#runs-pack").click()
    download.value.save_as(tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as file:
        assert "first/checkpoints/last.pt" in file.namelist()
    opened.locator("#runs-delete").click()
    opened.locator("#runs-cancel").click()
    opened.locator("#runs-really").wait_for(state="hidden")
    assert studio.run("first")
    opened.locator("#runs-delete").click()
    opened.locator("#runs-really").click()
    opened.locator("#runs-table [role=gridcell]", has_text="first").wait_for(state="detached")
    assert (studio.runs_dir / run_actions.TRASH / "first" / "config.json").is_file()


def test_a_report_is_made_and_offered_and_again_after_a_reload(trained, studio, opened, tmp_path):
    choose(opened, "first")
    opened.locator("#runs-report").click()
    files = opened.locator("#runs-report-files")
    files.get_by_text("report").first.wait_for()
    opened.frame_locator("#runs-report-page iframe").get_by_text("Worst cases").wait_for()
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
    assert not opened.is_visible("#runs-report-page iframe")
    opened.click("#runs-report-read")
    shown = opened.frame_locator("#runs-report-page iframe").locator("img").first
    shown.wait_for()
    assert shown.evaluate("image => image.complete && image.naturalWidth > 0")


def test_a_finished_run_goes_on_with_more_epochs(trained, studio, opened):
    choose(opened, "first")
    opened.locator("#runs-resume").click()
    opened.get_by_text("2 epochs are done already").wait_for()
    opened.get_by_text("Name, note, comparisons").click()
    fill(opened, "#runs-epochs input", "3")
    opened.locator("#runs-resume").click()
    opened.locator("#tabs").get_by_role("tab", name="Train", selected=True).wait_for()
    assert studio.job.join(60)
    assert summarise_run(studio.run("first")).epochs_done == 3


def test_runs_are_compared_in_full_and_those_of_different_data_are_said_to_be_so(
    trained, studio, demo, tmp_path, opened
):
    cell = opened.locator("#runs-table [role=gridcell]", has_text="network=voxelmorph").first
    cell.wait_for()
    cut = cell.evaluate(
        "cell => [cell, ...cell.querySelectorAll('*')].some((part) => "
        "getComputedStyle(part).textOverflow === 'ellipsis' && part.scrollWidth > part.clientWidth + 1)"
    )
    assert not cut
    assert "network=voxelmorph, grad_weight=0.1, epochs=2, lr=0.01, device=cpu" in cell.inner_text()
    choose(opened, "first")
    choose(opened, "second")
    opened.wait_for_function("document.querySelectorAll('#runs-curves [data-of=dice] .trace.scatter').length === 2")
    assert not opened.locator("#runs-curves .different").is_visible()
    other = studio.run("second")
    other.write_config(build_config({"data_base_dir": shutil.copytree(demo, tmp_path / "lungs")}, other.config()))
    opened.reload()
    choose(opened, "first")
    choose(opened, "second")
    note = opened.locator("#runs-curves .different")
    note.get_by_text("trained on different data").wait_for()
    assert f"first on {demo.name}" in note.inner_text()
    assert "second on lungs" in note.inner_text()
    opened.locator("#runs-curves .legendtext").get_by_text("second (lungs)").first.wait_for()


def test_a_run_is_opened_in_the_viewer_and_the_address_holds_the_tab_for_a_reload_and_for_back(trained, opened):
    assert opened.url.endswith("#runs")
    opened.reload()
    opened.get_by_role("tab", name="Runs", selected=True).wait_for()
    opened.locator("#runs-table [role=gridcell]", has_text="first").first.wait_for()
    choose(opened, "first")
    opened.locator("#runs-view").click()  # leads to another tab
    opened.get_by_role("tab", name="Viewer", selected=True).wait_for()
    opened.wait_for_function("document.querySelector('#viewer-run input')?.value === 'first'")
    opened.wait_for_function("location.hash.startsWith('#viewer')")
    opened.go_back()
    opened.get_by_role("tab", name="Runs", selected=True).wait_for()
    assert opened.url.endswith("#runs")
    opened.go_back()
    opened.get_by_role("tab", name="Data", selected=True).wait_for()
    opened.go_forward()
    opened.get_by_role("tab", name="Runs", selected=True).wait_for()
