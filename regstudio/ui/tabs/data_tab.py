"""The Data tab: choose a data folder, see what is in it and what is wrong with it, or upload one."""

from dataclasses import dataclass

import gradio as gr
from gradio.components import Component

from regstudio.studio.folders import RecentFolders
from regstudio.studio.studio import Studio
from regstudio.ui.tabs.data_handlers import DataHandlers, reading_settings
from regstudio.ui.tabs.data_import import ImportHandlers
from regstudio.ui.widgets.browser_tab import BrowserTab
from regstudio.ui.widgets.data_panel import build_data_panel
from regstudio.ui.widgets.folder import build_folder
from regstudio.ui.widgets.form import field
from regstudio.ui.widgets.importer import build_importer
from regstudio.ui.widgets.uploader import build_uploader

WELCOME = (
    "RegStudio lays one medical image on another by a smooth deformation: at once, or by a network that it trains on "
    "your own images. Choose a folder to train on, try the demo data, or register two images without training."
)


@dataclass(frozen=True)
class DataTab:
    """What other tabs need: `train` leads on to the Train tab, `two_images` to the Viewer.

    `chosen` changes when other data are chosen, and says whether the demo data were and are: "was_demo", "is_demo".
    `normalise` is the field of that setting, which presets set, too.
    """

    chosen: gr.State
    normalise: Component
    train: gr.Button
    two_images: gr.Button


def build(studio: Studio, tab: BrowserTab) -> DataTab:
    """Lay out the tab; called inside its gr.Tab."""
    recent = RecentFolders()
    with gr.Row(equal_height=True, elem_id="data-welcome"):
        gr.Markdown(WELCOME)
        two_images = gr.Button("Register two images", scale=0, min_width=240, elem_id="data-two-images")
    folder = build_folder(studio, recent)
    with gr.Accordion("Add files to a data folder", open=False, elem_id="data-upload"):
        uploader = build_uploader(studio)
    with gr.Accordion("Import files as they come", open=False, elem_id="data-import") as fold:
        importer = build_importer(studio, folder.drop)
    with gr.Accordion("Advanced: names of folders and files, and how they are read", open=False, elem_id="data-names"):
        fields, apply, reset = _build_fields()
    panel = build_data_panel(studio)
    chosen, unlaid = gr.State(None), gr.Textbox(visible="hidden", elem_id="data-unlaid")
    handlers = DataHandlers(studio, recent, folder, uploader, fields, panel, chosen, unlaid)
    handlers.connect(tab, apply, reset)
    importing = ImportHandlers(studio, importer, fold, handlers.open_documented)
    importing.connect(tab, handlers.outputs)
    importing.connect_folder(tab, unlaid, handlers.outputs)
    normalise = dict(zip([setting.name for setting in reading_settings()], fields, strict=True))["normalise"]
    return DataTab(chosen=chosen, normalise=normalise, train=panel.train, two_images=two_images)


def _build_fields() -> tuple[list[Component], gr.Button, gr.Button]:
    with gr.Row(elem_classes="setting-fields"):
        fields = [field(setting) for setting in reading_settings()]
    for setting, component in zip(reading_settings(), fields, strict=True):
        component.elem_id = f"data-{setting.name}"  # the training's form has some of these settings, too
    with gr.Row():
        apply = gr.Button("Apply", variant="primary", elem_id="data-apply")
        reset = gr.Button("Back to the documented names", elem_id="data-reset")
    return fields, apply, reset
