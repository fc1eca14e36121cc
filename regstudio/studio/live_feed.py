"""Answers the polls of the live panel: of a run's curves, log and previews, only what is new to the asking page."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from regstudio.config import TrainConfig
from regstudio.errors import RegStudioError, RunError
from regstudio.runs.curves import RunCurves, count
from regstudio.runs.diagnosis import diagnose
from regstudio.runs.run import Run
from regstudio.runs.time_left import Speeds
from regstudio.studio.caches import LRUCache
from regstudio.studio.page_words import on_the_page
from regstudio.studio.studio import Studio

MAX_NAMED = 100  # runs to choose from
MAX_RUNS = 4  # kept in memory
MAX_LISTED = 1000  # whose progress within the epoch is known
MAX_PREVIEW_BYTES = 2**27  # of one file, unpacked: more would take too long to draw
# JobStates by name: to import the job would make the first page wait for torch.
ACTIVE = ("running", "paused", "stopping")

Response = dict[str, Any]  # JSON-ready


class Feed:
    """Answers the polls of any number of pages; each request carries the page's cursor.

    `measured` returns the speeds of a training with such settings, where they were measured before.
    """

    def __init__(self, studio: Studio, measured: Callable[[TrainConfig], Speeds | None] = lambda _: None) -> None:
        self._studio = studio
        self._measured = measured
        self._own: Run | None = None  # the last run of this process that was shown
        self._latest: Run | None = None
        self._curves: LRUCache[RunCurves] = LRUCache(MAX_RUNS)
        self._aspects: LRUCache[float] = LRUCache(MAX_LISTED)
        self._within: LRUCache[tuple[str, float]] = LRUCache(MAX_LISTED)

    def poll(self, request: object) -> Response:
        """Return what is new since the request's cursor: its counts "steps", "epochs", "previews" and "log".

        "run" names a run, or is null for the one in training, here or in another program; with "list", the answer names
        the newest "runs". The cursor belongs to the
        "version" of the last answer; if the run has another version by now, the answer holds everything and says
        "reset".
        """
        fields = request if isinstance(request, Mapping) else {}
        try:
            run = self._run(fields)
            answer = self._answer(run, fields) if run else {"run": None, "state": "idle"}
            return answer | ({"runs": self._names()} if fields.get("list") is True else {})
        except RegStudioError as error:
            return {"run": None, "state": "idle", "error": str(error)}

    def _names(self) -> list[str]:
        return [run.path.name for run in self._studio.run_folders()[:MAX_NAMED]]

    def preview(self, request: object) -> Response:
        """Return the pictures of the preview after the "epoch" of "run": PNG data URIs by name."""
        from regstudio.data.codecs.npy import read_arrays
        from regstudio.drawing.preview import draw  # imports matplotlib, which would delay the first page

        fields = request if isinstance(request, Mapping) else {}
        try:
            run, epoch = self._run(fields), count(fields, "epoch")
            if run is None or not run.holds(run.preview_path(epoch)) or not run.holds(run.pair_path):
                raise RunError(f"There is no preview of epoch {epoch}. It is drawn at the end of the epoch.")
            pair, result = (read_arrays(path, MAX_PREVIEW_BYTES) for path in (run.pair_path, run.preview_path(epoch)))
            aspect = self._aspects.get(run.path, lambda: self._aspect(run))
            try:
                return {"epoch": epoch, "pictures": draw(pair | result, aspect)}
            except ValueError as error:
                raise RunError(f"{run.preview_path(epoch)}: is no preview ({error}). Delete it.") from None
        except RegStudioError as error:
            return {"error": str(error)}

    def _aspect(self, run: Run) -> float:
        """Return the aspect of the fixed image's pixels; 1 where its file is gone."""
        from regstudio.data.pictures.formats import geometry_of
        from regstudio.drawing.thumbnails import aspect_of

        try:
            config = run.config()
            fixed, reading = self._studio.index(config).reference, config.reading
            where: dict[str, Any] = {"slice_axis": reading.slice_axis, "slice_index": reading.slice_index}
            geometry = None if fixed is None else geometry_of(fixed.image, **where)
        except RegStudioError:
            return 1.0
        return aspect_of(None if geometry is None else geometry.spacing)

    def within_epoch(self, name: str) -> tuple[str, float]:
        """Return how far a run has come in its epoch, in words, and the seconds that it has trained."""
        run = self._studio.run(name)
        return self._within.get_file(run.events_path, lambda _: self._within_epoch(run))

    def _within_epoch(self, run: Run) -> tuple[str, float]:
        curves = self._curves_of(run)
        with curves.lock:
            curves.update()
            status = curves.status(active=False)
        done = status["progress"]
        if status["aligning"]:
            return "aligning {number} of {total}".format(**status["aligning"]), status["seconds"]
        if done["pair"]:
            return f"validating {done['pair']} of {done['pairs']}", status["seconds"]
        return f"step {done['step']} of {done['steps']}" if done["step"] else "", status["seconds"]

    def _run(self, fields: Mapping[Any, Any]) -> Run | None:
        name = fields.get("run")
        if isinstance(name, str):
            return self._studio.run(name)
        run = self._current()
        return run if run and run.holds(run.config_path) else None

    def _current(self) -> Run | None:
        """Return this process's run while it trains, else the one that another process trains, else the latest."""
        job = self._studio.known_job
        own, active = (job.run, job.state.value in ACTIVE) if job else (None, False)
        if own is not None and (active or own != self._own):
            self._own = self._latest = own
        elif elsewhere := self._studio.running():
            self._latest = elsewhere
        return self._latest

    def _answer(self, run: Run, fields: Mapping[Any, Any]) -> Response:
        curves = self._curves_of(run)
        with curves.lock:  # pages that show other runs do not wait
            curves.update()
            return self._response(run, curves, fields)

    def _response(self, run: Run, curves: RunCurves, fields: Mapping[Any, Any]) -> Response:
        job = self._studio.known_job
        own = job is not None and job.run is not None and job.run.path == run.path
        if job and own and (job.state.value in ACTIVE or not run.is_training()):
            state, message = job.state.value, job.message
        else:
            state, message = curves.state()
        active = state in ACTIVE
        status = curves.status(active, self._measured_speeds(run) if active else None)
        return {
            "run": run.path.name,
            "state": state,
            "message": on_the_page(message),
            "advice": _advice(run, curves) if state == "failed" else "",
            "memory": _memory(curves.device) if active else None,
            "findings": self._findings(run, status["seconds_left"] if state == "running" else None),
            **curves.updates(fields),
            **status,
        }

    def _measured_speeds(self, run: Run) -> Speeds | None:
        try:
            return self._measured(run.config())
        except RunError:
            return None

    def _findings(self, run: Run, seconds_left: float | None) -> list[dict[str, str]]:
        """Return what is seen in the run and what to do about it, in the words of the page."""
        try:
            found = diagnose(run.config(), self._studio.milestones(run), seconds_left)
        except RunError:  # its settings cannot be read, which the list of runs says
            return []
        return [{"seen": on_the_page(each.seen), "remedy": on_the_page(each.remedy)} for each in found]

    def _curves_of(self, run: Run) -> RunCurves:
        # The inode tells a new run from a deleted one of the same name.
        key = (run.path, run.events_path.stat().st_ino if run.events_path.exists() else 0)
        return self._curves.get(key, lambda: RunCurves(run))


def _advice(run: Run, curves: RunCurves) -> str:
    if not run.holds(run.last_path):
        return "There is no checkpoint to go on from. Change what the message names, and press Start."
    return (
        f"The run is saved up to epoch {curves.epochs_done} and can be used. To take it up again from there, press "
        "Resume, or choose it under “Go on with a run”; to change settings, start a new run from its last.pt under "
        "“load model”."
    )


def _memory(device: str) -> dict[str, int | None]:
    """Return the bytes of this process and, on CUDA, the bytes reserved on the device, and the device's size."""
    memory: dict[str, int | None] = {"process": None}
    status = Path("/proc/self/status")
    if status.exists():
        line = next((line for line in status.read_text().splitlines() if line.startswith("VmRSS:")), None)
        memory["process"] = 1024 * int(line.split()[1]) if line else None
    if found := re.match(r"cuda(?::(\d{1,3}))?\b", device):
        import torch

        index = int(found[1] or 0)
        if torch.cuda.is_available() and index < torch.cuda.device_count():  # the run may be another machine's
            memory["device"] = torch.cuda.memory_reserved(index)
            memory["device_total"] = torch.cuda.get_device_properties(index).total_memory
    return memory
