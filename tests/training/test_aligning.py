"""Training on images that are aligned to the atlas first."""

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from regstudio.config import TrainConfig
from regstudio.data.loading.loaders import ImageLoader
from regstudio.data.phantom import make_demo
from regstudio.data.pictures.formats import read_image, read_label
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.methods.affine import affine_flow
from regstudio.methods.affine_cache import cached_affine
from regstudio.methods.network import load_method
from regstudio.metrics import dice
from regstudio.registering.two_images import register
from regstudio.runs.events import (
    EpochDone,
    ImageAligned,
    PairValidated,
    RunFinished,
    RunStarted,
    StepDone,
)
from regstudio.training.setup import build
from regstudio.training.trainer import train
from regstudio.training.validation import register_case
from tests.training.whole_training import index_of, run_of, steps

pytestmark = pytest.mark.usefixtures("shared_cache")
Configs = Callable[..., TrainConfig]
DEGREES = 15


@pytest.fixture(scope="module")
def askew(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's images and labels, each but the atlas's turned by 15 degrees one way or the other."""
    folder = tmp_path_factory.mktemp("askew")
    make_demo(folder, size=48, train=3, validation=1)
    for kind in ("moving", "validation_moving"):
        for number, path in enumerate(sorted((folder / kind).iterdir())):
            angle = DEGREES * (-1) ** number
            array = read_image(path).array
            path.unlink()
            turned = ndimage.rotate(array, angle, reshape=False, order=1)
            write_image(folder / kind / f"i{number}.npy", turned.astype(array.dtype))
            (label,) = (folder / f"{kind}_seg").glob(f"{path.name.split('.')[0]}_seg.*")
            ids = read_label(label).array
            label.unlink()
            write_label(
                folder / f"{kind}_seg" / f"i{number}_seg.npy", ndimage.rotate(ids, angle, reshape=False, order=0)
            )
    return folder


@pytest.mark.slow
def test_each_image_is_told_once_before_the_first_step(quick_config: Configs, askew: Path) -> None:
    config = quick_config(data_base_dir=askew, affine="auto", epochs=1)
    events = list(train(config, index_of(config)))
    kinds = [type(event) for event in events]
    assert kinds[:6] == [RunStarted, *4 * [ImageAligned], StepDone]
    aligned = [event for event in events if isinstance(event, ImageAligned)]
    assert [event.number for event in aligned] == [1, 2, 3, 4]
    assert {event.total for event in aligned} == {4}
    assert [event.image for event in aligned] == ["i0.npy", "i1.npy", "i2.npy", "i0.npy"]
    assert run_of(events).events() == events


@pytest.mark.slow
def test_what_lies_askew_fails_less_with_it(quick_config: Configs, askew: Path) -> None:
    scores, first = {}, {}
    for affine in ("none", "auto"):
        config = quick_config(data_base_dir=askew, affine=affine, run_name=affine, epochs=1, lr=1e-3)
        events = list(train(config, index_of(config)))
        first[affine] = steps(events)[0][2]["ncc"]
        scores[affine] = next(event for event in events[::-1] if isinstance(event, EpochDone)).metrics
    assert first["auto"] < first["none"] - 0.1  # since the steps use the map, too
    assert scores["auto"]["dice_before"] == scores["none"]["dice_before"]
    assert scores["auto"]["dice"] > scores["none"]["dice"] + 0.04


@pytest.mark.slow
def test_validation_preview_and_inference_use_the_same_map(quick_config: Configs, askew: Path) -> None:
    config = quick_config(data_base_dir=askew, affine="auto", epochs=1)
    events = list(train(config, index_of(config)))
    run, index = run_of(events), index_of(config)
    assert index.atlas is not None
    case = index.validation[0]
    fixed, moving = (ImageLoader()(each.image)[0] for each in (index.atlas, case))
    matrix = cached_affine(fixed, moving).matrix
    assert abs(matrix - np.eye(2, 3)).max() > 0.1
    ids = [read_label(each.label).array for each in (index.atlas, case) if each.label is not None]
    found = register(load_method(run.best_path, "cpu"), fixed, moving, fixed_label=ids[0], moving_label=ids[1])
    np.testing.assert_allclose(found.affine_flow, affine_flow(matrix, fixed.shape), atol=1e-4)
    validated = next(event for event in events if isinstance(event, PairValidated))
    assert found.metrics["dice"] == pytest.approx(validated.dice, abs=1e-9)
    assert found.metrics["dice"] == dice(ids[0], found.warped_label).mean
    with np.load(run.preview_path(1)) as preview:
        np.testing.assert_allclose(preview["flow"], found.flow, atol=0.02)
        np.testing.assert_array_equal(preview["warped_label"], found.warped_label)
    parts = build(config, index)
    assert parts.aligned is not None
    parts.aligned[case] = matrix
    np.testing.assert_allclose(register_case(parts, case).flow, affine_flow(matrix, fixed.shape), atol=0.05)


@pytest.mark.slow
def test_a_file_that_breaks_during_the_alignment_ends_the_run_with_its_name(
    quick_config: Configs, askew: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(askew, data)
    config = quick_config(data_base_dir=data, affine="auto")
    index = index_of(config)
    broken = index.train[2].image
    broken.write_bytes(b"gone")
    events = list(train(config, index))
    assert [type(event) for event in events] == [RunStarted, ImageAligned, ImageAligned, RunFinished]
    end = events[-1]
    assert isinstance(end, RunFinished)
    assert end.reason == "failed"
    assert str(broken) in end.message


@pytest.mark.slow
def test_stopping_while_images_are_aligned_can_be_gone_on_from(quick_config: Configs, askew: Path) -> None:
    straight = quick_config(data_base_dir=askew, affine="auto", run_name="straight")
    wanted = steps(list(train(straight, index_of(straight))))
    config = quick_config(data_base_dir=askew, affine="auto", run_name="stopped")
    stop, events = threading.Event(), []
    for event in train(config, index_of(config), stop=stop):
        events.append(event)
        if isinstance(event, ImageAligned):
            stop.set()
    assert isinstance(events[-1], RunFinished)
    assert events[-1].reason == "stopped"
    assert not steps(events)
    run = run_of(events)
    assert steps(list(train(run.config(), index_of(config), run=run))) == wanted


@pytest.mark.slow
def test_an_image_on_both_lists_is_aligned_once(quick_config: Configs, askew: Path) -> None:
    config = quick_config(data_base_dir=askew, affine="auto", epochs=1)
    index = index_of(config)
    both = replace(index, validation=(*index.validation, index.train[0]))
    events = list(train(config, both))
    assert sum(isinstance(event, ImageAligned) for event in events) == 4
