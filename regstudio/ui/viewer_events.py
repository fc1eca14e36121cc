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

from regstudio.errors import ConfigError, RegStudioError, RunError
from regstudio.ui.studio import Studio
from regstudio.ui.telling import told
from regstudio.ui.widgets.canvas import empty, filled

if TYPE_CHECKING:  # it brings torch, which the first page does not wait for
    from regstudio.ui.viewing import Network, View, Viewing

OWN = ("fixed", "moving", "fixed_label", "moving_label")
NO_RUNS = "There is no checkpoint to look at yet. Train a run: its first checkpoint comes with the first epoch."
KEPT_SECONDS = 600  # a zip is fetched at once

log = logging.getLogger(__name__)


class Handlers:
    """What the events do; every argument comes from a browser and is validated by Viewing."""

    def __init__(self, studio: Studio, read_only: bool) -> None:
        self._studio = studio
        self.read_only = read_only
        self._zips = Path(tempfile.mkdtemp(prefix="regstudio-"))
        atexit.register(shutil.rmtree, self._zips, ignore_errors=True)

    @functools.cached_property
    def _viewing(self) -> "Viewing":
        from regstudio.ui.viewing import Viewing

        return Viewing(self._studio)

    @told()
    def refresh(self) -> Any:
        """List the runs anew."""
        return gr.Dropdown(choices=self._viewing.runs())

    @told()
    def fill(self, run: str | None, checkpoint: str | None, case: str | None, compare: str | None) -> list[Any]:
        """List what there is now, and keep what is chosen as far as it is still there; else take the first."""
        runs = self._viewing.runs()
        run = run if run in runs else next(iter(runs), None)
        if run is None:
            return [gr.Dropdown(choices=[], value=None) for _ in range(4)]
        checkpoints, others = self._viewing.checkpoints(run), self._viewing.others(run)
        try:
            cases = self._viewing.cases(self._viewing.config(run))
        except RegStudioError:  # `show` says why
            cases = []
        return [
            gr.Dropdown(choices=runs, value=run),
            gr.Dropdown(choices=[(_named(name), name) for name in checkpoints], value=_kept(checkpoint, checkpoints)),
            gr.Dropdown(choices=cases, value=_kept(case, cases)),
            gr.Dropdown(
                choices=[("nothing", ""), *((name, name) for name in others)], value=_kept(compare, ["", *others])
            ),
        ]

    def show(
        self,
        shown: Any,
        run: str | None,
        checkpoint: str | None,
        case: str | None,
        compare: str | None,
        path: str | None = None,
    ) -> tuple[Any, Any, Any]:
        """Open a case: return the canvas's value, what it shows, and that it is a case."""
        try:
            networks = self._networks(run, checkpoint, compare, path)
            key = [run, case, *((str(network.path), _modified(network.path)) for network in networks)]
            if shown == key:
                return gr.skip(), gr.skip(), gr.skip()
            view = self._case(run, case, networks)
            return filled(view.payload()), key, "case"
        except RegStudioError as error:
            return empty(str(error)), None, "case"
        except Exception as error:
            log.exception("the viewer failed")
            return empty(f"{type(error).__name__}: {error}"), None, "case"

    @told()
    def step(
        self,
        by: int,
        shown: Any,
        run: str | None,
        checkpoint: str | None,
        case: str | None,
        compare: str | None,
        path: str | None = None,
    ) -> tuple[Any, Any, Any, Any]:
        """Open the case `by` places on."""
        from regstudio.ui.viewing import neighbour

        networks = self._networks(run, checkpoint, compare, path)
        case = neighbour(self._viewing.cases(self._viewing.config(run, networks[0])), case, by)
        return case, *self.show(shown, run, checkpoint, case, compare, path)

    @told()
    def register(
        self, run: str | None, checkpoint: str | None, compare: str | None, path: str | None, resize: bool, *files: Any
    ) -> tuple[str, None, str]:
        """Register the user's own images."""
        return filled(self._own(run, checkpoint, compare, path, resize, files).payload()), None, "own"

    @told()
    def download(
        self,
        source: str,
        case: str | None,
        run: str | None,
        checkpoint: str | None,
        compare: str | None,
        path: str | None,
        resize: bool,
        *files: Any,
    ) -> str:
        """Make a zip of what is shown, in a folder of the app's own; return its path."""
        from regstudio.ui.bundle import write_bundle

        if source == "own":
            view = self._own(run, checkpoint, compare, path, resize, files)
        else:
            view = self._case(run, case, self._networks(run, checkpoint, compare, path))
        for old in self._zips.iterdir():
            if old.stat().st_mtime < time.time() - KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        return str(write_bundle(view, self._zips))

    def _case(self, run: str | None, case: str | None, networks: "Sequence[Network]") -> "View":
        config = self._viewing.config(run, networks[0])
        return self._viewing.view(self._viewing.pair(config, case), networks)

    def _own(
        self,
        run: str | None,
        checkpoint: str | None,
        compare: str | None,
        path: str | None,
        resize: bool,
        files: Sequence[str | None],
    ) -> "View":
        if self.read_only:
            raise ConfigError("This page only shows what is there: it takes no files.")
        networks = self._networks(run, checkpoint, compare, path)
        given = {name: Path(file) if file else None for name, file in zip(OWN, files, strict=True)}
        pair = self._viewing.own_pair(self._viewing.config(run, networks[0]), given, resize=bool(resize))
        return self._viewing.view(pair, networks)

    def _networks(
        self, run: str | None, checkpoint: str | None, compare: str | None, path: str | None
    ) -> "list[Network]":
        if path and path.strip():
            if self.read_only:
                raise ConfigError("This page only shows what is there: it opens no paths.")
            first = self._viewing.network_at(path)
        elif run:
            first = self._viewing.network(run, checkpoint)
        else:
            raise RunError(NO_RUNS)
        return [first, *([self._viewing.other(compare)] if compare else [])]


def _kept(value: str | None, choices: Sequence[str]) -> str | None:
    return value if value in choices else next(iter(choices), None)


def _named(checkpoint: str) -> str:
    return f"epoch {checkpoint}" if checkpoint.isdecimal() else checkpoint


def _modified(path: Path) -> float:
    return path.stat().st_mtime if path.is_file() else 0.0
