"""Run folders from outside: an odd one is one line that says why, and everything else goes on."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regstudio.config import TrainConfig
from regstudio.errors import RegStudioError
from regstudio.runs.curves import RunCurves
from regstudio.runs.events import EpochDone, PreviewSaved, RunFinished, RunStarted, StepDone, TrainEvent
from regstudio.runs.run import Run, create_run
from regstudio.studio import run_actions, training_control
from regstudio.studio.live_feed import Feed
from regstudio.studio.studio import Studio
from regstudio.studio.viewer import Viewer
from regstudio.ui.tabs.runs_handlers import RunsHandlers
from tests.hostile.mutations import ODD_VALUES, mutated, nested

Configs = Callable[..., TrainConfig]


SECRET = "root:x:0:0"


EVENTS: dict[str, TrainEvent] = {
    "started": RunStarted(
        run="r", device="cuda:3 (A GPU)", parameters=1, train_cases=2, validation_cases=1, epochs=3, steps_per_epoch=2,
        epoch=0, step=0, resumed=False, scale_steps={"2": 4, "1": 2},
    ),
    "step": StepDone(epoch=1, step=1, losses={"loss": 0.5, "ncc": -0.5}, seconds=0.5),
    "epoch": EpochDone(
        epoch=1, epochs=3, seconds=1.5, losses={"loss": 0.25}, metrics={"dice": 0.75, "njd_percent": 0.1}
    ),
    "preview": PreviewSaved(path="p", epoch=1),
    "finished": RunFinished(reason="stopped", message="Stopped."),
}  # fmt: skip


@pytest.fixture
def studio(quick_config: Configs, demo: Path, tmp_path: Path) -> Studio:
    runs_dir = quick_config().run.runs_dir
    runs_dir.mkdir()
    return Studio(runs_dir=runs_dir, roots=(tmp_path,), demo_dir=demo, data_base_dir=demo)


@pytest.fixture
def run(studio: Studio, quick_config: Configs) -> Run:
    """A whole run, as a record alone; beside it lies a good one."""
    for name in ("good", "odd"):
        run = create_run(quick_config(run_name=name, runs_dir=studio.runs_dir))
        for event in EVENTS.values():
            run.append(event)
        run.log("a line")
        run.last_path.write_bytes(b"weights")
    return run


def look(studio: Studio, *names: str) -> dict[str, list[Any]]:
    """Do all that pages do with runs unasked, and with those named; return the rows of the table by name."""
    handlers = RunsHandlers(studio, Feed(studio))
    handlers.look([], None)
    rows = {str(row[0]): row for row in handlers.rows()}
    json.dumps(rows, allow_nan=False).encode()
    assert rows["good"][1] == "stopped"
    labels = [label for label, _ in training_control.resumable(studio)]
    assert any(label.startswith("good") for label in labels)
    training_control.situation(studio, studio.workspace("tab")).encode()
    assert "good" in Viewer(studio).runs()
    assert isinstance(Viewer(studio).others("good"), list)
    for name in names or ("odd",):
        look_at(studio, name)
    return rows


def look_at(studio: Studio, name: str) -> None:
    """Do all that a page does with one run."""
    answer = Feed(studio).poll({"run": name})
    json.dumps(answer, allow_nan=False).encode()
    for act in (
        lambda: run_actions.curves(studio, run_actions.selected_runs(studio, [name])),
        lambda: run_actions.read_note(studio.run(name)),
        lambda: Viewer(studio).checkpoints(name),
    ):
        try:
            act()
        except RegStudioError as error:
            str(error).encode()


def copies(run: Run, file: str, texts: dict[str, str]) -> dict[str, str]:
    """Copy a run for each text, with that in the file; return what is odd in it by the name of each copy."""
    for number, text in enumerate(texts.values()):
        shutil.copytree(run.path, run.path.with_name(f"odd_{number}"))
        (run.path.with_name(f"odd_{number}") / file).write_text(text)
    return {f"odd_{number}": name for number, name in enumerate(texts)}


def test_a_whole_run_is_no_odd_one(studio: Studio, run: Run) -> None:
    assert look(studio)["odd"][1:4] == ["stopped", "1/2", 0.75]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", "1", '"a"', "\0", json.dumps(nested(400)), "[" * 50_000, '{"loss": []}', '{"a": {}}',
     '{"loss": {"ncc_win": "wide"}}',
     '{"optimisation": {"epochs": 1' + "0" * 5000 + "}}", '{"x": "' + "y" * 2**21 + '"}',
     '{"network": {"encoder_channels": -1}}', '{"layout": {"atlas_name": "\\ud800"}}'],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_a_config_may_hold_anything(studio: Studio, run: Run, text: str) -> None:
    run.config_path.write_text(text)
    row = look(studio)["odd"]
    assert str(row[1]).startswith("cannot be read: config.json: ")
    assert len(str(row[1])) < 400


def test_a_config_that_an_editor_of_windows_saved_is_read(studio: Studio, run: Run) -> None:
    run.config_path.write_bytes(b"\xef\xbb\xbf" + run.config_path.read_bytes())
    assert look(studio)["odd"][1] == "stopped"


def test_links_pipes_and_files_beside_the_runs_hide_none(studio: Studio, run: Run, tmp_path: Path) -> None:
    folder = studio.runs_dir
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "self").symlink_to(folder)
    (folder / "out").symlink_to(tmp_path)
    (folder / "file").touch()
    os.mkfifo(folder / "pipe")
    rows = look(studio, "odd", "loop", "self", "out", "file", "pipe")
    assert rows["odd"][1] == "stopped"
    assert set(Viewer(studio).runs()) & {"good", "odd", "loop", "self", "out", "file", "pipe"} == {"good", "odd"}


@pytest.mark.parametrize("section", [*TrainConfig.model_fields])
def test_each_section_of_a_config_may_hold_anything(studio: Studio, run: Run, section: str) -> None:
    record = json.loads(run.config_path.read_text())
    odd = mutated(record, [(section,), (section, next(iter(record[section])))])
    runs = copies(run, "config.json", {name: json.dumps(value) for name, value in odd})
    rows = look(studio, *runs)
    for name, what in runs.items():
        state = str(rows[name][1])
        assert state == "stopped" or state.startswith("cannot be read: config.json: "), what


@pytest.mark.slow
@pytest.mark.parametrize("kind", EVENTS)
def test_events_may_hold_anything(studio: Studio, run: Run, kind: str) -> None:
    lines = [json.loads(line) for line in run.events_path.read_text().splitlines()]
    place = list(EVENTS).index(kind)
    fields = [(key,) for key in lines[place]]
    fields += [(key, next(iter(value))) for key, value in lines[place].items() if isinstance(value, dict) and value]
    texts = {
        name: "".join(json.dumps(line) + "\n" for line in [*lines[:place], odd, *lines[place + 1 :]])
        for name, odd in mutated(lines[place], fields)
    }
    runs = copies(run, "events.jsonl", texts)
    rows = look(studio, *runs)
    for name, what in runs.items():
        assert rows[name][1] in ("stopped", "interrupted", "failed"), what


def test_losses_and_metrics_that_were_not_finite_are_left_out(studio: Studio, run: Run) -> None:
    run.append(EpochDone(epoch=2, epochs=3, seconds=1.0, losses={"loss": np.nan}, metrics={"dice": np.nan}))
    assert look(studio)["odd"][3] == 0.75
    (compared,) = json.loads(run_actions.curves(studio, [run]))
    assert compared["dice"] == [0.75, None]


def test_a_record_of_any_bytes_is_passed_over(studio: Studio, run: Run) -> None:
    good = run.events_path.read_bytes()
    odd = [b"\xff\xfe", b"[]", b"null", b"[" * 100_000, b"x" * 3_000_000, b"\0", b'{"event": []}', b'{"event": {}}']
    run.events_path.write_bytes(b"\n".join([*odd, good]))
    run.log_path.write_bytes(b"\xff\xfe\0line\n" + b"x" * 1_000_000)
    assert look(studio)["odd"][1] == "stopped"


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "events.jsonl", "note.txt", ".lock", "log", "log/log.txt"),
        *("checkpoints", "checkpoints/last.pt", "previews", "previews/pair.npz"),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "pipe", "link out", "link to itself", "link to nothing", "zeros"])
def test_any_file_may_be_something_else(studio: Studio, run: Run, tmp_path: Path, name: str, kind: str) -> None:
    path = run.path / name
    path.parent.mkdir(exist_ok=True)
    if path.exists():
        path.rename(tmp_path / "was")
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link out":
            path.symlink_to(secret)
        case "link to itself":
            path.symlink_to(path)
        case "link to nothing":
            path.symlink_to(tmp_path / "nothing")
        case _:
            path.symlink_to("/dev/zero")
    rows = look(studio)
    if "odd" in rows:
        assert str(rows["odd"][1]).startswith(("stopped", "failed", "cannot be read: "))
    assert SECRET not in json.dumps([rows, Feed(studio).poll({"run": "odd"}), Feed(studio).preview({"run": "odd"})])
    assert secret.read_text() == f"{SECRET}\n"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("name", ["events.jsonl", "log", "checkpoints", "previews", ".lock"])
def test_nothing_is_written_through_a_link(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").mkdir()
    if (run.path / name).exists():
        (run.path / name).rename(tmp_path / "was")
    (run.path / name).symlink_to(tmp_path / "outside" / ("x" if "." in name else ""))
    with pytest.raises(RegStudioError, match=r"links out of the run's folder|cannot be locked"):
        run.lock()
    assert not list((tmp_path / "outside").iterdir())


def test_a_log_note_and_report_that_link_out_are_not_shown(studio: Studio, run: Run, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    run.log_path.unlink()
    run.log_path.symlink_to(tmp_path / "secret")
    (run.path / "note.txt").symlink_to(tmp_path / "secret")
    curves = RunCurves(run)
    curves.update()
    assert curves.updates({})["log"] == []
    assert run_actions.read_note(run) == ""
    run_actions.write_note(run, "mine")
    assert (tmp_path / "secret").read_text() == f"{SECRET}\n"
    assert run_actions.read_note(run) == "mine"


@pytest.mark.skipif(os.name != "posix", reason="names are Unicode there")
def test_names_that_are_not_utf_8_are_shown(studio: Studio, run: Run) -> None:
    run.path.rename(Path(os.fsdecode(os.fsencode(studio.runs_dir) + b"/caf\xe9")))
    row = look(studio, "good")["caf\\xe9"]
    assert row[1] == "cannot be read: its name is not UTF-8; rename it"
    assert len(studio.shared([folder.path.name for folder in studio.run_folders()]).runs()) == 1


def test_a_run_that_is_a_link_is_named(studio: Studio, run: Run, tmp_path: Path) -> None:
    run.path.rename(tmp_path / "elsewhere")
    run.path.symlink_to(tmp_path / "elsewhere")
    assert look(studio)["odd"][1] == "cannot be read: it is a link to another folder"


NAMES = [
    "x" * 300,
    "x" * 5000,
    "é" * 150,
    "a\0b",
    "..",
    ".",
    "/",
    "../x",
    "a/b",
    "\ud800",
    "",
    " ",
    "\n",
    "a\nb",
    "~",
    "CON:",
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:16])
def test_odd_names_are_a_message(studio: Studio, run: Run, name: str) -> None:
    for answer in (Feed(studio).poll({"run": name}), Feed(studio).preview({"run": name})):
        text = json.dumps(answer)
        assert "error" in answer or answer.get("state") == "idle"
        assert len(text) < 2000
    if name != "~":
        with pytest.raises(RegStudioError):
            run_actions.rename(run, name)
    assert run.path.is_dir()


@pytest.mark.parametrize("odd", [*ODD_VALUES.values(), 10**400, [1, [2]], {"a": {}}], ids=str)
def test_a_page_may_ask_for_anything(studio: Studio, run: Run, odd: Any) -> None:
    feed = Feed(studio)
    for field in ("run", "version", "steps", "epochs", "previews", "log", "epoch"):
        request = {"run": "odd", "version": feed.poll({"run": "odd"})["version"], field: odd}
        json.dumps([feed.poll(request), feed.preview(request), feed.poll(odd), feed.preview(odd)], allow_nan=False)
