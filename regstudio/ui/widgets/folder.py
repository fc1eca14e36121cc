"""The field of the data folder: type it, pick a recent one, or browse the folders.

The server keeps nothing between two clicks: every path comes back from the page and is validated again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from regstudio.studio.folders import RecentFolders, nearest_folder, subfolders
from regstudio.studio.studio import Studio
from regstudio.ui.handlers import QUIET, sent, shown_to_user
from regstudio.ui.widgets.folder_drop import folder_drop

MAX_CHIP_LENGTH = 56  # characters


@dataclass(frozen=True)
class FolderField:
    """The components that the tab listens to: `box` holds the folder; the others open one.

    `drop` takes a folder of the user's computer, or files, or a zip.
    """

    box: gr.Textbox
    open: gr.Button
    demo: gr.Button
    recent: gr.Dataset
    use: gr.Button
    place: gr.Textbox
    drop: gr.File


def build_folder(studio: Studio, recent: RecentFolders) -> FolderField:
    """Lay out the field."""
    with gr.Row(equal_height=False, elem_id="data-folder-row"):
        with gr.Column(scale=3, min_width=300):
            box = gr.Textbox(
                label="Data folder, or any folder of images",
                placeholder="/path/to/your/images",
                max_lines=1,
                elem_id="data-folder",
            )
            with gr.Row():
                opened = gr.Button("Open", variant="primary", scale=1, min_width=100, elem_id="data-open")
                demo = gr.Button("Use demo data", scale=1, min_width=140, elem_id="data-demo")
        with gr.Column(scale=2, min_width=300):
            drop = folder_drop("Or drop images: a folder, files, a zip", elem_id="data-drop", height=104, one_zip=True)
    chips = gr.Dataset(
        label="Recent folders", components=[gr.Textbox(visible=False)], samples=[], elem_id="data-recent", visible=False
    )
    use, place = _build_browser(studio, box)
    return FolderField(box=box, open=opened, demo=demo, recent=chips, use=use, place=place, drop=drop)


def recent_samples(studio: Studio, recent: RecentFolders) -> gr.Dataset:
    """Return the recent folders as they are now."""
    folders = [str(folder) for folder in recent.read(studio.allowed)]
    return gr.Dataset(
        samples=[[folder] for folder in folders],
        sample_labels=[_end(folder) for folder in folders],
        visible=bool(folders),
    )


def picked(event: gr.SelectData, paths: Iterable[Path] = ()) -> str:
    """Return what was clicked: the path whose shortened form the page shows, or else the text itself."""
    value: Any = event.value
    text = str(value[0] if isinstance(value, list) and value else value)
    return next((str(path) for path in paths if _end(str(path)) == text), text)


def _build_browser(studio: Studio, box: gr.Textbox) -> tuple[gr.Button, gr.Textbox]:
    with gr.Accordion("Browse folders", open=False, elem_id="data-browse") as accordion:
        with gr.Row(equal_height=False):
            place = gr.Textbox(label="Now in", interactive=False, max_lines=1, scale=5, elem_id="data-place")
            up = gr.Button("Up", scale=1, min_width=80, elem_id="data-up")
            use = gr.Button("Open this folder", variant="primary", scale=1, min_width=140, elem_id="data-use")
        inside = _chips("Folders in it", "data-inside")
        start = _chips("Start from", "data-start")

    outputs: list[Component] = [place, up, inside, start]

    def go(folder: str) -> list[Any]:
        with shown_to_user():
            listing = subfolders(folder, studio.allowed)
        title = f"Folders in it, the first {len(listing.names)} of {len(listing.names) + listing.more}"
        names, roots = list(listing.names), [str(root) for root in studio.roots if root.is_dir()]
        return [
            str(listing.folder),
            gr.Button(interactive=listing.parent is not None),
            gr.Dataset(
                samples=[[name] for name in names],
                sample_labels=names,
                label=title if listing.more else "Folders in it" if names else "There are no folders in it",
            ),
            gr.Dataset(samples=[[root] for root in roots], sample_labels=[_end(root) for root in roots]),
        ]

    def begin(folder: str) -> list[Any]:
        with shown_to_user():
            place = nearest_folder(sent(folder, "the folder"), studio.allowed) or studio.roots[0]
        return go(str(place))

    def above(folder: str) -> list[Any]:
        with shown_to_user():
            place = Path(sent(folder, "the folder")).parent
        return go(str(place))

    def into(event: gr.SelectData, folder: str) -> list[Any]:
        return go(str(Path(folder) / picked(event)))

    def jump(event: gr.SelectData) -> list[Any]:
        return go(picked(event, studio.roots))

    common: dict[str, Any] = {"outputs": outputs, **QUIET}
    accordion.expand(begin, inputs=box, **common)
    up.click(above, inputs=place, **common)
    inside.select(into, inputs=place, **common)
    start.select(jump, **common)
    return use, place


def _chips(label: str, elem_id: str) -> gr.Dataset:
    hidden = gr.Textbox(visible=False)
    return gr.Dataset(label=label, components=[hidden], samples=[], samples_per_page=60, elem_id=elem_id)


def _end(path: str) -> str:
    """Shorten a long path at its beginning, because paths differ at their end, where the page would cut it."""
    return path if len(path) <= MAX_CHIP_LENGTH else f"…{path[1 - MAX_CHIP_LENGTH :]}"
