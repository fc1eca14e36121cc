"""What the events of the Viewer tab do: from what the browser sends to what the components show."""

import atexit
import functools
import logging
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from regstudio.errors import ConfigError, RegStudioError
from regstudio.studio.prefetcher import Prefetcher
from regstudio.studio.studio import Studio
from regstudio.ui.handlers import told
from regstudio.ui.widgets.canvas import empty, filled

if TYPE_CHECKING:  # it brings torch, which the first page does not wait for
    from regstudio.studio.viewer import View
    from regstudio.studio.viewer_session import Choice, ViewerSession

WARM_UP = 1.0  # seconds that a page is left alone to start in
OWN = ("fixed", "moving", "fixed_label", "moving_label")
TEXTS = 5  # boxes of a Choice that hold text, which come first
MAX_REFINE_STEPS = 200  # of refining while someone waits
ZIP_LIFETIME_SECONDS = 600  # a zip is fetched at once

log = logging.getLogger(__name__)


class Handlers:
    """What the events do; every argument comes from a browser, and what opens files validates it."""

    def __init__(self, studio: Studio, read_only: bool) -> None:
        self._studio = studio
        self.read_only = read_only
        self._ahead = Prefetcher()
        self._zips = Path(tempfile.mkdtemp(prefix="regstudio-"))
        atexit.register(shutil.rmtree, self._zips, ignore_errors=True)

    @functools.cached_property
    def _opening(self) -> "ViewerSession":
        from regstudio.studio.viewer_session import ViewerSession

        return ViewerSession(self._studio, self.read_only, self._ahead)

    def warm_up(self) -> None:
        """Get ready, in the background, what opens first."""
        self._ahead.submit([lambda: self._opening.warm_up()], pause=WARM_UP)

    @told()
    def refresh(self) -> Any:
        """List the runs anew."""
        return gr.Dropdown(choices=self._opening.viewing.runs())

    @told()
    def enter(self, shown: Any, *boxes: Any) -> list[Any]:
        """List what there is to choose from now, and open what is chosen."""
        lists = self._opening.lists(_choice(boxes))
        choice = lists.choice
        return [
            gr.Dropdown(choices=lists.runs, value=choice.run),
            gr.Dropdown(choices=[(_named(name), name) for name in lists.checkpoints], value=choice.checkpoint),
            gr.Dropdown(choices=lists.cases, value=choice.case),
            gr.Dropdown(choices=[(name or "nothing", name) for name in lists.others], value=choice.compare),
            *self._open(choice, shown)[1:],
        ]

    @told()
    def show(self, shown: Any, *boxes: Any) -> list[Any]:
        """Open what is chosen: return the case, the canvas's value, what it shows, and that it is a case."""
        return self._open(_choice(boxes), shown)

    @told()
    def step(self, event: gr.EventData, shown: Any, *boxes: Any) -> list[Any]:
        """Open the case at the place in the list that the canvas asks for; from own images, the chosen case again."""
        asked = event._data if isinstance(event._data, dict) else {}
        place = asked.get("place")
        onward = -1 if asked.get("by") == -1 else 1
        return self._open(_choice(boxes), shown, place=place if isinstance(place, int) else None, onward=onward)

    @told()
    def register(self, resize: bool, *rest: Any) -> tuple[str, None, str]:
        """Register the user's own images."""
        return filled(self._own(resize, rest).payload()), None, "own"

    @told()
    def download(self, source: str, resize: bool, *rest: Any) -> str:
        """Make a zip of what is shown, in a folder of the app's own; return its path."""
        from regstudio.studio.view_zip import write_view_zip

        view = self._own(resize, rest) if source == "own" else self._opening.view(_choice(rest[len(OWN) :]))
        for old in self._zips.iterdir():
            if old.stat().st_mtime < time.time() - ZIP_LIFETIME_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        return str(write_view_zip(view, self._zips))

    def _open(self, choice: "Choice", shown: Any, **way: Any) -> list[Any]:
        """Open a case; what goes wrong is said where its images would be."""
        try:
            opened = self._opening.open(choice, shown, **way)
        except RegStudioError as error:
            return [gr.skip(), empty(str(error)), None, "case"]
        except Exception as error:
            log.exception("the viewer failed")
            return [gr.skip(), empty(f"{type(error).__name__}: {error}"), None, "case"]
        drawing = gr.skip() if opened.drawing is None else filled(opened.drawing)
        return [opened.case, drawing, opened.key, "case"]

    def _own(self, resize: bool, rest: Sequence[Any]) -> "View":
        files, boxes = rest[: len(OWN)], rest[len(OWN) :]
        given = {name: Path(file) if file else None for name, file in zip(OWN, files, strict=True)}
        return self._opening.own(_choice(boxes), given, resize=bool(resize))


def _choice(boxes: Sequence[Any]) -> "Choice":
    from regstudio.studio.viewer_session import Choice

    texts, steps = boxes[:TEXTS], boxes[TEXTS:]
    if not all(text is None or isinstance(text, str) for text in texts):
        raise ConfigError("The boxes of the viewer hold text.")
    return Choice(*texts, *map(_steps, steps))


def _steps(refine: Any) -> int:
    if refine is None:  # an empty field
        return 0
    if not isinstance(refine, int | float) or not 0 <= refine <= MAX_REFINE_STEPS or refine != int(refine):
        raise ConfigError(f"Refine is a whole number of steps from 0 to {MAX_REFINE_STEPS}.")
    return int(refine)


def _named(checkpoint: str) -> str:
    return f"epoch {checkpoint}" if checkpoint.isdecimal() else checkpoint
