"""The Data tab: choose a data folder, see what is in it and what is wrong with it, or upload one."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from regstudio.config import Setting, settings
from regstudio.data.layout import DataIndex
from regstudio.studio import uploads
from regstudio.studio.data_overview import Colours, colours_of, first_look, overview, picture, problem_rows, sheet_page
from regstudio.studio.folders import RecentFolders
from regstudio.studio.studio import Studio
from regstudio.ui.handlers import PARALLEL, on_page_load, shown_to_user
from regstudio.ui.widgets.data_panel import SETS, DataPanel, build_data_panel
from regstudio.ui.widgets.folder import FolderField, build_folder, picked, recent_samples
from regstudio.ui.widgets.form import field, from_field, to_field
from regstudio.ui.widgets.uploader import Uploader, build_uploader

ATLAS_SIZE = 384  # pixels of the longer side
QUICK = 150  # files that open so fast that the verdict and the pictures may come together

Update = dict[Any, Any]


@dataclass(frozen=True)
class DataTab:
    """What other tabs need: `demo` chooses the demo data, `train` leads on to the Train tab."""

    demo: gr.Button
    train: gr.Button


def reading_settings() -> list[Setting]:
    """Return the settings that decide which files are used and how they are read, except the data folder."""
    # Settings that may change when a run is resumed (memory, processes) change no picture.
    return [setting for setting in settings("layout", "reading") if not setting.resumable]


def build(studio: Studio) -> DataTab:
    """Lay out the tab; called inside its gr.Tab."""
    recent = RecentFolders()
    folder = build_folder(studio, recent)
    with gr.Accordion("Upload a data folder", open=False, elem_id="data-upload"):
        uploader = build_uploader(studio)
    with gr.Accordion("Advanced: names of folders and files, and how they are read", open=False, elem_id="data-names"):
        fields, apply, reset = _build_fields()
    panel = build_data_panel(studio)
    DataHandlers(studio, recent, folder, uploader, fields, panel).connect(apply, reset)
    return DataTab(demo=folder.demo, train=panel.train)


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
    """The event handlers of the tab: each validates its input, changes the studio, and returns what to show."""

    def __init__(
        self,
        studio: Studio,
        recent: RecentFolders,
        folder: FolderField,
        uploader: Uploader,
        fields: list[Component],
        panel: DataPanel,
    ) -> None:
        self.studio, self.recent, self.folder, self.uploader = studio, recent, folder, uploader
        self.fields, self.panel = fields, panel
        self.outputs: list[Any] = [
            folder.box, folder.recent, uploader.files, *fields, panel.overview, panel.train, panel.atlas,
            panel.problems, panel.sheet, panel.which, *self._sheet_outputs(),
        ]  # fmt: skip

    def connect(self, apply: gr.Button, reset: gr.Button) -> None:
        """Attach the handlers to the events of the components."""
        folder, panel, uploader = self.folder, self.panel, self.uploader
        common: dict[str, Any] = {
            **PARALLEL,
            "outputs": self.outputs,
            "trigger_mode": "multiple",  # the user may choose another folder while a large one is being opened
        }
        names = [folder.box, *self.fields]
        gr.on([folder.box.submit, folder.open.click, apply.click], self.choose, inputs=names, **common)
        folder.use.click(self.choose, inputs=[folder.place, *self.fields], **common)
        folder.recent.select(self.choose_recent, inputs=self.fields, **common)
        folder.demo.click(self.choose_demo, **common)
        reset.click(self.choose_documented, inputs=folder.box, **common)
        uploader.send.click(self.upload, inputs=[uploader.files, uploader.name, uploader.role], **common)
        on_page_load(self.show, **common)
        turning: dict[str, Any] = {"outputs": self._sheet_outputs(), "api_visibility": "private"}
        panel.which.input(lambda which: self.sheet(which, 0), inputs=panel.which, **turning)
        panel.previous.click(lambda which, page: self.sheet(which, page - 1), [panel.which, panel.page], **turning)
        panel.next.click(lambda which, page: self.sheet(which, page + 1), [panel.which, panel.page], **turning)

    def choose(self, folder: str, *raw: Any) -> Iterator[Update]:
        """Choose a folder, with the names in it and how to read them, and show what it holds."""
        with shown_to_user():
            values = {
                setting.name: from_field(setting, value) for setting, value in zip(reading_settings(), raw, strict=True)
            }
            self._choose(folder, values)
        yield from self.show()

    def choose_recent(self, event: gr.SelectData, *raw: Any) -> Iterator[Update]:
        """Choose a recent folder."""
        yield from self.choose(picked(event, self.recent.read(self.studio.allowed)), *raw)

    def choose_documented(self, folder: str) -> Iterator[Update]:
        """Choose a folder with the documented names in it."""
        with shown_to_user():
            self._choose(folder, _documented())
        yield from self.show()

    def choose_demo(self) -> Iterator[Update]:
        """Choose the demo data; make them if they are missing."""
        with shown_to_user():
            self._choose(str(self.studio.ensure_demo()), _documented())
        yield from self.show()

    def upload(self, files: Sequence[str] | None, name: str, role: str | None) -> Iterator[Update]:
        """Receive an upload and choose its folder."""
        with shown_to_user():
            upload = uploads.receive(self.studio, [Path(path) for path in files or []], name, role)
            self._choose(str(upload.folder), {})
            gr.Info(html.escape(str(upload)))
        yield {self.uploader.files: None}
        yield from self.show()

    def show(self) -> Iterator[Update]:
        """Yield what the page shows of the chosen folder: first from file names, then from the opened files."""
        with shown_to_user():
            config = self.studio.config
            index = self.studio.index(config)
            yield {
                self.folder.box: str(config.layout.data_base_dir),
                self.folder.recent: recent_samples(self.studio, self.recent),
                **self._shown_fields(),
                self.panel.overview: first_look(index),
            }
            large = self.studio.known_report is None and len(index.train) + len(index.validation) > QUICK
            if large:  # show the first pictures before all files are opened
                yield self._pictures(index, None)
            yield self._contents(index if large else None)

    def sheet(self, which: str, page: int) -> Update:
        """Return one page of the contact sheet."""
        with shown_to_user():
            report = self.studio.known_report
            index = report.index if report else self.studio.index(self.studio.config)
            return self._sheet(index, colours_of(report) if report else None, which, int(page))

    def _sheet(self, index: DataIndex, colours: Colours | None, which: str, page: int) -> Update:
        cases = index.validation if which == SETS[1] else index.train
        page, shown, words = sheet_page(cases, page)
        pictures = [picture(case, self.studio.config.reading, colours, size=192, atlas=index.atlas) for case in shown]
        panel = self.panel
        return {
            panel.page: page,
            panel.range: gr.Button(words),
            panel.gallery: gr.Gallery(pictures, selected_index=None),
            panel.previous: gr.Button(interactive=page > 0),
            panel.next: gr.Button(interactive=sheet_page(cases, page + 1)[0] > page),
        }

    def _contents(self, seen: DataIndex | None) -> Update:
        """Open all files and return the verdict, and the pictures unless the page shows those of `seen` already."""
        report, panel = self.studio.report(), self.panel
        verdict, index, rows = overview(report), report.index, problem_rows(report.index)
        update: Update = {
            panel.overview: verdict,
            panel.train: gr.Button(interactive=report.can_train),
            panel.problems: gr.Dataframe(
                rows, visible=bool(rows) and index.root.is_dir(), label=f"Problems ({len(index.problems)})"
            ),
        }
        if seen is None or (seen.atlas, seen.train, seen.validation) != (index.atlas, index.train, index.validation):
            update |= self._pictures(index, colours_of(report))
        return update

    def _pictures(self, index: DataIndex, colours: Colours | None) -> Update:
        """Return the atlas and the first page of the contact sheet, of a set with labels if there is one."""
        panel = self.panel
        cases = {SETS[0]: index.train, SETS[1]: index.validation}
        which = next((name for name in SETS if any(case.label for case in cases[name])), SETS[0])
        update: Update = {
            panel.atlas: gr.Image(visible=False),
            panel.sheet: gr.Column(visible=bool(index.train or index.validation)),
            panel.which: gr.Radio(value=which),
            **self._sheet(index, colours, which, 0),
        }
        if index.atlas:
            image, name = picture(index.atlas, self.studio.config.reading, colours, size=ATLAS_SIZE)
            update[panel.atlas] = gr.Image(image, visible=True, label=f"Atlas: {name}")
        return update

    def _choose(self, folder: str, values: dict[str, Any]) -> None:
        self.recent.add(self.studio.choose_data(folder, values))

    def _shown_fields(self) -> Update:
        config = self.studio.config
        values = config.layout.model_dump() | config.reading.model_dump()
        return {
            component: to_field(setting, values[setting.name])
            for setting, component in zip(reading_settings(), self.fields, strict=True)
        }

    def _sheet_outputs(self) -> list[Component]:
        panel = self.panel
        return [panel.page, panel.range, panel.gallery, panel.previous, panel.next]


def _documented() -> dict[str, Any]:
    return {setting.name: setting.default for setting in reading_settings()}
