"""The simple view of a training's settings, the switch between it and all settings, and the search among these."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr
from gradio.components import Component

from regstudio.config import GENERAL
from regstudio.files import read_asset
from regstudio.studio.simple_settings import CHECKPOINT, NOTHING, Simple
from regstudio.ui.widgets.form import form_settings, help_text

VIEWS = """<div class="views" role="group" aria-label="Which settings are shown">
<button type="button" data-view="simple" aria-pressed="true">Simple</button>
<button type="button" data-view="all" aria-pressed="false">All settings</button>
<input type="search" placeholder="search settings" aria-label="Search settings" hidden>
<span class="found" role="status"></span></div>"""


@dataclass(frozen=True)
class SimpleForm:
    """The component of each field of `Simple` but the unit, which the label of the duration says."""

    duration: gr.Number
    smoothness: gr.Slider
    askew: gr.Checkbox
    other_kinds: gr.Checkbox
    start: gr.Radio
    checkpoint: gr.Textbox

    @property
    def components(self) -> list[Component]:
        """The components in order."""
        return [getattr(self, field.name) for field in fields(self)]

    def shown(self, simple: Simple) -> list[Any]:
        """Return what the components show."""
        return [
            gr.Number(simple.duration, label=f"Duration, in {simple.unit}"),
            simple.smoothness,
            simple.askew,
            simple.other_kinds,
            simple.start,
            gr.Textbox(simple.checkpoint, visible=simple.start == CHECKPOINT),
        ]


def views() -> gr.HTML:
    """Return the switch, which shows `settings-simple` or `settings-all`, and the search."""
    catalogue = {
        setting.name: {"section": setting.section, "text": f"{setting.name.replace('_', ' ')} {help_text(setting)}"}
        for setting in form_settings()
    }
    return gr.HTML(
        html_template=VIEWS,
        css_template=read_asset("settings_view.css"),
        js_on_load=read_asset("settings_view.js"),
        apply_default_css=False,
        elem_id="settings-view",
        catalogue=catalogue,
    )


def build_simple_form() -> SimpleForm:
    """Lay out the fields."""
    with gr.Row(elem_classes="setting-fields"):
        duration = gr.Number(label="Duration, in epochs", precision=0, elem_id="simple-duration", min_width=150)
        smoothness = gr.Slider(
            0,
            10,
            value=1,
            step=0.1,
            label="Smoothness",
            info="more: fewer folds, less detail",
            elem_id="simple-smoothness",
        )
    askew = gr.Checkbox(
        label="Images lie askew", info="turned, shifted or scaled: align them first", elem_id="simple-askew"
    )
    other_kinds = gr.Checkbox(
        label="Modalities differ", info="such as CT and MR: compare structure, not brightness", elem_id="simple-kinds"
    )
    start = gr.Radio(
        [("nothing", NOTHING), ("what RegStudio brings along", GENERAL), ("a checkpoint", CHECKPOINT)],
        label="Start from",
        elem_id="simple-start",
    )
    checkpoint = gr.Textbox(
        label="Checkpoint",
        placeholder="runs/NAME/checkpoints/best_model.pt",
        visible=False,
        elem_id="simple-checkpoint",
    )
    return SimpleForm(duration, smoothness, askew, other_kinds, start, checkpoint)
