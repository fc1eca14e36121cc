import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from regstudio.cli import main
from regstudio.config import PRESETS, TrainConfig, build_config, settings
from regstudio.runs.events import StepDone
from regstudio.runs.run import open_run
from tests.training.whole_training import QUICK

SMALL = ["--encoder_channels", "2", "--decoder_channels", "4", "--device", "cpu", "--lr", "1e-3"]
FLAGS = [f"--no-{name}" if value is False else f"--{name}={value}" for name, value in QUICK.items()]


def regstudio(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def train(demo: Path, tmp_path: Path, *arguments: object) -> Result:
    return regstudio("train", "--data_base_dir", demo, "--runs_dir", tmp_path / "runs", *FLAGS, *arguments)


def test_trains_and_says_so(demo: Path, tmp_path: Path) -> None:
    result = train(demo, tmp_path, "--network", "corrmlp", *SMALL, "--epochs", 2, "--run_name", "mine")
    assert result.exit_code == 0
    assert "4 training and 2 validation images" in result.output
    assert "Epoch 002/002" in result.output
    assert result.output.rstrip().endswith("Training Finished")
    assert (tmp_path / "runs" / "mine" / "checkpoints" / "best_model.pt").exists()


def test_bars_show_the_current_losses_and_the_validation(demo: Path, tmp_path: Path) -> None:
    result = train(demo, tmp_path, "--epochs", 1)
    assert "Epoch 1/1: 100%" in result.stderr
    assert "loss=" in result.stderr
    assert "Validation: 100%" in result.stderr


def test_flags_take_hyphens_as_well(demo: Path, tmp_path: Path) -> None:
    result = train(demo, tmp_path, "--epochs", 1, "--batch-size", 2, "--no-run-validation", "--run-name", "mine")
    assert result.exit_code == 0
    config = json.loads((tmp_path / "runs" / "mine" / "config.json").read_text())
    assert config["optimisation"]["batch_size"] == 2
    assert config["validation"]["run_validation"] is False


def test_every_setting_is_a_flag_with_its_default_and_bounds() -> None:
    text = " ".join(regstudio("train", "--help").output.split())
    for setting in settings():
        assert f"--{setting.name}" in text
        assert " ".join(setting.help.split()) in text
    assert "[default: 0.0001; > 0]" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epoch", "3"], "--epochs"),
        (["--lr", "0"], "lr is 0.0: input should be greater than 0."),
        (["--lr", "fast"], "'fast' is not a valid float"),
        (["--ncc_win", "4"], "ncc_win is 4: must be odd"),
        (["--device", "gpu"], "device is gpu: it should be: auto, cpu, cuda or cuda:N"),
        (["--grad_penalty", "l3"], "'l3' is not one of 'l1', 'l2'"),
        (["--batch_size", "5"], "Lower --batch_size"),
        (["--load_model", "nowhere.pt"], "nowhere.pt: there is no such checkpoint"),
        (["--preset", "x"], "'x' is not one of 'paper', 'fast', 'best'"),
        (["--ncc_weight", "0"], "No term compares the images"),
        (["--start_scale", "3"], "start_scale is 3: must be 1, 2, 4 or 8."),
        (["--dice_weight", "1", "--train_moving_seg_subdir", "fixed"], "dice_weight is 1, but there are no labels"),
        (["--resume", "nowhere"], "nowhere: is not a run"),
        (["--train_moving_subdir", "images"], "images: there is no such folder"),
        (["--atlas_name", "a.png", "--fixed_subdir", "moving"], "Name one with --atlas_name"),
    ],
)
def test_a_mistake_gets_one_message_and_no_run(demo: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = train(demo, tmp_path, *arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
    assert not (tmp_path / "runs").exists()


def test_a_missing_data_folder(tmp_path: Path) -> None:
    result = train(tmp_path / "nowhere", tmp_path)
    assert result.exit_code == 1
    assert "nowhere" in result.output
    assert "--data_base_dir" in result.output


def test_a_runs_folder_that_cannot_be_made(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    result = train(demo, tmp_path)
    assert result.exit_code == 1
    assert "runs" in result.output
    assert isinstance(result.exception, SystemExit)


def test_resume_changes_only_what_may_change(one_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(one_run, tmp_path / "mine")
    refused = regstudio("train", "--resume", run, "--lr", "0.1")
    assert refused.exit_code == 1
    assert "--lr cannot change" in refused.output
    longer = regstudio("train", "--resume", run, "--epochs", "3")
    assert longer.exit_code == 0
    assert "Goes on after epoch 2" in longer.output
    assert (run / "checkpoints" / "epoch_003.pt").exists()
    assert json.loads((run / "config.json").read_text())["optimisation"]["epochs"] == 3


def config_of(tmp_path: Path, name: str) -> TrainConfig:
    return open_run(tmp_path / "runs" / name).config()


def test_flags_go_over_a_preset_and_that_over_the_defaults(demo: Path, tmp_path: Path) -> None:
    """A preset's start and teacher, the general network, are no VoxelMorph: it starts from random weights."""
    short = ["--epochs", 1, "--total_steps", 2, "--no-run_validation", "--network_side", 48, "--passes", 1]
    result = train(demo, tmp_path, "--preset", "fast", *short, "--ema", 0.5, "--run_name", "mine")
    assert result.exit_code == 0, result.output
    config = config_of(tmp_path, "mine")
    changed = {**QUICK, "ema": 0.5, "epochs": 1, "total_steps": 2, "run_validation": False, "run_name": "mine"}
    changed |= {"network_side": 48, "passes": 1}
    changed |= {"load_model": None, "teacher_weight": 0}
    changed |= {"data_base_dir": demo, "runs_dir": tmp_path / "runs"}
    assert config == build_config({**PRESETS["fast"].values, **changed})
    assert config.network.transform == PRESETS["fast"].values["transform"]
    chosen = train(demo, tmp_path, "--preset", "fast", *short, "--load_model", "general")
    assert chosen.exit_code == 1
    assert "general: its weights do not fit the network" in chosen.output


@pytest.mark.slow
def test_the_paper_is_what_is_done_without_a_preset(demo: Path, tmp_path: Path) -> None:
    for name, more in (("paper", ["--preset", "paper"]), ("none", [])):
        assert train(demo, tmp_path, "--epochs", 1, "--run_name", name, *more).exit_code == 0
    paper, none = (config_of(tmp_path, name) for name in ("paper", "none"))
    assert build_config({"run_name": "none"}, paper) == none


def test_steps_per_epoch_go_over_a_presets_total(demo: Path, tmp_path: Path) -> None:
    flags = ["--preset", "best", "--epochs", 2, "--steps_per_epoch", 1, "--run_name", "mine"]
    result = train(demo, tmp_path, *flags)
    assert result.exit_code == 0, result.output
    events = open_run(tmp_path / "runs" / "mine").events()
    assert sum(isinstance(event, StepDone) for event in events) == 2


def test_the_help_tells_each_presets_purpose() -> None:
    text = " ".join(regstudio("train", "--help").output.split())
    assert "--preset [paper|fast|best]" in text
    for name, recipe in PRESETS.items():
        assert f"{name}: {recipe.purpose}" in text


def test_a_run_that_is_resumed_keeps_its_preset(one_run: Path) -> None:
    result = regstudio("train", "--resume", one_run, "--preset", "fast", "--epochs", 3)
    assert result.exit_code == 1
    assert "--preset fast: a run that is resumed keeps its settings. Leave it out." in result.output
    assert isinstance(result.exception, SystemExit)


@pytest.mark.slow
def test_a_bar_shows_the_alignment(demo: Path, tmp_path: Path, own_cache: Path) -> None:
    result = train(demo, tmp_path, "--affine", "auto", "--epochs", 1)
    assert result.exit_code == 0, result.output
    assert "Aligning: 100%" in result.stderr
    assert "6/6" in result.stderr
    assert result.stderr.index("Aligning: 100%") < result.stderr.index("Epoch 1/1")
    assert len(list(own_cache.rglob("*.json"))) == 6


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_says_how_to_go_on_and_exits(demo: Path, tmp_path: Path, number: int, code: int) -> None:
    command = [sys.executable, "-m", "regstudio", "train", "--data_base_dir", demo, "--runs_dir", tmp_path, *SMALL]
    process = subprocess.Popen(
        [*map(str, command), "--run_name", "mine"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "Epoch 001" in line:
            break
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert f"regstudio train --resume {tmp_path / 'mine'}" in output
    assert (tmp_path / "mine" / "checkpoints" / "last.pt").exists()
    assert "Traceback" not in errors
    resumed = regstudio("train", "--resume", tmp_path / "mine", "--epochs", "1000", "--device", "cuda")
    assert isinstance(resumed.exception, SystemExit)
