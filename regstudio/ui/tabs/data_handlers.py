"""What the Data tab does: choose a folder, show what it holds, turn the pages of its pictures."""

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from regstudio.config import Setting, TrainConfig, settings
from regstudio.data.folders.layout import DataIndex
from regstudio.errors import RegStudioError
from regstudio.studio import uploads
from regstudio.studio.data_overview import (
    Colours,
    colours_of,
    first_look,
    is_unlaid,
    overview,
    picture,
    refusal,
    sheet_page,
)
from regstudio.studio.findings import change_of, grouped
from regstudio.studio.folders import RecentFolders
from regstudio.studio.studio import Studio
from regstudio.studio.workspace import Workspace
from regstudio.ui.handlers import PARALLEL, sent, shown_to_user
from regstudio.ui.widgets.browser_tab import BrowserTab
from regstudio.ui.widgets.data_panel import SETS, DataPanel
from regstudio.ui.widgets.folder import FolderField, picked, recent_samples
from regstudio.ui.widgets.form import from_field, to_field
from regstudio.ui.widgets.uploader import Uploader

ATLAS_SIZE = 384  # pixels of the longer side
QUICK = 150  # files that open so fast that the verdict and the pictures may come together

Update = dict[Any, Any]


def reading_settings() -> list[Setting]:
    """Return the settings that decide which files are used and how they are read, except the data folder."""
    # Settings that may change when a run is resumed (memory, processes) change no picture.
    return [setting for setting in settings("layout", "reading") if not setting.resumable]


class DataHandlers:
    """The event handlers of the tab: each validates its input, changes the workspace, and returns what to show.

    The first argument names the browser tab whose workspace it is.
    """

    def __init__(
        self,
        studio: Studio,
        recent: RecentFolders,
        folder: FolderField,
        uploader: Uploader,
        fields: list[Component],
        panel: DataPanel,
        chosen: gr.State,
        unlaid: gr.Textbox,
    ) -> None:
        self.studio, self.recent, self.folder, self.uploader = studio, recent, folder, uploader
        self.fields, self.panel, self.chosen, self.unlaid = fields, panel, chosen, unlaid
        self.outputs: list[Any] = [
            folder.box, folder.recent, uploader.files, chosen, unlaid, *fields, panel.overview, panel.train,
            panel.atlas, panel.problems, panel.sheet, panel.which, *self._sheet_outputs(),
        ]  # fmt: skip

    def connect(self, tab: BrowserTab, apply: gr.Button, reset: gr.Button) -> None:
        """Attach the handlers to the events of the components."""
        folder, panel, uploader = self.folder, self.panel, self.uploader
        common: dict[str, Any] = {
            **PARALLEL,
            "outputs": self.outputs,
            "trigger_mode": "multiple",  # the user may choose another folder while a large one is being opened
        }
        name, names = tab.name, [tab.name, folder.box, *self.fields]
        gr.on([folder.box.submit, folder.open.click, apply.click], self.choose, inputs=names, **common)
        folder.use.click(self.choose, inputs=[name, folder.place, *self.fields], **common)
        folder.recent.select(self.choose_recent, inputs=[name, *self.fields], **common)
        folder.demo.click(self.choose_demo, inputs=name, **common)
        reset.click(self.choose_documented, inputs=[name, folder.box], **common)
        uploader.send.click(self.upload, inputs=[name, uploader.files, uploader.name, uploader.role], **common)
        panel.problems.mend(self.mend, name, **common)
        tab.on_load(self.show, **common)
        turning: dict[str, Any] = {"outputs": self._sheet_outputs(), "api_visibility": "private"}
        at = [name, panel.which, panel.page]
        panel.which.input(lambda tab, which: self.sheet(tab, which, 0), inputs=at[:2], **turning)
        panel.previous.click(lambda tab, which, page: self.sheet(tab, which, page, -1), at, **turning)
        panel.next.click(lambda tab, which, page: self.sheet(tab, which, page, 1), at, **turning)

    def choose(self, tab: str, folder: str, *raw: Any) -> Iterator[Update]:
        """Choose a folder, with the names in it and how to read them, and show what it holds."""
        with shown_to_user():
            workspace = self.studio.workspace(tab)
            values = {
                setting.name: from_field(setting, value) for setting, value in zip(reading_settings(), raw, strict=True)
            }
        yield from self._open(workspace, folder, values)

    def choose_recent(self, event: gr.SelectData, tab: str, *raw: Any) -> Iterator[Update]:
        """Choose a recent folder."""
        yield from self.choose(tab, picked(event, self.recent.read(self.studio.allowed)), *raw)

    def choose_documented(self, tab: str, folder: str) -> Iterator[Update]:
        """Choose a folder with the documented names in it."""
        with shown_to_user():
            workspace = self.studio.workspace(tab)
            folder = sent(folder, "the folder")
        yield from self._open(workspace, folder, _documented())

    def choose_demo(self, tab: str) -> Iterator[Update]:
        """Choose the demo data; make them if they are missing."""
        with shown_to_user():
            workspace, folder = self.studio.workspace(tab), self.studio.ensure_demo()
        yield from self._open(workspace, str(folder), _documented())

    def upload(self, tab: str, files: Sequence[str] | None, name: str, role: str | None) -> Iterator[Update]:
        """Receive an upload and choose its folder."""
        with shown_to_user():
            workspace = self.studio.workspace(tab)
            paths = [Path(path) for path in files or []]
            name = sent(name, "the name of the data folder")
            upload = uploads.receive(self.studio, workspace.config.layout, paths, name, role)
            gr.Info(html.escape(str(upload)))
        yield {self.uploader.files: None}
        yield from self._open(workspace, str(upload.folder), {})

    def mend(self, event: gr.EventData, tab: str) -> Iterator[Update]:
        """Do what was clicked beside a problem, and show what the folder, or its copy, then holds."""
        with shown_to_user():
            workspace = self.studio.workspace(tab)
            folder, values = change_of(self.studio, workspace, event._data)
            if folder != workspace.config.layout.data_base_dir:
                gr.Info(html.escape(f"A copy was made in {folder}; your files stay as they are."))
        yield from self._open(workspace, str(folder), values)

    def open_documented(self, workspace: Workspace, folder: Path) -> Iterator[Update]:
        """Choose a folder that has the documented names in it, and yield what it holds."""
        yield from self._open(workspace, str(folder), _documented())

    def show(self, tab: str) -> Iterator[Update]:
        """Yield what the page shows of the chosen folder: first from file names, then from the opened files."""
        with shown_to_user():
            workspace = self.studio.workspace(tab)
        yield from self._shown(workspace, self._look(workspace))

    def sheet(self, tab: str, which: str, page: int | None, turn: int = 0) -> Update:
        """Return one page of the contact sheet: the one shown, or that many pages further on."""
        with shown_to_user():
            workspace = self.studio.workspace(tab)
            report = workspace.known_report
            index = report.index if report else workspace.index()
            return self._sheet(
                workspace, index, colours_of(report) if report else None, which, int(sent(page, "the page")) + turn
            )

    def _open(self, workspace: Workspace, folder: str, values: dict[str, Any]) -> Iterator[Update]:
        """Choose a folder in the workspace and yield what it holds."""

        def updates() -> Iterator[Update]:
            was_demo = workspace.shows_demo
            self.recent.add(workspace.choose_data(folder, values))
            chosen = {"folder": str(workspace.config.layout.data_base_dir), "was_demo": was_demo}
            yield {self.chosen: chosen | {"is_demo": workspace.shows_demo}, **self._nothing()}
            yield from self._look(workspace)

        yield from self._shown(workspace, updates())

    def _shown(self, workspace: Workspace, updates: Iterator[Update]) -> Iterator[Update]:
        """Yield the updates; where the folder cannot be opened, say so in the place of what another one holds."""
        try:
            yield from updates
        except RegStudioError as error:
            yield self._refused(workspace, str(error))
        except Exception:
            yield self._refused(workspace, "Something went wrong that should not have.")
            with shown_to_user():
                raise

    def _refused(self, workspace: Workspace, reason: str) -> Update:
        return {
            self.panel.overview: refusal(reason, workspace.config.layout.data_base_dir),
            self.unlaid: "",
            **self._nothing(),
        }

    def _nothing(self) -> Update:
        """Hide what another folder holds."""
        panel = self.panel
        return {
            panel.train: gr.Button(interactive=False),
            panel.atlas: gr.Image(visible=False),
            panel.problems: gr.update(value={}, visible=False),
            panel.sheet: gr.update(visible=False),
        }

    def _look(self, workspace: Workspace) -> Iterator[Update]:
        config, index = workspace.config, workspace.index()
        yield {
            self.folder.box: str(config.layout.data_base_dir),
            self.folder.recent: recent_samples(self.studio, self.recent),
            **self._shown_fields(config),
            self.panel.overview: first_look(index),
        }
        large = workspace.known_report is None and len(index.train) + len(index.validation) > QUICK
        if large:  # show the first pictures before all files are opened
            yield self._pictures(workspace, index, None)
        yield self._contents(workspace, index if large else None)

    def _sheet(self, workspace: Workspace, index: DataIndex, colours: Colours | None, which: str, page: int) -> Update:
        cases = index.validation if which == SETS[1] else index.train
        page, shown, words = sheet_page(cases, page)
        reading = workspace.config.reading
        pictures = [picture(case, reading, colours, size=192, atlas=case.fixed or index.atlas) for case in shown]
        panel = self.panel
        return {
            panel.page: page,
            panel.range: gr.Button(words),
            panel.gallery: gr.Gallery(pictures, selected_index=None),
            panel.previous: gr.Button(interactive=page > 0),
            panel.next: gr.Button(interactive=sheet_page(cases, page + 1)[0] > page),
        }

    def _contents(self, workspace: Workspace, seen: DataIndex | None) -> Update:
        """Open all files and return the verdict, and the pictures unless the page shows those of `seen` already."""
        report, panel = workspace.report(), self.panel
        verdict, index = overview(report), report.index
        groups = grouped(index, workspace.config.layout)
        update: Update = {
            self.unlaid: str(index.root) if is_unlaid(report) else "",
            panel.overview: verdict,
            panel.train: gr.Button(interactive=report.can_train),
            panel.problems: gr.update(
                value={"groups": groups, "count": len(index.problems)},
                visible=bool(groups) and index.root.is_dir() and not is_unlaid(report),
            ),
        }
        if seen is None or (seen.atlas, seen.train, seen.validation) != (index.atlas, index.train, index.validation):
            update |= self._pictures(workspace, index, colours_of(report))
        return update

    def _pictures(self, workspace: Workspace, index: DataIndex, colours: Colours | None) -> Update:
        """Return the atlas and the first page of the contact sheet, of a set with labels if there is one."""
        panel = self.panel
        cases = {SETS[0]: index.train, SETS[1]: index.validation}
        which = next((name for name in SETS if any(case.label for case in cases[name])), SETS[0])
        update: Update = {
            panel.atlas: gr.Image(visible=False),
            panel.sheet: gr.update(visible=bool(index.train or index.validation)),
            panel.which: gr.Radio(value=which),
            **self._sheet(workspace, index, colours, which, 0),
        }
        if index.reference:
            image, name = picture(index.reference, workspace.config.reading, colours, size=ATLAS_SIZE)
            what = "Atlas" if index.atlas else "The first fixed image"
            update[panel.atlas] = gr.Image(image, visible=True, label=f"{what}: {name}")
        return update

    def _shown_fields(self, config: TrainConfig) -> Update:
        values = config.layout.model_dump() | config.reading.model_dump()
        return {
            component: to_field(setting, values[setting.name])
            for setting, component in zip(reading_settings(), self.fields, strict=True)
        }

    def _sheet_outputs(self) -> list[Component]:
        panel = self.panel
        return [panel.page, panel.range, panel.gallery, panel.previous, panel.next]


def _documented() -> dict[str, Any]:
    # Presets set how images are normalised, too, which no name of a folder changes.
    return {setting.name: setting.default for setting in reading_settings() if setting.name != "normalise"}
