import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from regstudio.config import TrainConfig
from regstudio.training.setup import check_data
from regstudio.training.trainer import train
from regstudio.ui.studio import Studio
from regstudio.ui.viewer_events import Handlers
from regstudio.ui.viewer_tab import build

VIEWER = "#viewer-canvas .viewer"


@pytest.fixture
def trained(studio: Studio, quick_config: Callable[..., TrainConfig]) -> Studio:
    config = quick_config(run_name="first")
    list(train(config, check_data(config).index))
    return studio


@pytest.fixture
def opened(trained: Studio, studio_server: Any, page: Any) -> Iterator[Any]:
    page.goto(studio_server.url)
    page.get_by_role("tab", name="Viewer").click()
    page.wait_for_selector(f"{VIEWER}[data-state=open]", timeout=30_000)
    yield page


def test_a_case_is_opened_with_nothing_chosen_but_the_run(trained: Studio) -> None:
    value, shown, source = Handlers(trained, False).show(None, "first", None, None, None)
    assert json.loads(value)["name"] == "phantom_05"
    assert source == "case"
    again = Handlers(trained, False).show(shown, "first", None, None, None)
    assert again == (gr.skip(), gr.skip(), gr.skip())


def test_an_error_is_shown_where_the_images_would_be(studio: Studio) -> None:
    handlers = Handlers(studio, False)
    assert "Train a run" in json.loads(handlers.show(None, None, None, None, None)[0])["empty"]
    assert "<b>" in json.loads(handlers.show(None, "<b>", None, None, None)[0])["empty"]


def test_errors_of_buttons_are_escaped(studio: Studio) -> None:
    with pytest.raises(gr.Error, match="&lt;b&gt;"):
        Handlers(studio, False).download("case", None, "<b>", None, None, None, False, None, None, None, None)


def test_a_read_only_page_takes_no_paths_and_no_files(trained: Studio) -> None:
    handlers = Handlers(trained.shared(["first"]), True)
    path = str(trained.run("first").best_path)
    assert "opens no paths" in json.loads(handlers.show(None, None, None, None, None, path)[0])["empty"]
    with pytest.raises(gr.Error, match="takes no files"):
        handlers.register("first", None, None, None, False, None, path, None, None)


def test_a_read_only_page_shows_no_boxes_for_them(trained: Studio) -> None:
    with gr.Blocks() as app:
        build(trained, read_only=True)
    boxes = [block for block in app.blocks.values() if isinstance(block, gr.File | gr.Textbox)]
    assert not any(box.visible for box in boxes)


@pytest.mark.browser
def test_it_shows_warped_and_dice(opened: Any) -> None:
    numbers = opened.inner_text(f"{VIEWER} .numbers")
    assert "Dice, mean" in numbers
    assert "label 1" in numbers
    assert "warped (after)" in opened.get_attribute(f"{VIEWER} canvas", "aria-label")


@pytest.mark.browser
def test_modes_and_layers_do_not_ask_the_server(opened: Any) -> None:
    opened.wait_for_timeout(500)
    asked: list[str] = []
    opened.on("request", lambda request: request.url.startswith("http") and asked.append(request.url))
    pictures = set()
    for key in "123456":
        opened.keyboard.press(key)
        opened.wait_for_timeout(60)
        assert opened.get_attribute(f"{VIEWER} [aria-pressed=true].mode", "data-mode") == key
        pictures.add(opened.evaluate("document.querySelector('#viewer-canvas canvas').toDataURL()"))
    for layer in ("arrows", "grid", "magnitude"):
        opened.select_option(f"{VIEWER} .flow", layer)
        opened.wait_for_timeout(60)
        pictures.add(opened.evaluate("document.querySelector('#viewer-canvas canvas').toDataURL()"))
    opened.check(f"{VIEWER} .jacobian")
    opened.hover(f"{VIEWER} canvas")
    assert "Jacobian" in opened.inner_text(f"{VIEWER} .readout")
    assert len(pictures) == 9
    # The page's header asks what is training, viewer or not.
    assert [url for url in asked if "component_server" not in url] == []


@pytest.mark.browser
def test_the_keyboard_leads_to_the_next_case_and_back(opened: Any) -> None:
    opened.keyboard.press("ArrowRight")
    opened.wait_for_selector(f"{VIEWER}[data-case=phantom_06]")
    opened.keyboard.press("ArrowLeft")
    opened.wait_for_selector(f"{VIEWER}[data-case=phantom_05]")
    opened.keyboard.press(" ")
    assert opened.get_attribute(f"{VIEWER} .flicker", "aria-pressed") == "true"


@pytest.mark.browser
def test_the_zip_can_be_downloaded(opened: Any, tmp_path: Path) -> None:
    with opened.expect_download() as download:
        opened.click("#viewer-download")
    download.value.save_as(tmp_path / "case.zip")
    with zipfile.ZipFile(tmp_path / "case.zip") as archive:
        stems = {name.removeprefix("phantom_05_").partition(".")[0] for name in archive.namelist()}
    assert {"figure", "warped", "flow"} <= stems


@pytest.mark.browser
def test_without_a_run_it_says_what_to_do(studio_server: Any, page: Any) -> None:
    page.goto(studio_server.url)
    page.get_by_role("tab", name="Viewer").click()
    page.get_by_text("Train a run").wait_for()
