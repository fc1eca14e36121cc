"""A folder that is dropped on the Data tab, in a browser; how others are imported: test_journeys."""

from pathlib import Path
from typing import Any

import pytest

from regstudio.data.pictures.writing import write_image
from tests.pictures import ramp

pytestmark = pytest.mark.browser


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

    box = page.locator("#data-drop").bounding_box()
    chromium = page.context.new_cdp_session(page)
    for step in ("dragEnter", "dragOver", "drop"):
        dragged = {"items": [], "files": [str(tmp_path / "ward")], "dragOperationsMask": 1}
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        chromium.send("Input.dispatchDragEvent", {"type": step, "data": dragged, **place})
    page.wait_for_function("document.querySelector('#import-summary textarea')?.value.startsWith('3 pictures of 3')")
    assert page.input_value("#import-name :is(input, textarea)") == "ward"
    choose(demo)  # laid out already
    page.wait_for_function(
        "end => document.querySelector('#data-folder :is(input, textarea)').value.endsWith(end)",
        arg=f"/data_uploads/{demo.name}",
    )
    assert not page.locator("#import-proposal").is_visible()
