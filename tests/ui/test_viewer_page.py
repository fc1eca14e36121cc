"""The Viewer tab in a real browser: one server and one page for all tests, each of which starts from the same case."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from regstudio.config import build_config
from regstudio.studio.studio import Studio
from regstudio.training.setup import check_data
from regstudio.training.trainer import train
from tests.browser import Served, unused_port, watched_page
from tests.ui.acting import fill

pytestmark = pytest.mark.browser

VIEWER = "#viewer-canvas .viewer"
CANVAS = f"{VIEWER} canvas"
CASES = ["phantom_05", "phantom_06", "phantom_01", "phantom_02", "phantom_03", "phantom_04"]
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


@pytest.fixture(scope="module")
def server(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    from regstudio.ui.app import build_app
    from regstudio.ui.server.serving import serve

    folder = tmp_path_factory.mktemp("viewer")
    studio = Studio(runs_dir=folder / "runs", roots=(folder, demo), demo_dir=demo, data_base_dir=demo)
    settings = {"epochs": 2, "encoder_channels": 2, "decoder_channels": 4, "lr": 1e-3, "device": "cpu"}
    config = build_config({"data_base_dir": demo, "runs_dir": folder / "runs", "run_name": "first", **settings})
    list(train(config, check_data(config).index))
    page = serve(build_app(studio), port=unused_port())
    yield Served(page.url, studio)
    page.close()


@pytest.fixture(scope="module")
def shared_page(server: Served, browser: Any) -> Iterator[Any]:
    with watched_page(browser) as page:
        page.goto(server.url)
        page.get_by_role("tab", name="Viewer").click()
        page.wait_for_selector(f"{VIEWER}[data-state=open]", timeout=30_000)
        yield page


@pytest.fixture
def opened(shared_page: Any) -> Iterator[Any]:
    """The Viewer with the first case, side by side; whatever a test opens, it leaves that behind."""
    yield shared_page
    shared_page.set_viewport_size({"width": 1280, "height": 800})
    if shared_page.inner_text(f"{VIEWER} .place") != "1 of 6":
        choose(shared_page, "case", "validation/phantom_05")
        wait_for_case(shared_page, CASES[0])
    shared_page.click(f"{VIEWER} .mode[data-mode='1']")
    shared_page.click(f"{VIEWER} .reset")


def choose(page: Any, box: str, option: str) -> None:
    page.click(f"#viewer-{box} input")
    page.get_by_role("option", name=option, exact=True).click()


def wait_for_case(page: Any, name: str) -> None:
    page.wait_for_selector(f"{VIEWER}[data-state=open][data-case='{name}']")


def unfold(page: Any) -> None:
    """Open the part of the tab for own images and checkpoint files."""
    if not page.is_visible("#viewer-register"):
        page.get_by_text("Own images, or a checkpoint file").click()
        page.wait_for_selector("#viewer-register")


def drawn(page: Any) -> str:
    page.wait_for_timeout(60)
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


def test_it_shows_warped_and_dice(opened: Any) -> None:
    numbers = opened.inner_text(f"{VIEWER} .numbers")
    assert "Dice, mean" in numbers
    assert "label 1" in numbers
    assert "warped (after)" in opened.get_attribute(CANVAS, "aria-label")
    assert opened.inner_text(f"{VIEWER} .place") == "1 of 6"


def test_modes_and_layers_do_not_ask_the_server(opened: Any) -> None:
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
    opened.mouse.dblclick(box["x"] + 60, box["y"] + 100)
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


def test_keys_typed_elsewhere_are_no_orders(opened: Any) -> None:
    unfold(opened)
    opened.focus("#viewer-path textarea")
    opened.keyboard.press("6")
    assert opened.get_attribute(f"{VIEWER} [aria-pressed=true].mode", "data-mode") == "1"
    fill(opened, "#viewer-path textarea", "")


def test_a_second_checkpoint_is_shown_beside_the_first(opened: Any) -> None:
    choose(opened, "compare", "first/1")
    opened.wait_for_function(f"document.querySelector('{VIEWER} .networks').textContent.includes('first, epoch 1')")
    assert opened.get_attribute(CANVAS, "aria-label").count("warped (after)") == 2
    heads = opened.locator(f"{VIEWER} .numbers th").all_inner_texts()
    assert heads[1:] == ["before", "first, best", "first, epoch 1"]
    choose(opened, "compare", "nothing")
    opened.wait_for_function(f"!document.querySelector('{VIEWER} .networks').textContent.includes('epoch 1')")


def test_own_images_are_registered_on_the_spot(opened: Any, demo: Path, tmp_path: Path) -> None:
    unfold(opened)
    own = {
        "fixed": demo / "fixed" / "atlas.png",
        "moving": next((demo / "validation_moving").glob("phantom_05.*")),
        "fixed-label": demo / "fixed_seg" / "atlas_seg.png",
        "moving-label": next((demo / "validation_moving_seg").glob("phantom_05*")),
    }
    for box, path in own.items():
        opened.set_input_files(f"#viewer-{box} input[type=file]", path)
        opened.locator(f"#viewer-{box}").get_by_text(path.suffix).first.wait_for()
    opened.click("#viewer-register")
    opened.wait_for_function(f"document.querySelector('{VIEWER} .place').textContent === 'own images'")
    assert "Dice, mean" in opened.inner_text(f"{VIEWER} .numbers")
    with opened.expect_download() as download:
        opened.click("#viewer-download")
    assert download.value.suggested_filename == "phantom_05.zip"
    opened.focus(CANVAS)
    opened.keyboard.press("ArrowRight")  # own images are in no list: back to the case that is chosen
    opened.wait_for_function(f"document.querySelector('{VIEWER} .place').textContent === '1 of 6'")


def test_a_checkpoint_file_is_opened_only_below_the_roots(opened: Any, server: Served) -> None:
    unfold(opened)
    box = opened.locator("#viewer-path textarea")
    fill(opened, "#viewer-path textarea", "/etc/passwd")
    box.press("Enter")
    opened.get_by_text("may not be opened from the page").wait_for()
    fill(opened, "#viewer-path textarea", str(server.studio.run("first").best_path))
    box.press("Enter")
    opened.wait_for_function(f"document.querySelector('{VIEWER} .networks').textContent === 'best_model.pt'")
    fill(opened, "#viewer-path textarea", "")
    box.press("Enter")
    opened.wait_for_function(f"document.querySelector('{VIEWER} .networks').textContent === 'first, best'")


def test_what_is_shown_can_be_kept_as_a_picture_and_all_of_it_as_a_zip(opened: Any, tmp_path: Path) -> None:
    with opened.expect_download() as download:
        opened.click(f"{VIEWER} .save")
    download.value.save_as(tmp_path / "case.png")
    assert download.value.suggested_filename == "phantom_05.png"
    assert (tmp_path / "case.png").read_bytes().startswith(b"\x89PNG")
    with opened.expect_download() as download:
        opened.click("#viewer-download")
    download.value.save_as(tmp_path / "case.zip")
    with zipfile.ZipFile(tmp_path / "case.zip") as archive:
        stems = {name.removeprefix("phantom_05_").partition(".")[0] for name in archive.namelist()}
    assert {"figure", "warped", "flow"} <= stems


@pytest.mark.parametrize("dark", [False, True])
def test_words_are_readable_in_light_and_dark(opened: Any, dark: bool) -> None:
    opened.evaluate("(dark) => document.body.classList.toggle('dark', dark)", dark)
    opened.wait_for_timeout(300)  # colours change by degrees
    for part in ("canvas", ".numbers td", ".controls label", ".scale"):
        assert opened.evaluate(CONTRAST, f"{VIEWER} {part}") > 4.5, part
    opened.evaluate("document.body.classList.remove('dark')")


def test_a_phone_shows_all_of_its_width(opened: Any) -> None:
    opened.set_viewport_size({"width": 400, "height": 800})
    opened.wait_for_timeout(200)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 400
    assert opened.locator(CANVAS).bounding_box()["width"] > 300
    for part in (".modes", ".controls", ".numbers"):
        box = opened.locator(f"{VIEWER} {part}").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 400


def test_without_a_run_it_says_what_to_do(studio_server: Served, page: Any) -> None:
    page.goto(studio_server.url)
    page.get_by_role("tab", name="Viewer").click()
    page.get_by_text("Train a run").wait_for()
