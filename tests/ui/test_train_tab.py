"""The Train tab's actions without a page, and its path in a real browser."""

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from regstudio.config import PRESETS, TrainConfig
from regstudio.errors import ConfigError, DataError, DeviceError, RunError
from regstudio.runs.events import RunStarted, StepDone
from regstudio.studio import training_control as starting
from regstudio.studio.settings_files import command_line
from regstudio.studio.studio import Studio
from tests.browser import Served
from tests.ui.acting import fill

SMALL: dict[str, Any] = {"encoder_channels": 2, "decoder_channels": 4, "device": "cpu", "lr": 1e-3}
Configs = Callable[..., TrainConfig]


def losses(studio: Studio, name: str) -> list[float]:
    return [event.losses["loss"] for event in studio.run(name).events() if isinstance(event, StepDone)]


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    yield
    torch.set_num_threads(before)


def device(studio: Studio, name: str) -> str:
    return next(event.device for event in studio.run(name).events() if isinstance(event, RunStarted))


def test_a_training_starts_is_stopped_and_goes_on(studio: Studio) -> None:
    starting.start(studio, {**SMALL, "epochs": 3, "run_name": "a"})
    assert starting.possible(starting.state(studio))["stop"]
    with pytest.raises(RunError, match="a is being trained"):
        starting.start(studio, {**SMALL, "run_name": "b"})
    with pytest.raises(RunError, match="a is being trained"):
        starting.go_on(studio, "a")
    studio.job.stop()
    assert studio.job.join(60)
    assert [name for _, name in starting.resumable(studio)] == ["a"]
    starting.go_on(studio, "a")
    assert studio.job.join(60)
    assert (starting.state(studio), starting.resumable(studio)) == ("finished", [])
    assert len(losses(studio, "a")) == 12


@pytest.mark.slow
def test_the_copied_command_line_gives_the_same_losses(studio: Studio) -> None:
    studio.change_settings({"threads": 2})
    with threads(3):  # what the program would take is not what the run takes
        starting.start(studio, {**SMALL, "epochs": 1, "seed": 5, "run_name": "browser"})
        line = command_line(studio.config).replace("browser", "terminal")
        assert studio.job.join(300)
    words = [sys.executable, "-m", *shlex.split(line)]
    subprocess.run(words, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "4"}, timeout=300)
    assert losses(studio, "browser") == losses(studio, "terminal")
    assert {device(studio, name) for name in ("browser", "terminal")} == {"cpu (2 threads)"}


def test_bad_data_is_refused_with_the_reason(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    studio.change_settings({"data_base_dir": tmp_path / "empty"})
    with pytest.raises(DataError, match=r"cannot be trained on(.|\n)*The Data tab lists"):
        starting.start(studio, SMALL)
    assert starting.state(studio) == "idle"
    assert not studio.runs_dir.exists()


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"load_model": "/etc/passwd"}, ConfigError, "may not be opened"),
        ({"epochs": 0}, ConfigError, "epochs is 0"),
        ({"device": "cuda:99"}, DeviceError, "cuda:99"),
        ({"epoch": 1}, ConfigError, "epochs"),
    ],
)
def test_what_cannot_be_is_refused_before_a_run_is_made(
    studio: Studio, values: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        starting.start(studio, {**SMALL, **values})
    assert not studio.runs_dir.exists()


def test_a_missing_checkpoint_is_named(studio: Studio, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.pt: there is no such checkpoint"):
        starting.start(studio, {**SMALL, "load_model": str(tmp_path / "gone.pt")})


@pytest.mark.parametrize("name", [None, "", 3, "..", "none", ["a"]])
def test_only_a_run_can_be_gone_on_with(studio: Studio, name: object) -> None:
    with pytest.raises(RunError):
        starting.go_on(studio, name)


@pytest.mark.parametrize(
    ("state", "actions"),
    [
        ("idle", {"start", "go_on"}),
        ("running", {"pause", "stop", "save"}),
        ("paused", {"resume", "stop"}),
        ("stopping", set()),
        ("failed", {"start", "go_on"}),
    ],
)
def test_what_is_possible(state: str, actions: set[str]) -> None:
    assert {action for action, allowed in starting.possible(state).items() if allowed} == actions


def open_train_tab(page: Any, url: str) -> None:
    page.goto(url)
    page.get_by_role("tab", name="Train").click()
    page.wait_for_selector("#live .live[data-state]")


def change_settings(page: Any, **values: Any) -> None:
    for name, value in values.items():
        fill(page, f"#setting-{name} :is(input, textarea)", str(value))


def wait_for_state(page: Any, state: str) -> None:
    page.wait_for_selector(f"#live .live[data-state={state}]", timeout=30_000)


POINTS = "(document.querySelector('[data-chart=loss]').data?.[0]?.x.length ?? 0)"


def wait_for_points(page: Any, number: int) -> None:
    page.wait_for_function(f"{POINTS} >= {number}", timeout=30_000)


@pytest.mark.browser
def test_the_whole_path_in_a_browser(page: Any, studio_server: Served) -> None:
    open_train_tab(page, studio_server.url)
    page.wait_for_function("document.querySelector('#train-command textarea').value.includes('--data_base_dir')")
    change_settings(page, epochs=500, lr=0.002, run_name="mine")
    page.wait_for_function("document.querySelector('#train-command textarea').value.includes('--lr 0.002')")
    page.click("#train-start")
    wait_for_state(page, "running")
    wait_for_points(page, 5)
    page.wait_for_selector("#train-start:disabled")
    page.evaluate("Plotly.relayout(document.querySelector('[data-chart=loss]'), {'xaxis.range': [1, 3]})")
    seen = page.evaluate(POINTS)
    wait_for_points(page, seen + 10)
    assert page.evaluate("document.querySelector('[data-chart=loss]').layout.xaxis.range") == [1, 3]

    page.reload()
    page.get_by_role("tab", name="Train").click()
    wait_for_points(page, seen + 10)
    assert page.evaluate("document.querySelector('[data-chart=loss]').data[0].x.slice(0, 3)") == [1, 2, 3]
    page.wait_for_selector("#live .pictures img")
    assert page.input_value("#setting-lr input") == "0.002"

    other = page.context.new_page()
    open_train_tab(other, studio_server.url)
    other.click("#train-pause:enabled")
    wait_for_state(page, "paused")
    page.click("#train-resume:enabled")
    wait_for_state(other, "running")
    other.close()
    page.click("#train-save:enabled")
    page.click("#train-stop:enabled")
    wait_for_state(page, "stopped")
    page.wait_for_selector("#train-start:enabled")
    assert studio_server.studio.run("mine").last_path.is_file()


OF_EPOCHS = "document.querySelector('#train-command textarea').value.includes('--epochs {} ')"


@pytest.mark.browser
def test_the_demo_data_come_with_a_short_training_unless_settings_were_changed(
    page: Any, studio_server: Served, tmp_path: Path
) -> None:
    studio = studio_server.studio
    studio.change_settings({"data_base_dir": tmp_path})
    open_train_tab(page, studio_server.url)
    page.wait_for_function("document.querySelector('#train-command textarea').value.includes('--data_base_dir')")
    assert not page.is_visible("#train-offer")
    for by_hand, epochs in ((False, 10), (True, 7)):
        if by_hand:
            change_settings(page, epochs=epochs)
        page.get_by_role("tab", name="Data").click()
        page.click("#data-demo")
        page.wait_for_selector("#data-overview .verdict.ready")
        page.get_by_role("tab", name="Train").click()
        page.wait_for_function(OF_EPOCHS.format(epochs))
        page.wait_for_selector("#train-offer")
    page.reload()  # the demo data are still what is chosen
    page.get_by_role("tab", name="Train").click()
    page.wait_for_function(OF_EPOCHS.format(10))
    page.wait_for_selector("#train-offer")


@pytest.mark.browser
def test_the_alignment_is_seen_survives_a_reload_and_can_be_stopped(
    page: Any, studio_server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regstudio.training import trainer

    go_on = threading.Event()

    def slowly(*args: Any, **kwargs: Any) -> Iterator[Any]:
        for number, found in enumerate(affine_matrices(*args, **kwargs), 1):
            assert number < 3 or go_on.wait(60)
            yield found

    affine_matrices = trainer.affine_matrices
    monkeypatch.setattr(trainer, "affine_matrices", slowly)
    studio_server.studio.change_settings({"affine": "auto", "epochs": 2, "run_name": "askew"})
    open_train_tab(page, studio_server.url)
    page.wait_for_function("document.querySelector('#train-command textarea').value.includes('--affine auto')")
    page.click("#train-start")
    of_epoch = page.locator("#live [data-of=epoch]")
    of_epoch.get_by_text("aligning 2 of 6").wait_for()
    wait_for_state(page, "running")
    page.reload()
    page.get_by_role("tab", name="Train").click()
    of_epoch.get_by_text("aligning 2 of 6").wait_for()
    page.click("#train-stop:enabled")
    wait_for_state(page, "stopping")
    go_on.set()
    wait_for_state(page, "stopped")
    assert losses(studio_server.studio, "askew") == []
    assert [name for _, name in starting.resumable(studio_server.studio)] == ["askew"]


@pytest.mark.browser
def test_a_refusal_and_a_failure_are_seen(page: Any, studio_server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from regstudio.training import job

    open_train_tab(page, studio_server.url)
    change_settings(page, epochs=0)
    page.wait_for_function("document.querySelector('#train-command textarea').value.includes('# epochs is 0')")
    page.click("#train-start")
    page.locator(".toast-body").get_by_text("epochs is 0").wait_for()

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise ValueError("<b>boom</b>")

    monkeypatch.setattr(job, "train", broken)
    change_settings(page, epochs=2)
    page.click("#train-start")
    wait_for_state(page, "failed")
    assert "<b>boom</b>" in page.inner_text("#live .failure")
    assert "press Start" in page.inner_text("#live .failure")


@pytest.mark.browser
def test_a_training_that_blows_up_says_why_and_what_to_do(page: Any, studio_server: Served) -> None:
    open_train_tab(page, studio_server.url)
    change_settings(page, lr=1e30, epochs=5, run_name="wild")
    page.click("#train-start")
    wait_for_state(page, "failed")
    words = page.inner_text("#live .failure")
    assert "is not a finite number" in words
    assert "lower --lr" in words
    page.wait_for_selector("#train-start:enabled")
    assert page.inner_text("#live .state") == "Failed"
    page.reload()
    page.get_by_role("tab", name="Train").click()
    page.locator("#live .failure").get_by_text("is not a finite number").wait_for()


@pytest.mark.browser
def test_a_second_start_is_refused_with_the_reason(page: Any, studio_server: Served) -> None:
    open_train_tab(page, studio_server.url)
    change_settings(page, epochs=500, run_name="mine")
    page.click("#train-start")
    wait_for_state(page, "running")
    page.wait_for_selector("#train-start:disabled")
    # As from a page that has not noticed yet.
    page.evaluate(
        "() => { const start = document.querySelector('#train-start'); start.disabled = false; start.click() }"
    )
    page.locator(".toast-body").get_by_text("mine is being trained. Stop it before starting another.").wait_for()
    assert [path.name for path in studio_server.studio.runs_dir.iterdir()] == ["mine"]


@pytest.mark.browser
def test_settings_are_saved_and_loaded(page: Any, studio_server: Served, tmp_path: Path) -> None:
    epochs = PRESETS["best"].values["epochs"]
    shown = OF_EPOCHS.format(epochs)
    open_train_tab(page, studio_server.url)
    page.click("#preset-best")
    page.wait_for_function(shown)
    with page.expect_download() as download:
        page.click("#settings-save")
    file = tmp_path / "settings.json"
    download.value.save_as(file)
    assert json.loads(file.read_text())["optimisation"]["epochs"] == epochs
    page.click("#preset-paper")
    page.wait_for_function("!document.querySelector('#train-command textarea').value.includes('--epochs')")
    page.set_input_files("input[data-testid^='Load settings']", file)
    page.wait_for_function(shown)
