"""What the live panel asks for: of the run that is being trained, only what is new to the page that asks."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regstudio.errors import RegStudioError, RunError
from regstudio.runs.curves import Answer, RunCurves, count
from regstudio.runs.run import Run
from regstudio.studio.studio import Studio

MAX_RUNS = 4  # kept in memory
ACTIVE = (
    "running",
    "paused",
    "stopping",
)  # JobStates by name: importing the job would make the first page wait for torch


class Feed:
    """Answers the polls of any number of pages; what a page has seen is in its request, not here."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._courses: dict[tuple[Path, int], RunCurves] = {}
        self._lock = threading.Lock()

    def poll(self, request: object) -> Answer:
        """Return what came after the counts "steps", "epochs", "previews" and "log" of the request.

        "run" names a run, or is null for the one in training. The counts hold for the "version" that the last answer
        named; where it is another by now, everything comes anew, with "reset".
        """
        asked = request if isinstance(request, Mapping) else {}
        try:
            with self._lock:
                run = self._run(asked)
                return self._answer(run, asked) if run else {"run": None, "state": "idle"}
        except RegStudioError as error:
            return {"run": None, "state": "idle", "error": str(error)}

    def preview(self, request: object) -> Answer:
        """Return the pictures of the preview's pair after the "epoch" of "run", as PNG data URIs by their names."""
        from regstudio.drawing.preview import draw  # matplotlib's colours and lines need not delay the first page

        asked = request if isinstance(request, Mapping) else {}
        try:
            run, epoch = self._run(asked), count(asked, "epoch")
            if run is None or not run.preview_path(epoch).is_file() or not run.pair_path.is_file():
                raise RunError(f"There is no preview of epoch {epoch}. It is drawn at the end of the epoch.")
            return {"epoch": epoch, "pictures": draw(run.pair_path, run.preview_path(epoch))}
        except RegStudioError as error:
            return {"error": str(error)}

    def _run(self, asked: Mapping[Any, Any]) -> Run | None:
        name = asked.get("run")
        if isinstance(name, str):
            return self._studio.run(name)
        job = self._studio.known_job
        return job.run if job and job.run and job.run.config_path.is_file() else None

    def _answer(self, run: Run, asked: Mapping[Any, Any]) -> Answer:
        course = self._course(run)
        course.update()
        job = self._studio.known_job
        if job and job.run and job.run.path == run.path:
            state, message = job.state.value, job.message
        else:
            state, message = course.state()
        active = state in ACTIVE
        return {
            "run": run.path.name,
            "state": state,
            "message": message,
            "advice": _advice(run, course) if state == "failed" else "",
            "memory": _memory(course.device) if active else None,
            **course.updates(asked),
            **course.status(active),
        }

    def _course(self, run: Run) -> RunCurves:
        # Another file under the same name, after a run was deleted and made anew, is another course.
        key = (run.path, run.events_path.stat().st_ino if run.events_path.exists() else 0)
        course = self._courses.pop(key, None) or RunCurves(run)
        self._courses[key] = course
        while len(self._courses) > MAX_RUNS:
            self._courses.pop(next(iter(self._courses)))
        return course


def _advice(run: Run, course: RunCurves) -> str:
    if not run.last_path.is_file():
        return "Nothing was saved. Change what the message names, and press Start."
    return (
        f"The run is saved up to epoch {course.epochs_done} and can be used. To take it up again from there, choose it "
        "under “Go on with a run”; to change settings, start a new run from its last.pt under “load model”."
    )


def _memory(device: str) -> dict[str, int | None]:
    """Return the bytes that this process holds and, on CUDA, what it has reserved of the device, and its size."""
    memory: dict[str, int | None] = {"process": None}
    status = Path("/proc/self/status")
    if status.exists():
        line = next((line for line in status.read_text().splitlines() if line.startswith("VmRSS:")), None)
        memory["process"] = 1024 * int(line.split()[1]) if line else None
    if device.startswith("cuda"):
        import torch

        place = torch.device(device.split()[0])
        memory["device"] = torch.cuda.memory_reserved(place)
        memory["device_total"] = torch.cuda.get_device_properties(place).total_memory
    return memory
