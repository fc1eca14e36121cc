"""The Data tab: choose a data folder, see what is in it and what is wrong with it, or upload one."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    overview,
    picture,
    problem_rows,
    refusal,
    sheet_page,
)
from regstudio.studio.folders import RecentFolders
from regstudio.studio.studio import Studio
from regstudio.studio.workspace import Workspace
from regstudio.ui.handlers import PARALLEL, shown_to_user
from regstudio.ui.tabs.data_import import ImportHandlers
from regstudio.ui.widgets.browser_tab import BrowserTab
from regstudio.ui.widgets.data_panel import SETS, DataPanel, build_data_panel
from regstudio.ui.widgets.folder import FolderField, build_folder, picked, recent_samples
from regstudio.ui.widgets.form import field, from_field, to_field
from regstudio.ui.widgets.importer import build_importer
from regstudio.ui.widgets.uploader import Uploader, build_uploader

ATLAS_SIZE = 384  # pixels of the longer side
WELCOME = (
    "RegStudio lays one medical image on another by a smooth deformation: at once, or by a network that it trains on "
    "your own images. Choose a data folder to train on, try the demo data, or register two images without training."
)
QUICK = 150  # files that open so fast that the verdict and the pictures may come together

Update = dict[Any, Any]


@dataclass(frozen=True)
class DataTab:
    """What other tabs need: `train` leads on to the Train tab, `two_images` to the Viewer.

    `chosen` changes when other data are chosen, and says whether the demo data were and are: "was_demo", "is_demo".
    `normalise` is the field of that setting, which presets set, too.
    """

    chosen: gr.State
    normalise: Component
    train: gr.Button
    two_images: gr.Button


def reading_settings() -> list[Setting]:
    """Return the settings that decide which files are used and how they are read, except the data folder."""
    # Settings that may change when a run is resumed (memory, processes) change no picture.
    return [setting for setting in settings("layout", "reading") if not setting.resumable]


def build(studio: Studio, tab: BrowserTab) -> DataTab:
    """Lay out the tab; called inside its gr.Tab."""
    recent = RecentFolders()
    with gr.Row(equal_height=True, elem_id="data-welcome"):
        gr.Markdown(WELCOME)
        two_images = gr.Button("Register two images", scale=0, min_width=240, elem_id="data-two-images")
    folder = build_folder(studio, recent)
    with gr.Accordion("Upload a data folder", open=False, elem_id="data-upload"):
        uploader = build_uploader(studio)
    with gr.Accordion("Import files as they come", open=False, elem_id="data-import"):
        importer = build_importer(studio)
    with gr.Accordion("Advanced: names of folders and files, and how they are read", open=False, elem_id="data-names"):
        fields, apply, reset = _build_fields()
    panel = build_data_panel(studio)
    chosen = gr.State(None)
    handlers = DataHandlers(studio, recent, folder, uploader, fields, panel, chosen)
    handlers.connect(tab, apply, reset)
    ImportHandlers(studio, importer, handlers.open_documented).connect(tab, handlers.outputs)
    normalise = dict(zip([setting.name for setting in reading_settings()], fields, strict=True))["normalise"]
    return DataTab(chosen=chosen, normalise=normalise, train=panel.train, two_images=two_images)


def _build_fields() -> tuple[list[Component], gr.Button, gr.Button]:
    with gr.Row(elem_classes="setting-fields"):
        fields = [field(setting) for setting in reading_settings()]
    for setting, component in zip(reading_settings(), fields, strict=True):
        component.elem_id = f"data-{setting.name}"  # the training's form has some of these settings, too
    with gr.Row():
        apply = gr.Button("Apply", variant="primary", elem_id="data-apply")
        reset = gr.Button("Back to the documented names", elem_id="data-reset")
    return fields, apply, reset


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
    ) -> None:
        self.studio, self.recent, self.folder, self.uploader = studio, recent, folder, uploader
        self.fields, self.panel, self.chosen = fields, panel, chosen
        self.outputs: list[Any] = [
            folder.box, folder.recent, uploader.files, chosen, *fields, panel.overview, panel.train, panel.atlas,
            panel.problems, panel.sheet, panel.which, *self._sheet_outputs(),
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
        tab.on_load(self.show, **common)
        turning: dict[str, Any] = {"outputs": self._sheet_outputs(), "api_visibility": "private"}
        at = [name, panel.which, panel.page]
        panel.which.input(lambda tab, which: self.sheet(tab, which, 0), inputs=at[:2], **turning)
        panel.previous.click(lambda tab, which, page: self.sheet(tab, which, page - 1), at, **turning)
        panel.next.click(lambda tab, which, page: self.sheet(tab, which, page + 1), at, **turning)

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
            upload = uploads.receive(self.studio, workspace.config.layout, paths, name, role)
            gr.Info(html.escape(str(upload)))
        yield {self.uploader.files: None}
        yield from self._open(workspace, str(upload.folder), {})

    def open_documented(self, workspace: Workspace, folder: Path) -> Iterator[Update]:
        """Choose a folder that has the documented names in it, and yield what it holds."""
        yield from self._open(workspace, str(folder), _documented())

    def show(self, tab: str) -> Iterator[Update]:
        """Yield what the page shows of the chosen folder: first from file names, then from the opened files."""
        with shown_to_user():
            workspace = self.studio.workspace(tab)
        yield from self._shown(workspace, self._look(workspace))

    def sheet(self, tab: str, which: str, page: int) -> Update:
        """Return one page of the contact sheet."""
        with shown_to_user():
            workspace = self.studio.workspace(tab)
            report = workspace.known_report
            index = report.index if report else workspace.index()
            return self._sheet(workspace, index, colours_of(report) if report else None, which, int(page))

    def _open(self, workspace: Workspace, folder: str, values: dict[str, Any]) -> Iterator[Update]:
        """Choose a folder in the workspace and yield what it holds."""

        def updates() -> Iterator[Update]:
            was_demo = workspace.shows_demo
            self.recent.add(workspace.choose_data(folder, values))
            chosen = {"folder": str(workspace.config.layout.data_base_dir), "was_demo": was_demo}
            yield {self.chosen: chosen | {"is_demo": workspace.shows_demo}}
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
        panel = self.panel
        return {
            panel.overview: refusal(reason, workspace.config.layout.data_base_dir),
            panel.train: gr.Button(interactive=False),
            panel.atlas: gr.Image(visible=False),
            panel.problems: gr.Dataframe(visible=False),
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
        verdict, index, rows = overview(report), report.index, problem_rows(report.index)
        update: Update = {
            panel.overview: verdict,
            panel.train: gr.Button(interactive=report.can_train),
            panel.problems: gr.Dataframe(
                rows, visible=bool(rows) and index.root.is_dir(), label=f"Problems ({len(index.problems)})"
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
