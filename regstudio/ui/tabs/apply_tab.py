"""The Apply tab: register a folder of new images in the background, and look at the worst results first."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from regstudio.data.pictures.formats import EXTENSIONS
from regstudio.files import read_asset
from regstudio.studio import apply_control
from regstudio.studio.applied import COLUMNS
from regstudio.studio.studio import Studio
from regstudio.ui.handlers import QUIET, click_link, on_page_load, on_tab_select, shown_fingerprint
from regstudio.ui.tabs.apply_handlers import ApplyHandlers
from regstudio.ui.widgets.browser_tab import BrowserTab
from regstudio.ui.widgets.changing_dropdown import ChangingDropdown
from regstudio.ui.widgets.folder_drop import folder_drop
from regstudio.ui.widgets.icons import EMPTY_RESULTS, nothing_yet
from regstudio.ui.widgets.watch import Watch

WIDTHS: list[str | int] = ["200px", *["90px"] * (len(COLUMNS) - 2), "220px"]
_KINDS: Any = ["str", *["number"] * (len(COLUMNS) - 2), "str"]
NOTHING = "Nothing is registered yet. Choose new images and press Start: each result appears here, the worst first."
PROGRESS = """<section class="apply" aria-label="Progress of the registering">
<p><strong class="state" role="status"></strong> <span class="what"></span></p>
<div class="bar" role="progressbar" aria-label="images registered"><i></i></div>
<p class="count"></p><p class="message" role="alert"></p></section>"""


def build(studio: Studio, tab: BrowserTab, watch: Watch, asked: gr.Textbox) -> gr.Dropdown:
    """Lay out the tab; called inside its gr.Tab; return the field of the method.

    A click on a row puts into `asked` what the Viewer opens.
    """
    handlers = ApplyHandlers(studio)
    gr.Markdown(
        "Register many new images to one fixed image. Results are written as files, at the fixed image's full size; "
        "what was done before is not done again."
    )
    with gr.Row():
        with gr.Column(min_width=280):
            folder = _text("New images: a folder", "folder", "/path/to/images")
            files = folder_drop(
                "Or drop them: a folder, images with their labels NAME_seg, one zip",
                elem_id="apply-files",
                height=160,
                file_types=[*EXTENSIONS, ".zip"],
            )
            labels = _text("Their labels, if in another folder", "labels", "empty: NAME_seg beside the images, or none")
        with gr.Column(min_width=280):
            fixed = _text("Fixed image", "fixed", "empty: the atlas of the run, or of the data folder")
            fixed_files = gr.File(
                label="Or drop it, with its label NAME_seg",
                file_count="multiple",
                file_types=list(EXTENSIONS),
                height=160,
                elem_id="apply-fixed-files",
            )
            with gr.Row():
                method = ChangingDropdown([], label="Method", elem_id="apply-method", min_width=180)
                refine = gr.Textbox("auto", label="Refine (auto, or steps)", elem_id="apply-refine", min_width=120)
            name = _text("Name of the results", "name", "empty: that of the folder")
    with gr.Accordion("Masks: where images count", open=False, elem_id="apply-masks-box"), gr.Row():
        masks = _text("Masks of the new images: a folder", "masks", "empty: FOLDER_mask beside the images, or none")
        fixed_mask = _text("Mask of the fixed image: a file", "fixed-mask", "empty: the atlas's own, or none")
    with gr.Row(elem_id="apply-buttons"):
        start = gr.Button("Start", variant="primary", elem_id="apply-start", min_width=100)
        pause = gr.Button("Pause", elem_id="apply-pause", min_width=100, interactive=False)
        resume = gr.Button("Resume", elem_id="apply-resume", min_width=100, interactive=False)
        stop = gr.Button("Stop", variant="stop", elem_id="apply-stop", min_width=100, interactive=False)
    progress = gr.HTML(
        "{}",
        html_template=PROGRESS,
        css_template=read_asset("apply.css"),
        js_on_load=read_asset("apply.js"),
        apply_default_css=False,
        elem_id="apply-progress",
    )
    empty = gr.HTML(nothing_yet(EMPTY_RESULTS, NOTHING), visible=False, apply_default_css=False, elem_id="apply-empty")
    with gr.Column(visible=False) as results:
        with gr.Row():
            shown = ChangingDropdown(
                [], label="Results", info="worst first; a click opens the case", elem_id="apply-shown"
            )
            pack = gr.Button("Download as zip", elem_id="apply-pack", scale=0, min_width=180)
        table = gr.Dataframe(
            headers=list(COLUMNS),
            datatype=_KINDS,
            type="array",
            interactive=False,
            show_label=False,
            column_widths=WIDTHS,
            wrap=True,
            max_height=420,
            pinned_columns=1,
            buttons=["fullscreen"],
            elem_id="apply-table",
        )
    # Outside of what is shown once there are results, as all in there is shown with it.
    link = gr.DownloadButton("zip", elem_id="apply-zip", visible="hidden")
    seen = shown_fingerprint()
    buttons = [start, pause, resume, stop]
    looked = [progress, *buttons, shown, empty, results, table, seen]
    form = [method, name, folder, files, labels, fixed, fixed_files, refine, masks, fixed_mask]
    on_tab_select(handlers.enter, method, method, **QUIET)
    on_page_load(handlers.enter, method, method, **QUIET)
    on_page_load(handlers.look, [shown, seen], looked, **QUIET)
    watch.on_change("apply", lambda _: handlers.situation(), handlers.look, [shown, seen], looked)
    shown.input(handlers.look, [shown, seen], looked, **QUIET)
    method.focus(handlers.enter, method, method, **QUIET)
    after: dict[str, Any] = {"fn": handlers.look, "inputs": [shown, seen], "outputs": looked, **QUIET}
    start.click(handlers.start, [tab.name, *form], [shown, folder, files, fixed, fixed_files, name], **QUIET).success(
        **after
    )
    for button, act in ((pause, handlers.pause), (resume, handlers.resume), (stop, handlers.stop)):
        button.click(act, None, None, **QUIET).success(**after)
    pack.click(handlers.pack, shown, link, api_visibility="private").success(None, js=click_link("apply-zip"))
    table.select(handlers.opened, shown, asked, **QUIET)
    return method


def method_of(studio: Studio, runs: Sequence[str]) -> Any:
    """Choose the best checkpoint of the first of the runs, or its last one; without one, what is chosen stays."""
    found = apply_control.methods(studio)
    own = next((name for _, name in found if runs and name.startswith(f"{runs[0]}/")), None)
    return gr.Dropdown(choices=found, value=own) if own else gr.skip()


def _text(label: str, name: str, placeholder: str) -> gr.Textbox:
    return gr.Textbox(label=label, placeholder=placeholder, max_lines=1, elem_id=f"apply-{name}")
