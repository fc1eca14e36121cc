"""Training of the general network: what a step is made of, and that it goes on exactly."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from regstudio.cli import main
from regstudio.config import TrainConfig, build_config
from regstudio.data.pictures.writing import write_image
from regstudio.errors import DataError, RunError
from regstudio.networks.build import build_network
from regstudio.networks.checkpoint import load_checkpoint
from regstudio.networks.passes import register
from regstudio.runs.events import CheckpointSaved, EpochDone, RunFinished, RunStarted, StepDone, TrainEvent
from regstudio.runs.run import Run, open_run
from regstudio.training.general import loop, step
from regstudio.training.general.folders import FolderScore
from regstudio.training.synthesis import synthesise

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _few_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "HELD_OUT_PAIRS", 2)


def config(tmp_path: Path, **values: object) -> TrainConfig:
    return build_config(
        {
            "network": "voxelmorph",
            "transform": "svf",
            "ncc_weight": 0.0,
            "dice_weight": 1.0,
            "ema": 0.9,
            "lr": 1e-3,
            "epochs": 1,
            "steps_per_epoch": 6,
            "device": "cpu",
            "runs_dir": tmp_path,
            **values,
        }
    )


def run_of(events: Iterable[TrainEvent]) -> Run:
    return next(Run(Path(event.run)) for event in events if isinstance(event, RunStarted))


def assert_equal(one: object, other: object) -> None:
    if isinstance(one, dict):
        assert isinstance(other, dict)
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert_equal(value, other[name])
    elif isinstance(one, torch.Tensor):
        assert isinstance(other, torch.Tensor)
        assert torch.equal(one, other)
    elif isinstance(one, list | tuple):
        assert isinstance(other, list | tuple)
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_equal(*pair)
    else:
        assert one == other


@pytest.mark.slow
def test_six_steps_are_three_and_three(tmp_path: Path) -> None:
    straight = list(loop.train_general(config(tmp_path, run_name="straight")))
    stop, saves, interrupted = threading.Event(), 0, []
    for event in loop.train_general(config(tmp_path, run_name="other", save_minutes=1e-9), stop=stop):
        interrupted.append(event)
        saves += isinstance(event, CheckpointSaved)
        if saves == 3:
            stop.set()
    assert isinstance(interrupted[-1], RunFinished)
    assert interrupted[-1].reason == "stopped"
    run = run_of(interrupted)
    assert load_checkpoint(run.last_path).training["state"]["step"] == 3

    resumed = list(loop.train_general(run.config(), run=run))
    assert isinstance(resumed[0], RunStarted)
    assert (resumed[0].resumed, resumed[0].step) == (True, 3)
    first, second = (load_checkpoint(each.last_path) for each in (run_of(straight), run))
    assert_equal(first.weights, second.weights)
    trainings = [dict(checkpoint.training) for checkpoint in (first, second)]
    for saved in trainings:
        saved["state"] = {name: value for name, value in saved["state"].items() if name != "seconds"}
    assert_equal(*trainings)
    done = [next(event for event in events if isinstance(event, EpochDone)) for events in (straight, resumed)]
    assert done[0].losses == pytest.approx(done[1].losses, abs=0)
    assert done[0].metrics == done[1].metrics


@pytest.mark.slow
def test_the_record_is_that_of_any_run(tmp_path: Path) -> None:
    events = list(loop.train_general(config(tmp_path, epochs=2, steps_per_epoch=3, run_name="mine")))
    run = open_run(tmp_path / "mine")
    assert run.events() == events
    assert isinstance(events[-1], RunFinished)
    steps = [event for event in events if isinstance(event, StepDone)]
    assert [(event.epoch, event.step) for event in steps] == [(1, 3), (2, 3)]
    assert steps[0].losses.keys() == {"loss", "dice_loss", "grad", "flow_error"}
    epochs = [event for event in events if isinstance(event, EpochDone)]
    assert epochs[0].metrics.keys() == {"dice_before", "dice", "flow_error", "njd", "njd_percent"}
    assert epochs[0].losses["loss"] == pytest.approx(steps[0].losses["loss"])
    assert "Epoch 002/002" in run.log_path.read_text()
    assert load_checkpoint(run.epoch_path(1)).metrics == epochs[0].metrics
    best = load_checkpoint(run.best_path)
    flow = register(best.model(), torch.rand(1, 1, 64, 64), torch.rand(1, 1, 64, 64))
    assert flow.isfinite().all()
    with pytest.raises(RunError, match="more --steps"):
        next(iter(loop.train_general(run.config(), run=run)))


def test_a_training_may_start_from_another(tmp_path: Path) -> None:
    first = run_of(list(loop.train_general(config(tmp_path, steps_per_epoch=2, run_name="first"))))
    learner = step.Learner(config(tmp_path, load_model=first.last_path))
    assert_equal(dict(learner.network.state_dict()), dict(load_checkpoint(first.last_path).weights))


@pytest.mark.slow
def test_steps_learn(tmp_path: Path) -> None:
    """The pair of one step, again and again, is soon registered better."""
    learner = step.Learner(config(tmp_path, lr=1e-3, steps_per_epoch=1000))
    losses = [learner.step(1)["loss"] for _ in range(30)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:3])


def test_the_true_flow_has_no_error_and_none_a_known_one() -> None:
    pair = synthesise(0, 0, (64, 96))
    assert step.relative_error(pair, pair.flow) < 0.02
    shifted = pair.flow + torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    assert step.relative_error(pair, shifted).item() == pytest.approx(100 * 5 / 64, rel=1e-4)
    nowhere = replace(pair, known=torch.zeros_like(pair.known))
    assert step.relative_error(nowhere, shifted) == 0


def test_a_smaller_pair_has_a_smaller_flow() -> None:
    pair = synthesise(0, 3, (64, 96))
    small = step.smaller(pair, 2)
    assert small.fixed.shape == (1, 1, 32, 48)
    assert small.moving_label.shape[2:] == (32, 48)
    assert torch.allclose(small.flow[0, :, 0, 0], pair.flow[0, :, :2, :2].mean(dim=(1, 2)) / 2, atol=1e-5)
    expected = pair.known[0, 0, :2, :2].all()
    assert small.known[0, 0, 0, 0] == expected
    # The relative error of no flow is nearly the same at both sizes.
    none = step.relative_error(pair, torch.zeros_like(pair.flow)).item()
    assert step.relative_error(small, torch.zeros_like(small.flow)).item() == pytest.approx(none, rel=0.05)


def test_the_rate_rises_stays_and_falls_at_the_end(tmp_path: Path) -> None:
    settings = config(tmp_path, lr=1.0, warmup_steps=9, epochs=10, steps_per_epoch=100)
    rates = [step.learning_rate(settings, number) for number in (0, 4, 9, 899, 950, 999)]
    assert rates == pytest.approx([0.1, 0.5, 1, 1, 0.51, 0.0298])
    shorter = config(tmp_path, lr=1.0, epochs=5, steps_per_epoch=100)
    assert step.learning_rate(shorter, 475) == pytest.approx(0.51)


def test_the_running_mean_forgets_the_start_first(tmp_path: Path) -> None:
    learner = step.Learner(config(tmp_path, ema=0.9995, lr=1e-3, steps_per_epoch=1000))
    layer = next(iter(learner.averaged.state_dict()))
    start = learner.averaged.state_dict()[layer].clone()
    for number in range(5):
        learner.step(number)
    now = learner.network.state_dict()[layer]
    mean = learner.averaged.state_dict()[layer]
    assert (mean - now).norm() < (start - now).norm()
    assert not torch.equal(mean, now)


def test_folders_of_labels_are_scored(demo: Path) -> None:
    """An untrained network moves nothing: its Dice is that before."""
    network = build_network(transform="svf", encoder_channels=2, decoder_channels=4)
    scores = FolderScore(demo, 5)(network, CPU)
    assert scores.keys() == {"demo_dice", "demo_njd_percent"} or len(scores) == 2
    dice = next(value for name, value in scores.items() if name.endswith("_dice"))
    assert 0.3 < dice < 0.95


def test_folders_of_landmark_pairs_are_scored(tmp_path: Path) -> None:
    folder = tmp_path / "points"
    for side, place in (("fixed", "10,20"), ("moving", "13,24")):
        for name in ("a", "b"):
            write_image(folder / side / f"{name}.png", np.eye(64, dtype=np.uint8) * 255)
            (folder / f"{side}_points").mkdir(exist_ok=True)
            (folder / f"{side}_points" / f"{name}_points.csv").write_text(f"y,x\n{place}\n")
    network = build_network(transform="svf", encoder_channels=2, decoder_channels=4)
    scores = FolderScore(folder, 1)(network, CPU)
    assert scores == {"points_tre": pytest.approx(5, abs=1e-2), "points_njd_percent": 0}


def test_a_folder_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pairs"):
        FolderScore(tmp_path, 1)


@pytest.mark.slow
def test_the_command_trains_and_goes_on(tmp_path: Path) -> None:
    flags = ["--encoder_channels", "2", "--decoder_channels", "4", "--device", "cpu"]
    where = ["--steps", "4", "--steps_per_epoch", "2", "--runs_dir", str(tmp_path), "--run_name", "mine"]
    result = CliRunner().invoke(main, ["train-general", *flags, *where])
    assert result.exit_code == 0, result.output
    assert "Epoch 002/002" in result.output
    result = CliRunner().invoke(main, ["train-general", "--resume", str(tmp_path / "mine"), "--steps", "6"])
    assert result.exit_code == 0, result.output
    assert "Epoch 003/003" in result.output
    assert load_checkpoint(tmp_path / "mine" / "checkpoints" / "last.pt").epoch == 3
    result = CliRunner().invoke(main, ["train-general", "--resume", str(tmp_path / "mine"), "--steps", "7"])
    assert result.exit_code == 1
    assert "no multiple" in result.output


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="Windows knows no SIGTERM")
def test_a_signal_saves(tmp_path: Path) -> None:
    flags = ["--encoder_channels", "2", "--decoder_channels", "4", "--device", "cpu", "--threads", "1"]
    command = [sys.executable, "-m", "regstudio", "train-general", *flags, "--runs_dir", tmp_path, "--run_name", "mine"]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as process:
        run = Run(tmp_path / "mine")
        deadline = time.monotonic() + 60
        while not (run.events_path.exists() and any(isinstance(e, RunStarted) for e in run.events())):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Stopped. Go on with --resume" in output
    assert load_checkpoint(run.last_path).training["state"]["epoch"] == 0
