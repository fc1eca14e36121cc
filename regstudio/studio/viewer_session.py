"""One page's session with the Viewer: from the values of its fields to the case that it draws."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regstudio.errors import ConfigError, RegStudioError, RunError
from regstudio.evaluation.scores import CaseScores, score
from regstudio.studio.caches import LRUCache
from regstudio.studio.hand_start import HandStart
from regstudio.studio.page_words import NO_TRAINING, of_own_images
from regstudio.studio.prefetcher import Prefetcher
from regstudio.studio.view import ChosenCase, Registrar, View, drawing_key
from regstudio.studio.viewer import Data, Viewer
from regstudio.studio.volume_slices import Files, Volume, VolumeSlices

MAX_PREFETCH_PIXELS = 1024 * 1024  # of a case whose neighbours are prefetched
MAX_CACHED_SCORES = 10_000  # cases
MAX_CACHED_VIEW_BYTES = 128 * 2**20  # of pictures: a case that is being corrected is not registered again
OWN_CASE = "own images: "  # how the case is called that the user's own images make
NO_CASES = "Drop a moving and a fixed image into the fields above, or choose a data folder in the tab Data."
NO_RUNS = "There is no checkpoint to look at yet. Train a run: its first checkpoint comes with the first epoch."


@dataclass(frozen=True)
class Choice:
    """The values of the tab's fields, in their order on the page."""

    run: str | None = None
    checkpoint: str | None = None
    case: str | None = None
    compare: str | None = None
    path: str | None = None
    refine: int = 0
    tab: str | None = None  # the browser tab, whose data are those of methods that need no training

    @property
    def is_own(self) -> bool:
        """Whether the case is the user's own images."""
        return bool(self.case and self.case.startswith(OWN_CASE))


@dataclass(frozen=True, kw_only=True)
class Lists:
    """The options of the tab's fields, and the valid choice among them."""

    runs: list[str]
    checkpoints: list[str]
    cases: list[str]
    others: list[str]
    choice: Choice


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The case that was opened, its drawing's key, its drawing (None if the canvas shows it already), and all cases."""

    case: str | None
    key: Any
    drawing: dict[str, Any] | None
    cases: list[str]


class ViewerSession:
    """Opens cases for one page and prefetches their neighbours; a read-only one takes neither paths nor files."""

    def __init__(
        self,
        viewer: Viewer,
        prefetcher: Prefetcher,
        *,
        read_only: bool = False,
        max_view_bytes: int = MAX_CACHED_VIEW_BYTES,
    ) -> None:
        self.viewer = viewer
        self._prefetcher = prefetcher
        self._read_only = read_only
        self._views: LRUCache[View] = LRUCache(max_view_bytes, _bytes)
        self._slices = VolumeSlices()
        self._scores: LRUCache[tuple[CaseScores, ...]] = LRUCache(MAX_CACHED_SCORES)

    def lists(self, choice: Choice) -> Lists:
        """List the options of every field; a value that is no option any more becomes the first option."""
        runs = self.viewer.runs()
        run = _valid(choice.run, runs)
        checkpoints = self.viewer.checkpoints(run) if run else []
        others = ["", *self.viewer.others(run)] if run else []
        cases = self._cases(replace(choice, run=run))
        valid = replace(
            choice,
            run=run,
            checkpoint=_valid(choice.checkpoint, checkpoints),
            case=_valid(choice.case, cases),
            compare=_valid(choice.compare, others),
        )
        return Lists(runs=runs, checkpoints=checkpoints, cases=cases, others=others, choice=valid)

    def open(self, choice: Choice, shown: Any = None, *, place: int | None = None, onward: int = 1) -> Opened:
        """Open the chosen case, or the one at `place` in the list, and prefetch the cases beside it.

        `shown` is the key of the drawing on the canvas. `onward` is the user's direction, 1 or -1: the next case in
        that direction is prefetched first.
        """
        registrars = self._registrars(choice)
        config = self.viewer.config(choice.run, registrars[0], choice.tab)
        cases = self.viewer.cases(config)
        if choice.run == NO_TRAINING and not cases:
            raise RunError(NO_CASES)
        if choice.is_own:  # they are in no list: back to the first case
            choice = replace(choice, case=None)
        case = cases[place % len(cases)] if place is not None and cases else choice.case or next(iter(cases), None)
        chosen = self.viewer.chosen(config, case)
        key = drawing_key(chosen, registrars, choice.refine)
        if shown == key:
            return Opened(case=case, key=key, drawing=None, cases=cases)
        drawing = self.viewer.drawing(chosen, registrars, choice.refine)
        at = cases.index(case) if case in cases else None
        # Refining takes too long to prefetch, and so do methods that optimise each pair.
        quick = not choice.refine and all(registrar.path for registrar in registrars)
        if at is not None and quick and drawing["height"] * drawing["width"] <= MAX_PREFETCH_PIXELS:
            neighbours = [cases[(at + by) % len(cases)] for by in (onward, -onward)]
            self._prefetcher.submit([functools.partial(self._draw, config, name, registrars) for name in neighbours])
        return Opened(case=case, key=key, drawing=drawing | {"place": at, "places": len(cases)}, cases=cases)

    def warm_up(self) -> None:
        """Draw the case that the tab opens first."""
        choice = self.lists(Choice()).choice
        if choice.run not in (None, NO_TRAINING):  # to register is more than to look: that waits until it is asked for
            self.open(choice)

    def view(self, choice: Choice, start: HandStart | None = None) -> View:
        """Register the chosen case from a start by hand; without one from that which is kept with the case, if any."""
        registrars = self._registrars(choice)
        chosen = self.viewer.chosen(self.viewer.config(choice.run, registrars[0], choice.tab), choice.case)
        return self._view(_from(chosen, start), registrars, choice.refine)

    def titles(self, choice: Choice) -> list[str]:
        """Return the names of the chosen methods."""
        return [registrar.title for registrar in self._registrars(choice)]

    def measured_cases(self, choice: Choice) -> list[str]:
        """Return the cases to measure: those to validate on, or all where none are set apart."""
        if self._read_only:
            raise ConfigError("This page only shows what is there: it does not measure.")
        cases = self.viewer.cases(self.viewer.config(choice.run, self._registrars(choice)[0], choice.tab))
        return [case for case in cases if case.startswith("validation/")] or cases

    def scores(self, choice: Choice) -> tuple[CaseScores, ...]:
        """Register the chosen case and score it by each method; at once where that was done before."""
        registrars = self._registrars(choice)
        chosen = self.viewer.chosen(self.viewer.config(choice.run, registrars[0], choice.tab), choice.case)

        def measure() -> tuple[CaseScores, ...]:
            view = self.viewer.view(chosen, registrars, choice.refine)
            return tuple(score(registration) for _, registration in view.registrations)

        return self._scores.get(drawing_key(chosen, registrars, choice.refine), measure)

    def own(
        self, choice: Choice, files: Mapping[str, Path | None], *, resize: bool, start: HandStart | None = None
    ) -> View:
        """Register the user's own images; errors name them as the user does."""
        if self._read_only:
            raise ConfigError("This page only shows what is there: it takes no files.")
        registrars = self._registrars(choice)
        config = self.viewer.config(choice.run, registrars[0], choice.tab)
        try:
            chosen = self.viewer.own_images(config, dict(files), resize=resize, tab=choice.tab)
            return self._view(_from(chosen, start), registrars, choice.refine)
        except RegStudioError as error:
            raise of_own_images(error, files) from None

    def volume(self, files: Files) -> Volume | None:
        """Return what is cut of an own image; None for a 2-D picture, and where registering will say what is wrong."""
        try:
            return None if self._read_only else self._slices.volume(files)
        except RegStudioError:
            return None

    def flat(self, files: Mapping[str, Files], numbers: Mapping[str, int | None]) -> dict[str, Path | None]:
        """Return the user's own images by their roles, as 2-D files; errors name them as the user does."""
        if self._read_only:
            raise ConfigError("This page only shows what is there: it takes no files.")
        try:
            return self._slices.flat(files, numbers)
        except RegStudioError as error:
            named = {f"{role} {number}": path for role, paths in files.items() for number, path in enumerate(paths)}
            raise of_own_images(error, named) from None

    def own_drawing(self, choice: Choice, files: Mapping[str, Path | None], *, resize: bool) -> dict[str, Any]:
        """Register the user's own images and return what the canvas draws, with their names."""
        return self.viewer.payload(self.own(choice, files, resize=resize)) | self.own_names(files)

    @staticmethod
    def own_names(files: Mapping[str, Path | None]) -> dict[str, Any]:
        """Return what the canvas calls the user's own images."""
        names = {role: path.name for role, path in files.items() if path is not None}
        fixed, moving = names.get("fixed", "atlas"), names["moving"]
        return {"own": {"fixed": fixed, "moving": moving, "case": f"{OWN_CASE}{moving} on {fixed}"}}

    def _view(self, chosen: ChosenCase, registrars: Sequence[Registrar], refine: int) -> View:
        key = drawing_key(chosen, registrars, refine)
        return self._views.get(key, lambda: self.viewer.view(chosen, registrars, refine))

    def _cases(self, choice: Choice) -> list[str]:
        """Return the cases of the run, or of the checkpoint file without a run; none if they cannot be opened."""
        if not choice.run and not choice.path:
            return []
        try:
            registrar = None if choice.run else self._registrars(choice)[0]
            return self.viewer.cases(self.viewer.config(choice.run, registrar, choice.tab))
        except RegStudioError:  # `open` shows the reason
            return []

    def _draw(self, config: Data, case: str, registrars: Sequence[Registrar]) -> None:
        self.viewer.drawing(self.viewer.chosen(config, case), registrars)

    def _registrars(self, choice: Choice) -> list[Registrar]:
        if choice.refine and self._read_only:
            raise ConfigError("This page only shows what is there: it does not refine.")
        if choice.path and choice.path.strip():
            if self._read_only:
                raise ConfigError("This page only shows what is there: it opens no paths.")
            first = self.viewer.registrar_at(choice.path)
        elif choice.run:
            first = self.viewer.registrar(choice.run, choice.checkpoint)
        else:
            raise RunError(NO_RUNS)
        return [first, *([self.viewer.other(choice.compare)] if choice.compare else [])]


def _bytes(view: View) -> int:
    """Return what a view takes: its files' pictures, and about 64 bytes for each pixel that a method registered."""
    pair = view.registrations[0][1].pair
    files = [] if pair.pictures is None else [pair.pictures.fixed, pair.pictures.moving]
    fields = sum(registration.file_field.flow.nbytes for _, registration in view.registrations)
    return sum(file.array.nbytes for file in files) + fields + 64 * pair.fixed.size * len(view.registrations)


def _from(chosen: ChosenCase, start: HandStart | None) -> ChosenCase:
    return chosen if start is None else replace(chosen, start=start)


def _valid(value: str | None, options: Sequence[str]) -> str | None:
    return value if value in options else next(iter(options), None)
