"""From what the boxes of the Viewer tab say to the case that is opened. No gradio here."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regstudio.config import TrainConfig
from regstudio.errors import ConfigError, RegStudioError, RunError
from regstudio.studio.prefetcher import Prefetcher
from regstudio.studio.studio import Studio
from regstudio.studio.viewer import Network, View, Viewer, drawing_key

MAX_PREFETCH_PIXELS = 1024 * 1024  # pixels of a case whose neighbours are registered before anyone asks for them
NO_RUNS = "There is no checkpoint to look at yet. Train a run: its first checkpoint comes with the first epoch."


@dataclass(frozen=True)
class Choice:
    """What the boxes of the tab say, in their order."""

    run: str | None = None
    checkpoint: str | None = None
    case: str | None = None
    compare: str | None = None
    path: str | None = None
    refine: int = 0


@dataclass(frozen=True, kw_only=True)
class Lists:
    """What there is to choose from, and what is chosen of it."""

    runs: list[str]
    checkpoints: list[str]
    cases: list[str]
    others: list[str]
    choice: Choice


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A case, what tells it from others, and what the canvas draws: None where it draws that already."""

    case: str | None
    key: Any
    drawing: dict[str, Any] | None


class ViewerSession:
    """Opens cases for one page; a read-only one takes neither paths nor files."""

    def __init__(self, studio: Studio, read_only: bool, ahead: Prefetcher) -> None:
        self.viewing = Viewer(studio)
        self._read_only = read_only
        self._ahead = ahead

    def lists(self, choice: Choice) -> Lists:
        """List what there is now, and keep what is chosen as far as it is still there; else take the first."""
        runs = self.viewing.runs()
        run = _kept(choice.run, runs)
        checkpoints = self.viewing.checkpoints(run) if run else []
        others = ["", *self.viewing.others(run)] if run else []
        cases = self._cases(replace(choice, run=run))
        kept = replace(
            choice,
            run=run,
            checkpoint=_kept(choice.checkpoint, checkpoints),
            case=_kept(choice.case, cases),
            compare=_kept(choice.compare, others),
        )
        return Lists(runs=runs, checkpoints=checkpoints, cases=cases, others=others, choice=kept)

    def open(self, choice: Choice, shown: Any = None, *, place: int | None = None, onward: int = 1) -> Opened:
        """Open the chosen case, or the one at `place` in the list; the next one `onward` is then made ready.

        `shown` is the key of what the canvas draws now.
        """
        networks = self._networks(choice)
        config = self.viewing.config(choice.run, networks[0])
        cases = self.viewing.cases(config)
        case = cases[place % len(cases)] if place is not None and cases else choice.case or next(iter(cases), None)
        chosen = self.viewing.chosen(config, case)
        key = drawing_key(chosen, networks, choice.refine)
        if shown == key:
            return Opened(case=case, key=key, drawing=None)
        drawing = self.viewing.drawing(chosen, networks, choice.refine)
        at = cases.index(case) if case in cases else None
        # Refining takes long: that is left to who asks for it.
        if at is not None and not choice.refine and drawing["height"] * drawing["width"] <= MAX_PREFETCH_PIXELS:
            near = [cases[(at + by) % len(cases)] for by in (onward, -onward)]
            self._ahead.submit([functools.partial(self._draw, config, name, networks) for name in near])
        return Opened(case=case, key=key, drawing=drawing | {"place": at, "places": len(cases)})

    def warm_up(self) -> None:
        """Draw the case that opens first, so that it opens at once."""
        choice = self.lists(Choice()).choice
        if choice.run is not None:
            self.open(choice)

    def view(self, choice: Choice) -> View:
        """Register the chosen case."""
        networks = self._networks(choice)
        chosen = self.viewing.chosen(self.viewing.config(choice.run, networks[0]), choice.case)
        return self.viewing.view(chosen, networks, choice.refine)

    def own(self, choice: Choice, files: Mapping[str, Path | None], *, resize: bool) -> View:
        """Register the user's own images."""
        if self._read_only:
            raise ConfigError("This page only shows what is there: it takes no files.")
        networks = self._networks(choice)
        chosen = self.viewing.own_images(self.viewing.config(choice.run, networks[0]), dict(files), resize=resize)
        return self.viewing.view(chosen, networks, choice.refine)

    def _cases(self, choice: Choice) -> list[str]:
        """Return the cases of the run or, where there is none, of the checkpoint file; none where they cannot open."""
        if not choice.run and not choice.path:
            return []
        try:
            network = None if choice.run else self._networks(choice)[0]
            return self.viewing.cases(self.viewing.config(choice.run, network))
        except RegStudioError:  # opening says why
            return []

    def _draw(self, config: TrainConfig, case: str, networks: Sequence[Network]) -> None:
        self.viewing.drawing(self.viewing.chosen(config, case), networks)

    def _networks(self, choice: Choice) -> list[Network]:
        if choice.refine and self._read_only:
            raise ConfigError("This page only shows what is there: it does not refine.")
        if choice.path and choice.path.strip():
            if self._read_only:
                raise ConfigError("This page only shows what is there: it opens no paths.")
            first = self.viewing.network_at(choice.path)
        elif choice.run:
            first = self.viewing.network(choice.run, choice.checkpoint)
        else:
            raise RunError(NO_RUNS)
        return [first, *([self.viewing.other(choice.compare)] if choice.compare else [])]


def _kept(value: str | None, choices: Sequence[str]) -> str | None:
    return value if value in choices else next(iter(choices), None)
