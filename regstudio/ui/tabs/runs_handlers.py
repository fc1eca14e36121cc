"""The event handlers of the Runs tab: from what the browser sends to what the components show."""

import html
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import gradio as gr

from regstudio.errors import RunError
from regstudio.studio import run_actions, run_report, training_control
from regstudio.studio.downloads import Downloads
from regstudio.studio.live_feed import Feed
from regstudio.studio.studio import Studio
from regstudio.temporary import lasting_folder
from regstudio.ui.handlers import fingerprint, shown_to_user

SETTLED = ("finished", "unreadable")  # states of runs that have no epoch under way


class RunsHandlers:
    """The handlers; every argument comes from a browser and is validated."""

    def __init__(self, studio: Studio, feed: Feed) -> None:
        self._studio, self._feed = studio, feed
        self._downloads, self._reports = Downloads(), lasting_folder()
        self._renamed: dict[str, str] = {}  # a page that has not heard of it yet keeps the run that it has selected

    @shown_to_user()
    def look(
        self, selected: Sequence[str] | None, seen: Any, words: str = "", by_data: bool = False
    ) -> tuple[Any, Any, Any, Any]:
        """List the runs that hold the words, if anything changed since this page last did."""
        rows = self.rows()
        listed = run_actions.filtered(rows, str(words or ""), bool(by_data))
        now = fingerprint((rows, listed))
        if now == seen:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        names = [str(row[0]) for row in rows]
        existing = [name for name in self._named_now(selected, names) if name in names]
        choice = gr.update(choices=names, value=existing) if existing != selected else gr.update(choices=names)
        return gr.Dataframe(value=listed, visible=bool(rows)), gr.update(visible=not rows), choice, now

    def rows(self) -> list[list[str | float | None]]:
        """Return the rows of the table, one for each run."""
        return [
            run_actions.row(run, *(self._feed.within_epoch(run.name) if run.state not in SETTLED else ()))
            for run in self._studio.runs()
        ]

    def redraw(self, selected: Sequence[str] | None, curves: str) -> Any:
        """Redraw the curves if a selected run has new epochs."""
        try:
            now = (
                run_actions.curves(self._studio, run_actions.selected_runs(self._studio, selected))
                if selected
                else "[]"
            )
        except RunError:
            return gr.skip()
        return gr.skip() if now == curves else now

    @shown_to_user()
    def toggle(self, selected: Sequence[str] | None, event: gr.SelectData) -> list[str]:
        """Select or deselect the run whose row was clicked."""
        name = self._studio.run(str(event.row_value[0])).path.name
        others = [other for other in selected or [] if other != name]
        return others if name in (selected or []) else [*others, name]

    @shown_to_user()
    def open(self, selected: Sequence[str] | None, opened: Any) -> tuple[Any, ...]:
        """Show the curves of the selected runs, and of a single run its name, note and report; empty the rest.

        Of the runs that are `opened` already, as after a new name, only the curves: the user may be typing a note.
        """
        runs = run_actions.selected_runs(self._studio, selected)
        single = runs[0] if len(runs) == 1 else None
        note = run_actions.read_note(single) if single else ""
        name = single.path.name if single else ""
        curves, names = run_actions.curves(self._studio, runs), [run.path.name for run in runs]
        if names and names == self._named_now(opened, [run.path.name for run in self._studio.runs()]):
            return curves, *(gr.skip() for _ in range(7)), names
        return curves, note, name, None, gr.update(visible=False), *self._report(name), names

    @shown_to_user()
    def rename(self, selected: Sequence[str] | None, name: str) -> Any:
        """Rename the run, which stays the selected and opened one."""
        before = run_actions.selected_run(self._studio, selected)
        run = run_actions.rename(before, str(name or ""))
        self._renamed[before.path.name] = run.path.name
        return gr.update(choices=[run.path.name], value=[run.path.name]), [run.path.name]

    @shown_to_user()
    def keep(self, selected: Sequence[str] | None, note: str) -> None:
        """Save the note."""
        run_actions.write_note(run_actions.selected_run(self._studio, selected), str(note or ""))
        gr.Info("The note is kept in the run's folder.", duration=3)

    @shown_to_user()
    def pack(self, selected: Sequence[str] | None, checkpoints: bool) -> str:
        """Zip the run into a folder of the app's own."""
        run = run_actions.selected_run(self._studio, selected)
        path = self._downloads.place(f"{run.path.name}.zip")
        return str(run_actions.pack(run, path, checkpoints=bool(checkpoints)))

    @shown_to_user()
    def begin_report(self, selected: Sequence[str] | None) -> tuple[Any, Any, Any]:
        """Show the place of the report, which also shows its progress, if the run can be evaluated."""
        run = run_actions.selected_run(self._studio, selected)
        run_report.checkpoint_of(self._studio, run)
        return gr.File(value=None, visible=True, label=f"Report of {run.path.name}"), _hidden(), _hidden("")

    @shown_to_user()
    def report(
        self,
        selected: Sequence[str] | None,
        compared: Sequence[str] | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Any, Any, Any]:
        """Evaluate the run and the methods to compare it with on its validation images, and show the report."""
        run = run_actions.selected_run(self._studio, selected)
        progress(0, desc="Opening the checkpoint")
        names, done = [run.path.name, *map(str, compared or ())], itertools.count()

        def watch(results: Iterable[Any], total: int) -> Iterator[Any]:
            yield from progress.tqdm(results, total=total, desc=f"Evaluating {names[next(done)]}", unit="images")

        run_report.write(self._studio, run, watch, names[1:])
        return (*self._report(run.path.name)[:2], gr.update(value=run_report.page_of(run), visible=True))

    @shown_to_user()
    def read(self, selected: Sequence[str] | None) -> Any:
        """Show the report that the run has."""
        return gr.update(value=run_report.page_of(run_actions.selected_run(self._studio, selected)), visible=True)

    @shown_to_user()
    def ask(self, selected: Sequence[str] | None) -> tuple[Any, Any]:
        """Ask for confirmation before the runs are deleted."""
        names = [run.path.name for run in run_actions.selected_runs(self._studio, selected)]
        if not names:
            raise RunError("Select the runs to delete first.")
        what = names[0] if len(names) == 1 else f"{len(names)} runs"
        return gr.update(visible=True), gr.Button(f"Move {what} to the trash")

    @shown_to_user()
    def delete(self, selected: Sequence[str] | None) -> tuple[Any, Any]:
        """Move the runs to the trash."""
        targets = [run_actions.delete(run) for run in run_actions.selected_runs(self._studio, selected)]
        if targets:
            gr.Info(f"Moved to {html.escape(str(targets[0].parent))}; nothing is erased.", duration=5)
        return gr.update(value=[]), gr.update(visible=False)

    @shown_to_user()
    def resume(self, selected: Sequence[str] | None, epochs: float | None, times: int) -> int:
        """Resume the run."""
        wanted = int(epochs) if epochs else None
        run = training_control.resume(self._studio, run_actions.selected_run(self._studio, selected).path.name, wanted)
        gr.Info(f"{html.escape(run.path.name)} goes on.", duration=3)
        return times + 1

    def _named_now(self, names: Any, existing: Sequence[str]) -> list[str]:
        """Return names as they are now, after runs were renamed."""
        return [str(name) if name in existing else self._renamed.get(str(name), str(name)) for name in names or []]

    def _report(self, name: str) -> tuple[Any, Any, Any]:
        # Copies in the app's own folder: the page serves no file by its path in a run's folder.
        files = run_report.copied(self._studio.run(name), self._reports) if name else []
        label = f"Report of {name}, also in its folder" if name else "Report"
        shown = gr.File(value=files or None, visible=bool(files), label=label)
        return shown, gr.update(visible=bool(files)), _hidden("")


def _hidden(value: Any = None) -> Any:
    return gr.update(visible=False) if value is None else gr.update(value=value, visible=False)
