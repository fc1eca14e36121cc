"""Temporary files that a killed training or studio left, gone at the next start."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from regstudio.config import TrainConfig
from regstudio.runs.run import Run, create_run
from regstudio.studio.studio import UPLOADS, Studio
from regstudio.temporary import temporary_name
from regstudio.training.trainer import train
from tests.training.whole_training import index_of

Configs = Callable[..., TrainConfig]


def leave(run: Run) -> list[Path]:
    """Leave what a kill leaves, in all folders of a run; version 0.1 gave random names."""
    names = {run.last_path.parent: "last.pt", run.pair_path.parent: "epoch_001.npz", run.path: "config.json"}
    left = [folder / f".{2**127 + number:032x}.{name}" for number, (folder, name) in enumerate(names.items())]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    return left


def test_a_training_removes_them_when_it_has_the_run_for_itself(quick_config: Configs) -> None:
    config = quick_config(run_name="r")
    run = create_run(config)
    left, own = leave(run), run.path / temporary_name("note.txt")
    own.write_text("being written by this process")
    events = train(config, index_of(config), run=run)
    list(islice(events, 1))
    assert not any(path.exists() for path in left)
    assert own.exists()
    events.close()


@pytest.mark.parametrize("trained", [False, True])
def test_the_studio_removes_them_but_for_runs_in_training(
    quick_config: Configs, demo: Path, tmp_path: Path, trained: bool
) -> None:
    run = create_run(quick_config(run_name="r"))
    left, folder = leave(run), tmp_path / UPLOADS / ".upload-0000000000000000-x"
    folder.mkdir(parents=True)
    studio = Studio(runs_dir=run.path.parent, roots=(tmp_path,), demo_dir=demo, data_base_dir=demo)
    if trained:
        with run.lock():
            studio.remove_leftovers()
    else:
        studio.remove_leftovers()
    assert [path.exists() for path in left] == [trained] * 3
    assert folder.exists()  # perhaps of another machine
