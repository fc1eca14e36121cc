"""The Viewer tab in a browser: modes, layers, pointer, keys and cases."""

import re
from typing import Any

import pytest

from tests.ui.acting import CANVAS, CASES, VIEWER, choose, fill, wait_for_case

pytestmark = pytest.mark.browser

CONTRAST = """(selector) => {
  const light = (colour) => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const part = document.querySelector(selector);
  let behind = part;
  while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
  const levels = [part, behind]
    .map((at, i) => getComputedStyle(at)[i ? "backgroundColor" : "color"]).map(light).sort((a, b) => b - a);
  return (levels[0] + 0.05) / (levels[1] + 0.05);
}"""


def drawn(page: Any) -> str:
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    picture: str = page.evaluate(f"document.querySelector('{CANVAS}').toDataURL()")
    return picture


def pointed_at(page: Any, panel: int, x: float = 0.51, y: float = 0.51) -> str:
    """Point at a place of one of the three panels side by side; return what the readout says is there."""
    box = page.locator(CANVAS).bounding_box()
    width = (box["width"] - 16) / 3
    page.mouse.move(box["x"] + panel * (width + 8) + x * width, box["y"] + 20 + y * width)
    readout: str = page.inner_text(f"{VIEWER} .readout")
    return readout


def pixel(readout: str) -> str:
    return readout.partition(" · ")[0]


def test_refining_tells_what_it_brought_and_took(opened: Any) -> None:
    numbers = f"{VIEWER} .numbers"
    assert "not refined" not in opened.inner_text(numbers)
    fill(opened, "#viewer-refine input", "5")
    opened.press("#viewer-refine input", "Enter")
    opened.wait_for_function(f"document.querySelector('{numbers}').innerText.includes('Refining, seconds')")
    assert {"Dice, not refined", "NCC, not refined"} <= set(
        opened.locator(f"{numbers} tr td:first-child").all_inner_texts()
    )
    fill(opened, "#viewer-refine input", "0")
    opened.press("#viewer-refine input", "Enter")
    opened.wait_for_function(f"!document.querySelector('{numbers}').innerText.includes('not refined')")


def test_the_images_are_seen_without_scrolling(opened: Any) -> None:
    opened.evaluate("scrollTo(0, 0)")  # a test before may have left the focus further down
    assert opened.locator(CANVAS).bounding_box()["y"] < 300  # of 800


def test_it_shows_warped_and_dice(opened: Any) -> None:
    numbers = opened.inner_text(f"{VIEWER} .numbers")
    assert "Dice, mean" in numbers
    assert "label 1" in numbers
    assert "warped (after)" in opened.get_attribute(CANVAS, "aria-label")
    assert opened.inner_text(f"{VIEWER} .place") == "1 of 6"


def test_modes_and_layers_do_not_ask_the_server(opened: Any) -> None:
    choose(opened, "checkpoint", "last")  # whose arrows are long enough to be seen
    opened.wait_for_function(f"document.querySelector('{VIEWER} .networks').textContent === 'first, last'")
    opened.wait_for_timeout(500)
    asked: list[str] = []
    opened.on("request", lambda request: request.url.startswith("http") and asked.append(request.url))
    opened.focus(CANVAS)
    pictures = set()
    for key in "123456":
        opened.keyboard.press(key)
        pictures.add(drawn(opened))
        assert opened.get_attribute(f"{VIEWER} [aria-pressed=true].mode", "data-mode") == key
    for layer in ("arrows", "grid", "magnitude", "none"):
        opened.select_option(f"{VIEWER} .flow", layer)
        pictures.add(drawn(opened))
    opened.check(f"{VIEWER} .jacobian")
    assert "folds are black" in opened.inner_text(f"{VIEWER} .scale")
    pictures.add(drawn(opened))
    opened.uncheck(f"{VIEWER} .jacobian")
    assert len(pictures) == 10
    # The page's header asks what is training, viewer or not.
    assert [url for url in asked if "component_server" not in url] == []
    choose(opened, "checkpoint", "best")
    opened.wait_for_function(f"document.querySelector('{VIEWER} .networks').textContent === 'first, best'")


def test_the_pointer_reads_intensity_label_and_displacement(opened: Any) -> None:
    on_atlas = pointed_at(opened, 0)
    assert pixel(on_atlas) == "row 24, column 24"
    for word in ("atlas 0.", "moving 0.", "warped 0.", "(label ", "displacement dy ", " px", "Jacobian "):
        assert word in on_atlas
    on_moving = pointed_at(opened, 1)
    assert pixel(on_moving) == "row 24, column 24"
    assert "displacement" not in on_moving  # it belongs to the atlas's grid
    opened.mouse.move(0, 0)
    assert "Point at" in opened.inner_text(f"{VIEWER} .readout")


def test_wheel_zooms_drag_moves_all_panels_and_double_click_resets(opened: Any) -> None:
    whole, corner = drawn(opened), pixel(pointed_at(opened, 0, 0.02, 0.02))
    assert corner == "row 0, column 0"
    under = pixel(pointed_at(opened, 0, 0.76, 0.76))
    opened.mouse.wheel(0, -600)
    opened.wait_for_timeout(60)
    assert pixel(pointed_at(opened, 0, 0.76, 0.76)) == under  # what is under the pointer stays there
    zoomed = pixel(pointed_at(opened, 0))
    assert zoomed != "row 24, column 24"
    assert pixel(pointed_at(opened, 2)) == zoomed
    box = opened.locator(CANVAS).bounding_box()
    opened.mouse.down()
    opened.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 200, steps=3)
    opened.mouse.up()
    dragged = pixel(pointed_at(opened, 0))
    assert dragged != zoomed
    assert pixel(pointed_at(opened, 1)) == dragged
    opened.mouse.dblclick(box["x"] + 150, box["y"] + 100)
    assert pixel(pointed_at(opened, 0, 0.02, 0.02)) == corner
    opened.mouse.move(0, 0)
    assert drawn(opened) == whole


def test_the_edge_of_swipe_can_be_dragged(opened: Any) -> None:
    opened.click(f"{VIEWER} .mode[data-mode='3']")
    opened.wait_for_timeout(60)
    box = opened.locator(CANVAS).bounding_box()
    y = box["y"] + box["height"] / 2
    opened.mouse.move(box["x"] + box["width"] / 2, y)
    opened.mouse.down()
    opened.mouse.move(box["x"] + box["width"] / 4, y, steps=3)
    opened.mouse.up()
    assert float(opened.input_value(f"{VIEWER} .blend-value")) == pytest.approx(0.25, abs=0.01)


def test_arrow_keys_lead_to_the_next_case_and_back(opened: Any) -> None:
    opened.focus(CANVAS)
    opened.keyboard.press("ArrowRight")
    wait_for_case(opened, CASES[1])
    assert opened.input_value("#viewer-case input") == "validation/phantom_06"
    opened.keyboard.press("ArrowLeft")
    wait_for_case(opened, CASES[0])
    opened.keyboard.press("ArrowLeft")  # round the end of the list
    wait_for_case(opened, CASES[-1])


def test_every_quick_press_of_an_arrow_counts_and_the_last_wins(opened: Any) -> None:
    opened.focus(CANVAS)
    for _ in range(4):
        opened.keyboard.press("ArrowRight")
    wait_for_case(opened, CASES[4])
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft"):
        opened.keyboard.press(key)
    wait_for_case(opened, CASES[3])
    opened.wait_for_timeout(600)
    assert opened.get_attribute(VIEWER, "data-case") == CASES[3]
    assert opened.input_value("#viewer-case input") == "training/phantom_02"


def test_space_shows_before_and_after(opened: Any) -> None:
    opened.focus(CANVAS)
    opened.keyboard.press("6")
    after = drawn(opened)
    opened.keyboard.press(" ")
    before = drawn(opened)
    assert opened.get_attribute(f"{VIEWER} .flicker", "aria-pressed") == "true"
    assert "moving (before)" in opened.get_attribute(CANVAS, "aria-label")
    opened.keyboard.press(" ")
    assert drawn(opened) == after != before


@pytest.mark.parametrize("dark", [False, True])
def test_words_are_readable_in_light_and_dark(opened: Any, dark: bool) -> None:
    opened.evaluate("(dark) => document.body.classList.toggle('dark', dark)", dark)
    opened.wait_for_timeout(300)  # colours change by degrees
    for part in ("canvas", ".numbers td", ".controls label", ".scale"):
        assert opened.evaluate(CONTRAST, f"{VIEWER} {part}") > 4.5, part
    opened.evaluate("document.body.classList.remove('dark')")


def test_it_is_a_dark_workspace_in_the_light_theme_too(opened: Any) -> None:
    ground = opened.evaluate(f"getComputedStyle(document.querySelector('{VIEWER}')).backgroundColor")
    assert max(map(int, re.findall(r"\d+", ground)[:3])) < 48
    title = f"[...document.querySelector('{CANVAS}').getContext('2d').getImageData(0, 0, 120, 16).data]"
    assert opened.evaluate(f"{title}.filter((level, place) => place % 4 === 0 && level > 200).length") > 0


def test_a_phone_shows_all_of_its_width(opened: Any) -> None:
    opened.set_viewport_size({"width": 400, "height": 800})
    opened.wait_for_timeout(200)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 400
    assert opened.locator(CANVAS).bounding_box()["width"] > 300
    for part in (".modes", ".controls", ".numbers"):
        box = opened.locator(f"{VIEWER} {part}").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 400


def test_the_moving_image_is_laid_on_the_fixed_one_by_hand(opened: Any) -> None:
    networks = f"document.querySelector('{VIEWER} .networks').textContent"
    opened.click(f"{VIEWER} .lay")
    assert "the knob turns" in opened.get_attribute(CANVAS, "aria-label")
    opened.fill(f"{VIEWER} [data-lay=turn]", "8")
    opened.press(f"{VIEWER} [data-lay=turn]", "Enter")
    opened.wait_for_function(f"{networks}.endsWith('laid by hand')")
    before, box = drawn(opened), opened.locator(CANVAS).bounding_box()
    opened.mouse.move(box["x"] + 0.15 * box["width"], box["y"] + 0.6 * box["height"])
    opened.mouse.down()
    opened.mouse.move(box["x"] + 0.15 * box["width"] + 20, box["y"] + 0.6 * box["height"])
    assert drawn(opened) != before  # while it is dragged
    assert float(opened.input_value(f"{VIEWER} [data-lay=right]")) > 1
    assert float(opened.input_value(f"{VIEWER} [data-lay=down]")) == 0
    opened.mouse.up()
    opened.click(f"{VIEWER} .lay-reset")
    opened.click(f"{VIEWER} .lay")
    opened.wait_for_function(f"!{networks}.includes('by hand')")
    opened.click(f"{VIEWER} [data-mode='1']")


def test_dragging_windows_and_measures_and_the_affine_part_can_be_left_out(opened: Any) -> None:
    box = opened.locator(CANVAS).bounding_box()

    def drag(across: float, down: float) -> None:
        opened.mouse.move(box["x"] + 150, box["y"] + 90)
        opened.mouse.down()
        opened.mouse.move(box["x"] + 150 + across, box["y"] + 90 + down, steps=3)
        opened.mouse.up()

    plain = drawn(opened)
    opened.click(f"{VIEWER} [data-tool=window]")
    drag(-90, 30)
    assert "window of fixed 0.25 to 0.95" in opened.inner_text(f"{VIEWER} .readout")
    windowed = drawn(opened)
    opened.click(f"{VIEWER} [data-tool=measure]")
    drag(80, 0)
    assert len({plain, windowed, drawn(opened)}) == 3
    assert "distance " in opened.inner_text(f"{VIEWER} .readout")
    opened.click(f"{VIEWER} [data-tool=outline]")
    opened.mouse.move(box["x"] + 60, box["y"] + 60)
    opened.mouse.down()
    for x, y in ((110, 60), (110, 110)):
        opened.mouse.move(box["x"] + x, box["y"] + y, steps=3)
    opened.mouse.up()
    area = opened.inner_text(f"{VIEWER} .readout").partition("area ")[2].split()
    zoom = float(opened.inner_text(f"{VIEWER} .zoom").split()[0]) / 100  # pixels of the screen to one of the image
    assert float(area[0]) == pytest.approx(50 * 50 / 2 / zoom**2, rel=0.03) and area[1] == "px²"
    opened.select_option(f"{VIEWER} .flow", "magnitude")
    whole = opened.inner_text(f"{VIEWER} .high")
    opened.check(f"{VIEWER} .no-affine")
    assert float(opened.inner_text(f"{VIEWER} .high").split()[0]) <= float(whole.split()[0])
    opened.uncheck(f"{VIEWER} .no-affine")
    opened.select_option(f"{VIEWER} .flow", "none")
    opened.click(f"{VIEWER} [data-tool=move]")
    opened.click(f"{VIEWER} .reset")
    opened.mouse.move(0, 0)
    assert drawn(opened) == plain
