"""The page asks for changes instead of redrawing at every tick."""

import gradio as gr

from regstudio.errors import RunError
from regstudio.studio.studio import Studio
from regstudio.ui.app import build_app
from regstudio.ui.widgets.watch import Watch


def test_what_is_asked_for_has_another_fingerprint_once_it_changes() -> None:
    values: list[str] = []

    def failing(tab: str) -> object:
        raise RunError(f"{values} of {tab}")

    with gr.Blocks(analytics_enabled=False):
        watch = Watch()
        watch.on_change("list", lambda tab: (tab, values), lambda: None, None, None)
        watch.on_change("broken", failing, lambda: None, None, None)
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
        watch = Watch()
        watch.on_change("list", lambda tab: tab, lambda: None, None, None)
    for nonsense in (None, [], "list", {}, {"tab": 3, "names": ["list"]}, {"tab": "one", "names": 3}):
        assert watch.look(nonsense) == {}
    assert watch.look({"tab": "one", "names": [["list"], "other", None]}) == {}


def test_no_timer_keeps_an_untouched_page_busy(studio: Studio) -> None:
    timers = [block for block in build_app(studio).blocks.values() if isinstance(block, gr.Timer)]
    assert not [timer for timer in timers if timer.active]
