"""The Viewer tab: choose a run, a checkpoint and a case, or own images; look, compare, download."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.context import Context

from regstudio.data.landmarks.placed import FAMILY_TITLES
from regstudio.data.pictures.formats import EXTENSIONS
from regstudio.studio.studio import Studio
from regstudio.ui.handlers import QUIET, click_link, on_page_load
from regstudio.ui.tabs.viewer_cases import build_cases
from regstudio.ui.tabs.viewer_handlers import MAX_REFINE_STEPS, OWN, SIDES, ViewerHandlers
from regstudio.ui.widgets.browser_tab import BrowserTab
from regstudio.ui.widgets.canvas import canvas
from regstudio.ui.widgets.changing_dropdown import ChangingDropdown

# See assets/address.js.
NOTE_ADDRESS = "(run, checkpoint, name, compare) => window.regstudioViewed?.({ run, checkpoint, case: name, compare })"


@dataclass(frozen=True)
class ViewerTab:
    """What other tabs need: setting `run` opens it; `own` holds the fields for one's own images."""

    run: gr.Dropdown
    checkpoint: gr.Dropdown
    own: gr.Accordion


@dataclass(frozen=True)
class AskedCase:
    """Hidden components of the page: `request` takes what `viewer_handlers.request` returns, to open that case.

    `answered` is the last request that was answered. The browser holds both, and sends them with the tab's fields: of
    several events that opening the tab causes, each is answered by what the page showed when it came.
    """

    request: gr.Textbox
    answered: gr.Textbox


def asked_case() -> AskedCase:
    """Return the components; called outside all tabs, as those that are not open are not there."""
    return AskedCase(
        gr.Textbox(visible="hidden", elem_id="viewer-request"), gr.Textbox(visible="hidden", elem_id="viewer-answered")
    )


def build(studio: Studio, asked: AskedCase, tab: BrowserTab | None = None, *, read_only: bool = False) -> ViewerTab:
    """Lay out the tab; called inside its gr.Tab. Read-only, it takes neither paths nor files, nor a `tab` with data."""
    handlers = ViewerHandlers(studio, read_only or studio.read_only)
    with gr.Row(elem_id="viewer-choice"):
        run = ChangingDropdown([], label="Run", elem_id="viewer-run", min_width=160, allow_custom_value=True)
        checkpoint = ChangingDropdown([], label="Checkpoint", elem_id="viewer-checkpoint", min_width=120)
        case = ChangingDropdown([], label="Case", elem_id="viewer-case", min_width=160)
        compare = ChangingDropdown([], label="Compare with", elem_id="viewer-compare", min_width=160)
        refine = gr.Number(
            0,
            label=f"Refine (0 to {MAX_REFINE_STEPS} steps)",
            precision=0,
            elem_id="viewer-refine",
            min_width=120,
            visible=not handlers.read_only,
        )
    shut: dict[str, Any] = {"open": False, "visible": not handlers.read_only}
    with gr.Accordion("Own images, or a checkpoint file", elem_id="viewer-own", **shut) as own:
        path, files, resize, register = _own_inputs(handlers.read_only)
    with gr.Row(elem_id="viewer-slices"):
        sliders = [
            gr.Slider(
                0, 1, value=0, step=1, label=f"Slice of the {side} image", elem_id=f"viewer-{side}-slice", visible=False
            )
            for side in SIDES
        ]
    picture = canvas(handlers.region, elem_id="viewer-canvas", correcting=not handlers.read_only)
    with gr.Row():
        download = gr.Button("Download as zip", elem_id="viewer-download", scale=0, min_width=200)
        # Hidden: a script clicks it once the file is made.
        link = gr.DownloadButton("zip", elem_id="viewer-zip", visible="hidden")
    with gr.Accordion("Landmarks: files and training data", **shut):
        family, folder, add = _landmark_files(handlers.read_only)
    named = [tab.name] if tab else []
    if not handlers.read_only:
        build_cases(handlers, [run, checkpoint, case, compare, path, refine, *named], asked.request)
    source, shown, steered = gr.State("case"), gr.State(None), gr.State(None)

    choice = [run, checkpoint, case, compare]
    boxes = [*choice, path, refine, *named]
    inputs, outputs = [shown, *boxes], [picture, shown, source]
    one_at_a_time: dict[str, Any] = {**QUIET, "concurrency_id": "viewer", "concurrency_limit": 1}
    slow = {**one_at_a_time, "show_progress": "minimal"}
    on_page_load(handlers.warm_up, **QUIET)
    # One event: opening a run from the Runs tab both selects this tab and changes `run`.
    entering = [_opened(), run.change, path.submit, asked.request.change]
    entered = [asked.answered, *choice, *outputs]
    entered_it = gr.on(entering, handlers.enter, [asked.request, asked.answered, *inputs], entered, **one_at_a_time)
    run.focus(handlers.refresh, None, run, **QUIET)
    chosen = [checkpoint.input, case.input, compare.input, refine.submit, refine.blur]
    own_inputs = [resize, *files, *sliders, *boxes]
    shown_it = gr.on(chosen, handlers.show, [shown, *own_inputs], [case, *outputs], **one_at_a_time)
    stepped = picture.step(handlers.step, inputs, [case, *outputs], trigger_mode="multiple", **one_at_a_time)
    for event in (entered_it, shown_it, stepped):
        event.then(None, choice, js=NOTE_ADDRESS)
    registered = register.click(handlers.register, own_inputs, [case, *outputs], **slow)
    registered.success(lambda: gr.update(open=False), None, own, **QUIET)  # what was made is seen without scrolling
    seen = [source, *own_inputs]
    for file, slider in zip(files, sliders, strict=False):  # the first files are those of the sides
        file.change(handlers.slider, file, slider, **QUIET)
        slider.release(handlers.slide, seen, [case, *outputs], trigger_mode="always_last", **one_at_a_time)
    picture.correct(handlers.correct, seen, [picture, shown, steered], trigger_mode="always_last", **one_at_a_time)
    download.click(handlers.download, [steered, family, *seen], link, **slow).success(None, js=click_link("viewer-zip"))
    add.click(handlers.add, [folder, steered, *seen], None, **slow)
    return ViewerTab(run=run, checkpoint=checkpoint, own=own)


def _opened() -> Any:
    """Return the event of the user opening the tab or, on a shared page without tabs, the page."""
    block: Any = Context.block
    root: Any = Context.root_block
    return block.select if isinstance(block, gr.Tab) else root.load


def _landmark_files(read_only: bool) -> tuple[gr.Dropdown, gr.Textbox, gr.Button]:
    with gr.Row():
        family = gr.Dropdown(
            [(title, family) for family, title in FAMILY_TITLES.items()],
            value="table",
            label="Landmarks in the zip as",
            elem_id="viewer-family",
        )
        folder = gr.Textbox(
            "corrected", label="Folder of pairs to train on", elem_id="viewer-pairs", visible=not read_only
        )
        add = gr.Button("Add this pair to it", elem_id="viewer-add")
    return family, folder, add


def _own_inputs(read_only: bool) -> tuple[gr.Textbox, list[gr.File], gr.Checkbox, gr.Button]:
    visible = not read_only
    labels = {
        "fixed": "Fixed image (none: the atlas)",
        "moving": "Moving image",
        "fixed_label": "Fixed label (optional)",
        "moving_label": "Moving label (optional)",
        "fixed_mask": "Fixed mask (optional)",
        "moving_mask": "Moving mask (optional)",
    }

    def field(name: str) -> gr.File:
        return gr.File(
            label=labels[name],
            file_types=list(EXTENSIONS),
            file_count="multiple",  # the files of a DICOM series are one volume
            elem_id=f"viewer-{name.replace('_', '-')}",
            height=150,
            min_width=180,
            visible=visible,
        )

    with gr.Row(visible=visible):
        files = [field(name) for name in OWN[: len(SIDES)]]
    with gr.Row(visible=visible):
        files += [field(name) for name in OWN[len(SIDES) :]]
    with gr.Row(visible=visible):
        resize = gr.Checkbox(False, label="Stretch it to the fixed image's shape", elem_id="viewer-resize")
        register = gr.Button("Register", variant="primary", elem_id="viewer-register")
    path = gr.Textbox(
        label="Checkpoint file",
        placeholder="/path/to/checkpoint.pt, then Enter; empty: the run's checkpoint chosen above",
        elem_id="viewer-path",
        visible=visible,
    )
    return path, files, resize, register
