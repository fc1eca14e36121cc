"""The address of the page in a browser: bookmarks, reload and Back."""

from typing import Any
from urllib.parse import unquote

import pytest

from tests.browser import Served
from tests.ui.acting import VIEWER, open_tab, wait_for_case

pytestmark = pytest.mark.browser


def test_the_address_leads_to_run_checkpoint_and_case_and_back(page: Any, viewer_server: Served) -> None:
    def address() -> str:
        return unquote(page.url.partition("#")[2])

    bookmark = "viewer?run=first&checkpoint=1&case=validation/phantom_06"
    page.goto(f"{viewer_server.url}#{bookmark}")
    wait_for_case(page, "phantom_06")
    assert page.input_value("#viewer-checkpoint input") == "epoch 1"
    page.locator(f"{VIEWER} .next").click()
    wait_for_case(page, "phantom_01")
    page.wait_for_url("**phantom_01")
    page.go_back()
    wait_for_case(page, "phantom_06")
    assert address() == bookmark
    page.reload()
    wait_for_case(page, "phantom_06")
    open_tab(page, "Runs")
    page.wait_for_url("**#runs")
    page.go_back()
    wait_for_case(page, "phantom_06")
    assert address() == bookmark
