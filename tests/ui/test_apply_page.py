"""The Apply tab in a browser: from a folder to the worst case in the Viewer, over a reload."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from regstudio.studio.apply_control import rows
from tests.browser import Served
from tests.ui.acting import VIEWER, fill, open_tab

pytestmark = pytest.mark.browser


def test_a_folder_is_applied_to_and_its_worst_case_opened(
    studio_server: Served, page: Any, demo: Path, tmp_path: Path
) -> None:
    shutil.copytree(demo / "moving", tmp_path / "ward")
    page.goto(studio_server.url)
    open_tab(page, "Apply")
    fill(page, "#apply-folder :is(input, textarea)", str(tmp_path / "ward"))
    fill(page, "#apply-labels :is(input, textarea)", str(demo / "moving_seg"))
    page.click("#apply-method input")
    page.get_by_role("option", name="not registered").click()
    page.click("#apply-start")
    page.wait_for_selector("#apply-progress .apply[data-state=finished]")
    page.reload()
    open_tab(page, "Apply")
    page.wait_for_selector("#apply-progress .apply[data-state=finished]")
    assert "4 of 4 images" in page.inner_text("#apply-progress .count")
    worst = str(rows(studio_server.studio, "ward")[0][0])
    page.locator("#apply-table [role=gridcell]", has_text=worst).first.click()
    page.wait_for_selector(f"{VIEWER}[data-state=open][data-case='{worst}']")
    assert page.input_value("#viewer-run input") == "applied: ward"
