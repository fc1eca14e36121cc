"""Distributed work in two processes on the CPU with gloo, as torchrun starts them."""

import csv
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from regstudio.cli import main
from regstudio.config import TrainConfig, build_config
from regstudio.data.phantom import make_demo
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.distributed import SINGLE_PROCESS
from regstudio.networks.checkpoint import load_checkpoint, load_weights
from regstudio.runs.events import EpochDone, PairValidated, RunFinished, RunStarted
from regstudio.runs.run import Run, open_run
from regstudio.training.saved_state import State
from regstudio.training.setup import build
from regstudio.training.trainer import train
from regstudio.training.validation import mean_metrics, validate_case
from tests.distributed_worker import EVERYTHING, SIGNAL_STEP, SMALL, TERMS, one_step, run_in_two_processes, torchrun
from tests.pictures import ids, ramp
from tests.training.whole_training import index_of, steps

pytestmark = pytest.mark.slow

RECIPE = {**SMALL, "affine": "auto", "dice_weight": 1.0, "ema": 0.5, "lr": 1e-3, "epochs": 2, **EVERYTHING}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/: 7 training and 3 validation images of 32x32, which two processes cannot share evenly."""
    folder = tmp_path_factory.mktemp("together")
    make_demo(folder / "data", size=32, train=7, validation=3)
    make_pairs(folder / "pairs")
    return folder


def make_pairs(folder: Path) -> None:
    """Seven pairs of seven subjects; all have landmarks, one more than the other, and two have a mask."""
    for number in range(7):
        for side in ("fixed", "moving"):
            write_image(folder / side / f"p{number}.png", ramp(32, 40, shift=9.0 * number + 3 * (side == "moving")))
            rows = [f"{5 + 3 * row},{8 + row}" for row in range(number + 1)]
            (folder / side / f"p{number}_points.csv").write_text("\n".join(["y,x", *rows]) + "\n")
    for number in (2, 5):
        write_label(folder / "moving_mask" / f"p{number}_mask.png", ids(32, 40))


def flags(**settings: object) -> list[str]:
    words = {True: "--{}", False: "--no-{}"}
    return [words[v].format(k) if isinstance(v, bool) else f"--{k}={v}" for k, v in settings.items()]


def where(place: Path, name: str) -> dict[str, object]:
    return {
        "data_base_dir": place / "data",
        "runs_dir": place / "runs",
        "run_name": name,
        "device": "cpu",
        "compare": False,
    }


def on_pairs(place: Path, name: str) -> dict[str, object]:
    pairs = {"data_base_dir": place / "pairs", "validation_share": 0.4, "landmark_weight": 0.1, "both_directions": True}
    return {**where(place, name), **SMALL, **pairs, "epochs": 1}


@pytest.fixture(scope="module")
def done(place: Path) -> dict[str, list[Any]]:
    """The results of all tasks without a crash, in the same two processes, which take seconds to start."""
    checkpoint = place / "runs" / "two" / "checkpoints" / "last.pt"
    data, labels = place / "data", "validation_moving_seg"
    fixed = [f"--fixed={data / 'fixed' / 'atlas.png'}", f"--moving={data / 'validation_moving'}"]
    tasks = {
        "gradients": ["gradients"],
        **{
            f"nan_in_one_{n}": ["nan_in_one"] for n in range(4)
        },  # leaving the group after a failure once hung, at times
        "failure_of_one": ["failure_of_one"],
        "train": ["train", *flags(**where(place, "two"), **RECIPE)],
        "diverge": ["train", *flags(**where(place, "diverged"), **SMALL, lr=1e15, epochs=1)],
        "register": ["register", f"--checkpoint={checkpoint}", *fixed, f"--moving_seg={data / labels}"],
        "evaluate": ["evaluate", f"--checkpoint={checkpoint}", f"--data_base_dir={data}", f"--json={place}/two.json"],
        "straight": ["train", *flags(**where(place, "straight"), **SMALL, epochs=2)],
        "stop": ["stopped", "train", *flags(**where(place, "stopped"), **SMALL, epochs=2)],
        "resume": ["train", f"--resume={place / 'runs' / 'stopped'}"],
        "pairs": ["train", *flags(**on_pairs(place, "pairs"))],
        "pairs_registered": ["register", "--method=none", f"--data_base_dir={place}/pairs", f"--out={place}/warped"],
        "refuse": ["train", *flags(**where(place, "refused"), **SMALL, batch_size=4)],
    }
    tasks["register"] += [f"--out={place / 'out'}"]
    tasks["again"] = tasks["register"]
    return run_in_two_processes(place, tasks, XDG_CACHE_HOME=place / "cache")


@pytest.fixture(scope="module")
def one(place: Path, done: object) -> Run:
    """The run of one process with the double batch, which should equal that of two processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        config = build_config({**where(place, "one"), **RECIPE, "batch_size": 2})
        list(train(config, index_of(config)))
    return open_run(place / "runs" / "one")


@pytest.mark.parametrize(("number", "settings"), [(0, {}), (1, {"ema": 0.5, **EVERYTHING, **TERMS})])
def test_gradients_and_losses_are_those_of_one_process_with_the_double_batch(
    done: dict[str, list[Any]], number: int, settings: dict[str, object]
) -> None:
    wanted, (first, second) = one_step(SINGLE_PROCESS, **settings), (results[number] for results in done["gradients"])
    assert first["losses"] == second["losses"] == pytest.approx(wanted["losses"], rel=1e-4)
    one, two, other = (torch.cat([g.flatten() for g in r["gradients"].values()]) for r in (wanted, first, second))
    assert torch.equal(two, other)
    # A velocity field that is almost zero leads to places at pixels' centres, where the slope of an image has a kink.
    assert float((two - one).norm() / one.norm()) < (1e-3 if "transform" in settings else 1e-4)
    assert all(torch.equal(first["weights"][name], second["weights"][name]) for name in wanted["weights"])


def test_a_nan_loss_in_one_process_stops_all(done: dict[str, list[Any]]) -> None:
    assert all(done[f"nan_in_one_{n}"] == [True, True] for n in range(4))


def test_the_others_raise_the_reason_of_a_failed_process(done: dict[str, list[Any]]) -> None:
    first, second = done["failure_of_one"]
    assert second == "DataError: b.png: is torn. Mend it."
    assert first == "WorkerLostError: b.png: is torn. Mend it. (Said by process 2 of 2.)"


def test_two_processes_train_like_one_with_the_double_batch(done: dict[str, list[Any]], place: Path, one: Run) -> None:
    assert [result["code"] for result in done["train"]] == [0, 0], done["train"]
    events, wanted = (open_run(place / "runs" / name).events() for name in ("two", "one"))
    assert [type(event) for event in events] == [type(event) for event in wanted]
    assert isinstance(events[0], RunStarted)
    assert "2 processes" in events[0].device
    for (epoch, step, losses), expected in zip(steps(events), steps(wanted), strict=True):
        assert (epoch, step) == expected[:2]
        assert losses == pytest.approx(expected[2], rel=1e-2, abs=1e-4)


def test_pairs_are_trained_on_and_registered_by_two_processes(done: dict[str, list[Any]], place: Path) -> None:
    assert [result["code"] for result in done["pairs"]] == [0, 0], done["pairs"]
    config = build_config({**on_pairs(place, "one_pairs"), "batch_size": 2})
    found, wanted = open_run(place / "runs" / "pairs").events(), list(train(config, index_of(config)))
    assert [type(event) for event in found] == [type(event) for event in wanted]
    (_, _, losses), (_, _, alone) = steps(found)[0], steps(wanted)[0]
    assert losses["ncc"] == pytest.approx(alone["ncc"], rel=1e-2)
    assert losses["landmarks"] > 0
    before, expected = (
        next(event for event in events if isinstance(event, EpochDone)).metrics["tre_before"]
        for events in (found, wanted)
    )
    assert before == pytest.approx(expected)
    assert [result["code"] for result in done["pairs_registered"]] == [0, 0], done["pairs_registered"]
    with (place / "warped" / "metrics.csv").open() as table:
        assert [row["id"] for row in csv.DictReader(table)] == [f"p{number}" for number in range(7)]


def test_sharded_validation_gives_the_metrics_of_one_process(
    done: dict[str, list[Any]], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    run = open_run(place / "runs" / "two")
    parts = build(run.config(), index_of(run.config()))
    load_weights(parts.learner.averaged, load_checkpoint(run.epoch_path(2)).weights, run.epoch_path(2))
    from regstudio.methods.affine_cache import affine_matrices

    fixed = parts.image_loader(parts.reference.image)[0]
    assert parts.aligned is not None
    for case, affine in affine_matrices(fixed, parts.validation, lambda case: parts.image_loader(case.image)):
        parts.aligned[case] = affine.matrix
    measured = [validate_case(parts, case) for case in parts.validation]
    events = run.events()
    last = [event for event in events if isinstance(event, EpochDone)][-1]
    assert last.metrics == mean_metrics(measured)
    shown = [event for event in events if isinstance(event, PairValidated)][-3:]
    assert [event.dice for event in shown] == [metrics["dice"] for metrics in measured]
    assert [event.case for event in shown] == [case.id for case in parts.validation]


def test_only_the_first_process_prints_and_writes(done: dict[str, list[Any]], place: Path, one: Run) -> None:
    first, second = done["train"]
    assert first["stdout"].rstrip().endswith("Training Finished")
    assert second["stdout"] == second["stderr"] == ""
    two = open_run(place / "runs" / "two")
    files = [sorted(p.relative_to(run.path) for p in run.path.rglob("*") if p.is_file()) for run in (two, one)]
    assert files[0] == files[1]
    assert two.log_path.read_text().count("Epoch 001/002") == 1
    names = [load_checkpoint(run.last_path).weights.keys() for run in (two, one)]
    assert names[0] == names[1]


def test_a_diverged_training_saves_the_images_of_all_processes(done: dict[str, list[Any]], place: Path) -> None:
    assert [result["code"] for result in done["diverge"]] == [1, 1]
    first, second = done["diverge"]
    assert "is not a finite number" in first["stderr"]
    assert second["stderr"] == ""
    failed = load_checkpoint(place / "runs" / "diverged" / "checkpoints" / "failed.pt")
    assert failed.training["moving_image"].shape == (2, 1, 32, 32)


def test_a_wrong_setting_gives_one_message(done: dict[str, list[Any]], place: Path) -> None:
    first, second = done["refuse"]
    assert (first["code"], second["code"]) == (1, 1)
    assert "There are 7 images for batches of 4 in 2 processes. Lower --batch_size" in first["stderr"]
    assert second["stdout"] == second["stderr"] == ""
    assert not (place / "runs" / "refused").exists()


def test_images_to_register_are_sharded(done: dict[str, list[Any]], place: Path) -> None:
    first, second = done["register"]
    assert (first["code"], second["code"]) == (0, 0), first
    assert "3 of 3 images registered; the results" in first["stdout"]
    assert second["stdout"] == ""
    journal = [json.loads(line) for line in (place / "out" / "registered.jsonl").read_text().splitlines()]
    with (place / "out" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == sorted(entry["id"] for entry in journal)
    assert len(rows) == 3
    assert all((place / "out" / name).is_file() for entry in journal for name in entry["files"])
    assert "3 of 3 images registered, 3 of them before" in done["again"][0]["stdout"]


def test_sharded_evaluation_gives_the_scores_of_one_process(done: dict[str, list[Any]], place: Path) -> None:
    first, second = done["evaluate"]
    assert (first["code"], second["code"]) == (0, 0), first
    assert second["stdout"] == ""
    checkpoint = place / "runs" / "two" / "checkpoints" / "last.pt"
    out = place / "one.json"
    arguments = [f"--checkpoint={checkpoint}", f"--data_base_dir={place / 'data'}", f"--json={out}", "--device=cpu"]
    assert CliRunner().invoke(main, ["evaluate", *arguments]).exit_code == 0
    two, alone = (json.loads(path.read_text())["cases"] for path in (place / "two.json", out))
    for case in (*two, *alone):
        del case["seconds"]
    assert two == alone


def test_a_killed_worker_ends_the_run_which_can_be_resumed(place: Path, done: object) -> None:
    recipe = {**SMALL, "epochs": 3, "batch_size": 1, "lr": 1e-3}
    process = torchrun("-m", "tests.distributed_worker", "killed", "train", *flags(**where(place, "killed"), **recipe))
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    run = open_run(place / "runs" / "killed")
    end = run.events()[-1]
    assert isinstance(end, RunFinished)
    assert end.reason == "failed"
    assert "A worker was lost" in end.message
    assert f"Go on with: regstudio train --resume {run.path}" in end.message
    assert end.message.splitlines()[0] in errors
    state = load_checkpoint(run.last_path).training["state"]
    assert (state["epoch"], state["step"]) == divmod(SIGNAL_STEP, 3)

    copy = Run(shutil.copytree(run.path, place / "runs" / "copy"))
    started = next(iter(train(copy.config(), index_of(copy.config()), run=copy)))
    assert isinstance(started, RunStarted)  # one process takes 7 steps where two take 3
    assert (started.epoch, started.step, started.steps_per_epoch) == (1, 2, 7)

    straight = build_config({**where(place, "double"), **recipe, "batch_size": 2})
    wanted = steps(list(train(straight, index_of(straight))))
    alone: TrainConfig = build_config({"batch_size": 2}, run.config())
    list(train(alone, index_of(alone), run=run))
    for got, expected in zip(steps(run.events()), wanted, strict=True):
        assert got[:2] == expected[:2]
        assert got[2] == pytest.approx(expected[2], rel=1e-3, abs=1e-5)


def test_a_signal_to_one_process_stops_all_and_a_resume_is_exact(done: dict[str, list[Any]], place: Path) -> None:
    stopped, straight = (open_run(place / "runs" / name) for name in ("stopped", "straight"))
    first, second = done["stop"]
    assert (first["code"], second["code"]) == (0, 128 + signal.SIGTERM)
    assert f"Stopped. Go on with: regstudio train --resume {stopped.path}" in first["stdout"]
    assert "Goes on after epoch 1, step 2 of 3" in done["resume"][0]["stdout"]
    assert steps(stopped.events()) == steps(straight.events())
    weights, wanted = (load_checkpoint(run.epoch_path(2)).weights for run in (stopped, straight))
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(("now", "step", "total"), [(10, 4, 8.0), (5, 2, 4.0), (3, 1, 2.0), (2, 0, None)])
def test_a_resume_with_another_number_of_processes_keeps_the_share_of_the_epoch(
    now: int, step: int, total: float | None
) -> None:
    state = State(epoch=3, step=4, sums={"loss": 8.0}).rescaled(now, 10)
    assert (state.epoch, state.step) == (3, step)
    assert state.sums == ({} if total is None else {"loss": total})
