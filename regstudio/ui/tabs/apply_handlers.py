"""The event handlers of the Apply tab: from what the browser sends to what the components show."""

import functools
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from regstudio.errors import RegStudioError, RunError
from regstudio.studio import apply_control
from regstudio.studio.applied import applied_names, open_applied, pack
from regstudio.studio.apply_inputs import ApplyForm
from regstudio.studio.downloads import Downloads
from regstudio.studio.studio import Studio
from regstudio.ui.handlers import fingerprint, shown_to_user
from regstudio.ui.tabs.viewer_handlers import request

if TYPE_CHECKING:  # which imports torch
    from regstudio.studio.viewer import Viewer


class ApplyHandlers:
    """The handlers; every argument comes from a browser and is validated."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._downloads = Downloads()

    @functools.cached_property
    def _viewer(self) -> "Viewer":
        from regstudio.studio.viewer import Viewer

        return Viewer(self._studio)

    @shown_to_user()
    def enter(self, method: str | None) -> Any:
        """List the methods."""
        found = apply_control.methods(self._studio)
        names = [name for _, name in found]
        return gr.Dropdown(choices=found, value=method if method in names else names[0])

    def situation(self) -> tuple[object, ...]:
        """Return the folders of results, the table of the newest, and how far the job has come."""
        names, progress = applied_names(self._studio), apply_control.progress(self._studio)
        rows = apply_control.rows(self._studio, names[0]) if names else []
        return names, rows, progress | {"left": round(progress.get("left") or 0)}

    @shown_to_user()
    def look(self, shown: str | None, seen: Any) -> list[Any]:
        """Show progress, buttons, and the table of the chosen results, if anything changed since this page looked."""
        studio = self._studio
        names = applied_names(studio)
        chosen = shown if shown in names else next(iter(names), None)
        try:
            rows = apply_control.rows(studio, chosen) if chosen else []
        except RegStudioError:  # its files were removed meanwhile
            rows = []
        progress, possible = apply_control.progress(studio), apply_control.possible_now(studio)
        now = fingerprint((names, chosen, rows, progress | {"left": round(progress.get("left") or 0)}))
        if now == seen:
            return [gr.skip() for _ in range(10)]
        buttons = [gr.Button(interactive=possible[name]) for name in ("start", "pause", "resume", "stop")]
        choice = gr.Dropdown(choices=names, value=chosen)
        places = gr.update(visible=not names), gr.update(visible=bool(names))
        return [json.dumps(progress), *buttons, choice, *places, gr.Dataframe(value=rows), now]

    @shown_to_user()
    def start(
        self,
        tab: str,
        method: str | None,
        name: str,
        folder: str,
        files: Sequence[str] | None,
        labels: str,
        fixed: str,
        fixed_files: Sequence[str] | None,
        refine: str,
        masks: str,
        fixed_mask: str,
    ) -> list[Any]:
        """Start, and put the folders in which uploads lie now into the form, so that Start goes on with them."""
        if not isinstance(method, str):
            raise RunError("Choose a method first.")
        form = ApplyForm(
            method=method,
            name=str(name or ""),
            folder=str(folder or ""),
            files=[Path(file) for file in files or ()],
            labels=str(labels or ""),
            fixed=str(fixed or ""),
            fixed_files=[Path(file) for file in fixed_files or ()],
            refine=str(refine or ""),
            masks=str(masks or ""),
            fixed_mask=str(fixed_mask or ""),
        )
        made = apply_control.start(self._studio, self._viewer, form, self._studio.workspace(tab))
        gr.Info(html.escape(f"The results go into {made.path}."), duration=5)
        given = made.record.fixed if fixed or fixed_files else ""
        name = made.path.name
        return [gr.Dropdown(choices=[name], value=name), made.record.moving, None, given, None, name]

    @shown_to_user()
    def pause(self) -> None:
        """Pause."""
        self._studio.register_job.pause()

    @shown_to_user()
    def resume(self) -> None:
        """End the pause."""
        self._studio.register_job.resume()

    @shown_to_user()
    def stop(self) -> None:
        """Stop."""
        self._studio.register_job.stop()

    @shown_to_user()
    def pack(self, shown: str | None) -> str:
        """Zip the folder of results into a folder of the app's own."""
        if not shown:
            raise RunError("There are no results yet. Register some images first.")
        folder = open_applied(self._studio, shown)
        return str(pack(folder, self._downloads.place(f"{folder.path.name}.zip")))

    @shown_to_user()
    def opened(self, shown: str | None, event: gr.SelectData) -> str:
        """Ask the Viewer for the case of the row that was clicked."""
        from regstudio.studio.viewer import APPLIED_RUN

        folder = open_applied(self._studio, str(shown or ""))
        return request(APPLIED_RUN + folder.path.name, folder.record.method, str(event.row_value[0]))
