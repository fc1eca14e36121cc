"""The Train tab: start and control the one training, and watch it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from regstudio.studio import training_control
from regstudio.studio.live_feed import Feed
from regstudio.studio.studio import Studio
from regstudio.studio.time_estimate import Estimator
from regstudio.studio.waiting_line import WaitingLine
from regstudio.ui.handlers import (
    PARALLEL,
    QUIET,
    UNQUEUED,
    fingerprint,
    on_tab_select,
    shown_fingerprint,
    shown_to_user,
)
from regstudio.ui.tabs.data_tab import DataTab
from regstudio.ui.tabs.runs_handlers import RunsHandlers
from regstudio.ui.tabs.train_line import build_line
from regstudio.ui.tabs.train_settings import build_settings
from regstudio.ui.widgets.browser_tab import BrowserTab
from regstudio.ui.widgets.changing_dropdown import ChangingDropdown
from regstudio.ui.widgets.form import Form
from regstudio.ui.widgets.live import live_panel
from regstudio.ui.widgets.report_view import report_view
from regstudio.ui.widgets.watch import Watch


@dataclass(frozen=True)
class Controls:
    """The controls of the job, in the order of the updates that `look` returns; `seen` tells what they show."""

    start: gr.Button
    pause: gr.Button
    resume: gr.Button
    stop: gr.Button
    save: gr.Button
    go_on: gr.Button
    runs: gr.Dropdown
    folder: gr.Textbox
    after: gr.Column
    time: gr.HTML
    seen: gr.Textbox

    def outputs(self) -> list[Component]:
        """Return the components in order."""
        return [
            *(getattr(self, action) for action in training_control.ACTIONS),
            self.runs,
            self.folder,
            self.after,
            self.time,
            self.seen,
        ]


@dataclass(frozen=True)
class TrainTab:
    """What other tabs need: the buttons that lead on with the run that ended."""

    look: gr.Button
    apply: gr.Button


def build(
    studio: Studio,
    feed: Feed,
    estimator: Estimator,
    line: WaitingLine,
    tab: BrowserTab,
    watch: Watch,
    data: DataTab,
) -> TrainTab:
    """Lay out the tab; called inside its gr.Tab."""
    with gr.Row(equal_height=True):
        buttons = {
            "start": gr.Button("Start", variant="primary", min_width=110, elem_id="train-start"),
            "queue": gr.Button("Add to the line", visible=False, min_width=140, elem_id="train-queue"),
            "pause": gr.Button("Pause", interactive=False, min_width=90, elem_id="train-pause"),
            "resume": gr.Button("Resume", interactive=False, min_width=90, elem_id="train-resume"),
            "stop": gr.Button("Stop", variant="stop", interactive=False, min_width=90, elem_id="train-stop"),
            "save": gr.Button("Save checkpoint now", interactive=False, min_width=180, elem_id="train-save"),
        }
    with gr.Row():
        with gr.Column(scale=2, min_width=340):  # first, so that it is first in a narrow window too
            with gr.Column(visible=False, elem_id="train-after") as after:
                with gr.Row():
                    look = gr.Button("Look at it", variant="primary", min_width=110, elem_id="train-look")
                    report = gr.Button("Report", min_width=110, elem_id="train-report")
                    apply = gr.Button("Apply to new images", min_width=180, elem_id="train-apply")
                reported = report_view("train")
            live_panel(feed)
        with gr.Column(scale=1, min_width=320):
            folder = gr.Textbox(
                label="Data folder",
                info="chosen in the Data tab",
                interactive=False,
                max_lines=1,
                elem_id="train-data",
            )
            form, time = build_settings(studio, estimator, tab, data, folder)
            with gr.Accordion("Go on with a run", open=False, elem_id="train-go-on-box"):
                runs = ChangingDropdown(
                    [],
                    value=None,
                    label="Run",
                    info="stopped, interrupted or failed; it goes on exactly where it was saved",
                    elem_id="train-runs",
                )
                buttons["go_on"] = gr.Button("Go on with this run", elem_id="train-go-on")
            build_line(studio, line, tab, form, buttons.pop("queue"), watch)
    controls = Controls(**buttons, runs=runs, folder=folder, after=after, time=time, seen=shown_fingerprint())
    _wire(studio, estimator, tab, watch, controls, form)
    ended, handlers = gr.State(), RunsHandlers(studio, feed)
    report.click(lambda: training_control.ended(studio), None, ended, **QUIET).then(
        handlers.begin_report, ended, reported.outputs, **QUIET
    ).success(handlers.report, [ended, gr.State([])], reported.outputs, concurrency_limit=1, api_visibility="private")
    reported.read.click(handlers.read, ended, reported.page, **QUIET)
    return TrainTab(look=look, apply=apply)


def _wire(studio: Studio, estimator: Estimator, tab: BrowserTab, watch: Watch, controls: Controls, form: Form) -> None:
    """Attach the handlers of the buttons, and keep the buttons up to date with the job on every open page."""
    outputs = controls.outputs()
    run_name = form.component("run_name")

    def situation(name: str) -> tuple[str, str]:
        return training_control.situation(studio, studio.workspace(name)), estimator.words(name)

    @shown_to_user()
    def look(name: str, seen: str | None = None) -> Any:
        if not name:  # the page has only just begun to load
            return gr.skip()
        time = estimator.words(name)
        now = fingerprint(situation(name))
        if now == seen:
            return gr.skip()
        allowed = training_control.possible_now(studio)
        return [
            *(gr.Button(interactive=allowed[action]) for action in training_control.ACTIONS),
            gr.Dropdown(choices=training_control.resumable(studio)),
            str(studio.workspace(name).config.layout.data_base_dir),
            gr.update(visible=bool(training_control.ended(studio))),
            time,
            now,
        ]

    def control(act: Callable[[], None]) -> Callable[[str], Any]:
        @shown_to_user()
        def acted(name: str) -> Any:
            act()
            return look(name)

        return acted

    @shown_to_user()
    def start(name: str, *raw: Any) -> Any:
        values = form.values(raw)
        training_control.start(studio, values, studio.workspace(name))
        return [*look(name), training_control.fresh_name(studio, values["run_name"])]

    @shown_to_user()
    def go_on(name: str, run: Any) -> Any:
        training_control.resume(studio, run)
        return look(name)

    def save() -> None:
        studio.job.save()
        gr.Info("A checkpoint is saved after the step under way.")

    controls.start.click(start, [tab.name, *form.components], [*outputs, run_name], **PARALLEL)
    controls.go_on.click(go_on, [tab.name, controls.runs], outputs, **PARALLEL)
    controls.pause.click(control(lambda: studio.job.pause()), tab.name, outputs, **PARALLEL)
    controls.resume.click(control(lambda: training_control.go_on(studio)), tab.name, outputs, **PARALLEL)
    controls.stop.click(control(lambda: studio.job.stop()), tab.name, outputs, **PARALLEL)
    controls.save.click(control(save), tab.name, outputs, **PARALLEL)
    watch.on_change("train", situation, look, [tab.name, controls.seen], outputs)
    tab.on_load(look, outputs=outputs, **UNQUEUED)
    on_tab_select(estimator.show, tab.name, None, **UNQUEUED)
