"""The table of all cases in the Viewer: measured in the background, worst first; a click opens the case."""

import html
from typing import TYPE_CHECKING, Any

import gradio as gr

from regstudio.ui.handlers import QUIET, fingerprint, on_page_load, shown_fingerprint
from regstudio.ui.tabs.viewer_handlers import ViewerHandlers, choice_of, request, shown

if TYPE_CHECKING:  # which imports torch
    from regstudio.studio.case_table import CaseTable

REFRESH_SECONDS = 1.0
HINT = (
    "All cases to validate on, by the checkpoint or method that is chosen above, and by the one to compare with: "
    "worst first. A click opens a case; a click on a heading sorts."
)


class CaseHandlers:
    """The handlers of the table; every argument comes from a browser and is validated."""

    def __init__(self, viewer: ViewerHandlers) -> None:
        self._viewer = viewer
        self._table: CaseTable | None = None
        self.words = viewer.words

    @shown
    def start(self, *boxes: Any) -> None:
        """Begin to measure."""
        from regstudio.studio.case_table import CaseTable

        if self._table is None:
            self._table = CaseTable(self._viewer.session)
        self._table.start(choice_of(boxes))

    @shown
    def stop(self) -> None:
        """End the measuring."""
        if self._table is not None:
            self._table.stop()

    @shown
    def look(self, seen: Any) -> list[Any]:
        """Show what is measured by now, if anything changed since this page looked."""
        if self._table is None:
            return [gr.skip()] * 6
        progress = self._table.progress()
        now = fingerprint(progress)
        if now == seen:
            return [gr.skip()] * 6
        headings, rows = self._table.table()
        active = progress["state"] == "running"
        value = {"headers": headings, "data": rows}
        return [
            _words(progress),
            gr.Dataframe(value=value, visible=bool(rows)),
            gr.Button(interactive=not active),
            gr.Button(interactive=active),
            gr.Timer(active=active),
            now,
        ]

    @shown
    def opened(self, event: gr.SelectData) -> str:
        """Ask for the case of the row that was clicked, with the methods that it was measured by."""
        choice = self._table.choice if self._table else choice_of(())
        return request(
            choice.run or "", choice.checkpoint or "", str(event.row_value[0]), choice.compare or "", choice.path or ""
        )


def build_cases(viewer: ViewerHandlers, boxes: list[Any], asked: gr.Textbox) -> None:
    """Lay out the table; a click on a row puts into `asked` what the Viewer opens."""
    handlers = CaseHandlers(viewer)
    with gr.Accordion("All cases", open=False, elem_id="viewer-cases") as accordion:
        with gr.Row():
            start = gr.Button("Measure all cases", variant="primary", scale=0, min_width=200, elem_id="cases-start")
            stop = gr.Button("Stop", scale=0, min_width=100, interactive=False, elem_id="cases-stop")
        words = gr.Markdown(HINT, elem_id="cases-words")
        table = gr.Dataframe(
            headers=["Case", "Note"],
            type="array",
            interactive=False,
            visible=False,
            show_label=False,
            wrap=True,
            max_height=420,
            pinned_columns=1,
            buttons=["copy", "fullscreen"],
            elem_id="cases-table",
        )
    seen = shown_fingerprint()
    timer = gr.Timer(REFRESH_SECONDS, active=False)  # a page that only looks does not ask
    looked = [words, table, start, stop, timer, seen]
    after: dict[str, Any] = {"fn": handlers.look, "inputs": seen, "outputs": looked, **QUIET}
    start.click(handlers.start, boxes, None, **QUIET).success(**after)
    stop.click(handlers.stop, None, None, **QUIET).success(**after)
    timer.tick(handlers.look, seen, looked, queue=False, concurrency_limit=None, **QUIET)
    accordion.expand(handlers.look, seen, looked, **QUIET)
    on_page_load(handlers.look, seen, looked, **QUIET)
    table.select(handlers.opened, None, asked, **QUIET)


def _words(progress: dict[str, Any]) -> str:
    names = [html.escape(name) for name in progress["methods"]]
    if len(names) > 1:
        names = [f"**{letter}** {name}" for letter, name in zip("AB", names, strict=True)]
    counted = f"{progress['done']} of {progress['total']} cases"
    words = {"running": "Measuring", "stopped": "Stopped", "failed": f"Failed: {html.escape(progress['message'])}"}
    state = words.get(progress["state"], "")
    return f"{state + ' · ' if state else ''}{counted} · {', '.join(names)}"
