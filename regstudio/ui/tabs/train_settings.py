"""The settings in the Train tab: presets, the form, the same as a command line, and settings files."""

import html
import json
from collections.abc import Callable
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from regstudio.config import TrainConfig, build_config
from regstudio.errors import RegStudioError
from regstudio.files import read_asset
from regstudio.studio import settings_files, simple_settings, training_control
from regstudio.studio.studio import Studio
from regstudio.studio.time_estimate import Estimator
from regstudio.studio.workspace import Workspace
from regstudio.ui.handlers import PARALLEL, UNQUEUED, on_page_load, sent, shown_to_user
from regstudio.ui.tabs.data_tab import DataTab
from regstudio.ui.widgets.browser_tab import BrowserTab
from regstudio.ui.widgets.form import Form, build_form, to_field
from regstudio.ui.widgets.simple_form import SimpleForm, build_simple_form, views

Updates = list[Any]
SIMPLE_FIELDS = tuple(field.name for field in fields_of(SimpleForm))


def build_settings(
    studio: Studio, estimator: Estimator, tab: BrowserTab, data: DataTab, folder: gr.Textbox
) -> tuple[Form, gr.HTML]:
    """Lay out the settings, and keep them in step with the data that this tab has chosen; `folder` shows where.

    Return the form, and the place that says how long the training takes.
    """
    with gr.Row():
        presets = {
            name: gr.Button(name.capitalize(), size="sm", min_width=70, elem_id=f"preset-{name.replace(' ', '-')}")
            for name in settings_files.PAGE_PRESETS
        }
    purpose = gr.HTML("", padding=False, elem_id="train-purpose")
    time = gr.HTML("", padding=False, elem_id="train-time")
    views()
    with gr.Column(elem_id="settings-simple"):
        simple = build_simple_form()
    with gr.Column(elem_id="settings-all"):
        form = build_form()
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
    problems = gr.Textbox(visible="hidden", elem_id="settings-problems")
    problems.change(None, problems, None, js=read_asset("settings_problems.js"))
    handlers = SettingsHandlers(studio, estimator, form, simple)
    inputs = [tab.name, *form.components]
    fields: list[Component] = [*form.components, data.normalise]
    described = [line, purpose, problems, *presets.values(), *simple.components]
    for name, button in presets.items():
        button.click(handlers.preset(name), tab.name, fields, **UNQUEUED)
    data.chosen.change(handlers.suit, [data.chosen, *inputs], fields, **UNQUEUED)
    changes = [component.change for component in form.components]  # type: ignore[attr-defined]
    gr.on(
        [*changes, folder.change, data.normalise.change],  # type: ignore[attr-defined]
        handlers.describe,
        inputs,
        described,
        trigger_mode="always_last",
        **UNQUEUED,
    )
    for number, component in enumerate(simple.components):
        name = SIMPLE_FIELDS[number]
        changed = component.submit if name == "checkpoint" else component.input  # type: ignore[attr-defined]
        changed(handlers.simple(name), [component, *inputs], fields, **UNQUEUED).then(
            handlers.describe, inputs, described, trigger_mode="always_last", **UNQUEUED
        )
    save.click(handlers.saved, inputs, text, **PARALLEL).success(None, text, None, js=read_asset("settings.js"))
    load.upload(handlers.loaded, [tab.name, load], fields, **PARALLEL)
    tab.on_load(handlers.first, outputs=fields, **UNQUEUED).then(handlers.describe, inputs, described, **UNQUEUED)
    on_page_load(_devices, outputs=form.component("device"), **UNQUEUED)
    return form, time


class SettingsHandlers:
    """The event handlers; the first argument names the browser tab, and `raw` is what the form's fields hold."""

    def __init__(self, studio: Studio, estimator: Estimator, form: Form, simple: SimpleForm) -> None:
        self._studio, self._estimator, self._form, self._simple = studio, estimator, form, simple

    @shown_to_user()
    def describe(self, tab: str, *raw: Any) -> Updates:
        """Return the command line, what the settings are for, and the buttons of the presets, one of them marked."""
        workspace = self._studio.workspace(tab or None)
        unchanged = [gr.skip()] * len(self._simple.components)
        try:
            config = build_config(self._form.values(raw), workspace.config)
        except RegStudioError as error:
            self._estimator.ask(tab, None)
            line = "\n".join(f"# {problem}" for problem in str(error).splitlines())
            wrong = simple_settings.problems(error)
            words = " ".join(["Start will refuse these settings.", *wrong.values()])
            return [line, html.escape(words), json.dumps(wrong), *self._marked(None), *unchanged]
        self._estimator.ask(tab, config)
        words = settings_files.purpose(config, is_demo=workspace.shows_demo)
        return [
            settings_files.command_line(config),
            html.escape(words),
            "{}",
            *self._marked(settings_files.preset_of(config)),
            *self._simple.shown(simple_settings.simple_of(config)),
        ]

    def preset(self, name: str) -> Callable[[str], Updates]:
        """Return the handler that sets a preset."""

        @shown_to_user()
        def fields(tab: str) -> Updates:
            return self._set(self._studio.workspace(tab), name)

        return fields

    def simple(self, name: str) -> Callable[..., Updates]:
        """Return the handler of a field of the simple view, which sets what it stands for in the form."""

        @shown_to_user()
        def fields(value: Any, tab: str, *raw: Any) -> Updates:
            del tab
            steps = dict(zip((setting.name for setting in self._form.settings), raw, strict=True)).get("total_steps")
            values = simple_settings.settings_of(name, value, steps)
            shown = [
                to_field(setting, values[setting.name]) if setting.name in values else gr.skip()
                for setting in self._form.settings
            ]
            return [*shown, gr.skip()]

        return fields

    @shown_to_user()
    def suit(self, chosen: dict[str, Any], tab: str, *raw: Any) -> Updates:
        """Set the preset that suits the data just `chosen`, unless the user changed a setting."""
        self._estimator.forget()
        workspace = self._studio.workspace(tab)
        try:
            config = build_config(self._form.values(raw), workspace.config)
        except RegStudioError:  # the user did; Start shows the error
            return self._unchanged()
        name = settings_files.suggested(config, was_demo=chosen["was_demo"], is_demo=chosen["is_demo"])
        return self._set(workspace, name) if name else self._unchanged()

    @shown_to_user()
    def first(self, tab: str) -> Updates:
        """Return what the form shows first: the tab's settings or, if these are the defaults, a preset for the data."""
        workspace = self._studio.workspace(tab)
        name = settings_files.suggested(workspace.config, was_demo=False, is_demo=workspace.shows_demo)
        values = settings_files.preset_values(name) if name else {}
        # The tab Data holds the settings of reading, and shows them from the workspace.
        config = build_config(values, workspace.change_settings({"normalise": values["normalise"]} if values else {}))
        return [*self._fields(config), config.reading.normalise]

    @shown_to_user()
    def saved(self, tab: str, *raw: Any) -> str:
        """Return the settings as the text of a file."""
        return settings_files.to_json(build_config(self._form.values(raw), self._studio.workspace(tab).config))

    @shown_to_user()
    def loaded(self, tab: str, file: str) -> Updates:
        """Take the settings from a file."""
        with Path(sent(file, "the file")).open("rb") as stream:
            config = settings_files.from_json(stream.read(settings_files.MAX_FILE_BYTES + 1))
        normalise = config.reading.normalise
        self._studio.workspace(tab).change_settings({"normalise": normalise})
        gr.Info("The settings are loaded; the data folder stays the one chosen here.")
        return [*self._fields(config), normalise]

    def _set(self, workspace: Workspace, name: str) -> Updates:
        """Set a preset: in the workspace, too, which holds what the form has no field for."""
        values = settings_files.preset_values(name)
        config = workspace.change_settings(values)
        shown = zip(self._form.settings, self._form.fields(config), strict=True)
        fields = [field if setting.name in values else gr.skip() for setting, field in shown]
        return [*fields, config.reading.normalise]

    def _fields(self, config: TrainConfig) -> Updates:
        name = training_control.fresh_name(self._studio, config.run.run_name)
        return self._form.fields(build_config({"run_name": name}, config))

    def _unchanged(self) -> Updates:
        return [gr.skip()] * (len(self._form.components) + 1)

    def _marked(self, preset: str | None) -> Updates:
        return [gr.Button(variant="primary" if name == preset else "secondary") for name in settings_files.PAGE_PRESETS]


def _devices() -> Any:
    return gr.Dropdown(choices=training_control.device_choices())
