"""What the events of the Runs tab do: from what the browser sends to what the components show."""

import atexit
import html
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from regstudio.errors import RunError
from regstudio.training.runs import Run
from regstudio.ui import reporting, run_actions
from regstudio.ui.studio import Studio
from regstudio.ui.telling import told


class Handlers:
    """What the events do; every argument comes from a browser and is validated."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._zips, self._reports = (Path(tempfile.mkdtemp(prefix="regstudio-runs-")) for _ in range(2))
        for folder in (self._zips, self._reports):
            atexit.register(shutil.rmtree, folder, ignore_errors=True)

    @told()
    def look(self, selected: Sequence[str] | None, seen: Any) -> tuple[Any, Any, Any, Any]:
        """List the runs, if anything changed since this page last saw them."""
        rows = [run_actions.row(run) for run in self._studio.runs()]
        if rows == seen:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        names = [str(row[0]) for row in rows]
        still = [name for name in selected or [] if name in names]
        choice = gr.Dropdown(choices=names, value=still) if still != selected else gr.Dropdown(choices=names)
        return gr.Dataframe(value=rows, visible=bool(rows)), gr.Markdown(visible=not rows), choice, rows

    def redraw(self, selected: Sequence[str] | None, seen: Any, curves: str) -> Any:
        """Draw the curves anew where a selected run has come further."""
        try:
            now = run_actions.curves(self._runs(selected)) if selected else "[]"
        except RunError:
            return gr.skip()
        return gr.skip() if now == curves else now

    @told()
    def toggle(self, selected: Sequence[str] | None, event: gr.SelectData) -> list[str]:
        """Select the run whose line was clicked, or take it out of the selection."""
        name = self._studio.run(str(event.row_value[0])).path.name
        others = [other for other in selected or [] if other != name]
        return others if name in (selected or []) else [*others, name]

    @told()
    def open(self, selected: Sequence[str] | None) -> tuple[Any, ...]:
        """Show the curves of the selected runs; name, note and report where it is one; forget the epochs asked for."""
        runs = self._runs(selected)
        single = runs[0] if len(runs) == 1 else None
        note = run_actions.read_note(single) if single else ""
        name = single.path.name if single else ""
        return run_actions.curves(runs), note, name, None, gr.Row(visible=False), self._report(single)

    @told()
    def rename(self, selected: Sequence[str] | None, name: str) -> Any:
        """Rename the run."""
        run = run_actions.rename(self._one(selected), str(name or ""))
        return gr.Dropdown(choices=[run.path.name], value=[run.path.name])

    @told()
    def keep(self, selected: Sequence[str] | None, note: str) -> None:
        """Keep the note."""
        run_actions.write_note(self._one(selected), str(note or ""))
        gr.Info("The note is kept in the run's folder.", duration=3)

    @told()
    def pack(self, selected: Sequence[str] | None, checkpoints: bool) -> str:
        """Make a zip of the run, in a folder of the app's own."""
        shutil.rmtree(self._zips, ignore_errors=True)
        self._zips.mkdir(parents=True)
        return str(run_actions.pack(self._one(selected), self._zips, checkpoints=bool(checkpoints)))

    @told()
    def begin_report(self, selected: Sequence[str] | None) -> Any:
        """Make room for the report, where its progress is seen, if there can be one."""
        run = self._one(selected)
        reporting.checkpoint_of(self._studio, run)
        return gr.File(value=None, visible=True, label=f"Report of {run.path.name}")

    @told()
    def report(self, selected: Sequence[str] | None, progress: gr.Progress = gr.Progress()) -> Any:  # noqa: B008
        """Evaluate the run on its validation images, and offer the report."""
        run = self._one(selected)
        progress(0, desc="Opening the checkpoint")
        reporting.write(
            self._studio,
            run,
            lambda results, total: progress.tqdm(results, total=total, desc="Evaluating", unit="images"),
        )
        return self._report(run)

    @told()
    def ask(self, selected: Sequence[str] | None) -> tuple[Any, Any]:
        """Ask again before the runs are deleted."""
        names = [run.path.name for run in self._runs(selected)]
        if not names:
            raise RunError("Select the runs to delete first.")
        what = names[0] if len(names) == 1 else f"{len(names)} runs"
        return gr.Row(visible=True), gr.Button(f"Move {what} to the trash")

    @told()
    def delete(self, selected: Sequence[str] | None) -> tuple[Any, Any]:
        """Move the runs to the trash."""
        targets = [run_actions.delete(run) for run in self._runs(selected)]
        if targets:
            gr.Info(f"Moved to {html.escape(str(targets[0].parent))}; nothing is erased.", duration=5)
        return gr.Dropdown(value=[]), gr.Row(visible=False)

    @told()
    def resume(self, selected: Sequence[str] | None, epochs: float | None, times: int) -> int:
        """Go on with the run."""
        wanted = int(epochs) if epochs else None
        run = run_actions.resume(self._studio, self._one(selected), wanted)
        gr.Info(f"{html.escape(run.path.name)} goes on.", duration=3)
        return times + 1

    def _report(self, run: Run | None) -> Any:
        # From the app's own folder: nothing of a run's folder is served by its path.
        files = reporting.copied(run, self._reports) if run else []
        label = f"Report of {run.path.name}, also in its folder" if run else "Report"
        return gr.File(value=files or None, visible=bool(files), label=label)

    def _one(self, selected: Sequence[str] | None) -> Run:
        runs = self._runs(selected)
        if len(runs) != 1:
            raise RunError("Select one run first." if not runs else "Select one run only.")
        return runs[0]

    def _runs(self, selected: Sequence[str] | None) -> list[Run]:
        names = [str(name) for name in selected or []]
        if len(names) > run_actions.MOST_COMPARED:
            raise RunError(f"Select {run_actions.MOST_COMPARED} runs at most.")
        return [self._studio.run(name) for name in names]
