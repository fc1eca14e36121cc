"""The line of trainings that wait, and sweeps, in the Train tab."""

from collections.abc import Sequence
from typing import Any

import gradio as gr
from PIL import Image

from regstudio.studio import sweeps, training_control
from regstudio.studio.studio import Studio
from regstudio.studio.waiting_line import WaitingLine
from regstudio.ui.handlers import PARALLEL, UNQUEUED, fingerprint, sent, shown_fingerprint, shown_to_user
from regstudio.ui.widgets.browser_tab import BrowserTab
from regstudio.ui.widgets.changing_dropdown import ChangingDropdown
from regstudio.ui.widgets.form import Form
from regstudio.ui.widgets.watch import Watch

SETTINGS_OF_A_SWEEP = 2


def build_line(studio: Studio, line: WaitingLine, tab: BrowserTab, form: Form, add: gr.Button, watch: Watch) -> None:
    """Lay out the folds below the settings; `add` puts the settings of the form in line."""
    with gr.Accordion("In line", open=False, elem_id="train-line-box"):
        waiting = ChangingDropdown([], label="Trainings that wait", elem_id="train-line")
        said = gr.Textbox(label="The last that could not start", visible=False, interactive=False)
        take_out = gr.Button("Take it out", size="sm", elem_id="train-line-remove")
    with gr.Accordion("Sweep: the same with several values", open=False, elem_id="train-sweep-box"):
        asked: list[Any] = []
        for number in range(SETTINGS_OF_A_SWEEP):
            with gr.Row(elem_classes="setting-fields"):
                default = "grad_weight" if number == 0 else ""
                asked.append(gr.Dropdown(["", *sweeps.varying()], value=default, label="Setting", min_width=140))
                box = gr.Textbox(
                    label="Values", placeholder="0.5, 1, 2", min_width=140, elem_id=f"sweep-values-{number + 1}"
                )
                asked.append(box)
        start = gr.Button("Start the sweep", size="sm", elem_id="sweep-start")
        shown = ChangingDropdown([], label="Show what a sweep came to", elem_id="sweep-shown")
        table = gr.Dataframe(interactive=False, visible=False, show_label=False, buttons=[], elem_id="sweep-table")
        picture = gr.Image(
            interactive=False, visible=False, show_label=False, buttons=[], format="png", elem_id="sweep-plot"
        )
    handlers = LineHandlers(studio, line, form)
    seen = shown_fingerprint()
    looked = [waiting, said, add, shown, table, picture, seen]
    inputs = [tab.name, *form.components]
    add.click(handlers.add, inputs, None, **PARALLEL)
    take_out.click(handlers.remove, waiting, None, **PARALLEL)
    start.click(handlers.sweep, [*asked, *inputs], shown, **PARALLEL)
    watch.on_change("line", lambda _: handlers.situation(), handlers.look, [shown, seen], looked)
    shown.change(handlers.look, [shown, seen], looked, **UNQUEUED)


class LineHandlers:
    """The event handlers; `raw` is what the form's fields hold."""

    def __init__(self, studio: Studio, line: WaitingLine, form: Form) -> None:
        self._studio, self._line, self._form = studio, line, form

    def situation(self) -> tuple[object, ...]:
        """Return what `look` shows of the line, and of all that sweeps came to."""
        found = sweeps.names(self._studio)
        active = not training_control.possible_now(self._studio)["start"]
        return self._line.names(), self._line.refused, active, found, self._studio.runs() if found else ()

    @shown_to_user()
    def look(self, shown: str | None, seen: str | None) -> Any:
        """Show line and sweep, if anything changed since this page last did."""
        names, found = self._line.names(), sweeps.names(self._studio)
        rows = sweeps.table(self._studio, shown) if shown in found and shown else []
        active = not training_control.possible_now(self._studio)["start"]
        now = fingerprint((names, self._line.refused, active, found, shown, rows))
        if now == seen:
            return gr.skip()
        path = sweeps.plot(self._studio, shown) if rows and shown else None
        return [
            gr.Dropdown(choices=names, value=names[0] if names else None, label=f"Trainings that wait ({len(names)})"),
            gr.Textbox(self._line.refused, visible=bool(self._line.refused)),
            gr.Button(visible=active),
            gr.Dropdown(choices=found),
            gr.Dataframe(rows[1:], headers=[str(head) for head in rows[0]], visible=True)
            if rows
            else gr.Dataframe(visible=False),
            gr.Image(None if path is None else Image.open(path), visible=path is not None),
            now,
        ]

    @shown_to_user()
    def add(self, tab: str, *raw: Any) -> None:
        """Put the training of the form in line."""
        config = self._config(tab, raw)
        (name,) = self._line.add([config])
        gr.Info(f"{name} waits in line.", duration=4)

    @shown_to_user()
    def remove(self, name: str | None) -> None:
        """Take a training out of the line."""
        self._line.remove(sent(name, "the training"))

    @shown_to_user()
    def sweep(self, *raw: Any) -> Any:
        """Begin a sweep over the chosen settings."""
        asked, (tab, *fields) = raw[: 2 * SETTINGS_OF_A_SWEEP], raw[2 * SETTINGS_OF_A_SWEEP :]
        pairs = dict(zip(asked[::2], map(str, asked[1::2]), strict=True))
        name = sweeps.begin(self._studio, self._line, self._config(tab, fields), pairs)
        return gr.Dropdown(choices=sweeps.names(self._studio), value=name)

    def _config(self, tab: str, raw: Sequence[Any]) -> Any:
        workspace = self._studio.workspace(tab)
        return training_control.checked(self._studio, self._form.values(raw), workspace)[0]
