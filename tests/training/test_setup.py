"""The start of a training: how many files it opens, and where it caches decoded images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from regstudio.config import TrainConfig
from regstudio.data.phantom import make_demo
from regstudio.files import cache_folder
from regstudio.training.setup import check_data, loaders
from regstudio.training.trainer import train
from tests.training.whole_training import index_of, steps

Configs = Callable[..., TrainConfig]


def test_a_start_opens_a_bounded_number_of_files(quick_config: Configs, tmp_path: Path) -> None:
    make_demo(tmp_path / "data", size=32, train=5, validation=4)
    for kind in ("moving", "validation_moving"):
        for path in (tmp_path / "data" / kind).iterdir():
            path.write_bytes(b"broken")
    config = quick_config(data_base_dir=tmp_path / "data")
    opened: list[str] = []

    def progress(jobs):
        for role, case in jobs:
            opened.append(role)
            yield role, case

    report = check_data(config, most=2, most_validation=1, progress=progress)
    assert sorted(opened) == ["atlas", "training", "training", "validation"]
    assert (len(report.index.train), len(report.index.validation)) == (3, 3)  # the broken ones are left out
    assert [report.unopened(name) for name in report.sets] == [0, 3, 3]
    assert "6 of the images are not opened yet" in report.to_text()
    assert not check_data(config).can_train


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(
    ("settings", "files"), [({}, 0), ({"cache_gb": 0}, 4), ({"cache_gb": 0, "disk_cache_gb": 0}, 0)]
)
def test_the_cache_folder_is_used_for_what_memory_has_no_room_for(
    quick_config: Configs, settings: dict[str, float], files: int
) -> None:
    config = quick_config(**settings)
    index = index_of(config)
    images, _ = loaders(config.reading, index.atlas)
    first, second, third = ([images(case.image) for case in index.train] for _ in range(3))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)
    assert sum(path.is_file() for path in cache_folder("decoded").rglob("*")) == files


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_a_training_learns_the_same_wherever_its_images_are_kept(
    quick_config: Configs,
) -> None:
    runs = []
    for number, settings in enumerate(({}, {"cache_gb": 0}, {"cache_gb": 0})):  # the last finds its images on disk
        config = quick_config(run_name=str(number), run_validation=False, **settings)
        runs.append(steps(list(train(config, index_of(config)))))
    assert runs[0] == runs[1] == runs[2]
