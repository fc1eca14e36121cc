"""The event handlers of the Viewer tab: from what the browser sends to what the components show."""

import functools
import html
import itertools
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from regstudio.errors import ConfigError, RegStudioError
from regstudio.methods import TITLES
from regstudio.studio.downloads import Downloads
from regstudio.studio.page_words import on_the_page, without_folders
from regstudio.studio.prefetcher import Prefetcher
from regstudio.studio.studio import Studio
from regstudio.ui.handlers import shown_to_user
from regstudio.ui.widgets.canvas import empty, filled

if TYPE_CHECKING:  # these import torch, for which the first page does not wait
    from regstudio.studio.hand_start import HandStart
    from regstudio.studio.view import View
    from regstudio.studio.viewer_session import Choice, ViewerSession

WARM_UP_PAUSE = 1.0  # seconds in which a page starts undisturbed
OWN = ("fixed", "moving", "fixed_label", "moving_label", "fixed_mask", "moving_mask")
SIDES = ("fixed", "moving")  # each may be a volume, of which a slider says the slice
OWN_FIELDS = len(OWN) + len(SIDES)
TEXT_FIELDS = 5  # the first fields of a Choice hold text
MAX_REFINE_STEPS = 200  # while someone waits

_numbers = itertools.count()
log = logging.getLogger(__name__)


def shown(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a handler to show its errors in the `words` for those who look at this page."""

    @functools.wraps(handler)
    def guarded(self: Any, *values: Any) -> Any:
        with shown_to_user(self.words):
            return handler(self, *values)

    return guarded


class ViewerHandlers:
    """The handlers; every argument comes from a browser, and whatever opens files validates it."""

    def __init__(self, studio: Studio, read_only: bool) -> None:
        self._studio = studio
        self.read_only = read_only
        self._prefetcher = Prefetcher()
        self._downloads = Downloads()

    def words(self, message: str) -> str:
        """Return a message as this page says it: to guests, without any folder of this machine."""
        if not self._studio.read_only:
            return on_the_page(message)
        folders = [self._studio.runs_dir, Path.home(), Path.cwd(), *(run.data for run in self._studio.runs())]
        return without_folders(on_the_page(message), folders)

    @functools.cached_property
    def session(self) -> "ViewerSession":
        """The session of all pages with the Viewer."""
        from regstudio.studio.viewer import Viewer
        from regstudio.studio.viewer_session import ViewerSession

        return ViewerSession(Viewer(self._studio), self._prefetcher, read_only=self.read_only)

    def region(self, request: Any) -> dict[str, Any]:
        """Answer the canvas that asks for more pixels of what it shows."""
        return self.session.viewer.full_resolutions.region(request)

    def warm_up(self) -> None:
        """Prefetch the case that opens first."""
        self._prefetcher.submit([lambda: self.session.warm_up()], pause=WARM_UP_PAUSE)

    @shown
    def refresh(self) -> Any:
        """List the runs again."""
        return gr.Dropdown(choices=self.session.viewer.runs())

    @shown
    def enter(self, asked: str | None, answered: str | None, shown: Any, *boxes: Any) -> list[Any]:
        """List the options of all fields, and open the chosen case, or the one that is `asked` for and not `answered`.

        What is asked for and is not there is the first one.
        """
        here = choice_of(boxes)
        lists = self.session.lists(replace(_asked(asked), tab=here.tab) if asked and asked != answered else here)
        choice = lists.choice
        return [
            asked,
            gr.Dropdown(choices=lists.runs, value=choice.run),
            gr.Dropdown(choices=[(_named(name), name) for name in lists.checkpoints], value=choice.checkpoint),
            gr.Dropdown(choices=lists.cases, value=choice.case),
            gr.Dropdown(choices=[(name or "nothing", name) for name in lists.others], value=choice.compare),
            *self._open(choice, shown)[1:],
        ]

    @shown
    def show(self, shown: Any, resize: bool, *rest: Any) -> list[Any]:
        """Open the chosen case: return its name, the canvas's value, the key of the drawing, and the source "case".

        Own images stay when another checkpoint is chosen.
        """
        choice = choice_of(rest[OWN_FIELDS:])
        return self.register(resize, *rest) if choice.is_own else self._open(choice, shown)

    @shown
    def step(self, event: gr.EventData, shown: Any, *boxes: Any) -> list[Any]:
        """Open the case at the place that the canvas asks for; without a place, after own images, the chosen case."""
        request = event._data if isinstance(event._data, dict) else {}
        place = request.get("place")
        onward = -1 if request.get("by") == -1 else 1
        return self._open(choice_of(boxes), shown, place=place if isinstance(place, int) else None, onward=onward)

    @shown
    def register(self, resize: bool, *rest: Any) -> list[Any]:
        """Register the user's own images, which become the chosen case."""
        choice = choice_of(rest[OWN_FIELDS:])
        drawing = self.session.own_drawing(choice, self._files(rest), resize=bool(resize))
        cases = [drawing["own"]["case"], *self.session.lists(choice).cases]
        return [gr.Dropdown(choices=cases, value=cases[0]), filled(drawing), None, "own"]

    @shown
    def slider(self, file: Any) -> Any:
        """Show how many slices an own image has, at the middle one; nothing for a 2-D picture."""
        volume = self.session.volume(_paths(file))
        if volume is None:
            return gr.Slider(visible=False, value=0)
        length = volume.cut.length
        return gr.Slider(visible=True, minimum=1, maximum=length, value=volume.index(None) + 1)

    @shown
    def slide(self, source: str, resize: bool, *rest: Any) -> list[Any]:
        """Register the slices that the sliders say, once own images are on the canvas."""
        return self.register(resize, *rest) if source == "own" else [gr.skip()] * 4

    @shown
    def correct(self, event: gr.EventData, source: str, resize: bool, *rest: Any) -> list[Any]:
        """Correct the shown pair by what was done by hand on the canvas; return its drawing, and what was done."""
        from regstudio.studio.correcting import corrected_view, read_placed
        from regstudio.studio.hand_start import read_start

        if self.read_only:
            raise ConfigError("This page only shows what is there: it does not correct.")
        request = event._data if isinstance(event._data, dict) else {}
        placed = read_placed(request.get("pairs"))
        view = self._view(source, resize, rest, read_start(request.get("start")))
        own = self.session.own_names(self._files(rest)) if source == "own" else {}
        drawing = filled(self.session.viewer.payload(corrected_view(view, placed)) | own | {"corrected": True})
        return [
            drawing,
            None,
            {"pair": self._pair_of(source, rest), "placed": placed.tolist(), "start": request.get("start")},
        ]

    @shown
    def download(self, steered: Any, family: str, source: str, resize: bool, *rest: Any) -> str:
        """Zip the shown case into a folder of the app's own; return the path."""
        from regstudio.studio.correcting import family_of
        from regstudio.studio.view_zip import write_view_zip

        view = self._steered(steered, source, resize, rest)
        return str(write_view_zip(view, self._downloads.place(f"{view.chosen.case.id}.zip"), family_of(family)))

    @shown
    def add(self, name: str, steered: Any, source: str, resize: bool, *rest: Any) -> None:
        """Put the shown pair with its landmarks into a data folder."""
        from regstudio.studio.correcting import add_to_training

        if self.read_only:
            raise ConfigError("This page only shows what is there: it takes no files.")
        view = self._steered(steered, source, resize, rest)
        folder = add_to_training(self._studio, view, str(name or ""))
        gr.Info(
            html.escape(f"{view.chosen.case.id} and what was done by hand are in {folder}, a folder of pairs."),
            duration=8,
        )

    def _view(self, source: str, resize: bool, rest: Sequence[Any], start: "HandStart | None" = None) -> "View":
        choice = choice_of(rest[OWN_FIELDS:])
        return (
            self.session.own(choice, self._files(rest), resize=bool(resize), start=start)
            if source == "own"
            else self.session.view(choice, start)
        )

    def _steered(self, steered: Any, source: str, resize: bool, rest: Sequence[Any]) -> "View":
        """Return the view as the page shows it: laid by hand and corrected, if this pair was."""
        from regstudio.studio.correcting import corrected_view, read_placed
        from regstudio.studio.hand_start import read_start

        if not isinstance(steered, dict) or steered.get("pair") != self._pair_of(source, rest):
            return self._view(source, resize, rest)
        view = self._view(source, resize, rest, read_start(steered.get("start")))
        return corrected_view(view, read_placed(steered.get("placed")))

    def _pair_of(self, source: str, rest: Sequence[Any]) -> str:
        """Return what names the pair that the fields choose, whatever registers it."""
        choice = choice_of(rest[OWN_FIELDS:])
        return f"{self._files(rest)}" if source == "own" else f"{choice.run} {choice.path} {choice.case}"

    def _files(self, rest: Sequence[Any]) -> dict[str, Path | None]:
        """Return the own images by their roles, as 2-D files: slices, where they are volumes."""
        files = {name: _paths(value) for name, value in zip(OWN, rest[: len(OWN)], strict=True)}
        return self.session.flat(files, dict(zip(SIDES, map(_number, rest[len(OWN) : OWN_FIELDS]), strict=True)))

    def _open(self, choice: "Choice", shown: Any, **way: Any) -> list[Any]:
        """Open a case; show an error in the place of its images."""
        try:
            opened = self.session.open(choice, shown, **way)
        except RegStudioError as error:
            return [gr.skip(), empty(self.words(str(error))), None, "case"]
        except Exception as error:
            log.exception("the viewer failed")
            return [gr.skip(), empty(self.words(f"{type(error).__name__}: {error}")), None, "case"]
        drawing = gr.skip() if opened.drawing is None else filled(opened.drawing)
        # After own images, their name leaves the list.
        case = gr.Dropdown(choices=opened.cases, value=opened.case) if choice.is_own else opened.case
        return [case, drawing, opened.key, "case"]


def request(run: str, checkpoint: str, case: str, compare: str = "", path: str = "") -> str:
    """Return what asks the Viewer for a case; no two are the same, so that each is answered."""
    values = {"run": run, "checkpoint": checkpoint, "case": case, "compare": compare, "path": path}
    return json.dumps({**values, "number": f"{next(_numbers)} {time.time()}"})


def _asked(text: str) -> "Choice":
    try:
        request = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        request = None
    fields = request if isinstance(request, dict) else {}
    names = ("run", "checkpoint", "case", "compare", "path")
    return choice_of([value if isinstance(value := fields.get(name), str) else None for name in names])


def _paths(value: Any) -> tuple[Path, ...]:
    files = value if isinstance(value, list | tuple) else [value]
    return tuple(Path(file) for file in files if isinstance(file, str | Path) and file)


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and 0 < value < 1e9 else None


def choice_of(boxes: Sequence[Any]) -> "Choice":
    """Return the choice that the fields of the tab hold; raises ConfigError for what they cannot hold."""
    from regstudio.studio.viewer_session import Choice

    texts, steps, tab = boxes[:TEXT_FIELDS], boxes[TEXT_FIELDS : TEXT_FIELDS + 1], boxes[TEXT_FIELDS + 1 :]
    if not all(text is None or isinstance(text, str) for text in (*texts, *tab)):
        raise ConfigError("The boxes of the viewer hold text.")
    return Choice(*texts, *map(_steps, steps), *(name or None for name in tab))


def _steps(refine: Any) -> int:
    if refine is None:  # an empty field
        return 0
    if not isinstance(refine, int | float) or not 0 <= refine <= MAX_REFINE_STEPS or refine != int(refine):
        raise ConfigError(f"Refine is a whole number of steps from 0 to {MAX_REFINE_STEPS}.")
    return int(refine)


def _named(checkpoint: str) -> str:
    return f"epoch {checkpoint}" if checkpoint.isdecimal() else TITLES.get(checkpoint, checkpoint)
