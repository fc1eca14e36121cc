"""The optimiser's energy against closed forms: symmetry, roughness, masks, landmarks, and each similarity."""

from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from regstudio.losses import Grad
from regstudio.methods import Similarity
from regstudio.methods.descent import smoothed
from regstudio.methods.energy import PairEnergy, Points, Weights, measure, roughness

GENERATOR = torch.Generator()


def texture(seed: int, batch: int = 1, side: int = 64) -> Tensor:
    noise = smoothed(torch.rand(batch, 1, side, side, generator=torch.Generator().manual_seed(seed)), 1.5)
    return (noise - noise.amin()) / (noise.amax() - noise.amin())


def energy(fixed: Tensor, moving: Tensor, name: Similarity = "ncc", **arguments: object) -> PairEnergy:
    weights = Weights(**{"smoothness": 0.0, **arguments.pop("weights", {})})  # type: ignore[dict-item]
    return PairEnergy(fixed, moving, measure=measure(name), weights=weights, **arguments)  # type: ignore[arg-type]


def velocity(seed: int, batch: int = 1, side: int = 32) -> Tensor:
    noise = torch.randn(batch, 2, side, side, generator=torch.Generator().manual_seed(seed))
    return 8 * smoothed(noise, 4.0)


@pytest.mark.parametrize("name", get_args(Similarity))
def test_it_is_the_same_from_both_sides(name: Similarity) -> None:
    fixed, moving, field = texture(0), texture(1), velocity(2)
    torch.testing.assert_close(energy(fixed, moving, name)(field), energy(moving, fixed, name)(-field))


@pytest.mark.parametrize("name", get_args(Similarity))
def test_it_is_least_where_the_images_lie_right(name: Similarity) -> None:
    image = texture(0)
    at = energy(image, image.roll(2, 3), name)
    right = torch.zeros(1, 2, 32, 32)
    right[:, 1] = 1.0  # a pixel of the field's grid is two of the image's
    assert at(right) < at(0 * right) - 0.1
    assert at(right) < at(-right)


@pytest.mark.parametrize("name", get_args(Similarity))
def test_a_batch_has_the_energies_of_its_pairs(name: Similarity) -> None:
    fixed, moving, field = texture(0, batch=2), texture(1, batch=2), velocity(2, batch=2)
    alone = [energy(f[None], m[None], name)(v[None]) for f, m, v in zip(fixed, moving, field, strict=True)]
    torch.testing.assert_close(energy(fixed, moving, name)(field), torch.cat(alone))


@pytest.mark.parametrize("name", ["ncc", "mind", "mi"])
def test_brightness_and_contrast_do_not_matter(name: Similarity) -> None:
    image = texture(0)
    other = 0.3 + 0.4 * image if name == "ncc" else 0.9 - 0.4 * image
    field = velocity(1)
    torch.testing.assert_close(energy(image, other, name)(field), energy(image, image, name)(field), atol=0.15, rtol=0)


def test_mutual_information_leaves_what_a_correlation_leaves() -> None:
    """Of normal variables with the correlation r, 1 - r^2, up to the width of the Parzen windows."""
    one, other = torch.randn(2, 1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    r = 0.8
    fixed, moving = (0.5 + image / 8 for image in (one, r * one + (1 - r**2) ** 0.5 * other))
    assert measure("mi").unexplained(fixed, moving).item() == pytest.approx(1 - r**2, abs=0.06)


def test_roughness_is_the_loss_grad() -> None:
    fields = velocity(0, batch=2)
    expected = torch.stack([Grad("l2")(field[None]) for field in fields])
    torch.testing.assert_close(roughness(fields), expected)
    image = texture(0)
    extra = energy(image, image, weights={"smoothness": 3.0})(fields[:1]) - energy(image, image)(fields[:1])
    torch.testing.assert_close(extra, 3 * expected[:1])


def test_what_differs_from_the_expected_field_costs() -> None:
    image, field, expected = texture(0), velocity(1), velocity(2)
    weights = {"deviation": 0.5, "deviation_smoothness": 2.0}

    def cost_of(difference: torch.Tensor) -> torch.Tensor:
        near = 0.01 * min(difference.shape[2:])
        distance = (difference[:, 0] ** 2 + difference[:, 1] ** 2) / near**2
        return 0.5 * torch.log(1 + distance).mean() + 2 * roughness(difference)

    extra = energy(image, image, weights=weights, expected=expected)(field) - energy(image, image)(field)
    torch.testing.assert_close(extra, cost_of(field - expected))
    short = energy(image, image, weights=weights)(field) - energy(image, image)(field)
    torch.testing.assert_close(short, cost_of(field))


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_what_lies_outside_a_mask_does_not_count(side: str) -> None:
    fixed, moving = texture(0), texture(1)
    mask = torch.zeros_like(fixed)
    mask[..., 20:] = 1
    changed = {"fixed": fixed.clone(), "moving": moving.clone()}
    changed[side][..., :20] = texture(3)[..., :20]
    still = torch.zeros(1, 2, 32, 32)
    masks = {f"{side}_mask": mask}
    before, after = energy(fixed, moving, **masks)(still), energy(**changed, **masks)(still)
    torch.testing.assert_close(before, after)
    assert energy(**changed)(still) != energy(fixed, moving)(still)


def test_landmarks_add_their_mean_squared_distance() -> None:
    """A flow of (2, -3) pixels of the whole, on a grid of a quarter of it."""
    image = texture(0)
    field = torch.zeros(2, 2, 16, 16)
    field[:, 0], field[:, 1] = 2 / 4, -3 / 4
    fixed = torch.tensor([[20.0, 30.0], [7.0, 11.0]])
    moving = fixed + torch.tensor([[2.0, -3.0], [5.0, -7.0]])  # right, and (3, -4) off
    pair = image.expand(2, -1, -1, -1)
    points = [Points(fixed=fixed, moving=moving), None]
    with_points = energy(pair, pair, points=points, weights={"landmarks": 0.1})(field)
    torch.testing.assert_close(with_points - energy(pair, pair)(field), torch.tensor([0.1 * 25 / 2, 0.0]))


def test_landmarks_are_in_pixels_of_the_whole_image() -> None:
    """Here the images are half of it, and linear in the flow: it is read where the point is."""
    small = F.avg_pool2d(texture(0), 2)
    rows = (torch.arange(16) + 0.5) * 4 - 0.5  # of the whole, at the grid's pixels
    field = torch.zeros(1, 2, 16, 16)
    field[:, 0] = 0.01 * rows[:, None] / 4
    points = [Points(fixed=torch.tensor([[30.0, 20.0]]), moving=torch.tensor([[30.0, 20.0]]))]
    arguments = {"points": points, "weights": {"landmarks": 1.0}, "full": (64, 64)}
    added = energy(small, small, **arguments)(field) - energy(small, small)(field)
    # The flow of a velocity a * y moves a point at y by (exp(a) - 1) * y.
    assert added.item() == pytest.approx((30.5 * (torch.tensor(0.01).exp().item() - 1) - 0.5 * 0.01) ** 2, rel=0.02)
