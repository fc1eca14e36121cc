"""How long a training would take, measured in the background while a page shows its settings, and kept."""

import threading
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import NamedTuple

import cachetools

from regstudio.config import TrainConfig, build_config
from regstudio.data.folders.layout import DataIndex
from regstudio.runs.time_left import Speeds
from regstudio.studio.live_feed import ACTIVE
from regstudio.studio.studio import MAX_TABS, Studio
from regstudio.studio.training_control import state
from regstudio.studio.workspace import Workspace

MAX_KEPT = 100  # speeds of different settings
SETTLED = 2.0  # seconds that settings stay as they are before they are worth measuring
MEASURING = "Measuring how long this takes here…"
# Settings that say how often something is done, or that change nothing about its time.
WITHOUT_EFFECT = frozenset(
    {"epochs", "initial_epoch", "steps_per_epoch", "total_steps", "coarse_share", "validation_freq", "load_model"}
    | {"lr", "lr_schedule", "cosine_epochs", "warmup_steps", "seed", "num_workers", "cache_gb", "disk_cache_gb"}
)

Measure = Callable[[TrainConfig, DataIndex, Callable[[], bool]], Speeds]


class _Asked(NamedTuple):
    config: TrainConfig
    workspace: Workspace
    since: float


class Estimator:
    """Knows what trainings take; measures one that a page asks about at a time, and none while the machine trains.

    It measures by `regstudio.training.duration.measure`, or what is given instead, once settings have been `settled`
    seconds as they are.
    """

    def __init__(self, studio: Studio, *, settled: float = SETTLED, measure: Measure | None = None) -> None:
        self._studio, self._settled, self._measure = studio, settled, measure
        self._lock = threading.Lock()
        self._known: cachetools.LRUCache[Hashable, Speeds | None] = cachetools.LRUCache(MAX_KEPT)
        self._asked: cachetools.LRUCache[str, _Asked] = cachetools.LRUCache(MAX_TABS)
        self._shown: cachetools.LRUCache[str, bool] = cachetools.LRUCache(MAX_TABS)
        self._waiting: _Asked | None = None
        self._thread: threading.Thread | None = None

    def ask(self, tab: str, config: TrainConfig | None) -> None:
        """Note the settings that a browser tab shows; None where they are wrong."""
        with self._lock:
            if config is None:
                self._asked.pop(tab, None)
            else:
                known = self._asked.get(tab)
                same = known is not None and speeds_key(known.config) == speeds_key(config)
                since = known.since if known and same else time.monotonic()
                self._asked[tab] = _Asked(config, self._studio.workspace(tab), since)

    def show(self, tab: str) -> None:
        """Note that a browser tab has opened the settings: only then is it worth measuring."""
        with self._lock:
            self._shown[tab] = True

    def words(self, tab: str) -> str:
        """Return how long the training takes that a browser tab shows; measures it in the background if need be."""
        with self._lock:
            asked = self._asked.get(tab) if tab in self._shown else None
            if asked is None:
                return ""
            key = speeds_key(asked.config)
            known = key in self._known
            speeds = self._known.get(key)
        if known:
            from regstudio.training.duration import duration

            return "" if speeds is None else f"Takes about {in_words(duration(asked.config, speeds))} on this machine."
        if not self._may_measure():
            return ""
        if time.monotonic() - asked.since >= self._settled:
            self._measure_soon(asked)
        return MEASURING

    def speeds(self, config: TrainConfig) -> Speeds | None:
        """Return the speeds of a training with such settings, if they were measured."""
        with self._lock:
            return self._known.get(speeds_key(config))

    def forget(self) -> None:
        """Forget all speeds, because data were changed."""
        with self._lock:
            self._known.clear()

    def join(self) -> None:
        """Wait until nothing is being measured."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _may_measure(self) -> bool:
        # The thread is no daemon: torch aborts the program if it ends in the middle of a computation.
        ends = not threading.main_thread().is_alive()
        return not ends and state(self._studio) not in ACTIVE

    def _measure_soon(self, asked: _Asked) -> None:
        with self._lock:
            self._waiting = asked  # in place of older ones, whose pages show other settings by now
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._measure_waiting, name="time estimate")
                self._thread.start()

    def _measure_waiting(self) -> None:
        from regstudio.training.duration import NotMeasuredError

        while True:
            with self._lock:
                asked, self._waiting = self._waiting, None
                if asked is None or speeds_key(asked.config) in self._known:
                    self._thread = None
                    return
            with suppress(NotMeasuredError):
                speeds = self._measured(asked)
                with self._lock:
                    self._known[speeds_key(asked.config)] = speeds

    def _measured(self, asked: _Asked) -> Speeds | None:
        from regstudio.training.duration import NotMeasuredError, measure

        try:
            report = asked.workspace.report()
            if not report.can_train:
                return None
            # Neither the weights nor the rate change its time; a rate that is too high would end it.
            fresh = build_config({"load_model": None, "lr": 1e-6}, asked.config)
            return (self._measure or measure)(fresh, report.index, self._may_measure)
        except NotMeasuredError:
            raise
        except Exception:  # Start says why, if it is pressed; asked again and again, it would fail each time
            return None


def speeds_key(config: TrainConfig) -> Hashable:
    """Return what a training's speeds depend on."""
    values = config.model_dump(exclude={"run"})
    flat = {name: value for section in values.values() for name, value in section.items()}
    weighs = {name: bool(value) if name.endswith("_weight") else value for name, value in flat.items()}
    return tuple((name, str(value)) for name, value in weighs.items() if name not in WITHOUT_EFFECT)


def in_words(seconds: float) -> str:
    """Return a time in words, no more exact than it is known.

    >>> in_words(200), in_words(9000)
    ('3 min', '2.5 h')
    """
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)} s"
    return f"{round(seconds / 60)} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
