"""Importing in the Data tab: propose, let the user change atlas and roles, import, and open the new folder."""

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from regstudio.data.importing.options import ImportOptions
from regstudio.errors import ConfigError
from regstudio.studio import importing, uploads
from regstudio.studio.studio import Studio
from regstudio.studio.workspace import Workspace
from regstudio.ui.handlers import sent, shown_to_user
from regstudio.ui.widgets.browser_tab import BrowserTab
from regstudio.ui.widgets.folder_drop import zip_of
from regstudio.ui.widgets.importer import Importer

Update = dict[Any, Any]
OpenFolder = Callable[[Workspace, Path], Iterator[Update]]
_COMMON: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private"}


class ImportHandlers:
    """The event handlers of the form in the accordion `fold`.

    `open_folder` chooses a folder in a workspace and yields what to show of it.
    """

    def __init__(self, studio: Studio, form: Importer, fold: gr.Accordion, open_folder: OpenFolder) -> None:
        self.studio, self.form, self.fold, self.open_folder = studio, form, fold, open_folder
        self._shown = [form.proposal, form.summary, form.atlas, form.picture, form.table, form.gallery, form.names]
        self._shown += [form.files, form.changes, form.looking]

    def connect(self, tab: BrowserTab, outputs: list[Any]) -> None:
        """Attach the handlers; `outputs` are the components that show a data folder."""
        form = self.form
        asked = gr.on([form.propose.click, form.source.submit], self.propose, form.fields, self._shown, **_COMMON)
        asked.failure(self.hide, None, [form.looking, form.proposal], **_COMMON)
        emptied = [form.source.input, form.archive.clear]
        gr.on(emptied, self.hide, None, [form.looking, form.proposal], queue=False, **_COMMON)
        chosen = [*form.fields, form.atlas, form.changes]
        options = [form.slices.input, form.axis.input, form.share.release, form.link.input]
        clicked = [form.role, form.files, *chosen]
        for event in (
            gr.on(options, self.propose_again, chosen, self._shown, **_COMMON),
            form.atlas.input(self.propose, chosen, self._shown, **_COMMON),
            form.gallery.select(self.change, [form.names, *clicked], self._shown, **_COMMON),
            form.table.select(self.change_row, clicked, self._shown, **_COMMON),
        ):
            event.failure(lambda: gr.update(visible=False), None, form.looking, **_COMMON)
        form.send.click(
            self.perform,
            [tab.name, form.name, *chosen],
            [form.proposal, form.archive, self.fold, *outputs],
            **_COMMON,
        )

    def connect_folder(self, tab: BrowserTab, unlaid: gr.Textbox, outputs: list[Any]) -> None:
        """Propose how to import a folder that was opened, or dropped, as data, but is not laid out as these are."""
        form = self.form
        entered = unlaid.change(
            self.enter, unlaid, [self.fold, form.source, form.name, form.archive, form.proposal], **_COMMON
        )
        proposed = [entered.then(self.propose_unlaid, [unlaid, *form.fields], self._shown, **_COMMON)]
        dropped = form.archive.upload(
            self.drop,
            [tab.name, form.archive],
            [self.fold, form.source, form.name, form.archive, form.proposal, *outputs],
            **_COMMON,
        )
        proposed.append(dropped.success(self.propose_again, form.fields, self._shown, **_COMMON))
        for event in proposed:
            event.failure(self.hide, None, [form.looking, form.proposal], **_COMMON)

    def enter(self, unlaid: str) -> list[Any]:
        """Open the form with the folder, and its name, in it; hide what was proposed of another."""
        hidden = gr.update(visible=False)
        if not unlaid:
            return [gr.skip(), gr.skip(), gr.skip(), gr.skip(), hidden]
        return [gr.update(open=True), unlaid, self._free(Path(unlaid).name), None, hidden]

    def propose_unlaid(self, unlaid: str, *raw: Any) -> Iterator[Update]:
        """Show what an import of that folder would do, if there is one."""
        if unlaid:
            yield from self.propose(*raw)

    def drop(self, tab: str, files: Sequence[str] | None) -> Iterator[Update]:
        """Open what was dropped if it is a data folder; else open the form with it."""
        form = self.form
        with shown_to_user():
            workspace, archive = self.studio.workspace(tab), zip_of(files)
            if archive is None:
                return
            name = self._free(uploads.proposed_name([str(archive)], ""))
            laid = uploads.holds_data_folder(archive, workspace.config.layout)
            if not laid:
                hidden = gr.update(visible=False)
                yield {self.fold: gr.update(open=True), form.source: "", form.name: name, form.proposal: hidden}
                return
            upload = uploads.receive(self.studio, workspace.config.layout, [archive], name, None)
            gr.Info(html.escape(str(upload)))
        yield {form.archive: None, form.proposal: gr.update(visible=False)}
        yield from self.open_folder(workspace, upload.folder)

    @staticmethod
    def hide() -> tuple[Any, Any]:
        """Hide a proposal for other files than the form names now."""
        return gr.update(visible=False), gr.update(visible=False)

    def propose_again(self, *raw: Any) -> Iterator[Update]:
        """Show what an import would do with other options, once files are named."""
        if raw[0] or raw[1]:
            yield from self.propose(*raw)

    def propose(self, *raw: Any) -> Iterator[Update]:
        """Show what an import would do, with the atlas and the roles that the user chose, or proposed ones."""
        form = self.form
        yield {form.looking: gr.update(visible=True)}
        with shown_to_user():
            source, archive, options = _request(*raw)
            proposal = importing.propose(self.studio, source, archive, options)
        yield {
            form.looking: gr.update(visible=False),
            form.proposal: gr.update(visible=True),
            form.summary: proposal.summary,
            form.atlas: gr.Dropdown(list(proposal.names), value=proposal.atlas),
            form.picture: proposal.picture,
            form.table: proposal.rows,
            form.gallery: gr.Gallery(proposal.pictures, selected_index=None),
            form.names: proposal.shown,
            form.files: proposal.files,
            form.changes: list(options.changes),
        }

    def change(
        self, event: gr.SelectData, names: Sequence[str], role: str, files: Any, *chosen: Any
    ) -> Iterator[Update]:
        """Give the clicked picture the role that a click stands for."""
        with shown_to_user():
            place = event.index if isinstance(event.index, int) else -1
            if not 0 <= place < len(names):
                raise ConfigError("The page shows an older proposal. Press “Show what will be done”.")
        yield from self._with_role(str(names[place]), role, files, *chosen)

    def change_row(self, event: gr.SelectData, role: str, files: Any, *chosen: Any) -> Iterator[Update]:
        """Give the picture of the clicked row that role."""
        yield from self._with_role(str(event.row_value[1]), role, files, *chosen)

    def _with_role(self, name: str, role: str, files: Mapping[str, Sequence[str]], *chosen: Any) -> Iterator[Update]:
        *fields, atlas, changes = chosen
        with shown_to_user():
            if role == "atlas":
                changed, atlas = importing.as_atlas(changes, files, name), name
            elif name == atlas and role != "image":
                raise ConfigError(f"{name} is the atlas. Make another picture the atlas first.")
            else:
                changed = importing.changed(changes, files, name, role)
        yield from self.propose(*fields, atlas, changed)

    def perform(self, tab: str, name: str, *raw: Any) -> Iterator[Update]:
        """Import, and open the new folder."""
        with shown_to_user():
            workspace = self.studio.workspace(tab)
            source, archive, options = _request(*raw)
            done = importing.perform(self.studio, source, archive, sent(name, "the name of the data folder"), options)
            gr.Info(html.escape(f"{done.pictures:,} pictures put into {done.folder}."))
        yield {self.form.proposal: gr.update(visible=False), self.form.archive: None, self.fold: gr.update(open=False)}
        yield from self.open_folder(workspace, done.folder)

    def _free(self, name: str) -> str:
        return uploads.free_name(self.studio, name)


def _request(
    source: str | None,
    archive: Sequence[str] | None,
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
    dropped = zip_of(archive)
    return sent(source, "the folder"), None if dropped is None else str(dropped), options
