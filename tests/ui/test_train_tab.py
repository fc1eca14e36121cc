"""The Train tab in a browser."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from regstudio.config import PRESETS
from regstudio.runs.events import StepDone
from regstudio.studio import training_control
from tests.browser import Served
from tests.training.whole_training import QUICK
from tests.ui.acting import (
    POINTS,
    change_settings,
    fill,
    open_tab,
    open_train_tab,
    wait_for_points,
    wait_for_state,
)

pytestmark = pytest.mark.browser


NAME = "document.querySelector('#setting-run_name :is(input, textarea)').value"


def test_the_whole_path_in_a_browser(page: Any, studio_server: Served) -> None:
    """Start, a second start that is refused, reload, pause, stop, resume, and the next run under a name of its own."""
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

    # As from a page that has not noticed yet.
    page.evaluate(
        "() => { const start = document.querySelector('#train-start'); start.disabled = false; start.click() }"
    )
    page.locator(".toast-body").get_by_text("mine is being trained. Stop it before starting another.").wait_for()
    assert [path.name for path in studio_server.studio.runs_dir.iterdir()] == ["mine"]

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

    page.wait_for_function(f"{NAME} === 'mine_2'")
    page.click("#train-resume:enabled")
    wait_for_state(page, "running")
    page.click("#train-stop:enabled")
    wait_for_state(page, "stopped")
    page.click("#train-start:enabled")
    wait_for_state(page, "running")
    page.wait_for_function(f"{NAME} === 'mine_3'")
    assert studio_server.studio.job.run == studio_server.studio.run("mine_2")


OF_EPOCHS = "document.querySelector('#train-command textarea').value.includes('--epochs {} ')"


def test_the_demo_data_come_with_a_short_training_unless_settings_were_changed(
    page: Any, studio_server: Served, demo: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(demo, tmp_path / "own")
    studio_server.studio.workspace().change_settings({"data_base_dir": own})
    open_train_tab(page, studio_server.url)
    page.wait_for_function("document.querySelector('#train-command textarea').value.includes('--data_base_dir')")
    page.locator("#train-purpose").get_by_text("Fast: ").wait_for()
    page.click("#preset-paper")
    page.locator("#train-purpose").get_by_text("Paper: ").wait_for()

    def open_data(button: str, folder: Path | None = None) -> None:
        open_tab(page, "Data")
        if folder:
            fill(page, "#data-folder :is(input, textarea)", str(folder))
        page.click(button)
        page.wait_for_selector("#data-overview .verdict.ready")
        open_tab(page, "Train")

    open_data("#data-demo")
    page.wait_for_function(OF_EPOCHS.format(10))
    page.locator("#train-purpose").get_by_text("Quick look: ").wait_for()
    page.locator("#preset-quick-look.primary").wait_for()
    open_data("#data-open", own)
    page.locator("#train-purpose").get_by_text("Fast: ").wait_for()
    steps = PRESETS["fast"].values["total_steps"]
    page.wait_for_function(f"document.querySelector('#train-command textarea').value.includes('--total_steps {steps}')")
    assert "--normalise percentile" in page.input_value("#train-command textarea")
    open_data("#data-demo")
    page.wait_for_timeout(1000)
    assert "Fast: " in page.inner_text("#train-purpose")  # chosen by hand: it stays
    page.click("#preset-paper")
    change_settings(page, epochs=7)
    open_data("#data-open", own)
    open_data("#data-demo")
    page.locator("#train-purpose").get_by_text("your own").wait_for()
    page.wait_for_function(OF_EPOCHS.format(7))
    page.reload()  # the demo data are still what is chosen
    open_tab(page, "Train")
    page.wait_for_function(OF_EPOCHS.format(10))
    page.locator("#train-purpose").get_by_text("Quick look: ").wait_for()


def test_refusals_do_not_pile_up_over_the_buttons_and_a_failure_is_seen(
    page: Any, studio_server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regstudio.training import job

    open_train_tab(page, studio_server.url)
    for epochs in (0, -1, -2):
        change_settings(page, epochs=epochs)
        page.wait_for_function(
            f"document.querySelector('#train-command textarea').value.includes('# epochs is {epochs}')"
        )
        page.click("#train-start")
        page.locator(".toast-body").get_by_text(f"epochs is {epochs}").wait_for()
    said = page.inner_text(".gradio-container .toast-wrap")
    assert said.count("epochs is") == 1, said
    box = page.locator(".toast-body:visible").last.bounding_box()
    for button in page.locator("#train-start, #train-pause, #train-resume, #train-stop, #train-save, [role=tab]").all():
        at = button.bounding_box()
        if at:
            assert at["y"] + at["height"] < box["y"] or at["x"] + at["width"] < box["x"]

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise ValueError("<b>boom</b>")

    monkeypatch.setattr(job, "train", broken)
    change_settings(page, epochs=2)
    page.click("#train-start")
    wait_for_state(page, "failed")
    assert "<b>boom</b>" in page.inner_text("#live .failure")
    assert "press Start" in page.inner_text("#live .failure")
    assert "Nothing was saved" not in page.inner_text("#live .failure")


def test_the_alignment_is_seen_survives_a_reload_and_can_be_stopped(
    page: Any, studio_server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regstudio.training import aligning

    go_on = threading.Event()

    def slowly(*args: Any, **kwargs: Any) -> Iterator[Any]:
        for number, found in enumerate(affine_matrices(*args, **kwargs), 1):
            assert number < 3 or go_on.wait(60)
            yield found

    affine_matrices = aligning.affine_matrices
    monkeypatch.setattr(aligning, "affine_matrices", slowly)
    studio_server.studio.workspace().change_settings({"affine": "auto", "epochs": 2, "run_name": "askew"})
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
    steps = [event for event in studio_server.studio.run("askew").events() if isinstance(event, StepDone)]
    assert steps == []
    assert [name for _, name in training_control.resumable(studio_server.studio)] == ["askew"]


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


def test_the_simple_view_sets_what_it_stands_for_and_a_wrong_value_is_told_at_its_field(
    page: Any, studio_server: Served
) -> None:
    line = "document.querySelector('#train-command textarea').value.includes('{}')"
    page.goto(studio_server.url)
    open_tab(page, "Train")
    page.wait_for_function("document.querySelector('#train-purpose')?.innerText.trim()")
    page.wait_for_function(line.format("regstudio train"))  # until then, the page is still being filled
    page.locator("#simple-kinds input").check()
    page.wait_for_function(line.format("--mind_weight 10"))
    fill(page, "#simple-duration input", "0")
    page.locator("#train-purpose").get_by_text("Should be greater than or equal to 1 (now 0)").wait_for()
    page.click("#settings-view [data-view=all]")
    assert not page.is_visible("#settings-simple")
    page.locator("#setting-epochs .field-problem").get_by_text("(now 0)").wait_for()
    change_settings(page, epochs=3)
    page.locator(".field-problem").wait_for(state="detached")
    fill(page, "#settings-view input", "modalities")
    page.locator("#settings-view .found").get_by_text("2 found").wait_for()
    assert page.input_value("#setting-mind_weight input") == "10"
    assert not page.is_visible("#setting-lr")


def test_a_sweep_is_started_and_its_table_and_plot_are_shown(page: Any, studio_server: Served) -> None:
    studio_server.studio.workspace().change_settings({**QUICK, "epochs": 1, "batch_size": 4})
    open_train_tab(page, studio_server.url)
    page.get_by_text("Sweep: the same with several values").click()
    fill(page, "#sweep-values-1 :is(input, textarea)", "0.1, 5")
    page.click("#sweep-start")
    page.locator("#sweep-plot img").wait_for()
    assert page.locator("#sweep-table").get_by_text("finished").count() >= 2
    assert {run.state for run in studio_server.studio.runs()} == {"finished"}
