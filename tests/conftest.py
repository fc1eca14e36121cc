from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from regstudio.config import TrainConfig, build_config
from regstudio.data.phantom import make_demo


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small images gain nothing from threads, and lose much where test processes share the cores."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Networks start from the same weights in every run and in any order of the tests."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set in the documented layout: 4 training and 2 validation images of 48x48 with labels."""
    folder = tmp_path_factory.mktemp("demo")
    make_demo(folder, size=48, train=4, validation=2)
    return folder


@pytest.fixture
def quick_config(demo: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Configurations of a short training on the small data set; keywords are knobs."""

    def build(**values: Any) -> TrainConfig:
        return build_config(
            {
                "data_base_dir": demo,
                "runs_dir": tmp_path / "runs",
                "epochs": 2,
                "encoder_channels": 2,
                "decoder_channels": 4,
                "lr": 1e-3,
                "device": "cpu",
                **values,
            }
        )

    return build
