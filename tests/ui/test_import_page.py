"""Importing in the Data tab, in a browser."""

import os
from pathlib import Path
from typing import Any

import pytest

from regstudio.data.pictures.writing import write_image, write_label
from tests.pictures import ids, ramp
from tests.ui.acting import fill

pytestmark = pytest.mark.browser


def test_a_folder_as_it_comes_is_proposed_changed_imported_and_opened(
    studio_server: Any, page: Any, tmp_path: Path
) -> None:
    for number in range(1, 7):
        write_image(tmp_path / "scans" / f"p{number}" / "t1.png", ramp(shift=2 * number))
        write_label(tmp_path / "scans" / f"p{number}" / "mask.png", ids())
    page.goto(studio_server.url)
    page.wait_for_selector("#data-overview .verdict.ready")
    fill(page, "#data-folder input, #data-folder textarea", str(tmp_path / "scans"))
    page.click("#data-open")
    page.locator("#data-overview").get_by_text("not laid out for training yet").wait_for()
    page.wait_for_selector("#import-table [role=gridcell]")
    page.wait_for_function("document.querySelector('#import-atlas input')?.value")
    proposed = page.input_value("#import-atlas input")
    other = "p2_t1" if proposed == "p1_t1" else "p1_t1"
    page.click("#import-atlas input")
    page.get_by_role("option", name=other).click()
    page.wait_for_function(f"document.querySelector('#import-summary textarea').value.includes('the atlas {other}')")
    page.locator("#import-table [role=gridcell]", has_text="atlas").first.wait_for()
    page.locator("#import-click").get_by_text("left out").click()
    page.locator("#import-gallery .thumbnail-item").last.click()
    page.wait_for_function("document.querySelector('#import-summary textarea').value.startsWith('5 pictures')")
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "import.png", full_page=True)
    page.locator("#import-click").get_by_text("one to train on").click()
    page.locator("#import-gallery .thumbnail-item").last.click()  # what was left out is still there
    page.wait_for_function("document.querySelector('#import-summary textarea').value.startsWith('6 pictures')")
    fill(page, "#import-name input, #import-name textarea", "mine")
    page.click("#import-send")
    page.wait_for_function("document.querySelector('#data-folder :is(input, textarea)').value.endsWith('mine')")
    page.wait_for_selector("#data-overview .verdict.ready")
    assert (tmp_path / "data_uploads" / "mine" / "import.json").is_file()
    assert not page.locator("#import-proposal").is_visible()


def test_a_dropped_folder_arrives_with_its_folders_and_is_proposed_or_opened(
    studio_server: Any, page: Any, demo: Path, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        write_image(tmp_path / "ward" / f"p{number}" / "t1.png", ramp(shift=2 * number))
    page.goto(studio_server.url)
    page.wait_for_selector("#data-overview .verdict.ready")

    def choose(folder: Path) -> None:
        with page.expect_file_chooser() as chooser:
            page.click("#data-drop-choose")
        chooser.value.set_files(str(folder))

    choose(tmp_path / "ward")
    page.wait_for_function("document.querySelector('#import-summary textarea')?.value.startsWith('3 pictures of 3')")
    assert page.input_value("#import-name :is(input, textarea)") == "ward"
    choose(demo)  # laid out already
    page.wait_for_function(
        "end => document.querySelector('#data-folder :is(input, textarea)').value.endsWith(end)",
        arg=f"/data_uploads/{demo.name}",
    )
    assert not page.locator("#import-proposal").is_visible()
