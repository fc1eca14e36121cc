"""One optimisation step: what the network is shown, and how its weights change."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from regstudio.losses import NCC, Grad, Objective, SoftDice, one_hot
from regstudio.networks.base import Prediction
from regstudio.networks.voxelmorph import VoxelMorph
from regstudio.networks.warp import SpatialTransformer, affine_after
from regstudio.training.augmentation import Augmentation, drawn_flow
from regstudio.training.schedule import Schedule
from regstudio.training.step import Learner, NotFiniteError

SIZE = 64
MATRIX = torch.tensor([[[1.05, 0.05, -3.0], [-0.08, 0.95, 2.0]]])


class Watched(VoxelMorph):
    """A small network that remembers what it was given and what it predicted."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[Tensor, ...]] = []
        self.predicted: list[Prediction] = []

    def fields(self, fixed: Tensor, moving: Tensor, affine: Tensor | None = None) -> Iterator[Tensor]:
        self.given.append((fixed, moving) if affine is None else (fixed, moving, affine))
        for field in super().fields(fixed, moving, affine):
            self.predicted.append(self.follow(field, moving, affine))
            yield field


def build_learner(
    *, schedule: dict[str, Any] | None = None, loss: dict[str, Any] | None = None, **options: Any
) -> tuple[Learner, Watched]:
    torch.manual_seed(0)
    model = Watched()
    settings = {"total": 100, "lr": 1e-3, **(schedule or {})}
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
    return Learner(model, optimizer, Objective(**(loss or {})), Schedule(**settings), **options), model


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Two moving images, smooth noise, and one fixed image, with labels 1 and 2 where they are bright and dark."""
    random = default_rng(0)
    noise = np.stack([gaussian_filter(random.random((SIZE, SIZE)), 2) for _ in range(3)])
    noise = (noise - noise.min()) / np.ptp(noise)
    every = torch.from_numpy(noise).float()[:, None]
    labels = (every > 0.6).long() + 2 * (every < 0.4).long()
    return {
        "fixed_image": every[:1],
        "moving_image": every[1:],
        "fixed_label": labels[:1],
        "moving_label": labels[1:],
    }


def plain(batch: dict[str, Tensor], **more: Tensor) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in batch.items() if name.endswith("image")} | more


def test_a_plain_step_sees_the_batch_as_it_is_and_is_one_of_adam(batch: dict[str, Tensor]) -> None:
    learner, model = build_learner()
    torch.manual_seed(0)
    twin = Watched()
    losses = learner.step(plain(batch), 0)
    optimizer = torch.optim.Adam(twin.parameters(), lr=1e-3)
    warped, flow = twin(batch["fixed_image"], batch["moving_image"])
    loss = NCC()(batch["fixed_image"], warped) + Grad()(flow)
    loss.backward()
    optimizer.step()
    assert losses["loss"] == pytest.approx(loss.item())
    for name, tensor in twin.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor)


def test_the_learning_rate_is_that_of_the_schedule(batch: dict[str, Tensor]) -> None:
    learner, _ = build_learner(schedule={"lr_schedule": "cosine", "warmup_steps": 3})
    for number in (0, 2, 60):
        learner.step(plain(batch), number)
        assert learner.optimizer.param_groups[0]["lr"] == learner.schedule.learning_rate(number)


def test_a_coarse_step_sees_what_downscaling_by_hand_gives(batch: dict[str, Tensor]) -> None:
    """At 1/2, averaged blocks of pixels; the affine map leads from block to block as it did from pixel to pixel."""
    learner, model = build_learner(schedule={"start_scale": 2, "coarse_share": 0.5})
    matrices = MATRIX.repeat(2, 1, 1)
    learner.step(plain(batch, affine=matrices), 0)
    fixed, moving, small = model.given[0]
    blocks = batch["moving_image"].reshape(2, 1, SIZE // 2, 2, SIZE // 2, 2).mean(dim=(3, 5))
    torch.testing.assert_close(moving, blocks)
    torch.testing.assert_close(fixed, F.avg_pool2d(batch["fixed_image"], 2))
    whole = affine_after(matrices, torch.zeros(2, 2, SIZE, SIZE))
    expected = F.avg_pool2d(whole, 2) / 2  # a block's centre goes where its pixels go in the mean
    torch.testing.assert_close(affine_after(small, torch.zeros(2, 2, SIZE // 2, SIZE // 2)), expected)
    learner.step(plain(batch, affine=matrices), 50)
    torch.testing.assert_close(model.given[1][1], batch["moving_image"])
    torch.testing.assert_close(model.given[1][2], matrices)


def test_a_quarter_with_an_affine_map_by_hand() -> None:
    """Warping the small image by the small map is, on a smooth image, downscaling the warped large one."""
    size = 160
    y, x = torch.meshgrid(torch.arange(size) / size, torch.arange(size) / size, indexing="ij")
    image = (torch.sin(5 * y + 2 * x) * torch.cos(4 * x) / 2 + 0.5)[None, None]
    learner, model = build_learner(schedule={"start_scale": 4, "coarse_share": 0.5})
    matrix = torch.tensor([[[1.05, 0.05, -8.0], [-0.08, 0.95, 7.0]]])
    learner.step({"fixed_image": image, "moving_image": image, "affine": matrix}, 0)
    _, moving, small = model.given[0]
    assert moving.shape == (1, 1, 40, 40)
    warp = SpatialTransformer()
    got = warp(moving, affine_after(small, torch.zeros(1, 2, 40, 40)))
    expected = F.avg_pool2d(warp(image, affine_after(matrix, torch.zeros(1, 2, size, size))), 4)
    torch.testing.assert_close(got[..., 5:-5, 5:-5], expected[..., 5:-5, 5:-5], atol=2e-3, rtol=0)


@pytest.mark.parametrize(("size", "seen"), [(32, 32), (64, 32), (120, 60), (128, 32)])
def test_images_are_never_made_smaller_than_networks_take(size: int, seen: int) -> None:
    learner, model = build_learner(schedule={"start_scale": 4, "coarse_share": 1.0})
    image = torch.rand(1, 1, size, size + 8)
    learner.step({"fixed_image": image, "moving_image": image}, 0)
    assert model.given[0][1].shape[2] == seen


@pytest.mark.slow
def test_in_half_of_the_steps_the_pair_is_turned(batch: dict[str, Tensor]) -> None:
    learner, model = build_learner(both_directions=True, loss={"dice_weight": 1.0}, label_ids=(1, 2))
    matrices = MATRIX.repeat(2, 1, 1)
    turned = 0
    for number in range(20):
        losses = learner.step({**batch, "affine": matrices}, number)
        fixed, moving, affine = model.given[-1]
        fixed_name, moving_name = "fixed", "moving"
        if not torch.equal(moving, batch["moving_image"]):
            turned += 1
            fixed_name, moving_name = "moving", "fixed"
            thereand = torch.cat((affine, torch.tensor([[[0.0, 0, 1]]]).expand(2, -1, -1)), dim=1)
            back = torch.cat((matrices, torch.tensor([[[0.0, 0, 1]]]).expand(2, -1, -1)), dim=1)
            torch.testing.assert_close(thereand @ back, torch.eye(3).expand(2, -1, -1), atol=1e-5, rtol=0)
        torch.testing.assert_close(fixed, batch[f"{fixed_name}_image"])
        torch.testing.assert_close(moving, batch[f"{moving_name}_image"].expand(2, -1, -1, -1))
        maps = {name: one_hot(batch[f"{name}_label"], (1, 2)).expand(2, -1, -1, -1) for name in ("fixed", "moving")}
        warped = SpatialTransformer()(maps[moving_name], model.predicted[-1].flow)
        expected = SoftDice()(maps[fixed_name], warped, torch.ones(2, 2, dtype=torch.bool))
        assert losses["dice_loss"] == pytest.approx(expected.item(), abs=1e-6)
    assert 5 <= turned <= 15


def test_image_and_label_are_varied_alike_and_the_fixed_ones_left(batch: dict[str, Tensor]) -> None:
    learner, model = build_learner(
        augmentation=Augmentation(affine=2.0, smooth=1.0), loss={"dice_weight": 1.0}, label_ids=(1, 2)
    )
    # The label's own picture as the image: whatever happens to one must happen to the other.
    maps = one_hot(batch["moving_label"], (1, 2))
    batch["moving_image"] = maps[:, :1]
    losses = learner.step(batch, 7)
    fixed, moving = model.given[0]
    torch.testing.assert_close(fixed, batch["fixed_image"])
    assert (moving - batch["moving_image"]).abs().max() > 0.5
    moving_image = batch["moving_image"]
    drawn = Augmentation(affine=2.0, smooth=1.0).draw(moving_image, default_rng([0, 7]))
    flow = drawn_flow(moving_image, drawn)
    assert flow is not None
    varied = SpatialTransformer()(maps, flow)
    torch.testing.assert_close(moving, varied[:, :1])
    warped = SpatialTransformer()(varied, model.predicted[0].flow)
    expected = SoftDice()(one_hot(batch["fixed_label"], (1, 2)), warped, torch.ones(2, 2, dtype=torch.bool))
    assert losses["dice_loss"] == pytest.approx(expected.item(), abs=1e-6)


def test_variation_depends_on_seed_and_step_alone(batch: dict[str, Tensor]) -> None:
    seen = []
    for seed, number in ((0, 3), (0, 3), (0, 4), (1, 3)):
        learner, model = build_learner(augmentation=Augmentation(affine=1.0, intensity=1.0), seed=seed)
        learner.step(plain(batch), number)
        seen.append(model.given[0][1])
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[3])


def test_a_label_that_is_missing_scores_nothing(batch: dict[str, Tensor]) -> None:
    learner, model = build_learner(loss={"dice_weight": 1.0}, label_ids=(1, 2))
    batch["moving_label"][1] = -1
    losses = learner.step(batch, 0)
    first = SpatialTransformer()(one_hot(batch["moving_label"][:1], (1, 2)), model.predicted[0].flow[:1])
    expected = SoftDice()(one_hot(batch["fixed_label"], (1, 2)), first, torch.ones(1, 2, dtype=torch.bool))
    assert losses["dice_loss"] == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.slow
def test_labels_alone_raise_the_overlap(batch: dict[str, Tensor]) -> None:
    batch["moving_image"] = torch.roll(batch["fixed_image"], (4, -3), (2, 3))
    batch["moving_label"] = torch.roll(batch["fixed_label"], (4, -3), (2, 3))
    weights = {"ncc_weight": 0.0, "grad_weight": 0.1, "dice_weight": 1.0}
    learner, _ = build_learner(schedule={"lr": 3e-3}, loss=weights, label_ids=(1, 2))
    losses = [learner.step(batch, number) for number in range(25)]
    assert "ncc" not in losses[0]
    assert losses[-1]["dice_loss"] < 0.8 * losses[0]["dice_loss"]


def test_the_averaged_weights_are_their_running_mean(batch: dict[str, Tensor]) -> None:
    learner, model = build_learner(ema=0.9, schedule={"lr": 1e-2})
    mean: dict[str, Tensor] = {}
    for number in range(5):
        learner.step(plain(batch), number)
        now = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
        mean = {name: 0.9 * mean[name] + 0.1 * now[name] for name in now} if mean else now
    averaged = dict(learner.averaged.named_parameters())
    assert averaged.keys() == mean.keys()
    for name, tensor in mean.items():
        torch.testing.assert_close(averaged[name], tensor)
    assert any((averaged[name] - now[name]).abs().max() > 1e-3 for name in now)


def test_without_averaging_there_is_one_network(batch: dict[str, Tensor]) -> None:
    learner, model = build_learner()
    assert learner.averaged is model
    assert learner.state_dict().keys() == {"optimizer"}


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_step_that_is_not_finite_leaves_everything_as_it_was(batch: dict[str, Tensor], ema: float) -> None:
    learner, model = build_learner(ema=ema)
    learner.step(plain(batch), 0)
    networks = (model, learner.averaged)
    before = [{name: tensor.clone() for name, tensor in network.state_dict().items()} for network in networks]
    batch["moving_image"][1, 0, 5, 5] = torch.nan
    with pytest.raises(NotFiniteError) as caught:
        learner.step(plain(batch), 1)
    assert np.isnan(caught.value.losses["loss"])
    torch.testing.assert_close(caught.value.images["moving_image"], batch["moving_image"], equal_nan=True)
    for kept, network in zip(before, networks, strict=True):
        assert all(torch.equal(kept[name], tensor) for name, tensor in network.state_dict().items())


def test_a_learner_goes_on_from_its_state(batch: dict[str, Tensor]) -> None:
    def make() -> Learner:
        return build_learner(ema=0.9, augmentation=Augmentation(affine=1.0), both_directions=True)[0]

    straight, first, second = make(), make(), make()
    wanted = [straight.step(plain(batch), number) for number in range(6)]
    got = [first.step(plain(batch), number) for number in range(3)]
    second.averaged.load_state_dict(first.averaged.state_dict())
    second.load_state_dict(first.state_dict())
    got += [second.step(plain(batch), number) for number in range(3, 6)]
    assert got == wanted
    for name, tensor in straight.averaged.state_dict().items():
        assert torch.equal(second.averaged.state_dict()[name], tensor)


def test_a_network_with_a_working_size_learns_at_it(batch: dict[str, Tensor]) -> None:
    """The pair is shrunk once, before the network; its affine map leads to the same places, at unequal scales too."""
    learner, model = build_learner()
    model.network_side = 32
    wide = {name: maps[..., : SIZE - 10] for name, maps in batch.items()}
    learner.step({**plain(wide), "affine": MATRIX.repeat(2, 1, 1)}, 0)
    _, moving, small = model.given[0]
    assert moving.shape[2:] == (38, 32)
    expected = F.interpolate(wide["moving_image"], (38, 32), mode="area")
    torch.testing.assert_close(moving, expected)
    assert model.predicted[0].field.shape[2:] == (38, 32)
    # The outer corner of the images, (63.5, 53.5), is (37.5, 31.5) of the small ones.
    to_small = torch.tensor([38 / 64, 32 / 54])
    large = MATRIX[0] @ torch.tensor([63.5, 53.5, 1.0])
    torch.testing.assert_close(small[0] @ torch.tensor([37.5, 31.5, 1.0]), (large + 0.5) * to_small - 0.5)


def test_a_teacher_is_followed_and_stays_as_it_is(batch: dict[str, Tensor]) -> None:
    """Its field is a shift of 3 pixels, which a network that weighs it far above all else comes nearer to."""
    teacher = Watched()
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.zero_()
        head = [module for module in teacher.modules() if isinstance(module, torch.nn.Conv2d)][-1]
        assert head.bias is not None
        head.bias.fill_(3.0)
    learner, model = build_learner(loss={"teacher_weight": 100.0}, teacher=teacher)
    losses = [learner.step(plain(batch), number)["teacher"] for number in range(10)]
    assert losses[-1] < losses[0]
    assert (model.predicted[-1].field - 3).square().mean() < (model.predicted[0].field - 3).square().mean()
    assert torch.equal(teacher.predicted[-1].field, torch.full((2, 2, SIZE, SIZE), 3.0))
    assert "teacher" not in build_learner()[0].step(plain(batch), 0)
