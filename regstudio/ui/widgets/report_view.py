"""The report of a run: its files to download, and its page to read here."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

# Without any permission of the sandbox: whatever a report holds, it runs no script and reaches nothing.
_FRAME = "<iframe class='report' title='The report' sandbox hidden></iframe>"
_SHOW = """
const frame = element.querySelector("iframe");
function show() {
  frame.hidden = !props.value;
  frame.srcdoc = props.value || "";
}
watch("value", show);
show();
"""
_STYLE = """iframe.report { width: 100%; height: min(80vh, 1000px); background: #fff;
  border: 1px solid var(--border-color-primary); border-radius: var(--radius-lg); }
iframe.report[hidden] { display: none; }"""


@dataclass(frozen=True)
class ReportView:
    """The components: `files` to download, `read` shows the `page`."""

    files: gr.File
    read: gr.Button
    page: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        """What a report fills, in the order of the handlers' answers."""
        return [self.files, self.read, self.page]


def report_view(tab: str) -> ReportView:
    """Lay out the view, hidden until there is a report; `tab` begins the ids of its components."""
    read = gr.Button("Read the report here", visible=False, size="md", elem_id=f"{tab}-report-read")
    files = gr.File(visible=False, interactive=False, file_count="multiple", elem_id=f"{tab}-report-files")
    page = gr.HTML(
        "", html_template=_FRAME, css_template=_STYLE, js_on_load=_SHOW, visible=False, elem_id=f"{tab}-report-page"
    )
    return ReportView(files=files, read=read, page=page)
