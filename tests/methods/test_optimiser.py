"""The pair optimiser on images whose deformation is known."""

import numpy as np
import pytest
import torch
from torch import Tensor

from regstudio.data.pairs.pair import Pair
from regstudio.methods.affine import affine_flow
from regstudio.methods.descent import smoothed
from regstudio.methods.energy import Points, Weights
from regstudio.methods.optimiser import Optimiser, OptimiserSettings, optimise
from regstudio.metrics import inverse_consistency, njd
from regstudio.networks.warp import SpatialTransformer, integrate

SIZE = (96, 80)
QUICK = OptimiserSettings(steps=(15, 10), step_size=0.5)
warp = SpatialTransformer("bilinear")


def texture(seed: int, batch: int = 1) -> Tensor:
    noise = torch.rand(batch, 1, *SIZE, generator=torch.Generator().manual_seed(seed))
    image = smoothed(noise, 2.0) + smoothed(noise, 6.0) * 3
    return (image - image.amin()) / (image.amax() - image.amin())


def smooth_velocity(batch: int = 1, pixels: float = 4.0) -> Tensor:
    """Waves of different lengths along rows and columns."""
    y, x = (torch.arange(side) / side for side in SIZE)
    waves = [
        (torch.sin(4 * y[:, None] + number) * torch.cos(5 * x), torch.cos(3 * y[:, None]) * torch.sin(4 * x - number))
        for number in range(batch)
    ]
    return pixels * torch.stack([torch.stack(wave) for wave in waves])


@pytest.fixture
def pairs() -> tuple[Tensor, Tensor, Tensor]:
    """Two fixed images, the same moved by known flows, and these flows."""
    moving, flow = texture(0, batch=2), integrate(smooth_velocity(batch=2))
    return warp(moving, flow), moving, flow


def error(flow: Tensor, known: Tensor) -> float:
    """Mean distance in pixels, away from what moved in over the border."""
    return (flow - known)[:, :, 8:-8, 8:-8].norm(dim=1).mean().item()


@pytest.mark.parametrize("similarity", ["ncc", "mind", "mse"])
def test_a_known_deformation_is_found(pairs: tuple[Tensor, Tensor, Tensor], similarity: str) -> None:
    fixed, moving, known = pairs
    settings = OptimiserSettings(similarity=similarity, weights=Weights(smoothness=0.5))  # type: ignore[arg-type]
    found = optimise(fixed, moving, settings)
    assert error(torch.zeros_like(known), known) > 1.5
    assert error(found.flow, known) < 0.4
    assert found.energy.max() < found.curve[0].min()


def test_an_inverted_image_is_found_by_mind(pairs: tuple[Tensor, Tensor, Tensor]) -> None:
    fixed, moving, known = pairs
    settings = OptimiserSettings(similarity="mind", weights=Weights(smoothness=0.5))
    assert error(optimise(1 - fixed.square(), moving, settings).flow, known) < 0.6


def test_a_batch_gives_what_its_pairs_give_alone(pairs: tuple[Tensor, Tensor, Tensor]) -> None:
    fixed, moving, _ = pairs
    both = optimise(fixed, moving, QUICK)
    for number in range(2):
        alone = optimise(fixed[number, None], moving[number, None], QUICK)
        torch.testing.assert_close(both.flow[number, None], alone.flow, atol=1e-2, rtol=0)
    shared = optimise(fixed[:1], moving, QUICK)
    torch.testing.assert_close(shared.flow[:1], both.flow[:1], atol=1e-2, rtol=0)


def test_the_inverse_undoes_the_flow_and_nothing_folds(pairs: tuple[Tensor, Tensor, Tensor]) -> None:
    fixed, moving, _ = pairs
    found = optimise(fixed, moving, QUICK)
    flow, inverse = found.flow[0].numpy(), found.inverse[0].numpy()
    assert abs(flow).max() > 2
    assert inverse_consistency(flow, inverse) < 0.05
    assert njd(flow).count == 0


def test_it_starts_from_a_velocity_and_never_ends_worse(pairs: tuple[Tensor, Tensor, Tensor]) -> None:
    fixed, moving, known = pairs
    start = smooth_velocity(batch=2)
    none = optimise(fixed, moving, OptimiserSettings(steps=(0,)), velocity=start)
    assert torch.equal(none.velocity, start)
    torch.testing.assert_close(none.flow, integrate(start))
    found = optimise(fixed, moving, OptimiserSettings(steps=(5,), step_size=1e3), velocity=start)
    assert (found.energy <= none.energy).all()
    assert error(found.flow, known) < 0.2


def test_it_starts_from_an_affine_map() -> None:
    angle = np.deg2rad(25)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = (np.array(SIZE) - 1) / 2
    matrix = np.column_stack((linear, centre - linear @ centre))
    known = torch.from_numpy(affine_flow(matrix, SIZE))[None]
    moving = texture(0)
    fixed = warp(moving, known)
    affine = torch.from_numpy(matrix.astype(np.float32))[None]
    found = optimise(fixed, moving, QUICK, affine=affine)
    assert error(found.flow, known) < 0.3
    assert inverse_consistency(found.flow[0].numpy(), found.inverse[0].numpy()) < 0.05
    assert error(optimise(fixed, moving, QUICK).flow, known) > 2


@pytest.mark.parametrize("turned", [False, True])
def test_landmarks_lead_where_the_images_say_nothing(turned: bool) -> None:
    """Two blank images; the points are those of a shift, seen through an affine map or not."""
    blank = torch.full((1, 1, *SIZE), 0.5)
    fixed = torch.tensor([[20.0, 20.0], [70.0, 60.0], [20.0, 60.0], [70.0, 20.0]])
    points = [Points(fixed=fixed, moving=fixed + torch.tensor([4.0, -3.0]))]
    affine = torch.tensor([[[1.02, 0.01, 0.5], [-0.01, 0.99, -1.0]]]) if turned else None
    found = optimise(blank, blank, OptimiserSettings(weights=Weights(landmarks=0.5)), affine=affine, points=points)
    at = torch.stack([found.flow[0, :, int(y), int(x)] for y, x in fixed])
    torch.testing.assert_close(at, torch.tensor([4.0, -3.0]).expand(4, 2), atol=0.3, rtol=0)


def test_what_a_mask_hides_moves_nothing(pairs: tuple[Tensor, Tensor, Tensor]) -> None:
    fixed, moving, _ = (both[:1] for both in pairs)
    mask = torch.zeros_like(fixed)
    mask[:, :, :, 40:] = 1
    spoilt = fixed.clone()
    spoilt[:, :, :, :40] = texture(9)[:, :, :, :40]
    masked = [optimise(image, moving, QUICK, fixed_mask=mask, moving_mask=mask).flow for image in (fixed, spoilt)]
    torch.testing.assert_close(*masked, atol=1e-2, rtol=0)


def test_the_method_tells_what_it_found_and_how(pairs: tuple[Tensor, Tensor, Tensor]) -> None:
    fixed, moving = (images[0, 0].numpy() for images in pairs[:2])
    method = Optimiser(QUICK)
    found = method(Pair(id="one", fixed=fixed, moving=moving))
    assert found.flow.dtype == np.float32
    assert found.flow.shape == (2, *SIZE)
    assert found.inverse_flow is not None
    assert found.affine_flow is None
    assert found.losses[0] > found.losses[-1]
    assert found.seconds > 0
    assert method.provenance["similarity"] == "ncc"
