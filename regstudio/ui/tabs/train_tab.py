"""The Train tab: set the settings, start and steer the one training, and watch it."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.context import Context

from regstudio.config import build_config
from regstudio.errors import RegStudioError
from regstudio.files import read_asset
from regstudio.studio import settings_files as presets
from regstudio.studio import training_control as starting
from regstudio.studio.live_feed import Feed
from regstudio.studio.studio import Studio
from regstudio.ui.handlers import told
from regstudio.ui.widgets.form import Form, build_form, device_choices
from regstudio.ui.widgets.live import live_panel

SECONDS = 0.5  # from one look at the job to the next
# What fails outside the queue shows no message, so only what cannot fail may stay out of it.
TOLD: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}
QUIET: dict[str, Any] = {**TOLD, "queue": False}

OFFER = "Quick look is set for the demo data: it shows a result in a minute. For your own images, choose another."

Updates = list[Any]


@dataclass(frozen=True)
class TrainTab:
    """What other tabs need: the form, what is said of it for the demo data, and the run to go on with."""

    form: Form
    offer: gr.HTML
    resumable: gr.Dropdown

    def offer_short(self, event: Callable[..., Any]) -> None:
        """Set the short training in the form at `event`, unless something was changed there by hand."""
        inputs = list(self.form.components)
        event(lambda *raw: _short(self.form, raw), inputs, [self.offer, *inputs], **QUIET)


@dataclass(frozen=True)
class Controls:
    """What steers the job, in the order in which `look` gives their updates; `seen` is the situation they show."""

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
        return [*(getattr(self, action) for action in starting.ACTIONS), self.runs, self.folder, self.seen]


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
            form, offer = _settings(studio, folder)
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
    return TrainTab(form, offer, runs)


def _settings(studio: Studio, folder: gr.Textbox) -> tuple[Form, gr.HTML]:
    """Lay out presets, the form, and a configuration's ways in and out."""
    with gr.Row():
        chosen = {
            name: gr.Button(name.capitalize(), size="sm", min_width=70, elem_id=f"preset-{name.replace(' ', '-')}")
            for name in presets.PRESETS
        }
    gr.HTML(html.escape(presets.purposes()), padding=False, elem_id="preset-purposes")
    offer = gr.HTML(OFFER, padding=False, visible=False, elem_id="train-offer")
    form = build_form()
    for name, button in chosen.items():
        button.click(_preset_fields(form, name), outputs=list(form.components), **QUIET)
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
            return presets.command_line(build_config(form.values(raw), studio.config))
        except RegStudioError as error:
            return "\n".join(f"# {problem}" for problem in str(error).splitlines())

    def saved(*raw: Any) -> str:
        return presets.to_json(build_config(form.values(raw), studio.config))

    def loaded(file: str) -> Updates:
        with Path(file).open("rb") as stream:
            config = presets.from_json(stream.read(presets.MAX_FILE_BYTES + 1))
        gr.Info("The settings are loaded; the data folder stays the one chosen here.")
        return form.fields(config)

    changes = [component.change for component in form.components]  # type: ignore[attr-defined]
    gr.on([*changes, folder.change], command, inputs, line, trigger_mode="always_last", **QUIET)
    save.click(told()(saved), inputs, text, **TOLD).success(None, text, None, js=read_asset("settings.js"))
    load.upload(told()(loaded), load, inputs, **TOLD)
    _on_page_load(lambda: _first(studio, form), [offer, *inputs])
    _on_page_load(command, line, inputs)
    _on_page_load(_devices, form.components[[setting.name for setting in form.settings].index("device")])
    return form, offer


def _preset_fields(form: Form, name: str) -> Callable[[], Updates]:
    def fields() -> Updates:
        values = presets.preset(name)
        shown = dict(zip([setting.name for setting in form.settings], form.fields(build_config(values)), strict=True))
        return [shown[setting.name] if setting.name in values else gr.skip() for setting in form.settings]

    return fields


def _short(form: Form, raw: Sequence[Any]) -> Updates:
    try:
        untouched = presets.is_untouched(form.values(raw))
    except RegStudioError:  # something was, and starting says what is wrong with it
        untouched = False
    fields = _preset_fields(form, "quick look")() if untouched else [gr.skip() for _ in raw]
    return [gr.HTML(visible=True) if untouched else gr.skip(), *fields]


def _first(studio: Studio, form: Form) -> Updates:
    """Return what the form shows first: the settings as they are or, for the demo data, the short training."""
    fields = form.fields(studio.config)
    if studio.config.layout.data_base_dir.resolve() != studio.demo_dir.resolve():
        return [gr.HTML(visible=False), *fields]
    offer, *short = _short(form, fields)
    # What the short training does not set is as it is.
    return [offer, *(mine if update == gr.skip() else update for mine, update in zip(fields, short, strict=True))]


def _devices() -> Any:
    return gr.Dropdown(choices=device_choices())


def _wire(studio: Studio, controls: Controls, form: Form) -> None:
    """Say what the buttons do, and keep them true to the job on every page that is open."""
    outputs = controls.outputs()

    def look(seen: str | None = None) -> Any:
        now = starting.situation(studio)
        if now == seen:
            return gr.skip()
        allowed = starting.possible(starting.state(studio))
        return [
            *(gr.Button(interactive=allowed[action]) for action in starting.ACTIONS),
            gr.Dropdown(choices=starting.resumable(studio)),
            str(studio.config.layout.data_base_dir),
            now,
        ]

    def steer(act: Callable[[], None]) -> Callable[[], Any]:
        @told()
        def acted() -> Any:
            act()
            return look()

        return acted

    @told()
    def start(*raw: Any) -> Any:
        starting.start(studio, form.values(raw))
        return look()

    @told()
    def go_on(name: Any) -> Any:
        starting.resume(studio, name)
        return look()

    def save() -> None:
        studio.job.save()
        gr.Info("A checkpoint is saved after the step under way.")

    controls.start.click(start, list(form.components), outputs, **TOLD)
    controls.go_on.click(go_on, controls.runs, outputs, **TOLD)
    controls.pause.click(steer(lambda: studio.job.pause()), None, outputs, **TOLD)
    controls.resume.click(steer(lambda: studio.job.resume()), None, outputs, **TOLD)
    controls.stop.click(steer(lambda: studio.job.stop()), None, outputs, **TOLD)
    controls.save.click(steer(save), None, outputs, **TOLD)
    gr.Timer(SECONDS).tick(told()(look), controls.seen, outputs, **QUIET)
    _on_page_load(look, outputs)


def _on_page_load(handler: Callable[..., Any], outputs: Any, inputs: Any = None) -> None:
    if Context.root_block is not None:
        Context.root_block.load(told()(handler), inputs, outputs, **QUIET)
