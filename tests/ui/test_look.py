"""How the page looks, in a browser: boxes, selects and the window's width."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regstudio.studio import training_control
from tests.browser import Served
from tests.ui.acting import open_train_tab

pytestmark = pytest.mark.browser

# Where a select's text may end, and where its arrow begins.
ENDS = """all => all.filter((box) => box.offsetParent).map((box) => {
  const arrow = box.parentElement.querySelector(".icon-wrap").getBoundingClientRect();
  return [box.getBoundingClientRect().right - parseFloat(getComputedStyle(box).paddingRight), arrow.left];
})"""


def unfold_settings(page: Any) -> None:
    closed = page.locator("[id^=settings-] > button.label-wrap:not(.open):visible")
    while closed.count():
        closed.first.click()
        page.wait_for_timeout(200)


def test_a_checked_box_is_seen_to_be_checked(page: Any, studio_server: Served) -> None:
    quick = {"epochs": 1, "network": "voxelmorph", "device": "cpu", "compare": False}
    training_control.start(studio_server.studio, quick)
    assert studio_server.studio.job.join(60)
    open_train_tab(page, f"{studio_server.url}?__theme=light")
    page.wait_for_selector("#live .log-scale")
    boxes = [page.locator("#live .log-scale")]
    for section in ("network", "augmentation"):
        page.click(f"#settings-{section} button")
        boxes.append(page.locator(f"#settings-{section} input[type=checkbox]").first)
    for theme in ("light", "dark"):
        page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", theme == "dark")
        for box in boxes:
            assert_tick_is_seen(page, box)


def assert_tick_is_seen(page: Any, box: Any) -> None:
    pictures = {}
    for checked in (False, True):
        box.set_checked(checked)
        page.mouse.move(0, 0)
        page.wait_for_timeout(300)
        pictures[checked] = np.asarray(Image.open(io.BytesIO(box.screenshot())).convert("L")).astype(int)
    inside = pictures[True][3:-3, 3:-3]
    assert np.ptp(inside) > 100  # a tick on its ground
    assert (np.abs(pictures[True] - pictures[False]) > 60).mean() > 0.1


def test_selects_end_before_their_arrows_and_one_place_says_how_many_threads(
    page: Any, untouched_server: Served
) -> None:
    open_train_tab(page, untouched_server.url)
    unfold_settings(page)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(200)
        ends = page.eval_on_selector_all(".secondary-wrap input[role=combobox]", ENDS)
        assert len(ends) > 5
        assert all(text <= arrow for text, arrow in ends), width
    page.click("#setting-device input")
    options = page.get_by_role("option").all_inner_texts()
    assert options
    assert not [option for option in options if "thread" in option]


def test_the_window_is_used_and_the_page_is_centred(page: Any, untouched_server: Served) -> None:
    page.goto(untouched_server.url)
    page.wait_for_selector("#data-gallery img")
    header = page.locator("#header").bounding_box()
    assert page.locator("#tabs").bounding_box()["y"] - header["y"] - header["height"] < 30  # nothing unseen between
    for width in (1280, 1920, 2560):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(200)
        box = page.locator("#tabs").bounding_box()
        assert box["width"] > min(width, 1900) - 100
        assert box["x"] == pytest.approx(width - box["x"] - box["width"], abs=20)  # but for the scroll bar
