"""Importing in the Data tab: propose, let the user change the atlas, import, and open the new folder."""

import html
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from regstudio.data.importing.options import ImportOptions
from regstudio.studio import importing
from regstudio.studio.studio import Studio
from regstudio.studio.workspace import Workspace
from regstudio.ui.handlers import sent, shown_to_user
from regstudio.ui.widgets.browser_tab import BrowserTab
from regstudio.ui.widgets.importer import Importer

Update = dict[Any, Any]
OpenFolder = Callable[[Workspace, Path], Iterator[Update]]


class ImportHandlers:
    """The event handlers of the form; `open_folder` chooses a folder in a workspace and yields what to show of it."""

    def __init__(self, studio: Studio, form: Importer, open_folder: OpenFolder) -> None:
        self.studio, self.form, self.open_folder = studio, form, open_folder

    def connect(self, tab: BrowserTab, outputs: list[Any]) -> None:
        """Attach the handlers; `outputs` are the components that show a data folder."""
        form = self.form
        shown = [form.proposal, form.summary, form.atlas, form.picture, form.table]
        common: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private"}
        gr.on([form.propose.click, form.source.submit], self.propose, form.fields, shown, **common)
        form.atlas.input(self.propose, [*form.fields, form.atlas], shown, **common)
        names = [tab.name, form.name, *form.fields, form.atlas]
        form.send.click(self.perform, names, [form.proposal, form.archive, *outputs], **common)

    def propose(self, *raw: Any) -> Update:
        """Show what an import would do, with the atlas that the user chose, or a proposed one."""
        form = self.form
        with shown_to_user():
            proposal = importing.propose(self.studio, *_request(*raw))
        return {
            form.proposal: gr.update(visible=True),
            form.summary: proposal.summary,
            form.atlas: gr.Dropdown(list(proposal.names), value=proposal.atlas),
            form.picture: proposal.picture,
            form.table: proposal.rows,
        }

    def perform(self, tab: str, name: str, *raw: Any) -> Iterator[Update]:
        """Import, and open the new folder."""
        with shown_to_user():
            workspace = self.studio.workspace(tab)
            source, archive, options = _request(*raw)
            done = importing.perform(self.studio, source, archive, sent(name, "the name of the data folder"), options)
            gr.Info(html.escape(f"{done.pictures:,} pictures put into {done.folder}."))
        yield {self.form.proposal: gr.update(visible=False), self.form.archive: None}
        yield from self.open_folder(workspace, done.folder)


def _request(
    source: str | None,
    archive: str | None,
    slices: str | None,
    axis: str | None,
    share: float | None,
    link: bool,
    atlas: str | None = None,
) -> tuple[str, str | None, ImportOptions]:
    """Return what the fields of the form ask for, in their order; the atlas where one was chosen."""
    options = ImportOptions(
        slices=sent(slices, "the slices"),
        axis=sent(axis, "the axis"),
        validation_share=sent(share, "the share to validate on"),
        link=bool(link),
        atlas=atlas or "",
    )
    return sent(source, "the folder"), archive, options
