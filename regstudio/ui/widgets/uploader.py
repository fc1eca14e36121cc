"""The upload form: a zip, or single files, for a data folder."""

from dataclasses import dataclass

import gradio as gr

from regstudio.studio import uploads
from regstudio.studio.studio import UPLOADS, Studio
from regstudio.ui.widgets.folder_drop import folder_drop


@dataclass(frozen=True)
class Uploader:
    """The fields of the form and its button `send`."""

    name: gr.Textbox
    role: gr.Dropdown
    files: gr.File
    send: gr.Button


def build_uploader(studio: Studio) -> Uploader:
    """Lay out the form."""
    gr.Markdown(
        "A folder in the layout, or a zip of it, or single files for one of its folders. They go into a folder of "
        "their own, and nothing that is there is replaced."
    )
    with gr.Row():
        with gr.Column():
            files = folder_drop("Folder, zip or files", elem_id="upload-files", height=150)
        with gr.Column():
            name = folder_name(studio, label="Name of the data folder", elem_id="upload-name")
            choices = [(words, role) for role, words in uploads.roles().items()]
            role = gr.Dropdown(
                choices, value="train_moving_subdir", label="Single files are for the", elem_id="upload-role"
            )
            send = gr.Button("Upload", variant="primary", elem_id="upload-send")
    files.upload(uploads.proposed_name, [files, name], name, queue=False, api_visibility="private")
    return Uploader(name=name, role=role, files=files, send=send)


def folder_name(studio: Studio, *, label: str, elem_id: str) -> gr.Textbox:
    """Return the field for the name of a data folder that is to be made."""
    return gr.Textbox(
        label=label,
        info=f"in {studio.roots[0] / UPLOADS}, or a whole path" if studio.roots else None,
        placeholder="my_data",
        max_lines=1,
        elem_id=elem_id,
    )
