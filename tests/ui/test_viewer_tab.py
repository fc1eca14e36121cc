import json
import re
import shutil
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from regstudio.studio.studio import Studio
from regstudio.ui.tabs.viewer_handlers import OWN_FIELDS, ViewerHandlers, request
from regstudio.ui.tabs.viewer_tab import asked_case, build

NO_FILES = (None,) * OWN_FIELDS


@pytest.fixture
def trained(studio: Studio, one_run: Path) -> Studio:
    shutil.copytree(one_run, studio.runs_dir / "first")
    return studio


def shown_by(answer: list[Any]) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(answer[1])
    return value


def test_a_case_is_opened_with_nothing_chosen_but_the_run(trained: Studio) -> None:
    case, value, shown, source = ViewerHandlers(trained, False).show(None, False, *NO_FILES, "first")
    assert (case, json.loads(value)["name"], source) == ("validation/phantom_05", "phantom_05", "case")
    again = ViewerHandlers(trained, False).show(shown, False, *NO_FILES, "first")
    assert again[1] == gr.skip()


def test_entering_the_tab_lists_what_there_is_and_opens_the_first_case(trained: Studio) -> None:
    _, runs, checkpoints, cases, compared, *opened = ViewerHandlers(trained, False).enter(None, None, None)
    assert runs.value == "first"
    assert [name for _, name in checkpoints.choices] == ["best", "last", "2", "1"]
    assert cases.value == "validation/phantom_05"
    assert compared.value == ""
    assert json.loads(opened[0])["places"] == 6


def test_a_case_that_is_asked_for_is_opened_once(trained: Studio) -> None:
    handlers, asked = ViewerHandlers(trained, False), request("first", "1", "validation/phantom_06")
    answered, run, checkpoint, case, _, drawn = handlers.enter(asked, "", None, None, None, None)[:6]
    assert (answered, run.value, checkpoint.value, case.value) == (asked, "first", "1", "validation/phantom_06")
    assert json.loads(drawn)["name"] == "phantom_06"
    assert handlers.enter(asked, asked, None, "first", None, "training/phantom_01")[3].value == "training/phantom_01"
    for nonsense in ("{", "[]", '{"run": 3}', '{"run": "gone", "case": "x"}'):
        assert handlers.enter(nonsense, "", None)[3].value == "validation/phantom_05"


def test_a_step_goes_to_the_place_that_the_canvas_asks_for(trained: Studio) -> None:
    handlers = ViewerHandlers(trained, False)

    def step(data: Any) -> dict[str, Any]:
        return shown_by(handlers.step(gr.EventData(None, data), None, "first", "best", "validation/phantom_05"))

    assert step({"place": 1, "by": 1})["name"] == "phantom_06"
    assert step({"place": 7, "by": 1})["place"] == 1
    for nonsense in (None, [], {"place": "x"}, {"by": 9}):
        assert step(nonsense)["name"] == "phantom_05"


def test_an_error_is_shown_where_the_images_would_be(studio: Studio) -> None:
    handlers = ViewerHandlers(studio, False)
    assert "Train a run" in shown_by(handlers.show(None, False, *NO_FILES))["empty"]
    assert "<b>" in shown_by(handlers.show(None, False, *NO_FILES, "<b>"))["empty"]


def test_where_nothing_was_trained_a_case_is_registered_by_the_general_method(studio: Studio) -> None:
    run, checkpoint, case, _, drawn = ViewerHandlers(studio, False).enter(None, None, None)[1:6]
    assert (run.value, checkpoint.value, case.value) == ("no training", "general", "validation/phantom_05")
    assert json.loads(drawn)["results"][0]["title"] == "general network + optimiser"
    studio.workspace().change_settings({"data_base_dir": studio.roots[0]})
    empty = ViewerHandlers(studio, False).enter(None, None, None)[5]
    assert "Drop a moving and a fixed image" in json.loads(empty)["empty"]


def test_without_a_run_a_checkpoint_file_brings_its_own_cases(studio: Studio, one_run: Path, tmp_path: Path) -> None:
    path = shutil.copy(one_run / "checkpoints" / "best_model.pt", tmp_path / "alone.pt")
    cases, drawn = ViewerHandlers(studio, False).enter(None, None, None, *[None] * 4, str(path))[3:6:2]
    assert [name for _, name in cases.choices] == [f"validation/phantom_0{i}" for i in (5, 6)] + [
        f"training/phantom_0{i}" for i in (1, 2, 3, 4)
    ]
    assert (cases.value, json.loads(drawn)["name"]) == ("validation/phantom_05", "phantom_05")


def test_errors_of_buttons_are_escaped(studio: Studio) -> None:
    with pytest.raises(gr.Error, match="&lt;b&gt;"):
        ViewerHandlers(studio, False).download(None, "table", "case", False, *NO_FILES, "<b>")
    with pytest.raises(gr.Error, match="hold text"):
        ViewerHandlers(studio, False).show(None, False, *NO_FILES, ["first"])


def test_a_read_only_page_takes_no_paths_and_no_files(trained: Studio) -> None:
    handlers = ViewerHandlers(trained.shared(["first"]), True)
    path = str(trained.run("first").best_path)
    assert "opens no paths" in shown_by(handlers.show(None, False, *NO_FILES, None, None, None, None, path))["empty"]
    with pytest.raises(gr.Error, match="takes no files"):
        handlers.register(False, None, path, *NO_FILES[2:], "first")


def test_guests_read_no_folder_of_the_host_in_an_error(trained: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = ViewerHandlers(trained.shared(["first"]), True)
    best = trained.run("first").best_path
    best.write_bytes(b"no checkpoint")
    texts = [
        shown_by(guest.show(None, False, *NO_FILES, "first", name, None, None, None))["empty"] for name in ("best", "x")
    ]
    texts.append(shown_by(guest.show(None, False, *NO_FILES, "second", None, None, None, None))["empty"])
    with pytest.raises(gr.Error) as caught:
        guest.download(None, "table", "case", False, *NO_FILES, "../..")
    monkeypatch.setattr(type(guest.session), "open", lambda *_, **__: (best.parent / "gone.npz").read_bytes())
    texts += [caught.value.message, shown_by(guest.show(None, False, *NO_FILES, "first"))["empty"]]
    assert "best_model.pt" in texts[0]
    assert "gone.npz" in texts[-1]
    for text in texts:
        assert text
        assert str(trained.runs_dir.parent) not in text
        assert not re.search(r"(?<![\w.])/", text), text


def test_a_read_only_page_shows_no_boxes_for_them(trained: Studio) -> None:
    with gr.Blocks() as app:
        build(trained, asked_case(), read_only=True)
    boxes = [block for block in app.blocks.values() if isinstance(block, gr.File | gr.Textbox)]
    assert not any(box.visible is True for box in boxes)


def test_refining_takes_few_steps_and_no_guest_may(trained: Studio) -> None:
    boxes = ("first", "best", "validation/phantom_05", "", "")
    plain, refined = (ViewerHandlers(trained, False).show(None, False, *NO_FILES, *boxes, steps) for steps in (0, 2))
    assert plain[2] != refined[2]
    assert "refine_seconds" in shown_by(refined)["results"][0]["metrics"]
    for nonsense in (-1, 201, 1.5, float("nan"), "3", [2]):
        with pytest.raises(gr.Error, match="0 to 200"):
            ViewerHandlers(trained, False).show(None, False, *NO_FILES, *boxes, nonsense)
    guest = ViewerHandlers(trained.shared(["first"]), True)
    assert "does not refine" in shown_by(guest.show(None, False, *NO_FILES, *boxes, 2))["empty"]
