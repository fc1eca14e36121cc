"""The Train tab: change settings, start and control the one training, and watch it."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from regstudio.config import build_config
from regstudio.errors import RegStudioError
from regstudio.files import read_asset
from regstudio.studio import settings_files, training_control
from regstudio.studio.live_feed import Feed
from regstudio.studio.studio import Studio
from regstudio.ui.handlers import PARALLEL, UNQUEUED, on_page_load, shown_to_user
from regstudio.ui.widgets.form import Form, build_form
from regstudio.ui.widgets.live import live_panel

POLL_SECONDS = 0.5  # from one look at the job to the next
SUGGESTION = "Quick look is set for the demo data: it shows a result in a minute. For your own images, choose another."

Updates = list[Any]


@dataclass(frozen=True)
class TrainTab:
    """What other tabs need: the form, and the suggestion above it."""

    form: Form
    suggestion: gr.HTML

    def suggest_quick_look(self, event: Callable[..., Any]) -> None:
        """Set the preset "quick look" in the form on `event`, unless the user changed a setting there."""
        inputs = list(self.form.components)
        event(lambda *raw: _quick_look(self.form, raw), inputs, [self.suggestion, *inputs], **UNQUEUED)


@dataclass(frozen=True)
class Controls:
    """The controls of the job, in the order of the updates that `look` returns; `seen` is the situation they show."""

    start: gr.Button
    pause: gr.Button
    resume: gr.Button
    stop: gr.Button
    save: gr.Button
    go_on: gr.Button
    runs: gr.Dropdown
    folder: gr.Textbox
    seen: gr.State

    def outputs(self) -> list[Component]:
        """Return the components in order."""
        return [*(getattr(self, action) for action in training_control.ACTIONS), self.runs, self.folder, self.seen]


def build(studio: Studio) -> TrainTab:
    """Lay out the tab; called inside its gr.Tab."""
    with gr.Row(equal_height=True):
        buttons = {
            "start": gr.Button("Start", variant="primary", min_width=110, elem_id="train-start"),
            "pause": gr.Button("Pause", interactive=False, min_width=90, elem_id="train-pause"),
            "resume": gr.Button("Resume", interactive=False, min_width=90, elem_id="train-resume"),
            "stop": gr.Button("Stop", variant="stop", interactive=False, min_width=90, elem_id="train-stop"),
            "save": gr.Button("Save checkpoint now", interactive=False, min_width=180, elem_id="train-save"),
        }
    with gr.Row():
        with gr.Column(scale=2, min_width=340):  # first, so that it is first in a narrow window too
            live_panel(Feed(studio))
        with gr.Column(scale=1, min_width=320):
            folder = gr.Textbox(
                str(studio.config.layout.data_base_dir),
                label="Data folder",
                info="chosen in the Data tab",
                interactive=False,
                max_lines=1,
                elem_id="train-data",
            )
            form, suggestion = _settings(studio, folder)
            with gr.Accordion("Go on with a run", open=False, elem_id="train-go-on-box"):
                runs = gr.Dropdown(
                    [],
                    value=None,
                    label="Run",
                    info="stopped, interrupted or failed; it goes on exactly where it was saved",
                    elem_id="train-runs",
                )
                buttons["go_on"] = gr.Button("Go on with this run", elem_id="train-go-on")
    controls = Controls(**buttons, runs=runs, folder=folder, seen=gr.State(""))
    _wire(studio, controls, form)
    return TrainTab(form, suggestion)


def _settings(studio: Studio, folder: gr.Textbox) -> tuple[Form, gr.HTML]:
    """Lay out the presets, the form, the command line, and the buttons that save and load settings."""
    with gr.Row():
        presets = {
            name: gr.Button(name.capitalize(), size="sm", min_width=70, elem_id=f"preset-{name.replace(' ', '-')}")
            for name in settings_files.PAGE_PRESETS
        }
    gr.HTML(html.escape(settings_files.purposes()), padding=False, elem_id="preset-purposes")
    suggestion = gr.HTML(SUGGESTION, padding=False, visible=False, elem_id="train-suggestion")
    form = build_form()
    for name, button in presets.items():
        button.click(_preset_fields(form, name), outputs=list(form.components), **UNQUEUED)
    line = gr.Textbox(
        label="The same from the command line",
        interactive=False,
        lines=2,
        buttons=["copy"],
        elem_id="train-command",
    )
    with gr.Row():
        save = gr.Button("Save settings", size="sm", min_width=120, elem_id="settings-save")
        load = gr.UploadButton("Load settings", size="sm", min_width=120, file_types=[".json"], elem_id="settings-load")
    text = gr.Textbox(visible="hidden", elem_id="settings-text")
    inputs = list(form.components)

    def command(*raw: Any) -> str:
        try:
            return settings_files.command_line(build_config(form.values(raw), studio.config))
        except RegStudioError as error:
            return "\n".join(f"# {problem}" for problem in str(error).splitlines())

    def saved(*raw: Any) -> str:
        return settings_files.to_json(build_config(form.values(raw), studio.config))

    def loaded(file: str) -> Updates:
        with Path(file).open("rb") as stream:
            config = settings_files.from_json(stream.read(settings_files.MAX_FILE_BYTES + 1))
        gr.Info("The settings are loaded; the data folder stays the one chosen here.")
        return form.fields(config)

    changes = [component.change for component in form.components]  # type: ignore[attr-defined]
    gr.on([*changes, folder.change], command, inputs, line, trigger_mode="always_last", **UNQUEUED)
    save.click(shown_to_user()(saved), inputs, text, **PARALLEL).success(None, text, None, js=read_asset("settings.js"))
    load.upload(shown_to_user()(loaded), load, inputs, **PARALLEL)
    _on_load(lambda: _first(studio, form), [suggestion, *inputs])
    _on_load(command, line, inputs)
    _on_load(_devices, form.components[[setting.name for setting in form.settings].index("device")])
    return form, suggestion


def _preset_fields(form: Form, name: str) -> Callable[[], Updates]:
    def fields() -> Updates:
        values = settings_files.preset_values(name)
        shown = dict(zip([setting.name for setting in form.settings], form.fields(build_config(values)), strict=True))
        return [shown[setting.name] if setting.name in values else gr.skip() for setting in form.settings]

    return fields


def _quick_look(form: Form, raw: Sequence[Any]) -> Updates:
    try:
        untouched = settings_files.is_untouched(form.values(raw))
    except RegStudioError:  # the user did; Start shows the error
        untouched = False
    fields = _preset_fields(form, "quick look")() if untouched else [gr.skip() for _ in raw]
    return [gr.HTML(visible=True) if untouched else gr.skip(), *fields]


def _first(studio: Studio, form: Form) -> Updates:
    """Return what the form shows first: the current settings or, for the demo data, the preset "quick look"."""
    fields = form.fields(studio.config)
    if studio.config.layout.data_base_dir.resolve() != studio.demo_dir.resolve():
        return [gr.HTML(visible=False), *fields]
    suggestion, *updates = _quick_look(form, fields)
    # Settings that the preset does not set keep their values.
    return [suggestion, *(old if new == gr.skip() else new for old, new in zip(fields, updates, strict=True))]


def _devices() -> Any:
    return gr.Dropdown(choices=training_control.device_choices())


def _wire(studio: Studio, controls: Controls, form: Form) -> None:
    """Attach the handlers of the buttons, and keep the buttons up to date with the job on every open page."""
    outputs = controls.outputs()

    def look(seen: str | None = None) -> Any:
        now = training_control.situation(studio)
        if now == seen:
            return gr.skip()
        allowed = training_control.possible(training_control.state(studio))
        return [
            *(gr.Button(interactive=allowed[action]) for action in training_control.ACTIONS),
            gr.Dropdown(choices=training_control.resumable(studio)),
            str(studio.config.layout.data_base_dir),
            now,
        ]

    def control(act: Callable[[], None]) -> Callable[[], Any]:
        @shown_to_user()
        def acted() -> Any:
            act()
            return look()

        return acted

    @shown_to_user()
    def start(*raw: Any) -> Any:
        training_control.start(studio, form.values(raw))
        return look()

    @shown_to_user()
    def go_on(name: Any) -> Any:
        training_control.resume(studio, name)
        return look()

    def save() -> None:
        studio.job.save()
        gr.Info("A checkpoint is saved after the step under way.")

    controls.start.click(start, list(form.components), outputs, **PARALLEL)
    controls.go_on.click(go_on, controls.runs, outputs, **PARALLEL)
    controls.pause.click(control(lambda: studio.job.pause()), None, outputs, **PARALLEL)
    controls.resume.click(control(lambda: studio.job.resume()), None, outputs, **PARALLEL)
    controls.stop.click(control(lambda: studio.job.stop()), None, outputs, **PARALLEL)
    controls.save.click(control(save), None, outputs, **PARALLEL)
    gr.Timer(POLL_SECONDS).tick(shown_to_user()(look), controls.seen, outputs, **UNQUEUED)
    _on_load(look, outputs)


def _on_load(handler: Callable[..., Any], outputs: Any, inputs: Any = None) -> None:
    on_page_load(shown_to_user()(handler), inputs, outputs, **UNQUEUED)
