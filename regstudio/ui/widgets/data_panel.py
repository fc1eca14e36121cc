"""The components that show what is in a data folder: verdict, counts, atlas, problems and contact sheet."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from regstudio.errors import ConfigError
from regstudio.files import read_asset
from regstudio.studio.data_overview import progress
from regstudio.studio.studio import Studio

SETS = ("training", "validation")


@dataclass(frozen=True)
class DataPanel:
    """The components, by what they show."""

    overview: gr.HTML
    train: gr.Button
    atlas: gr.Image
    problems: gr.HTML
    sheet: gr.Column
    which: gr.Radio
    page: gr.State
    range: gr.Button
    gallery: gr.Gallery
    previous: gr.Button
    next: gr.Button


def build_data_panel(studio: Studio) -> DataPanel:
    """Lay out the components, empty; all but the verdict are hidden until there is something to show."""

    def opened(request: Any) -> dict[str, Any]:
        try:
            return progress(studio.workspace(request.get("tab")).opened)
        except (ConfigError, AttributeError):
            return {}

    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            verdict = gr.HTML(
                value={},
                html_template="<div class='data-overview'></div>",
                css_template=read_asset("data.css"),
                js_on_load=read_asset("data.js"),
                server_functions=[opened],
                elem_id="data-overview",
            )
            train = gr.Button("Go to Train", variant="primary", interactive=False, elem_id="data-train")
        atlas = gr.Image(
            label="Atlas", format="png", interactive=False, buttons=[], visible=False, height=300, elem_id="data-atlas"
        )
    problems = gr.HTML(
        value={},
        html_template="<div class='problems'></div>",
        css_template=read_asset("problems.css"),
        js_on_load=read_asset("problems.js"),
        visible=False,
        elem_id="data-problems",
    )
    with gr.Column(visible=False, elem_id="data-sheet") as sheet:
        which = gr.Radio(list(SETS), value=SETS[0], label="Contact sheet", elem_id="data-which")
        gallery = gr.Gallery(
            format="png",
            columns=8,
            show_label=False,
            object_fit="contain",
            height="max-content",  # the whole page of pictures; "auto" stops at half a window
            interactive=False,
            buttons=[],
            elem_id="data-gallery",
        )
        with gr.Row(equal_height=True):
            previous = gr.Button("Previous", min_width=90, elem_id="data-previous")
            page_range = gr.Button("", variant="secondary", interactive=False, min_width=90, elem_id="data-range")
            following = gr.Button("Show more", min_width=90, elem_id="data-next")
    page = gr.State(0)
    return DataPanel(verdict, train, atlas, problems, sheet, which, page, page_range, gallery, previous, following)
