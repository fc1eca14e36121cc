"""The header of the page in a browser."""

import json
from typing import Any

import pytest

from tests.browser import Served

pytestmark = pytest.mark.browser


def test_it_says_when_regstudio_does_not_answer_and_goes_on_when_it_does(page: Any, studio_server: Served) -> None:
    page.goto(studio_server.url)
    page.locator("#header .now").wait_for(state="attached")
    page.route("**/component_server/", lambda route: route.abort())
    page.locator("#header .now", has_text="RegStudio does not answer").wait_for()
    page.unroute("**/component_server/")
    page.wait_for_function("() => !document.querySelector('#header .now').textContent.includes('does not answer')")


def test_the_page_has_a_mark_of_its_own_and_can_be_installed_with_it_as_a_program(
    page: Any, studio_server: Served
) -> None:
    page.goto(studio_server.url)
    page.locator("#header .mark svg").wait_for()
    icon = page.request.get(studio_server.url + "favicon.ico")
    assert icon.headers["content-type"].startswith("image/svg+xml")
    assert "<svg" in icon.text()

    chromium = page.context.new_cdp_session(page)
    manifest = chromium.send("Page.getAppManifest")
    assert not manifest["errors"]
    assert json.loads(manifest["data"])["name"] == "RegStudio"
    missing = chromium.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert {error["errorId"] for error in missing} <= {"in-incognito"}  # as every page of a test is
