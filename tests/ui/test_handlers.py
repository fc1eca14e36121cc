"""What all handlers must keep to, read from their source and tried without a browser."""

import ast
import inspect
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from gradio.blocks import BlockContext

from regstudio.runs.run import Run
from regstudio.studio import downloads
from regstudio.studio.downloads import Downloads
from regstudio.studio.live_feed import Feed
from regstudio.studio.studio import Studio
from regstudio.ui import tabs
from regstudio.ui.app import build_app
from regstudio.ui.tabs.runs_handlers import RunsHandlers
from regstudio.ui.widgets.changing_dropdown import ChangingDropdown
from regstudio.ui.widgets.watch import CHANGED

SOURCES = sorted(Path(tabs.__file__).parents[1].rglob("*.py"))


def updates(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield each call gr.X(...) whose result is returned or put among other values: an update of a component."""
    for node in ast.walk(tree):
        values: list[ast.expr | None] = []
        if isinstance(node, ast.Return | ast.Yield):
            values = [node.value]
        elif isinstance(node, ast.Lambda):
            values = [node.body]
        elif isinstance(node, ast.List | ast.Tuple):
            values = list(node.elts)
        elif isinstance(node, ast.Dict):
            values = list(node.values)
        for value in values:
            for call in ast.walk(value) if isinstance(value, ast.IfExp) else [value]:
                if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("gr."):
                    yield call


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_handler_makes_a_layout_to_update_one(path: Path) -> None:
    """Gradio would put it into whatever page is being built at that moment in another thread: the shared one."""
    for call in updates(ast.parse(path.read_text())):
        kind = getattr(gr, ast.unparse(call.func).removeprefix("gr."), None)
        built = kind is gr.Blocks or any(word.arg == "elem_id" for word in call.keywords)  # not an update
        layout = isinstance(kind, type) and issubclass(kind, BlockContext) and not built
        assert not layout, f"{path.name}:{call.lineno}: {ast.unparse(call)}: use gr.update"


def test_what_a_page_shows_is_held_by_the_page(studio) -> None:
    """On the server it would be set before the answer arrives; an older answer that arrives later would then stay."""
    app = build_app(studio)
    watches = {number for number, block in app.blocks.items() if (block.elem_id or "").startswith(CHANGED)}
    ticks = [handler for handler in app.fns.values() if watches & {target for target, _ in handler.targets}]
    assert len(ticks) == len(watches) >= 3
    for handler in ticks:
        passed = set(handler.inputs) & set(handler.outputs)
        assert not [component for component in passed if isinstance(component, gr.State)], handler.name


def test_no_update_reaches_into_the_one_before_which_the_page_may_not_have_drawn_yet(studio: Studio) -> None:
    app = build_app(studio)
    (handler,) = {fn.fn: fn for fn in app.fns.values() if fn.name == "choose_demo"}.values()
    names = [f"value {number}" for number in range(len(handler.outputs))]
    first, last = {"state": "looking", "sets": [], "title": "Opening"}, {"state": "ready", "sets": [1]}
    sent = [
        app.handle_streaming_diffs(handler, [value, *names[1:]], session_hash="page", run="1", final=final)
        for value, final in ((dict(first), False), ({"__type__": "update"}, False), (dict(last), False), ([], True))
    ]
    assert sent[0] == [first, *names[1:]]
    same: list[list[object]] = [[] for _ in names[1:]]
    assert sent[1] == [[["replace", [], {"__type__": "update"}]], *same]
    assert sent[2] == [[["replace", [], last]], *same]
    assert sent[3] == [last, *names[1:]]


def test_a_dropdown_passes_on_what_is_no_choice_any_more() -> None:
    several = ChangingDropdown(["new"], multiselect=True, render=False)
    assert several.preprocess(["old", "new"]) == ["old", "new"]
    assert several.preprocess({"a": 1}) == several.preprocess(None) == []
    one = ChangingDropdown(["new"], render=False)
    assert [one.preprocess(value) for value in ("old", None, 3, ["old"])] == ["old", None, None, None]
    assert one.get_block_name() == "dropdown"


@pytest.fixture
def handlers(studio, one_run) -> RunsHandlers:
    for name in ("first", "second"):
        Run(studio.runs_dir / name).path.mkdir(parents=True)
        (studio.runs_dir / name / "config.json").write_bytes((one_run / "config.json").read_bytes())
    return RunsHandlers(studio, Feed(studio))


def test_pages_that_download_at_once_get_what_they_asked_for(handlers: RunsHandlers, monkeypatch) -> None:
    paths = [Path(handlers.pack([name], False)) for name in ("first", "second", "first")]
    assert len(set(paths)) == 3
    for path, name in zip(paths, ("first", "second", "first"), strict=True):
        assert path.name == f"{name}.zip"
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == [f"{name}/config.json"]
    old = time.time() - downloads.LIFETIME_SECONDS - 1
    os.utime(paths[0], (old, old))
    handlers.pack(["first"], False)
    assert [path.exists() for path in paths] == [False, True, True]


def test_a_download_in_the_making_is_not_removed() -> None:
    made = Downloads()
    slow = made.place("a.zip")
    old = time.time() - 10 * downloads.LIFETIME_SECONDS
    os.utime(slow.parent, (old, old))
    made.place("b.zip")
    assert slow.parent.exists()


def test_after_a_new_name_the_run_stays_open_as_it_is(handlers: RunsHandlers) -> None:
    *details, opened = handlers.open(["first"], [])
    assert (details[2], opened) == ("first", ["first"])
    choice, opened = handlers.rename(["first"], "third")
    assert (choice["value"], opened) == (["third"], ["third"])
    curves, *kept = handlers.open(["third"], opened)
    assert "third" in curves
    assert kept == [gr.skip()] * 7 + [["third"]]
    with pytest.raises(gr.Error, match=r"is not the name of a run|is not a run"):  # what another page still asks for
        handlers.open(["first"], ["first"])
    # What a page that looks before the answer is there has selected and open is the same run.
    assert handlers.look(["first"], [])[2]["value"] == ["third"]
    assert handlers.open(["third"], ["first"])[1:] == (*kept,)


@pytest.mark.slow
def test_a_request_that_lacks_what_every_page_sends_gets_one_plain_message(studio: Studio) -> None:
    messages = []
    for handler in build_app(studio).fns.values():
        kinds = [word.annotation for word in inspect.signature(handler.fn).parameters.values()] if handler.fn else []
        if handler.fn is None or any(inspect.isclass(kind) and issubclass(kind, gr.EventData) for kind in kinds):
            continue
        try:
            outcome = handler.fn(*[None] * len(handler.inputs))
            list(outcome) if inspect.isgenerator(outcome) else None
        except gr.Error as error:
            messages.append(error.message)
    assert len([message for message in messages if message.startswith("The request lacks the ")]) >= 5
    assert not [message for message in messages if "should not have happened" in message]
