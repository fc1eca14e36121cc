import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from regstudio.config import TrainConfig
from regstudio.data.folders.layout import DataIndex
from regstudio.errors import CheckpointError, ConfigError, DataError, DeviceError
from regstudio.losses import Grad
from regstudio.networks.checkpoint import load_checkpoint, save_checkpoint
from regstudio.runs.events import (
    RunFinished,
    RunStarted,
)
from regstudio.training.trainer import train
from tests.known_flows import constant_flow
from tests.training.whole_training import index_of, run_of

Configs = Callable[..., TrainConfig]


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_state(
    quick_config: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick_config()
    calls = iter(range(100))

    honest = Grad.forward
    monkeypatch.setattr(
        Grad, "forward", lambda self, flow: honest(self, flow) * (math.nan if next(calls) == 5 else 1.0)
    )
    events = list(train(config, index_of(config)))
    run, end = run_of(events), events[-1]
    assert isinstance(end, RunFinished)
    assert end.reason == "failed"
    assert "Epoch 2, step 2" in end.message
    assert "grad nan" in end.message
    assert "--lr" in end.message
    good = load_checkpoint(run.last_path)
    assert good.epoch == 1
    assert all(tensor.isfinite().all() for tensor in good.weights.values())
    failed = load_checkpoint(run.failed_path)
    assert math.isnan(failed.training["losses"]["grad"])
    assert failed.training["moving_image"].shape == (1, 1, 48, 48)
    assert all(tensor.isfinite().all() for tensor in failed.weights.values())
    assert end.message.splitlines()[0] in run.log_path.read_text()
    assert "the last good checkpoint is untouched" in end.message


def test_a_loss_that_is_never_finite_says_that_there_is_no_checkpoint(
    quick_config: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Grad, "forward", lambda self, flow: flow.sum() * math.nan)
    config = quick_config()
    events = list(train(config, index_of(config)))
    run, end = run_of(events), events[-1]
    assert isinstance(end, RunFinished)
    assert not run.last_path.exists()
    assert run.failed_path.exists()
    assert "no checkpoint from before" in end.message
    assert "untouched" not in end.message


def test_a_file_that_breaks_during_training_ends_the_run_with_its_name(
    quick_config: Configs, demo: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(demo, data)
    config = quick_config(data_base_dir=data, cache_gb=0, disk_cache_gb=0)
    index = index_of(config)
    generator = train(config, index)
    started = next(generator)
    for case in index.train:
        case.image.write_bytes(b"gone")
    end = list(generator)[-1]
    assert isinstance(started, RunStarted)
    assert isinstance(end, RunFinished)
    assert end.reason == "failed"
    assert any(str(case.image) in end.message for case in index.train)


def test_too_little_memory_says_what_to_do(quick_config: Configs, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("Tried to allocate 20.00 GiB.")

    config = quick_config()
    monkeypatch.setattr("regstudio.losses.Objective.forward", exhaust)
    end = list(train(config, index_of(config)))[-1]
    assert isinstance(end, RunFinished)
    assert "too little memory" in end.message
    assert "--batch_size" in end.message


def test_a_fault_of_the_program_is_recorded_and_raised(quick_config: Configs, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("oops")

    config = quick_config()
    monkeypatch.setattr("regstudio.losses.Objective.forward", fault)
    generator = train(config, index_of(config))
    run = run_of([next(generator)])
    with pytest.raises(ZeroDivisionError):
        next(generator)
    assert run.events()[-1] == RunFinished(reason="failed", message="ZeroDivisionError: oops")


def test_fewer_images_than_the_batch_size(quick_config: Configs) -> None:
    config = quick_config(batch_size=5)
    with pytest.raises(DataError, match=r"4 images for batches of 5.*--batch_size"):
        next(train(config, index_of(config)))


def test_validation_wanted_without_images(quick_config: Configs) -> None:
    config = quick_config(run_validation=True)
    index = index_of(config)
    with pytest.raises(ConfigError, match="no validation images"):
        next(train(config, DataIndex(**{**vars(index), "validation": ()})))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_that_is_not_there(quick_config: Configs) -> None:
    config = quick_config(device="cuda")
    with pytest.raises(DeviceError, match="no CUDA device is there"):
        next(train(config, index_of(config)))


def test_load_model_that_does_not_fit_names_the_layers(quick_config: Configs, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "net.pt", constant_flow(0, 0))
    wider = quick_config(network="corrmlp", load_model=tmp_path / "net.pt", encoder_channels=1, decoder_channels=8)
    with pytest.raises(CheckpointError, match=r"expands\.0\.conv\.bias is \(4,\), the network has \(8,\)"):
        next(train(wider, index_of(wider)))
