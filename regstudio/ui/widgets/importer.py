"""The form of an import: where the files are, how they are read, and what is proposed."""

from dataclasses import dataclass

import gradio as gr
from gradio.components import Component

from regstudio.data.importing.options import ImportOptions
from regstudio.studio.importing import AXIS, CHANGES, HEADERS, SLICES
from regstudio.studio.studio import Studio
from regstudio.ui.widgets.uploader import folder_name

_DEFAULTS = ImportOptions()


@dataclass(frozen=True)
class Importer:
    """The fields of the form, what shows the proposal, and the two buttons.

    `role` is what a click on a picture makes it; `names` are those of the pictures in the gallery, `files` those of
    each name, and `changes` the roles that were chosen. `archive` is a zip that was dropped, further up on the page.
    """

    source: gr.Textbox
    archive: gr.File
    slices: gr.Dropdown
    axis: gr.Dropdown
    share: gr.Slider
    link: gr.Checkbox
    propose: gr.Button
    looking: gr.Markdown
    proposal: gr.Column
    summary: gr.Textbox
    atlas: gr.Dropdown
    picture: gr.Image
    role: gr.Radio
    gallery: gr.Gallery
    names: gr.State
    files: gr.State
    changes: gr.State
    table: gr.Dataframe
    name: gr.Textbox
    send: gr.Button

    @property
    def fields(self) -> list[Component]:
        """What a proposal depends on."""
        return [self.source, self.archive, self.slices, self.axis, self.share, self.link]


def build_importer(studio: Studio, archive: gr.File) -> Importer:
    """Lay out the form; what shows the proposal is hidden until there is one."""
    gr.Markdown(
        "A folder of any shape: all files in one, a folder for each patient, volumes, DICOM series. Type it here, or "
        "drop it above. Labels are found by their names, an atlas is proposed, and a new data folder is made. Your "
        "files stay as they are."
    )
    with gr.Row():
        with gr.Column():
            source = gr.Textbox(
                label="Folder of your files", placeholder="/path/to/scans", max_lines=1, elem_id="import-source"
            )
            propose = gr.Button("Show what will be done", elem_id="import-propose")
        with gr.Column():
            with gr.Row():
                slices = gr.Dropdown(
                    list(SLICES),
                    value=_DEFAULTS.slices,
                    allow_custom_value=True,
                    label="Slices of volumes",
                    elem_id="import-slices",
                )
                axis = gr.Dropdown(list(AXIS), value=_DEFAULTS.axis, label="Across the slices", elem_id="import-axis")
            share = gr.Slider(
                0, 0.9, _DEFAULTS.validation_share, step=0.05, label="Share to validate on", elem_id="import-share"
            )
            link = gr.Checkbox(_DEFAULTS.link, label="Link instead of copying", elem_id="import-link")
    looking = gr.Markdown("Looking at what lies there…", visible=False, elem_id="import-looking")
    with gr.Column(visible=False, elem_id="import-proposal") as proposal:
        summary = gr.Textbox(label="Proposal", interactive=False, lines=2, elem_id="import-summary")
        with gr.Row():
            with gr.Column(min_width=240):
                atlas = gr.Dropdown([], label="Atlas", elem_id="import-atlas")
                picture = gr.Image(
                    label="The atlas",
                    format="png",
                    interactive=False,
                    buttons=[],
                    height=260,
                    elem_id="import-picture",
                )
                name = folder_name(studio, label="Name of the new data folder", elem_id="import-name")
                send = gr.Button("Import", variant="primary", elem_id="import-send")
            with gr.Column(scale=3):
                role = gr.Radio(
                    list(CHANGES.items()), value="validation", label="A click makes a picture", elem_id="import-click"
                )
                gallery = gr.Gallery(
                    format="png",
                    columns=6,
                    show_label=False,
                    object_fit="contain",
                    height="max-content",
                    interactive=False,
                    allow_preview=False,
                    buttons=[],
                    elem_id="import-gallery",
                )
                table = gr.Dataframe(
                    headers=list(HEADERS),
                    datatype="str",
                    label="What will be done",
                    interactive=False,
                    wrap=True,
                    buttons=["fullscreen"],
                    max_height=420,
                    elem_id="import-table",
                )
    return Importer(
        source=source,
        archive=archive,
        slices=slices,
        axis=axis,
        share=share,
        link=link,
        propose=propose,
        looking=looking,
        proposal=proposal,
        summary=summary,
        atlas=atlas,
        picture=picture,
        role=role,
        gallery=gallery,
        names=gr.State([]),
        files=gr.State({}),
        changes=gr.State([]),
        table=table,
        name=name,
        send=send,
    )
