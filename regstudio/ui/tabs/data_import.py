"""Importing in the Data tab: propose, let the user change atlas and roles, import, and open the new folder."""

import html
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from regstudio.data.importing.options import ImportOptions
from regstudio.errors import ConfigError
from regstudio.studio import importing
from regstudio.studio.studio import Studio
from regstudio.studio.workspace import Workspace
from regstudio.ui.handlers import sent, shown_to_user
from regstudio.ui.widgets.browser_tab import BrowserTab
from regstudio.ui.widgets.importer import Importer

Update = dict[Any, Any]
OpenFolder = Callable[[Workspace, Path], Iterator[Update]]
_COMMON: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private"}


class ImportHandlers:
    """The event handlers of the form; `open_folder` chooses a folder in a workspace and yields what to show of it."""

    def __init__(self, studio: Studio, form: Importer, open_folder: OpenFolder) -> None:
        self.studio, self.form, self.open_folder = studio, form, open_folder
        self._shown = [form.proposal, form.summary, form.atlas, form.picture, form.table, form.gallery, form.names]
        self._shown.append(form.changes)

    def connect(self, tab: BrowserTab, outputs: list[Any]) -> None:
        """Attach the handlers; `outputs` are the components that show a data folder."""
        form = self.form
        gr.on([form.propose.click, form.source.submit], self.propose, form.fields, self._shown, **_COMMON)
        chosen = [*form.fields, form.atlas, form.changes]
        form.atlas.input(self.propose, chosen, self._shown, **_COMMON)
        form.gallery.select(self.change, [form.role, form.names, *chosen], self._shown, **_COMMON)
        form.table.select(self.change_row, [form.role, *chosen], self._shown, **_COMMON)
        form.send.click(
            self.perform, [tab.name, form.name, *chosen], [form.proposal, form.archive, *outputs], **_COMMON
        )

    def connect_folder(self, unlaid: gr.Textbox, fold: gr.Accordion) -> None:
        """Propose how to import a folder that was opened as data, but is not laid out as these are."""
        unlaid.change(self.enter, unlaid, [fold, self.form.source, self.form.name], **_COMMON).then(
            self.propose_unlaid, [unlaid, *self.form.fields], self._shown, **_COMMON
        )

    def enter(self, unlaid: str) -> tuple[Any, Any, Any]:
        """Open the form with the folder, and its name, in it."""
        return (gr.update(open=True), unlaid, Path(unlaid).name) if unlaid else (gr.skip(), gr.skip(), gr.skip())

    def propose_unlaid(self, unlaid: str, *raw: Any) -> Update:
        """Show what an import of that folder would do, if there is one."""
        return self.propose(*raw) if unlaid else {self.form.proposal: gr.update(visible=False)}

    def propose(self, *raw: Any) -> Update:
        """Show what an import would do, with the atlas and the roles that the user chose, or proposed ones."""
        form = self.form
        with shown_to_user():
            source, archive, options = _request(*raw)
            proposal = importing.propose(self.studio, source, archive, options)
        return {
            form.proposal: gr.update(visible=True),
            form.summary: proposal.summary,
            form.atlas: gr.Dropdown(list(proposal.names), value=proposal.atlas),
            form.picture: proposal.picture,
            form.table: proposal.rows,
            form.gallery: gr.Gallery(proposal.pictures, selected_index=None),
            form.names: proposal.shown,
            form.changes: list(options.changes),
        }

    def change(self, event: gr.SelectData, role: str, names: Sequence[str], *chosen: Any) -> Update:
        """Give the clicked picture the role that a click stands for."""
        with shown_to_user():
            place = event.index if isinstance(event.index, int) else -1
            if not 0 <= place < len(names):
                raise ConfigError("The page shows an older proposal. Press “Show what will be done”.")
        return self._with_role(str(names[place]), role, *chosen)

    def change_row(self, event: gr.SelectData, role: str, *chosen: Any) -> Update:
        """Give the picture of the clicked row that role."""
        return self._with_role(str(event.row_value[1]), role, *chosen)

    def _with_role(self, name: str, role: str, *chosen: Any) -> Update:
        *fields, atlas, changes = chosen
        if role == "atlas":
            return self.propose(*fields, name, changes)
        with shown_to_user():
            if name == atlas:
                raise ConfigError(f"{name} is the atlas. Make another picture the atlas first.")
            changed = importing.changed(changes, name, role)
        return self.propose(*fields, atlas, changed)

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
    changes: Sequence[Sequence[str]] = (),
) -> tuple[str, str | None, ImportOptions]:
    """Return what the fields of the form ask for, in their order; atlas and roles where they were chosen."""
    options = ImportOptions(
        slices=sent(slices, "the slices"),
        axis=sent(axis, "the axis"),
        validation_share=sent(share, "the share to validate on"),
        link=bool(link),
        atlas=atlas or "",
        changes=tuple((str(name), str(role)) for name, role in changes),
    )
    return sent(source, "the folder"), archive, options
