"""The form of a training: one field for each knob, made from its declaration, so that a new knob needs nothing here."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from regstudio.config import Knob, TrainConfig, knobs
from regstudio.errors import ConfigError
from regstudio.ui.presets import flat

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
    """The knobs of the form and the component of each, in one order."""

    knobs: tuple[Knob, ...]
    components: tuple[Component, ...]

    def values(self, raw: Sequence[Any]) -> dict[str, Any]:
        """Return what the components hold as knob values, flat by name; raises ConfigError for what is no value."""
        if len(raw) != len(self.knobs):
            raise ConfigError("The page is older than the program. Reload it.")
        return {knob.name: from_field(knob, value) for knob, value in zip(self.knobs, raw, strict=True)}

    def fields(self, config: TrainConfig) -> list[Any]:
        """Return what the components show for `config`."""
        values = flat(config)
        return [to_field(knob, values[knob.name]) for knob in self.knobs]


def form_knobs() -> list[Knob]:
    """Return the knobs that the form has, those always in view first."""
    ours = [knob for knob in knobs() if not _is_set_elsewhere(knob)]
    return sorted(ours, key=lambda knob: IN_VIEW.index(knob.name) if knob.name in IN_VIEW else len(IN_VIEW))


def _is_set_elsewhere(knob: Knob) -> bool:
    # The Data tab sets what decides which files are found and what is seen in them; the launcher sets the runs folder.
    looking = knob.section in ("layout", "reading") and not knob.resumable
    return looking or knob.name in ("data_base_dir", "runs_dir")


def build_form() -> Form:
    """Lay out the form: the common knobs in view, the rest folded by section."""
    ours = form_knobs()
    components: dict[str, Component] = {}
    with gr.Row(elem_id="knobs-in-view", elem_classes="knobs"):
        for knob in ours:
            if knob.name in IN_VIEW:
                components[knob.name] = field(knob)
    folded = [knob for knob in ours if knob.name not in IN_VIEW]
    for section in dict.fromkeys(knob.section for knob in folded):
        title = TITLES.get(section, section.capitalize())
        with gr.Accordion(title, open=False, elem_id=f"knobs-{section}"), gr.Row(elem_classes="knobs"):
            for knob in folded:
                if knob.section == section:
                    components[knob.name] = field(knob)
    return Form(tuple(ours), tuple(components[knob.name] for knob in ours))


def field(knob: Knob) -> Component:
    """Return the component of a knob.

    Bounds are told, not set as minimum and maximum: the configuration checks them, and unlike Gradio it names the knob.
    """
    common = {
        "label": knob.name.replace("_", " "),
        "info": told(knob),
        "value": to_field(knob, knob.default),
        "elem_id": f"knob-{knob.name}",
        "min_width": 180,
    }
    if knob.name == "device":
        return gr.Dropdown(choices=["auto"], allow_custom_value=True, **common)
    if knob.type is bool and knob.optional:
        return gr.Dropdown(choices=[("not given", ""), "yes", "no"], **common)
    if knob.type is bool:
        return gr.Checkbox(**common)
    if knob.choices:
        return gr.Dropdown(choices=list(knob.choices), **common)
    if knob.type in (int, float):
        return gr.Number(**common)
    return gr.Textbox(placeholder="" if knob.default is None else str(knob.default), max_lines=1, **common)


def told(knob: Knob) -> str:
    """Say in a line what the knob does, its bounds and its default."""
    facts = [bound for bound in knob.bounds.split(", ") if 0 < len(bound) < 10]  # 2**63 is a bound that nobody meets
    if knob.type is not bool and knob.default is not None:
        facts.append(f"default {knob.default:g}" if knob.type is float else f"default {knob.default}")
    if knob.type is not bool and knob.default is None:
        facts.append("may be empty")
    return knob.help + (f" ({', '.join(facts)})" if facts else "")


def to_field(knob: Knob, value: Any) -> Any:
    """Return a knob's value as its component shows it."""
    if knob.type is bool:
        return ({None: "", True: "yes", False: "no"} if knob.optional else {True: True, False: False})[value]
    if knob.type in (int, float):
        return value
    return "" if value is None else str(value)


def from_field(knob: Knob, value: Any) -> Any:
    """Return a component's value as the knob's; raises ConfigError where a field that must not be empty is."""
    if knob.type is bool and knob.optional:
        return YES_NO.get(value, value) if isinstance(value, str | None) else value
    if isinstance(value, str):
        value = value.strip()
    if value is None or (value == "" and (knob.optional or knob.type is not str)):
        if knob.optional:
            return None
        raise ConfigError(f"{knob.name} is empty. Fill it in; its default is {knob.default}.")
    if knob.type is int and isinstance(value, float) and value.is_integer():
        return int(value)  # a browser knows one kind of number
    return value


def device_choices() -> list[tuple[str, str]]:
    """Return the devices that are there, as (what to show, the knob's value)."""
    import torch  # heavy; not needed for the first page

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cpu = f"CPU ({os.cpu_count()} threads)"
    choices = [(f"auto: {'GPU' if count else cpu}", "auto"), (cpu, "cpu")]
    for index in range(count):
        facts = torch.cuda.get_device_properties(index)
        choices.append((f"{facts.name} ({facts.total_memory / 2**30:.0f} GiB)", f"cuda:{index}"))
    return choices
