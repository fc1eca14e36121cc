"""The Data tab: choosing a data folder, seeing what is in it and what is wrong with it, and uploading one."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.context import Context

from regstudio.config import Setting, settings
from regstudio.data.layout import DataIndex
from regstudio.errors import DataError
from regstudio.studio import uploads
from regstudio.studio.data_overview import Colours, colours_of, first_look, overview, picture, problem_rows, sheet_page
from regstudio.studio.folders import RecentFolders
from regstudio.studio.studio import Studio
from regstudio.ui.handlers import told
from regstudio.ui.widgets.data_panel import SETS, DataPanel, build_data_panel
from regstudio.ui.widgets.folder import FolderField, build_folder, picked, recent_samples
from regstudio.ui.widgets.form import field, from_field, to_field
from regstudio.ui.widgets.uploader import Uploader, build_uploader

ATLAS_SIZE = 384  # pixels of the longer side
QUICK = 150  # files that are opened before anyone gets impatient

Update = dict[Any, Any]


@dataclass(frozen=True)
class DataTab:
    """What other tabs need: `chosen` holds {folder, ready, title} and changes with the data.

    `demo` chooses the demo data, `train` leads on.
    """

    chosen: gr.JSON
    demo: gr.Button
    train: gr.Button


def reading_settings() -> list[Setting]:
    """Return the settings that decide which files are found and what is seen in them, but for the folder itself."""
    # What may change when a run is resumed (memory, processes) changes no picture.
    return [setting for setting in settings("layout", "reading") if not setting.resumable]


def build(studio: Studio) -> DataTab:
    """Lay out the tab; called inside its gr.Tab."""
    recent = RecentFolders()
    folder = build_folder(studio, recent)
    with gr.Accordion("Upload a data folder", open=False, elem_id="data-upload"):
        uploader = build_uploader(studio)
    with gr.Accordion("Advanced: names of folders and files, and how they are read", open=False, elem_id="data-names"):
        fields, apply, reset = _build_fields()
    found = build_data_panel(studio)
    chosen = gr.JSON(visible=False, elem_id="data-chosen")
    _Wiring(studio, recent, folder, uploader, fields, found, chosen).connect(apply, reset)
    return DataTab(chosen=chosen, demo=folder.demo, train=found.train)


def _build_fields() -> tuple[list[Component], gr.Button, gr.Button]:
    with gr.Row(elem_classes="setting-fields"):
        fields = [field(setting) for setting in reading_settings()]
    for setting, component in zip(reading_settings(), fields, strict=True):
        component.elem_id = f"data-{setting.name}"  # the training's form has some of these settings, too
    with gr.Row():
        apply = gr.Button("Apply", variant="primary", elem_id="data-apply")
        reset = gr.Button("Back to the documented names", elem_id="data-reset")
    return fields, apply, reset


class _Wiring:
    """What happens on the tab: each handler validates what it gets, sets the studio, and shows what it finds."""

    def __init__(
        self,
        studio: Studio,
        recent: RecentFolders,
        folder: FolderField,
        uploader: Uploader,
        fields: list[Component],
        found: DataPanel,
        chosen: gr.JSON,
    ) -> None:
        self.studio, self.recent, self.folder, self.uploader = studio, recent, folder, uploader
        self.fields, self.found, self.chosen = fields, found, chosen
        self.outputs: list[Any] = [
            folder.box, folder.recent, uploader.files, *fields, found.overview, found.train, found.atlas,
            found.problems, found.sheet, found.which, *self._sheet_outputs(), chosen,
        ]  # fmt: skip

    def connect(self, apply: gr.Button, reset: gr.Button) -> None:
        folder, found, uploader = self.folder, self.found, self.uploader
        common: dict[str, Any] = {
            "outputs": self.outputs,
            "show_progress": "hidden",  # the verdict itself says what is going on
            "api_visibility": "private",
            "concurrency_limit": None,
            "trigger_mode": "multiple",  # another folder may be chosen while a large one is being opened
        }
        names = [folder.box, *self.fields]
        gr.on([folder.box.submit, folder.open.click, apply.click], self.choose, inputs=names, **common)
        folder.use.click(self.choose, inputs=[folder.place, *self.fields], **common)
        folder.recent.select(self.choose_recent, inputs=self.fields, **common)
        folder.demo.click(self.choose_demo, **common)
        reset.click(self.choose_documented, inputs=folder.box, **common)
        uploader.send.click(self.upload, inputs=[uploader.files, uploader.name, uploader.role], **common)
        if Context.root_block is not None:
            Context.root_block.load(self.show, **common)
        turning: dict[str, Any] = {"outputs": self._sheet_outputs(), "api_visibility": "private"}
        found.which.input(lambda which: self.sheet(which, 0), inputs=found.which, **turning)
        found.previous.click(lambda which, page: self.sheet(which, page - 1), [found.which, found.page], **turning)
        found.next.click(lambda which, page: self.sheet(which, page + 1), [found.which, found.page], **turning)

    def choose(self, folder: str, *raw: Any) -> Iterator[Update]:
        """Take a folder and the names in it, and show what it holds."""
        with told():
            values = {k.name: from_field(k, value) for k, value in zip(reading_settings(), raw, strict=True)}
            self._take(folder, values)
        yield from self.show()

    def choose_recent(self, event: gr.SelectData, *raw: Any) -> Iterator[Update]:
        yield from self.choose(picked(event, self.recent.read(self.studio.allowed)), *raw)

    def choose_documented(self, folder: str) -> Iterator[Update]:
        with told():
            self._take(folder, _documented())
        yield from self.show()

    def choose_demo(self) -> Iterator[Update]:
        with told():
            demo = self.studio.demo_dir
            if not demo.is_dir() or not any(demo.iterdir()):
                from regstudio.data.phantom import make_demo

                make_demo(demo)
            self._take(str(demo), _documented())
        yield from self.show()

    def upload(self, files: Sequence[str] | None, name: str, role: str | None) -> Iterator[Update]:
        with told():
            done = uploads.receive(self.studio, [Path(path) for path in files or []], name, role)
            self._take(str(done.folder), {})
            gr.Info(html.escape(str(done)))
        yield {self.uploader.files: None}
        yield from self.show()

    def show(self) -> Iterator[Update]:
        """Yield what the page shows of the chosen folder: at once what names tell, then what is in the files."""
        with told():
            config = self.studio.config
            index = self.studio.index(config)
            yield {
                self.folder.box: str(config.layout.data_base_dir),
                self.folder.recent: recent_samples(self.studio, self.recent),
                **self._shown_fields(),
                self.found.overview: first_look(index),
            }
            large = self.studio.known_report is None and len(index.train) + len(index.validation) > QUICK
            if large:  # what can be seen already is shown before all is opened
                yield self._pictures(index, None)
            yield self._contents(index if large else None)

    def sheet(self, which: str, page: int) -> Update:
        """Return one page of the contact sheet."""
        with told():
            report = self.studio.known_report
            index = report.index if report else self.studio.index(self.studio.config)
            return self._sheet(index, colours_of(report) if report else None, which, int(page))

    def _sheet(self, index: DataIndex, colours: Colours | None, which: str, page: int) -> Update:
        cases = index.validation if which == SETS[1] else index.train
        page, shown, words = sheet_page(cases, page)
        pictures = [picture(case, self.studio.config.reading, colours, size=192) for case in shown]
        found = self.found
        return {
            found.page: page,
            found.range: gr.Button(words),
            found.gallery: gr.Gallery(pictures, selected_index=None),
            found.previous: gr.Button(interactive=page > 0),
            found.next: gr.Button(interactive=sheet_page(cases, page + 1)[0] > page),
        }

    def _contents(self, seen: DataIndex | None) -> Update:
        """Return the verdict once all is opened; and the pictures, unless they are those of `seen` already."""
        report, found = self.studio.report(), self.found
        words, index, rows = overview(report), report.index, problem_rows(report.index)
        update: Update = {
            found.overview: words,
            found.train: gr.Button(interactive=report.can_train),
            found.problems: gr.Dataframe(
                rows, visible=bool(rows) and index.root.is_dir(), label=f"Problems ({len(index.problems)})"
            ),
            self.chosen: {"folder": str(index.root), "ready": report.can_train, "title": words["title"]},
        }
        if seen is None or (seen.atlas, seen.train, seen.validation) != (index.atlas, index.train, index.validation):
            update |= self._pictures(index, colours_of(report))
        return update

    def _pictures(self, index: DataIndex, colours: Colours | None) -> Update:
        """Return the atlas and the first page of the contact sheet, of a set with labels if there is one."""
        found = self.found
        cases = {SETS[0]: index.train, SETS[1]: index.validation}
        which = next((name for name in SETS if any(case.label for case in cases[name])), SETS[0])
        update: Update = {
            found.atlas: gr.Image(visible=False),
            found.sheet: gr.Column(visible=bool(index.train or index.validation)),
            found.which: gr.Radio(value=which),
            **self._sheet(index, colours, which, 0),
        }
        if index.atlas:
            image, name = picture(index.atlas, self.studio.config.reading, colours, size=ATLAS_SIZE)
            update[found.atlas] = gr.Image(image, visible=True, label=f"Atlas: {name}")
        return update

    def _take(self, folder: str, values: dict[str, Any]) -> None:
        base = self.studio.allowed(folder)
        if not base.is_dir():
            raise DataError(f"{base}: there is no such folder. Choose another, or upload one.")
        for name in _paths():
            self.studio.allowed(str(base / str(values.get(name, ""))))  # names must not lead out of bounds either
        self.studio.change_settings({**values, "data_base_dir": base})
        self.studio.forget_report()
        self.recent.add(base)

    def _shown_fields(self) -> Update:
        config = self.studio.config
        values = config.layout.model_dump() | config.reading.model_dump()
        return {
            component: to_field(setting, values[setting.name])
            for setting, component in zip(reading_settings(), self.fields, strict=True)
        }

    def _sheet_outputs(self) -> list[Component]:
        found = self.found
        return [found.page, found.range, found.gallery, found.previous, found.next]


def _documented() -> dict[str, Any]:
    return {setting.name: setting.default for setting in reading_settings()}


def _paths() -> list[str]:
    return [setting.name for setting in reading_settings() if setting.section == "layout"]
