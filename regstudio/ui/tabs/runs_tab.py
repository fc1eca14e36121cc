"""The Runs tab: a table of all runs, curves of the selected ones, and buttons for what to do with them."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from regstudio.files import asset, read_asset
from regstudio.studio import run_actions, run_report
from regstudio.studio.live_feed import Feed
from regstudio.studio.studio import Studio
from regstudio.ui.handlers import QUIET, click_link, on_page_load, shown_fingerprint
from regstudio.ui.tabs.runs_handlers import RunsHandlers
from regstudio.ui.widgets.changing_dropdown import ChangingDropdown
from regstudio.ui.widgets.icons import EMPTY_RUNS, nothing_yet
from regstudio.ui.widgets.report_view import ReportView, report_view
from regstudio.ui.widgets.watch import Watch

WIDTHS: list[str | int] = ["160px", "100px", "120px", "100px", "100px", "80px", "90px", "110px", "380px", "180px"]
NOTHING = "There are no runs yet. Choose images in the Data tab, then press Start in the Train tab."
CURVES = """<p class="empty"></p><label hidden>curves by <select class="by" aria-label="What the curves are drawn over">
<option value="epoch">epoch</option><option value="minutes">time</option></select></label>
<p class="different" role="note" hidden></p><p class="scales" role="note"></p>
<div class="charts"><div class="chart" data-of="loss"></div><div class="chart" data-of="dice"></div>
<div class="chart" data-of="tre"></div><div class="chart" data-of="njd"></div></div>"""


@dataclass(frozen=True)
class RunsTab:
    """What other tabs need: `selected` holds the names of the selected runs; `resumed` changes when one is resumed."""

    selected: gr.Dropdown
    view: gr.Button
    resumed: gr.State


@dataclass(frozen=True)
class _Actions:
    """The controls that act on the selected runs."""

    view: gr.Button
    resume: gr.Button
    epochs: gr.Number
    name: gr.Textbox
    rename: gr.Button
    note: gr.Textbox
    keep: gr.Button
    checkpoints: gr.Checkbox
    report: gr.Button
    compared: gr.CheckboxGroup
    shown: ReportView
    pack: gr.Button
    link: gr.DownloadButton
    delete: gr.Button
    confirm: gr.Row
    really: gr.Button
    cancel: gr.Button


def build(studio: Studio, feed: Feed, watch: Watch) -> RunsTab:
    """Lay out the tab; called inside its gr.Tab."""
    handlers = RunsHandlers(studio, feed)
    empty = gr.HTML(nothing_yet(EMPTY_RUNS, NOTHING), visible=False, apply_default_css=False, elem_id="runs-empty")
    with gr.Row(elem_classes="setting-fields"):
        words = gr.Textbox(
            label="Show runs with", placeholder="words of any column", max_lines=1, scale=3, elem_id="runs-filter"
        )
        by_data = gr.Checkbox(False, label="Group by data", scale=1, min_width=140, elem_id="runs-by-data")
    table = gr.Dataframe(
        headers=list(run_actions.COLUMNS),
        datatype=["str", "str", "str", "number", "number", "number", "str", "str", "str", "str"],
        type="array",
        interactive=False,
        show_label=False,
        column_widths=WIDTHS,
        wrap=True,
        max_height=360,
        pinned_columns=1,
        buttons=[],
        elem_id="runs-table",
    )
    selected = ChangingDropdown(
        [],
        multiselect=True,
        label="Selected runs",
        info="click a line of the table, or choose here",
        elem_id="runs-selected",
    )
    actions = _build_actions()
    curves = gr.HTML(
        "[]",
        html_template=CURVES,
        js_on_load=read_asset("charts.js") + read_asset("runs.js"),
        elem_id="runs-curves",
        plotly=f"/gradio_api/file={asset('plotly/plotly-basic.min.js').as_posix()}",
    )
    resumed = gr.State(0)
    _connect(handlers, [table, empty, selected, curves], actions, resumed, [words, by_data], watch)
    return RunsTab(selected=selected, view=actions.view, resumed=resumed)


def _build_actions() -> _Actions:
    with gr.Row(elem_id="runs-actions"):
        view = gr.Button("Open in viewer", variant="primary", size="md", elem_id="runs-view", min_width=120)
        resume = gr.Button("Resume", size="md", elem_id="runs-resume", min_width=100)
        report = gr.Button("Report", size="md", elem_id="runs-report", min_width=100)
        pack = gr.Button("Download as zip", size="md", elem_id="runs-pack", min_width=120)
        delete = gr.Button("Delete", variant="stop", size="md", elem_id="runs-delete", min_width=100)
    with gr.Row(visible=False, elem_id="runs-confirm") as confirm:
        really = gr.Button("Move to the trash", variant="stop", elem_id="runs-really")
        cancel = gr.Button("Keep", elem_id="runs-cancel")
    shown = report_view("runs")
    link = gr.DownloadButton("zip", elem_id="runs-zip", visible="hidden")
    with gr.Accordion("Name, note, comparisons and other options of the selected run", open=False, elem_id="runs-more"):
        with gr.Row(equal_height=True):
            name = gr.Textbox(label="New name", max_lines=1, elem_id="runs-name")
            rename = gr.Button("Rename", scale=0, min_width=120, elem_id="runs-rename")
        with gr.Row(equal_height=True):
            note = gr.Textbox(label="Note", lines=2, max_length=run_actions.MAX_NOTE_LENGTH, elem_id="runs-note")
            keep = gr.Button("Keep note", scale=0, min_width=120, elem_id="runs-keep")
        compared = gr.CheckboxGroup(
            run_report.comparable(),
            label="The report compares with",
            info="each is measured on the same images, which takes its time",
            elem_id="runs-compared",
        )
        with gr.Row():
            epochs = gr.Number(
                None, label="Resume up to epoch", info="empty: as it was planned", precision=0, elem_id="runs-epochs"
            )
            checkpoints = gr.Checkbox(True, label="Checkpoints in the zip", elem_id="runs-checkpoints")
    return _Actions(
        view=view,
        resume=resume,
        epochs=epochs,
        name=name,
        rename=rename,
        note=note,
        keep=keep,
        checkpoints=checkpoints,
        report=report,
        compared=compared,
        shown=shown,
        pack=pack,
        link=link,
        delete=delete,
        confirm=confirm,
        really=really,
        cancel=cancel,
    )


def _connect(
    handlers: RunsHandlers, shown: list[Any], act: _Actions, resumed: gr.State, filters: list[Any], watch: Watch
) -> None:
    table, empty, selected, curves = shown
    seen, opened = shown_fingerprint(), gr.State([])
    looks = [selected, seen, *filters]
    listed = [table, empty, selected, seen]
    details: list[Any] = [curves, act.note, act.name, act.epochs, act.confirm, *act.shown.outputs, opened]
    on_page_load(handlers.look, looks, listed, **QUIET)
    on_page_load(lambda: None, None, act.epochs, **QUIET)  # else the browser shows an empty number as 0
    watch.on_change("runs", lambda _: handlers.rows(), handlers.look, looks, listed).then(
        handlers.redraw, [selected, curves], curves, queue=False, **QUIET
    )
    gr.on([filters[0].change, filters[1].change], handlers.look, looks, listed, **QUIET)
    table.select(handlers.toggle, selected, selected, **QUIET)
    selected.change(handlers.open, [selected, opened], details, **QUIET)
    renamed = act.rename.click(handlers.rename, [selected, act.name], [selected, opened], **QUIET)
    noted = act.keep.click(handlers.keep, [selected, act.note], None, **QUIET)
    deleted = act.really.click(handlers.delete, selected, [selected, act.confirm], **QUIET)
    for event in (renamed, noted, deleted):
        event.success(handlers.look, looks, listed, **QUIET)
    act.pack.click(handlers.pack, [selected, act.checkpoints], act.link, api_visibility="private").success(
        None, js=click_link("runs-zip")
    )
    reported = act.shown.outputs
    act.report.click(handlers.begin_report, selected, reported, **QUIET).success(
        handlers.report, [selected, act.compared], reported, concurrency_limit=1, api_visibility="private"
    )
    act.shown.read.click(handlers.read, selected, act.shown.page, **QUIET)
    act.delete.click(handlers.ask, selected, [act.confirm, act.really], **QUIET)
    act.cancel.click(lambda: gr.update(visible=False), None, act.confirm, **QUIET)
    act.resume.click(handlers.resume, [selected, act.epochs, resumed], resumed, **QUIET)
