"""The field of the data folder: to be typed, picked among the recent ones, or found by going through the folders.

Every path comes back from the page and is validated anew; nothing is remembered between two clicks.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from regstudio.studio.folders import RecentFolders, subfolders
from regstudio.studio.studio import Studio
from regstudio.ui.handlers import told

MAX_CHIP_LENGTH = 56  # characters


@dataclass(frozen=True)
class FolderField:
    """The parts that the tab listens to: `box` holds the folder; the others ask to open it."""

    box: gr.Textbox
    open: gr.Button
    demo: gr.Button
    recent: gr.Dataset
    use: gr.Button
    place: gr.Textbox


def build_folder(studio: Studio, recent: RecentFolders) -> FolderField:
    """Lay out the field."""
    with gr.Row(equal_height=False, elem_id="data-folder-row"):
        box = gr.Textbox(
            label="Data folder",
            placeholder="/path/to/your/data",
            max_lines=1,
            scale=5,
            min_width=280,
            elem_id="data-folder",
        )
        opened = gr.Button("Open", variant="primary", scale=1, min_width=100, elem_id="data-open")
        demo = gr.Button("Use demo data", scale=1, min_width=140, elem_id="data-demo")
    lately = gr.Dataset(
        label="Recent folders", components=[gr.Textbox(visible=False)], samples=[], elem_id="data-recent", visible=False
    )
    use, place = _build_browser(studio, box)
    return FolderField(box=box, open=opened, demo=demo, recent=lately, use=use, place=place)


def recent_samples(studio: Studio, recent: RecentFolders) -> gr.Dataset:
    """Return the recent folders as they are now."""
    folders = [str(folder) for folder in recent.read(studio.allowed)]
    return gr.Dataset(
        samples=[[folder] for folder in folders],
        sample_labels=[_end(folder) for folder in folders],
        visible=bool(folders),
    )


def picked(event: gr.SelectData, paths: Iterable[Path] = ()) -> str:
    """Return what was clicked: one of the paths, of which the page knows the end alone, or the text itself."""
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
        with told():
            found = subfolders(folder, studio.allowed)
        title = f"Folders in it, the first {len(found.names)} of {len(found.names) + found.more}"
        names, roots = list(found.names), [str(root) for root in studio.roots if root.is_dir()]
        return [
            str(found.folder),
            gr.Button(interactive=found.above is not None),
            gr.Dataset(
                samples=[[name] for name in names],
                sample_labels=names,
                label=title if found.more else "Folders in it" if names else "There are no folders in it",
            ),
            gr.Dataset(samples=[[root] for root in roots], sample_labels=[_end(root) for root in roots]),
        ]

    def begin(folder: str) -> list[Any]:
        with told():
            there = next((str(path) for path in _nearest(folder) if _is_open(studio, path)), str(studio.roots[0]))
        return go(there)

    def into(event: gr.SelectData, folder: str) -> list[Any]:
        return go(str(Path(folder) / picked(event)))

    def jump(event: gr.SelectData) -> list[Any]:
        return go(picked(event, studio.roots))

    common: dict[str, Any] = {"outputs": outputs, "show_progress": "hidden", "api_visibility": "private"}
    accordion.expand(begin, inputs=box, **common)
    up.click(lambda folder: go(str(Path(folder).parent)), inputs=place, **common)
    inside.select(into, inputs=place, **common)
    start.select(jump, **common)
    return use, place


def _chips(label: str, elem_id: str) -> gr.Dataset:
    hidden = gr.Textbox(visible=False)
    return gr.Dataset(label=label, components=[hidden], samples=[], samples_per_page=60, elem_id=elem_id)


def _end(path: str) -> str:
    """Cut a long path at its beginning, before the page cuts it at its end, where paths differ."""
    return path if len(path) <= MAX_CHIP_LENGTH else f"…{path[1 - MAX_CHIP_LENGTH :]}"


def _nearest(folder: str) -> list[Path]:
    path = Path(folder.strip() or ".").expanduser()
    return [path, *path.parents]


def _is_open(studio: Studio, path: Path) -> bool:
    try:
        subfolders(str(path), studio.allowed)
    except Exception:  # whatever is wrong with it, another is tried
        return False
    return True
