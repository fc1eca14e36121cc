"""What the Runs tab does with runs: list, compare, annotate, rename, delete (move to the trash), zip, resume."""

import itertools
import json
import os
import shutil
import zipfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from regstudio.config import build_config
from regstudio.errors import RunError
from regstudio.files import atomic_path, write_text
from regstudio.runs.catalogue import UNREADABLE, RunSummary
from regstudio.runs.events import EpochDone
from regstudio.runs.run import Run
from regstudio.schema import SchemaError, read_bytes
from regstudio.studio.studio import Studio

TRASH = ".trash"
MAX_NOTE_LENGTH = 2000
MAX_COMPARED = 10
COLUMNS = ("Run", "State", "Epochs", "Best Dice", "Best TRE", "NJD %", "Time", "Data", "Settings that differ", "Note")


def selected_runs(studio: Studio, names: Sequence[str] | None) -> list[Run]:
    """Return the runs of these names; raises RunError for too many, or for an unknown name."""
    if len(names or ()) > MAX_COMPARED:
        raise RunError(f"Select {MAX_COMPARED} runs at most.")
    return [studio.run(str(name)) for name in names or ()]


def selected_run(studio: Studio, names: Sequence[str] | None) -> Run:
    """Return the selected run; raises RunError if none or several are selected."""
    runs = selected_runs(studio, names)
    if len(runs) != 1:
        raise RunError("Select one run first." if not runs else "Select one run only.")
    return runs[0]


def row(run: RunSummary, step: str = "", seconds: float | None = None) -> list[str | float | None]:
    """Return the run's row of the table, in the order of COLUMNS.

    Within an epoch, `step` says how far it has come and `seconds` how long the run has trained by now.
    """
    if run.state == UNREADABLE:
        return [run.name, f"cannot be read: {run.message}", "", None, None, None, "", "", "", ""]
    settings = ", ".join(f"{name}={value}" for name, value in run.settings.items())
    return [
        run.name,
        run.state,
        f"{run.epochs_done}/{run.epochs}{step and f' ({step})'}",
        None if run.best_dice is None else round(run.best_dice, 4),
        None if run.best_tre is None else round(run.best_tre, 2),
        None if run.njd_percent is None else round(run.njd_percent, 3),
        duration(run.seconds if seconds is None else seconds),
        run.data.name,
        settings,
        read_note(Run(run.path)),
    ]


def filtered(
    rows: Sequence[list[str | float | None]], words: str = "", by_data: bool = False
) -> list[list[str | float | None]]:
    """Return the rows of the table that hold all the words, in any column; `by_data` brings equal data together."""
    wanted = words.lower().split()
    shown = [row for row in rows if all(word in " ".join(map(str, row)).lower() for word in wanted)]
    data = COLUMNS.index("Data")
    return sorted(shown, key=lambda row: str(row[data]).lower()) if by_data else shown


def duration(seconds: float) -> str:
    """Return seconds as hours:minutes:seconds, padded so that text sorts as time does."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"


def curves(studio: Studio, runs: Iterable[Run]) -> str:
    """Return loss, Dice, TRE and NJD by epoch of each run, the epochs' image scale, and which data it saw, as JSON."""
    compared = []
    for run in runs:
        epochs = [event for event in studio.milestones(run) if isinstance(event, EpochDone)]
        compared.append(
            {
                "name": run.path.name,
                **_data(run),
                "epoch": [event.epoch for event in epochs],
                "minutes": [seconds / 60 for seconds in itertools.accumulate(event.seconds for event in epochs)],
                "scale": [event.scale for event in epochs],
                "loss": [event.losses.get("loss") for event in epochs],
                "dice": [event.metrics.get("dice") for event in epochs],
                "tre": [event.metrics.get("tre") for event in epochs],
                "njd": [event.metrics.get("njd_percent") for event in epochs],
            }
        )
    return json.dumps(compared)


def _data(run: Run) -> dict[str, str]:
    """Return the name of a run's data, and a text that differs where its images do."""
    layout = run.config().layout
    return {"data": layout.data_base_dir.name, "data_key": layout.model_dump_json()}


def read_note(run: Run) -> str:
    """Return the user's note on the run; empty if there is none."""
    if not run.holds(_note_path(run)):
        return ""
    try:
        return read_bytes(_note_path(run)).decode(errors="replace")[:MAX_NOTE_LENGTH]
    except SchemaError:
        return ""


def write_note(run: Run, note: str) -> None:
    """Write the note into the run's folder; raises RunError if it is too long, or cannot be written."""
    note = note.strip().encode(errors="replace").decode()
    if len(note) > MAX_NOTE_LENGTH:
        raise RunError(f"The note has {len(note)} characters; {MAX_NOTE_LENGTH} is the most.")
    try:
        write_text(_note_path(run), note)
    except OSError as error:
        raise RunError(f"{_note_path(run)}: cannot be written ({error.strerror or error}). Remove it.") from None


def rename(run: Run, name: str) -> Run:
    """Rename the run's folder and return the run; raises RunError while it is training."""
    name = name.strip()
    config = build_config({"run_name": name}, run.config())  # refuses names that are none
    target = Run(run.path.with_name(name))
    if not name or target.path.parent != run.path.parent:
        raise RunError("A run needs a name without slashes.")
    if os.path.lexists(target.path):
        raise RunError(f"There is a run named {name} already. Choose another name.")
    _refuse_training(run, "renamed")
    try:
        run.path.rename(target.path)
    except OSError as error:
        raise RunError(f"{run.path} cannot be named {name} ({error.strerror or error}). Choose another name.") from None
    target.write_config(config)
    return target


def delete(run: Run) -> Path:
    """Move the run to the trash folder beside it and return its new path; raises RunError while it is training."""
    _refuse_training(run, "deleted")
    trash = run.path.parent / TRASH
    trash.mkdir(exist_ok=True)
    target = trash / run.path.name
    if target.exists():
        target = trash / f"{run.path.name} {datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
    shutil.move(run.path, target)
    return target


def pack(run: Run, path: Path, *, checkpoints: bool) -> Path:
    """Zip the run into the file `path`, with or without its checkpoints; return it."""
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for item in sorted(run.path.rglob("*")):
            inside = item.relative_to(run.path)
            skipped = item.is_symlink() or not item.is_file() or item.name.startswith(".")
            if not skipped and (checkpoints or inside.parts[0] != "checkpoints"):
                file.write(item, Path(run.path.name) / inside)
    return path


def _note_path(run: Run) -> Path:
    return run.path / "note.txt"


def _refuse_training(run: Run, what: str) -> None:
    if run.is_training():
        raise RunError(f"{run.path.name} is training now and cannot be {what}. Stop it first.")
