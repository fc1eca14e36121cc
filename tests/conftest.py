import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regstudio.config import TrainConfig, build_config
from regstudio.data.loading import loaders
from regstudio.data.phantom import make_demo
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.methods.network import NetworkMethod, load_method
from tests.known_flows import constant_flow
from tests.pictures import ids, ramp
from tests.training.whole_training import QUICK

pytest_plugins = ["tests.browser"]
MAX_WORKERS = 4


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process a core for the whole suite; none for files that are named, which are sooner done than torch loads.

    With one more, browsers wait for each other, and the whole takes as long.
    """
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return 0
    return min(os.cpu_count() or 1, MAX_WORKERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests, so that no process is left with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("browser")}
    items.sort(key=lambda item: item.path not in slow)


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
    """Configurations of a short training on the small data set; keywords are settings."""

    def build(**values: Any) -> TrainConfig:
        return build_config(
            {
                "data_base_dir": demo,
                "runs_dir": tmp_path / "runs",
                "epochs": 2,
                **QUICK,
                **values,
            }
        )

    return build


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A faultless data set: an atlas, four images to train on, two to validate on, with labels."""
    write_image(tmp_path / "fixed" / "atlas.png", ramp())
    write_label(tmp_path / "fixed_seg" / "atlas_seg.png", ids())
    for number, ending in enumerate((".png", ".nii.gz", ".npy", ".npz"), start=1):
        write_image(tmp_path / "moving" / f"t{number}{ending}", ramp(shift=number))
    for number, ending in enumerate((".png", ".nii.gz"), start=1):
        write_image(tmp_path / "validation_moving" / f"v{number}{ending}", ramp(shift=10 + number))
        write_label(tmp_path / "validation_moving_seg" / f"v{number}_seg.npy", ids())
    return tmp_path


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, empty and of this test alone."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's cache folder, empty at first and of the tests of one file: what one has aligned, others need not."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that the loaders decoded, in their order."""
    names: list[str] = []
    for reader in ("read_image", "read_label"):
        original = getattr(loaders, reader)

        def spied(path: Path, *, original: Callable[..., Any] = original, **options: object) -> object:
            names.append(path.name)
            return original(path, **options)

        monkeypatch.setattr(loaders, reader, spied)
    return names


@pytest.fixture
def shift() -> NetworkMethod:
    """warped(y, x) = moving(y + 2, x - 3)."""
    return load_method(constant_flow(2, -3), device="cpu")


@pytest.fixture
def identity() -> NetworkMethod:
    return load_method(constant_flow(0, 0), device="cpu")


@pytest.fixture
def image() -> np.ndarray:
    """(40, 36) in [0, 1], not square, not symmetric, its minimum all around."""
    y, x = np.mgrid[:40, :36]
    picture = np.exp(-((y - 17) ** 2 + (x - 20) ** 2) / 60) + 0.5 * np.exp(-((y - 25) ** 2 + (x - 12) ** 2) / 15)
    picture[[0, 1, 2, -1, -2, -3]] = picture[:, [0, 1, 2, 3, -1, -2, -3, -4]] = picture.min()
    return ((picture - picture.min()) / np.ptp(picture)).astype(np.float32)


@pytest.fixture
def label() -> np.ndarray:
    """(40, 36), ids 1 and 300, background 0 around them."""
    ids = np.zeros((40, 36), np.int16)
    ids[10:20, 12:24] = 1
    ids[22:30, 8:16] = 300
    return ids
