"""The Help tab in a browser."""

import pytest

pytestmark = pytest.mark.browser


def test_pages_are_opened_by_links_and_from_the_list(untouched_server, page):
    page.goto(untouched_server.url)
    page.get_by_role("tab", name="Help").click()
    text = page.locator("#help-page")
    text.get_by_role("heading", name="Handbook").wait_for()
    text.get_by_role("link", name="Your data").click()
    text.get_by_role("heading", name="Your data").first.wait_for()
    assert page.locator("#help-pages input:checked").input_value() == "data"
    text.get_by_role("link", name="format").first.click()
    text.get_by_role("heading", name="File formats").wait_for()
    page.locator("#help-pages").get_by_text("Troubleshooting").click()
    text.get_by_role("heading", name="Troubleshooting").first.wait_for()
    page.locator("#help-pages").get_by_text("Five ways through the page").click()
    text.locator("img").last.scroll_into_view_if_needed()
    page.wait_for_function(
        "[...document.querySelectorAll('#help-page img')].every((image) => image.naturalWidth > 1000)"
    )
    assert page.url == f"{untouched_server.url}#help"
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
