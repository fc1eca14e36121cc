"""The page asks for changes instead of redrawing at every tick."""

import threading
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest

from regstudio.errors import RunError
from regstudio.studio.studio import Studio
from regstudio.ui.app import build_app
from regstudio.ui.server.serving import serve
from regstudio.ui.widgets.browser_tab import browser_tab
from regstudio.ui.widgets.watch import Watch
from tests.browser import unused_port

# The page looks every 20 ms. Two clicks are lost, as they are while Gradio's page loads.
HURRY_AND_LOSE = """{
  const every = setInterval;
  window.setInterval = (act, ms, ...more) => every(act, ms === 1000 ? 20 : ms, ...more);
  window.clicks = 0;
  addEventListener("click", (event) => {
    if (event.target.id === "changed-words" && clicks++ < 2) event.stopImmediatePropagation();
  }, true);
}"""
NOTE_WORDS = """() => {
  window.noted = [];
  const words = document.querySelector("#words");
  const note = () => noted.at(-1) !== words.innerText.trim() && noted.push(words.innerText.trim());
  new MutationObserver(note).observe(words, { subtree: true, childList: true, characterData: true });
}"""


def test_what_is_asked_for_has_another_fingerprint_once_it_changes() -> None:
    values: list[str] = []

    def failing(tab: str) -> object:
        raise RunError(f"{values} of {tab}")

    with gr.Blocks(analytics_enabled=False):
        watch = Watch(browser_tab())
        watch.on_change("list", lambda tab: (tab, values), lambda: None, [], [])
        watch.on_change("broken", failing, lambda: None, [], [])
    asked = {"tab": "one", "names": ["list", "broken"]}
    before = watch.look(asked)
    assert list(before) == ["list", "broken"]
    assert watch.look(asked) == before
    values.append("new")
    after = watch.look(asked)
    assert after["list"] != before["list"]
    assert after["broken"] != before["broken"]
    assert watch.look({"tab": "two", "names": ["list"]})["list"] != after["list"]


def test_nonsense_is_asked_for_in_vain() -> None:
    with gr.Blocks(analytics_enabled=False):
        watch = Watch(browser_tab())
        watch.on_change("list", lambda tab: tab, lambda: None, [], [])
    for nonsense in (None, [], "list", {}, {"tab": 3, "names": ["list"]}, {"tab": "one", "names": 3}):
        assert watch.look(nonsense) == {}
    assert watch.look({"tab": "one", "names": [["list"], "other", None]}) == {}


def test_no_timer_keeps_an_untouched_page_busy(studio: Studio) -> None:
    timers = [block for block in build_app(studio).blocks.values() if isinstance(block, gr.Timer)]
    assert not [timer for timer in timers if timer.active]


class Words:
    """Words that change on the server; the first answer is held until it may `go_on`."""

    def __init__(self) -> None:
        self.now = "first"
        self.held, self.go_on = threading.Event(), threading.Event()

    def look(self) -> list[str]:
        words = self.now
        if not self.held.is_set():
            self.held.set()
            self.go_on.wait(30)
        return [words]


@pytest.fixture
def words() -> Iterator[Words]:
    words = Words()
    yield words
    words.go_on.set()


@pytest.fixture
def words_url(words: Words) -> Iterator[str]:
    """A page that shows the words in the second of its tabs."""
    with gr.Blocks(analytics_enabled=False) as app:
        watch = Watch(browser_tab())
        with gr.Tab("Other"):
            gr.Markdown("other")
        with gr.Tab("Words"):
            watch.on_change("words", lambda _: words.now, words.look, [], [gr.Markdown(elem_id="words")])
    page = serve(app, port=unused_port())
    yield page.url
    page.close()


@pytest.mark.browser
def test_lost_clicks_are_clicked_again_and_of_two_answers_the_newer_stays(
    words: Words, words_url: str, page: Any
) -> None:
    page.add_init_script(HURRY_AND_LOSE)
    page.goto(words_url)
    page.get_by_role("tab", name="Words").click()
    assert words.held.wait(30)
    words.now = "second"
    page.locator("#words").get_by_text("second").wait_for()
    assert page.evaluate("clicks") == 3
    page.evaluate(NOTE_WORDS)
    words.go_on.set()  # the held answer comes after the newer one
    page.wait_for_function("noted.join() === 'first,second'")
    clicks = page.evaluate("clicks")
    for _ in range(5):  # what is drawn already is not drawn again
        with page.expect_response(lambda answer: "component_server" in answer.url):
            pass
    assert page.evaluate("clicks") == clicks
