"""The form of a training: one field for each declared setting; a new setting needs no change here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from regstudio.config import Setting, TrainConfig, settings
from regstudio.errors import ConfigError
from regstudio.studio.settings_files import flat

IN_VIEW = ("epochs", "lr", "batch_size", "ncc_weight", "grad_weight", "device", "seed", "run_name")
TITLES = {
    "reading": "Reading files",
    "network": "Network",
    "loss": "Loss",
    "optimisation": "Optimisation",
    "validation": "Validation",
    "run": "Saving",
}
YES_NO: dict[Any, bool | None] = {"": None, None: None, "yes": True, "no": False}


@dataclass(frozen=True)
class Form:
    """The settings of the form and the component of each, in one order."""

    settings: tuple[Setting, ...]
    components: tuple[Component, ...]

    def values(self, raw: Sequence[Any]) -> dict[str, Any]:
        """Return what the components hold as setting values, flat by name; raises ConfigError for a bad value."""
        if len(raw) != len(self.settings):
            raise ConfigError("The page is older than the program. Reload it.")
        return {setting.name: from_field(setting, value) for setting, value in zip(self.settings, raw, strict=True)}

    def component(self, name: str) -> Component:
        """Return the component of the setting of that name."""
        return self.components[[setting.name for setting in self.settings].index(name)]

    def fields(self, config: TrainConfig) -> list[Any]:
        """Return what the components show for `config`."""
        values = flat(config)
        return [to_field(setting, values[setting.name]) for setting in self.settings]


def form_settings() -> list[Setting]:
    """Return the settings of the form, those that are always in view first."""
    in_form = [setting for setting in settings() if not _is_set_elsewhere(setting)]
    return sorted(in_form, key=lambda setting: IN_VIEW.index(setting.name) if setting.name in IN_VIEW else len(IN_VIEW))


def _is_set_elsewhere(setting: Setting) -> bool:
    # The Data tab sets which files are used and how they are read; the launcher sets the runs folder.
    on_data_tab = setting.section in ("layout", "reading") and not setting.resumable
    return on_data_tab or setting.name in ("data_base_dir", "runs_dir")


def build_form() -> Form:
    """Lay out the form: the common settings in view, the rest folded by section."""
    in_form = form_settings()
    components: dict[str, Component] = {}
    with gr.Row(elem_id="settings-in-view", elem_classes="setting-fields"):
        for setting in in_form:
            if setting.name in IN_VIEW:
                components[setting.name] = field(setting)
    folded = [setting for setting in in_form if setting.name not in IN_VIEW]
    for section in dict.fromkeys(setting.section for setting in folded):
        title = TITLES.get(section, section.capitalize())
        with gr.Accordion(title, open=False, elem_id=f"settings-{section}"), gr.Row(elem_classes="setting-fields"):
            for setting in folded:
                if setting.section == section:
                    components[setting.name] = field(setting)
    return Form(tuple(in_form), tuple(components[setting.name] for setting in in_form))


def field(setting: Setting) -> Component:
    """Return the component of a setting.

    The configuration checks bounds, not the component: its message names the setting, which Gradio's does not.
    """
    common = {
        "label": setting.name.replace("_", " "),
        "info": help_text(setting),
        "value": to_field(setting, setting.default),
        "elem_id": f"setting-{setting.name}",
        "min_width": 180,
    }
    if setting.name == "device":
        return gr.Dropdown(choices=["auto"], allow_custom_value=True, **common)
    if setting.type is bool and setting.optional:
        return gr.Dropdown(choices=[("not given", ""), "yes", "no"], **common)
    if setting.type is bool:
        return gr.Checkbox(**common)
    if setting.choices:
        none = [("not given", "")] if setting.optional else []
        return gr.Dropdown(choices=[*none, *setting.choices], **common)
    if setting.type in (int, float):
        return gr.Number(**common)
    return gr.Textbox(placeholder="" if setting.default is None else str(setting.default), max_lines=1, **common)


def help_text(setting: Setting) -> str:
    """Return one line that says what the setting does, its bounds and its default."""
    facts = [bound for bound in setting.bounds.split(", ") if 0 < len(bound) < 10]  # nobody meets a bound like 2**63
    if setting.type is not bool and setting.default is not None:
        facts.append(f"default {setting.default:g}" if setting.type is float else f"default {setting.default}")
    if setting.type is not bool and setting.default is None:
        facts.append("may be empty")
    return setting.help + (f" ({', '.join(facts)})" if facts else "")


def to_field(setting: Setting, value: Any) -> Any:
    """Return a setting's value as its component shows it."""
    if setting.type is bool:
        return ({None: "", True: "yes", False: "no"} if setting.optional else {True: True, False: False})[value]
    if setting.type in (int, float):
        return value
    return "" if value is None else str(value)


def from_field(setting: Setting, value: Any) -> Any:
    """Return a component's value as the setting's; raises ConfigError for an empty field that must not be empty."""
    if setting.type is bool and setting.optional:
        return YES_NO.get(value, value) if isinstance(value, str | None) else value
    if isinstance(value, str):
        value = value.strip()
    if value is None or (value == "" and (setting.optional or setting.type is not str)):
        if setting.optional:
            return None
        raise ConfigError(f"{setting.name} is empty. Fill it in; its default is {setting.default}.")
    if setting.type is int and isinstance(value, float) and value.is_integer():
        return int(value)  # a browser knows one kind of number
    return value
