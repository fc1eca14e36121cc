"""Training and validation with masks: what they cover has no say."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from regstudio.config import TrainConfig
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.runs.events import EpochDone
from regstudio.training.trainer import train
from tests.pictures import ids, ramp
from tests.training.whole_training import index_of, steps

Configs = Callable[..., TrainConfig]


def folder(root: Path, plate: float | None, *, masks: bool = True, labels: bool = False) -> Path:
    """An atlas, and an image to train and to validate on, whose left third is a plate that covers what was there."""
    mask = np.ones((32, 40), np.uint8)
    mask[:, :13] = 0
    for name, kind in (("atlas", "fixed"), ("t1", "moving"), ("v1", "validation_moving")):
        image, label = ramp(32, 40, shift=len(name)), ids(32, 40)
        if plate is not None and kind != "fixed":
            image[mask == 0], label[mask == 0] = plate, 1
            if masks:
                write_label(root / f"{kind}_mask" / f"{name}_mask.png", mask)
        write_image(root / kind / f"{name}.png", image)
        if labels:
            write_label(root / f"{kind}_seg" / f"{name}_seg.png", label)
    return root


def measured(configs: Configs, data: Path, **settings: object) -> tuple[dict[str, float], EpochDone]:
    config = configs(data_base_dir=data, epochs=1, **settings)
    events = list(train(config, index_of(config)))
    return steps(events)[0][2], next(event for event in events if isinstance(event, EpochDone))


@pytest.mark.parametrize("settings", [{}, {"start_scale": 2}, {"both_directions": True, "seed": 1}])
def test_what_a_mask_covers_has_no_say(quick_config: Configs, tmp_path: Path, settings: dict[str, object]) -> None:
    """A new network moves nothing, so that its first loss is that of the images as they are."""
    found = [measured(quick_config, folder(tmp_path / str(plate), plate), **settings) for plate in (0.0, 1.0)]
    (dark, dark_epoch), (bright, bright_epoch) = found
    assert dark["ncc"] == pytest.approx(bright["ncc"], abs=1e-4)
    without, epoch = measured(quick_config, folder(tmp_path / "bare", 1.0, masks=False), **settings)
    assert abs(without["ncc"] - bright["ncc"]) > 0.02
    before = "similarity_before"
    assert dark_epoch.metrics[before] == pytest.approx(bright_epoch.metrics[before], abs=1e-4)
    assert abs(epoch.metrics[before] - bright_epoch.metrics[before]) > 0.02


def test_labels_are_scored_where_the_images_count(quick_config: Configs, tmp_path: Path) -> None:
    _, masked = measured(quick_config, folder(tmp_path / "masked", 1.0, labels=True))
    _, plain = measured(quick_config, folder(tmp_path / "plain", 1.0, labels=True, masks=False))
    assert masked.metrics["dice_before"] == 1
    assert plain.metrics["dice_before"] < 0.9


def test_the_background_is_left_out_by_a_setting(quick_config: Configs, tmp_path: Path) -> None:
    data = folder(tmp_path, 0.0, masks=False)
    plain, _ = measured(quick_config, data)
    without, _ = measured(quick_config, data, mask_outside="auto")
    assert without["ncc"] < plain["ncc"] - 0.02
