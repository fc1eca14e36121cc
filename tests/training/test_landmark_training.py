"""Training on landmarks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from regstudio.config import TrainConfig
from regstudio.data.pictures.writing import write_image
from regstudio.errors import ConfigError
from regstudio.losses import Objective
from regstudio.networks.voxelmorph import VoxelMorph
from regstudio.training.schedule import Schedule
from regstudio.training.setup import build
from regstudio.training.step import Learner
from regstudio.training.trainer import train
from tests.pictures import ramp
from tests.training.whole_training import index_of, steps

Configs = Callable[..., TrainConfig]


@pytest.mark.slow
def test_landmarks_pull_a_flow_that_no_similarity_does() -> None:
    """Both images are the same, so that all that asks for a flow is a point of one, 3 rows below that of the other."""
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    image = ((x / 3).sin() * (y / 4).cos() / 2 + 0.5)[None, None]
    places = torch.tensor([[[16.0, 16.0]]])
    batch = {"fixed_image": image, "moving_image": image}
    losses = {}
    for weight in (0.0, 1.0):
        model = VoxelMorph()
        learner = Learner(
            model,
            torch.optim.Adam(model.parameters()),
            Objective(grad_weight=0.1, landmark_weight=weight),
            Schedule(total=40, lr=3e-3),
        )
        points = {"fixed_points": places, "moving_points": places + torch.tensor([3.0, 0.0])} if weight else {}
        losses[weight] = [learner.step({**batch, **points}, number) for number in range(40)]
        with torch.no_grad():
            _, flow = model(image, image)
        moved = flow[0, :, 16, 16].tolist()
        assert moved == pytest.approx([3.0 * weight, 0], abs=1.0)
    assert losses[1.0][0]["landmarks"] == pytest.approx(np.sqrt(9.25) - 0.5, abs=0.01)
    assert losses[1.0][-1]["landmarks"] < 1
    assert "landmarks" not in losses[0.0][0]


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    """Three training images with three, one and no landmarks, each 2 columns from those of the atlas."""
    atlas = "y,x,name\n10,10,a\n20,20,b\n12,30,c\n"
    write_image(tmp_path / "data" / "fixed" / "atlas.png", ramp(32, 40))
    (tmp_path / "data" / "fixed" / "atlas_points.csv").write_text(atlas)
    for number, points in enumerate((atlas.replace("10,a", "12,a"), "y,x,name\n20,24,b\n", None)):
        write_image(tmp_path / "data" / "moving" / f"t{number}.png", ramp(32, 40, shift=number))
        if points:
            (tmp_path / "data" / "moving" / f"t{number}_points.csv").write_text(points)
    return tmp_path / "data"


def test_the_curve_of_the_landmarks_is_one_of_the_training(quick_config: Configs, marked: Path) -> None:
    config = quick_config(data_base_dir=marked, epochs=1, batch_size=3, landmark_weight=0.1, augment_affine=0.1)
    ((_, _, losses),) = steps(list(train(config, index_of(config))))
    assert losses["landmarks"] == pytest.approx((2 + 0 + 0 + 4) / 4, abs=0.5)  # a little less near 0, and augmented


def test_landmarks_of_several_pairs_are_padded(quick_config: Configs, marked: Path) -> None:
    config = quick_config(data_base_dir=marked, batch_size=3, landmark_weight=0.1)
    (batch,) = build(config, index_of(config)).loader.epoch(0)
    assert batch["fixed_points"].shape == batch["moving_points"].shape == (3, 3, 2)
    counts = (~batch["fixed_points"].isnan().any(dim=2)).sum(dim=1).tolist()
    assert sorted(counts) == [0, 1, 3]
    one = batch["moving_points"][counts.index(1), 0]
    assert one.tolist() == [20, 24]


def test_a_weight_without_landmarks_is_refused(quick_config: Configs, marked: Path) -> None:
    (marked / "fixed" / "atlas_points.csv").unlink()
    config = quick_config(data_base_dir=marked, landmark_weight=0.1)
    with pytest.raises(ConfigError, match=r"landmark_weight is 0\.1, but no training pair has landmarks.*NAME_points"):
        build(config, index_of(config))
