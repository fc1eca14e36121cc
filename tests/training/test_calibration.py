"""At the end of a training: which of its results are to be looked at."""

import shutil
from pathlib import Path

import pytest

from regstudio.data.folders.layout import Case
from regstudio.data.phantom import make_demo
from regstudio.data.pictures.formats import stem
from regstudio.networks.checkpoint import load_checkpoint
from regstudio.registering.batch import find_moving, register_files
from regstudio.registering.chosen_method import chosen_checkpoint
from regstudio.training.calibration import calibrate
from regstudio.training.setup import build, pair_reader
from regstudio.training.trainer import train
from regstudio.transforms.doubtful import threshold_of
from tests.training.whole_training import Configs, index_of, run_of


@pytest.mark.slow
def test_register_knows_the_quality_of_bad_results(quick_config: Configs, tmp_path: Path) -> None:
    """The threshold is the one of the results that `register` has for the same images, refined where that pays."""
    make_demo(tmp_path / "data", size=32, train=1, validation=10)
    config = quick_config(data_base_dir=tmp_path / "data", epochs=1, steps_per_epoch=1, transform="svf", affine="none")
    run = run_of(list(train(config, index_of(config))))
    best = run.best_path
    assert "quality_threshold" not in load_checkpoint(best).metrics  # without the wish to compare, nothing is measured
    calibrate(build(config, index_of(config)), run, lambda: False)
    chosen = chosen_checkpoint(best, "cpu")
    (image,), (label,) = ((tmp_path / "data" / name).iterdir() for name in ("fixed", "fixed_seg"))
    cases, _ = find_moving(tmp_path / "data" / "validation_moving", tmp_path / "data" / "validation_moving_seg")
    reader = pair_reader(config.reading, Case(id="atlas", image=image, label=label))
    results = [result.metrics for result in register_files(chosen.method, reader, cases, tmp_path / "out")]
    assert len(results) == 10
    gain = load_checkpoint(best).metrics["refine_gain"]
    assert gain != 0
    assert all(("refine_seconds" in found) == (gain > 0) for found in results)
    expected = threshold_of([found["quality"] for found in results], [found["dice"] for found in results])
    assert chosen.threshold == load_checkpoint(best).metrics["quality_threshold"] == pytest.approx(expected)
    assert chosen_checkpoint(best, "cpu", refine=0).threshold is None  # of other results, nothing is known
    with_landmarks_alone(tmp_path / "data")
    calibrate(build(config, index_of(config)), run, lambda: False)
    metrics = load_checkpoint(best).metrics
    assert "quality_threshold" not in metrics and metrics["refine_gain"] not in (0, gain)


def with_landmarks_alone(data: Path) -> None:
    """Put landmarks in the place of the labels of the fixed and of the validation images."""
    for folder in ("fixed", "validation_moving"):
        shutil.rmtree(data / f"{folder}_seg")
        (data / f"{folder}_points").mkdir()
        for image in (data / folder).iterdir():
            (data / f"{folder}_points" / f"{stem(image)}_points.csv").write_text("y,x\n10,12\n20,15\n16,22\n")
