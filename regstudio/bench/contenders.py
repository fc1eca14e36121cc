"""The methods whose accuracy is compared: one table, a line each, and how each is made for a data set."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from regstudio.config import build_config, preset_values
from regstudio.data.folders.layout import DataIndex
from regstudio.errors import DataError, RegStudioError, TrainingError
from regstudio.evaluation.report.compose import checkpoint_method, method_by_name
from regstudio.methods import TITLES
from regstudio.methods.method import Method
from regstudio.methods.named import named_method
from regstudio.methods.network import Refine
from regstudio.runs.events import RunFinished
from regstudio.runs.run import create_run
from regstudio.training.trainer import train

# Wraps an iterable to show how far it is; it also gets the number of items, where it is known, and what is done.
Watch = Callable[[Iterable[Any], int | None, str], Iterable[Any]]


@dataclass(frozen=True, kw_only=True)
class Made:
    """A method that is ready to register, and the seconds that its training took, if it was trained."""

    method: Method
    training_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A network that a preset trained, and the seconds from the start of the training to its end."""

    checkpoint: Path
    seconds: float


class Workshop:
    """What methods are made with: the device, and a folder for networks, each of which is trained once."""

    def __init__(self, device: str, folder: Path, watch: Watch) -> None:
        self.device, self._folder, self._watch = device, folder, watch
        self._trained: dict[tuple[Path, str], Trained | RegStudioError] = {}

    def trained(self, preset: str, index: DataIndex) -> Trained:
        """Return the network of a preset for a data set; raises RegStudioError, each time, if it cannot be trained."""
        key = index.root, preset
        if key not in self._trained:
            try:
                self._trained[key] = self._train(preset, index)
            except RegStudioError as error:
                self._trained[key] = error
        found = self._trained[key]
        if isinstance(found, RegStudioError):
            raise found
        return found

    def _train(self, preset: str, index: DataIndex) -> Trained:
        if not index.validation or not index.train:
            raise DataError("there are no images to train on beside those that are measured")
        folder = self._folder / str(len(self._trained))
        places = {"data_base_dir": index.root, "runs_dir": folder, "run_name": preset, "device": self.device}
        config = build_config(preset_values(preset) | places)
        end: Any = None
        with _empty_caches(folder / "caches"):
            start = time.perf_counter()
            run = create_run(config)
            for event in self._watch(train(config, index, run=run), None, f"{index.root.name}, training {preset}"):
                end = event
            seconds = time.perf_counter() - start
        if not isinstance(end, RunFinished) or end.reason != "finished":
            raise TrainingError(f"its training ended early: {getattr(end, 'message', '')}")
        # The last network, not the best one: that is chosen by the very cases which it is to be measured on.
        return Trained(checkpoint=run.last_path, seconds=seconds)


@contextmanager
def _empty_caches(folder: Path) -> Iterator[None]:
    """Use `folder` for caches within the block: what an earlier training kept would make this one faster."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        yield
    finally:
        del os.environ["XDG_CACHE_HOME"]
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before


class Contender(Protocol):
    """A line of the table."""

    @property
    def title(self) -> str:
        """What tables call it."""

    def check(self) -> None:
        """Raise ConfigError if a package that it needs is not installed."""

    def make(self, workshop: Workshop, index: DataIndex) -> Made:
        """Return the method for a data set; raises RegStudioError where it cannot be had."""


@dataclass(frozen=True)
class ByName:
    """A method that needs no training, see `named_method`."""

    title: str
    name: str

    def check(self) -> None:
        """Raise ConfigError if its package is not installed."""
        named_method(self.name)

    def make(self, workshop: Workshop, index: DataIndex) -> Made:
        """Return the method, anew for each data set: a tool that broke on one may work on the next."""
        return Made(method=method_by_name(self.name, workshop.device))


@dataclass(frozen=True)
class ByTraining:
    """The network that a preset trains on the data set's training images; the validation cases are not looked at."""

    title: str
    preset: str
    refine: Refine = 0

    def check(self) -> None:
        """It needs no further package."""

    def make(self, workshop: Workshop, index: DataIndex) -> Made:
        """Train, if that was not done yet, and return the network; raises RegStudioError if that fails."""
        trained = workshop.trained(self.preset, index)
        method = checkpoint_method(trained.checkpoint, workshop.device, refine=self.refine)
        return Made(method=method, training_seconds=trained.seconds)


BY_NAME = ("none", "affine", "syn", "elastix", "demons", "optimiser", "general_network", "general")
CONTENDERS: Mapping[str, Contender] = {
    **{name: ByName(TITLES[name], name) for name in BY_NAME},
    "fast": ByTraining("trained: fast", "fast"),
    "fast-refined": ByTraining("trained: fast + refine", "fast", refine="auto"),
}
