"""Which network is kept as the best: by Dice, else by landmarks, else by similarity."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from regstudio.config import TrainConfig
from regstudio.data.folders.layout import Case
from regstudio.data.loading.loaders import DataWarning, ImageLoader, LabelLoader
from regstudio.data.loading.working_grid import GridRule
from regstudio.data.pairs.landmark_reader import LandmarkReader
from regstudio.data.pictures.writing import write_image
from regstudio.runs.catalogue import summarise_run
from regstudio.runs.events import EpochDone, PairValidated
from regstudio.training.criterion import judged
from regstudio.training.saved_state import State
from regstudio.training.trainer import train
from regstudio.training.validation import landmark_errors
from tests.pictures import ramp
from tests.training.whole_training import index_of, run_of

Configs = Callable[..., TrainConfig]


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    """An atlas, an image to train on, and one to validate on, whose two landmarks lie (3, 4) and (0, 0) pixels off."""
    folder = tmp_path / "marked"
    for kind, name, points in (
        ("fixed", "atlas", "y,x\n10,10\n20,20\n"),
        ("moving", "t1", ""),
        ("validation_moving", "v1", "y,x\n13,14\n20,20\n"),
    ):
        write_image(folder / kind / f"{name}.png", ramp(32, 40, shift=len(name)))
        if points:
            (folder / kind / f"{name}_points.csv").write_text(points)
    return folder


def measured(configs: Configs, folder: Path) -> tuple[EpochDone, TrainConfig, str, Path]:
    config = configs(data_base_dir=folder, epochs=1)
    events = list(train(config, index_of(config)))
    run = run_of(events)
    assert [event.case for event in events if isinstance(event, PairValidated)] == ["v1"]
    done = next(event for event in events if isinstance(event, EpochDone))
    assert summarise_run(run).best_tre == done.metrics.get("tre")
    return done, config, run.log_path.read_text(), run.best_path


def test_without_labels_landmarks_decide(quick_config: Configs, marked: Path) -> None:
    done, _, log, best = measured(quick_config, marked)
    assert done.metrics["tre_before"] == pytest.approx(2.5)
    assert 0 < done.metrics["tre"] < 10
    assert "tre_mm" not in done.metrics
    assert (done.best, done.best_by) == (True, "tre")
    assert best.is_file()
    assert f"TRE {done.metrics['tre']:.2f} pixels (before 2.50)" in log
    assert "best so far by TRE" in log


def test_without_landmarks_either_similarity_decides(quick_config: Configs, marked: Path) -> None:
    (marked / "validation_moving" / "v1_points.csv").unlink()
    done, _, log, best = measured(quick_config, marked)
    assert (done.best, done.best_by) == (True, "similarity")
    assert 0 < done.metrics["similarity_before"] <= 1  # the local correlation alone
    assert best.is_file()
    assert "best so far by similarity" in log


def test_each_metric_has_a_best_of_its_own() -> None:
    state = State(epoch=1)
    for metrics, better in (
        ({"dice": 0.5, "tre": 9.0}, True),
        ({"dice": 0.4, "tre": 1.0}, False),
        ({"tre": 3.0}, True),
        ({"tre": 4.0}, False),
        ({"tre": 2.0}, True),
        ({"similarity": -1.0}, True),
        ({}, False),
    ):
        state, best = judged(state, metrics)
        assert best is better, metrics
    assert (state.best_dice, state.best_by, state.best_score) == (0.5, "similarity", -1.0)


def read(folder: Path, **images: object) -> tuple[LandmarkReader, Case, Case]:
    (fixed,), (moving,) = (list((folder / kind).glob("*1.png")) for kind in ("fixed", "moving"))
    cases = [Case(id=path.stem, image=path) for path in (fixed, moving)]
    return LandmarkReader(ImageLoader(**images), LabelLoader()), cases[1], cases[0]


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A pair of 64 x 80 pixels whose landmark moves by 6 rows and 8 columns."""
    for kind, points in (("fixed", "y,x\n10,10\n"), ("moving", "y,x\n16,18\n")):
        write_image(tmp_path / kind / "p1.png", ramp(64, 80))
        (tmp_path / kind / "p1_points.csv").write_text(points)
    return tmp_path


def test_distances_are_in_pixels_of_the_file_on_any_grid(large: Path) -> None:
    grid = GridRule(working_size="32x40").grid((64, 80), None)
    landmarks, case, fixed = read(large, grid=grid)
    points = landmarks(case, fixed)
    assert points is not None
    np.testing.assert_allclose(points.moving - points.fixed, [[3, 4]])
    assert dict(landmark_errors(points, np.zeros((2, 32, 40)))) == pytest.approx({"tre_before": 10, "tre": 10})
    flow = np.stack((np.full((32, 40), 3.0), np.full((32, 40), 4.0)))
    assert dict(landmark_errors(points, flow))["tre"] == pytest.approx(0)
    assert landmarks(case, fixed) is points  # the files are read once


def test_a_broken_file_of_landmarks_is_said_and_left_out(large: Path) -> None:
    (large / "moving" / "p1_points.csv").write_text("y,x\n900,3\n")
    landmarks, case, fixed = read(large)
    with pytest.warns(DataWarning, match="lies outside its image"):
        assert landmarks(case, fixed) is None
