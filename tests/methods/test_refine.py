"""What a method does beside the network: affine maps first, inverse flows, and refinement for one pair."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates, rotate

from regstudio.data.loading.loaders import rescale
from regstudio.errors import CheckpointError, ConfigError, DataError
from regstudio.losses import Objective
from regstudio.methods.affine import affine_flow
from regstudio.methods.affine_cache import cached_affine
from regstudio.methods.energy import PairEnergy, measure
from regstudio.methods.initial_affine import plainly_alike
from regstudio.methods.network import load_method
from regstudio.methods.optimiser import optimise, settings_for
from regstudio.methods.refine import refine, refine_nearby
from regstudio.metrics import dice, inverse_consistency, ncc
from regstudio.networks.checkpoint import Checkpoint
from regstudio.networks.corrmlp import CorrMLP
from regstudio.networks.warp import SpatialTransformer, integrate, resize_flow
from regstudio.registering.two_images import register
from tests.known_flows import constant_flow

pytestmark = pytest.mark.usefixtures("own_cache")
SIZE = (72, 64)
WIDTHS = {"encoder_channels": 2, "decoder_channels": 4}


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A textured image that is dark all around, and itself warped by a smooth flow of 3 pixels."""
    random = np.random.default_rng(0)
    texture = gaussian_filter(random.standard_normal(SIZE), 2.5)
    texture = (0.5 + texture / texture.std() / 4).clip(0, 1) * np.outer(np.hanning(SIZE[0]), np.hanning(SIZE[1])) ** 0.5
    noise = np.stack([gaussian_filter(random.standard_normal(SIZE), 9) for _ in range(2)])
    flow = 3 * noise / abs(noise).max()
    warped = map_coordinates(texture, np.mgrid[: SIZE[0], : SIZE[1]] + flow, order=1)
    fixed, moving = (((image - image.min()) / np.ptp(image)).astype(np.float32) for image in (warped, texture))
    return fixed, moving


def checkpoint_of(transform: str = "displacement", std: float = 0.0, **config: Any) -> Checkpoint:
    """A network whose flow comes from its coarsest level alone, and so is smooth; zero for a `std` of 0."""
    torch.manual_seed(1)
    model = CorrMLP(2, 4, transform=transform)  # type: ignore[arg-type]
    with torch.no_grad():
        for head in model.heads:
            head.weight.zero_()
        model.heads[-1].weight.normal_(std=std)
    return Checkpoint(weights=model.state_dict(), network={**WIDTHS, "transform": transform}, config=config)


@pytest.mark.parametrize("transform", ["displacement", "svf"])
@pytest.mark.parametrize("step_size", [0.25, 50.0])
def test_refining_never_raises_the_objective(
    pair: tuple[np.ndarray, np.ndarray], transform: str, step_size: float
) -> None:
    """Not even with steps that overshoot; with sensible ones it lowers it, and more steps lower it more."""
    model, objective = checkpoint_of(transform, std=0.1).model().eval(), Objective()
    fixed, moving = (torch.from_numpy(image)[None, None] for image in pair)

    def value(field: torch.Tensor) -> float:
        made = model.follow(field, moving)
        return objective(fixed, made.warped, made.field, made.deformation)["loss"].item()

    with torch.no_grad():
        start = model.predict(fixed, moving).field
        values = [
            value(refine(model, objective, fixed, moving, start, steps=steps, step_size=step_size))
            for steps in (0, 1, 5, 20)
        ]
        assert values[0] == value(start)
    assert values == sorted(values, reverse=True)
    if step_size < 1:
        assert values[-1] < values[0] - 0.05


def test_refining_leaves_the_weights_alone(pair: tuple[np.ndarray, np.ndarray]) -> None:
    method = load_method(checkpoint_of(std=0.1), "cpu")
    plain = register(method, *pair)
    register(method, *pair, refine=3)
    np.testing.assert_array_equal(register(method, *pair).flow, plain.flow)
    assert all(parameter.grad is None for parameter in method.model.parameters())


@pytest.mark.parametrize("transform", ["displacement", "svf"])
def test_a_refinement_tells_its_gain_and_cost(pair: tuple[np.ndarray, np.ndarray], transform: str) -> None:
    method = load_method(checkpoint_of(transform), "cpu")
    labels = [(image > np.quantile(image, 0.8)).astype(np.uint8) for image in pair]
    plain = register(method, *pair, fixed_label=labels[0], moving_label=labels[1])
    assert not {"ncc_unrefined", "dice_unrefined", "refine_seconds"} & plain.metrics.keys()
    found = register(method, *pair, fixed_label=labels[0], moving_label=labels[1], refine=40)
    metrics = found.metrics
    assert metrics["ncc_unrefined"] == plain.metrics["ncc"]
    assert metrics["dice_unrefined"] == plain.metrics["dice"]
    assert metrics["ncc"] == ncc(pair[0], found.warped) > metrics["ncc_unrefined"] + 0.1
    assert metrics["dice"] == dice(labels[0], found.warped_label).mean > metrics["dice_unrefined"] + 0.05
    assert 0 < metrics["refine_seconds"] < found.seconds
    without = register(method, *pair, refine=2).metrics
    assert "ncc_unrefined" in without
    assert "dice_unrefined" not in without


def test_a_refinement_of_files_and_arrays_is_the_methods(pair: tuple[np.ndarray, np.ndarray]) -> None:
    checkpoint = checkpoint_of()
    wanted = register(load_method(checkpoint, "cpu"), *pair, refine=4)
    np.testing.assert_array_equal(register(checkpoint, *pair, device="cpu", refine=4).flow, wanted.flow)


def test_it_refines_by_the_loss_it_was_trained_with(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """A stiff network's flows stay stiff."""
    soft, stiff = (
        register(load_method(checkpoint_of(loss={"grad_weight": weight}), "cpu"), *pair, refine=20).flow
        for weight in (0.1, 100.0)
    )
    roughness = [np.square(np.diff(flow, axis=1)).mean() for flow in (soft, stiff)]
    assert roughness[0] > 10 * roughness[1]


def test_a_loss_without_images_refines_nothing(pair: tuple[np.ndarray, np.ndarray]) -> None:
    method = load_method(checkpoint_of(loss={"ncc_weight": 0.0, "dice_weight": 1.0}), "cpu")
    assert register(method, *pair).flow.shape == (2, *SIZE)
    with pytest.raises(ConfigError, match="trained by its labels alone"):
        register(method, *pair, refine=1)


def test_a_loss_that_this_version_does_not_know() -> None:
    with pytest.raises(CheckpointError, match=r"describes no loss that this version knows .*huber_weight"):
        load_method(checkpoint_of(loss={"huber_weight": 1.0}), "cpu")


@pytest.mark.parametrize("refined", [0, 10])
def test_the_inverse_of_a_velocitys_flow_undoes_it(pair: tuple[np.ndarray, np.ndarray], refined: int) -> None:
    found = register(load_method(checkpoint_of("svf", std=0.02), "cpu"), *pair, refine=refined)
    assert found.inverse_flow is not None
    assert abs(found.flow).max() > 1
    error = inverse_consistency(found.flow, found.inverse_flow)
    assert error < 0.05
    assert error < inverse_consistency(found.flow, -found.flow) / 5
    assert found.inverse_flow.dtype == np.float32


def test_a_displacement_has_no_inverse(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert register(load_method(checkpoint_of(std=0.1), "cpu"), *pair).inverse_flow is None


def test_the_affine_flow_is_there_where_the_images_are_aligned(pair: tuple[np.ndarray, np.ndarray]) -> None:
    fixed = pair[0]
    moving = rotate(fixed, 12, reshape=False, order=1)
    matrix = cached_affine(fixed, moving).matrix
    found = register(load_method(checkpoint_of("svf"), "cpu", affine="auto"), fixed, moving)
    np.testing.assert_allclose(found.affine_flow, affine_flow(matrix, SIZE), atol=1e-4)
    np.testing.assert_allclose(found.flow, found.affine_flow, atol=1e-4)  # since the network adds nothing
    assert found.metrics["ncc"] > found.metrics["ncc_before"] + 0.3
    assert found.inverse_flow is not None
    assert inverse_consistency(found.flow, found.inverse_flow) < 0.02
    assert register(load_method(checkpoint_of("svf"), "cpu"), fixed, moving).affine_flow is None


@pytest.mark.parametrize("trained", ["none", "auto"])
@pytest.mark.parametrize("asked", [None, "none", "auto"])
def test_alignment_is_as_trained_unless_asked_otherwise(
    pair: tuple[np.ndarray, np.ndarray], trained: str, asked: Any
) -> None:
    method = load_method(checkpoint_of(alignment={"affine": trained}), "cpu", affine=asked)
    wanted = asked or trained
    assert method.provenance["affine"] == wanted
    found = register(method, *pair)
    assert (found.affine_flow is not None) == (wanted == "auto")


def test_a_refinement_keeps_the_affine_map(pair: tuple[np.ndarray, np.ndarray]) -> None:
    fixed = pair[0]
    moving = rescale(rotate(pair[1], 12, reshape=False, order=1))
    method = load_method(checkpoint_of(), "cpu", affine="auto")
    plain, refined = register(method, fixed, moving), register(method, fixed, moving, refine=15)
    np.testing.assert_array_equal(plain.affine_flow, refined.affine_flow)
    assert refined.metrics["ncc"] > plain.metrics["ncc"] + 0.02
    grid = np.mgrid[: SIZE[0], : SIZE[1]]
    expected = map_coordinates(moving, grid + refined.flow, order=1, mode="grid-constant", cval=0)
    np.testing.assert_allclose(refined.warped, expected, atol=1e-4)


def test_labels_follow_the_refined_flow(pair: tuple[np.ndarray, np.ndarray]) -> None:
    label = np.indices(SIZE)[0] * 3
    found = register(load_method(constant_flow(2, -3), "cpu"), *pair, moving_label=label, refine=10)
    assert abs(found.flow - np.array([2, -3])[:, None, None]).max() > 0.2
    y, x = np.rint(np.mgrid[: SIZE[0], : SIZE[1]] + found.flow).astype(int)
    within = (y >= 0) & (y < SIZE[0]) & (x >= 0) & (x < SIZE[1])
    near = np.where(within, 3 * y, 0)
    assert (found.warped_label == near).mean() > 0.99


def waves(pixels: float, phase: float = 0.0, size: tuple[int, int] = SIZE) -> torch.Tensor:
    """A smooth velocity field (1, 2, H, W)."""
    y, x = (torch.arange(side) / 12 for side in size)
    rows, columns = torch.sin(y[:, None] + phase) * torch.cos(x), torch.cos(y[:, None]) * torch.sin(x - phase)
    return pixels * torch.stack((rows, columns))[None]


@pytest.fixture
def known(pair: tuple[np.ndarray, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A fixed image, a moving one, and the velocity that takes one to the other."""
    moving = torch.from_numpy(pair[1])[None, None]
    velocity = waves(2.5)
    return SpatialTransformer()(moving, integrate(velocity)), moving, velocity


def error(velocity: torch.Tensor, known: torch.Tensor) -> float:
    inside = (integrate(velocity) - integrate(known))[:, :, 10:-10, 10:-10]
    return inside.norm(dim=1).mean().item()


def test_refining_nearby_finds_what_a_network_left_over(known: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    fixed, moving, velocity = known
    start = velocity + waves(1.5, phase=2)
    assert error(start, velocity) > 0.8
    found = refine_nearby(fixed, moving, start)
    assert error(found, velocity) < 0.4 * error(start, velocity)
    small = [resize_flow(field, (36, 32)) for field in (start, found)]
    energy = PairEnergy(
        fixed, moving, measure=measure("ncc"), weights=settings_for("ncc", expected=True).weights, expected=small[0]
    )
    assert energy(small[1]) < energy(small[0])


def test_a_start_that_is_far_off_pulls_less(known: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    fixed, moving, velocity = known
    start = velocity + waves(6, phase=2)
    assert plainly_alike(fixed, moving, velocity) and not plainly_alike(fixed, moving, start)
    held = optimise(fixed, moving, settings_for("ncc", expected=True), velocity=start).velocity
    assert error(refine_nearby(fixed, moving, start), velocity) < 0.5 * error(held, velocity)


def test_refining_nearby_stays_where_images_say_nothing() -> None:
    """The left half is blank: what a network knows of it is kept, though the images are equal and need no flow."""
    size = (96, 160)
    texture = gaussian_filter(np.random.default_rng(0).random(size), 2)
    texture[:, :80] = texture.mean()
    image = torch.from_numpy(rescale(texture))[None, None]
    start = waves(1.5, size=size)
    moved = (refine_nearby(image, image, start) - start).norm(dim=1)[0]
    assert moved[:, 80:].mean() > 0.5
    assert moved[:, :64].mean() < 0.15


def test_between_images_of_two_kinds_a_network_that_is_far_off_is_left(
    known: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    """What is bright in one is dark in the other here, and bright there."""
    fixed, moving, velocity = known
    sign = torch.where(torch.arange(SIZE[1]) % 16 < 8, 1.0, -1.0)
    other = 0.5 + sign * (fixed - 0.5)
    near, far = (refine_nearby(other, moving, start) for start in (velocity, velocity + waves(14, phase=1)))
    assert error(near, velocity) < 0.6
    assert error(far, velocity) < error(torch.zeros_like(velocity), velocity) + 0.3


def test_auto_refines_velocity_fields_alone(pair: tuple[np.ndarray, np.ndarray]) -> None:
    fixed = pair[0]
    moving = rescale(rotate(pair[1], 12, reshape=False, order=1))
    by_transform = {}
    for transform in ("svf", "displacement"):
        method = load_method(checkpoint_of(transform), "cpu", affine="auto", refine="auto")
        assert (method.name, method.provenance["refine"]) == ("network refined", "auto")
        plain, found = register(method, fixed, moving, refine=0), register(method, fixed, moving)
        by_transform[transform] = found.metrics["ncc"] - plain.metrics["ncc"]
        np.testing.assert_array_equal(plain.affine_flow, found.affine_flow)
    assert found.transform.unrefined_flow is None
    assert "refine_seconds" not in found.metrics
    assert by_transform["displacement"] == 0
    assert by_transform["svf"] > 0.05


@pytest.mark.parametrize(("gain", "refines"), [(0.01, True), (-0.01, False)])
def test_auto_refines_where_the_training_found_that_it_pays(
    pair: tuple[np.ndarray, np.ndarray], gain: float, refines: bool
) -> None:
    checkpoint = replace(checkpoint_of("svf"), metrics={"refine_gain": gain})
    method = load_method(checkpoint, "cpu", refine="auto")
    assert (method.name, method.provenance["refine"]) == (("network refined", "auto") if refines else ("network", 0))
    assert ("refine_seconds" in register(method, *pair).metrics) == refines


def test_auto_needs_no_loss_of_images(pair: tuple[np.ndarray, np.ndarray]) -> None:
    checkpoint = checkpoint_of("svf", loss={"ncc_weight": 0.0, "dice_weight": 1.0})
    metrics = register(load_method(checkpoint, "cpu", refine="auto"), *pair).metrics
    assert metrics["ncc"] > metrics["ncc_unrefined"]
    assert metrics["quality"] > metrics["quality_unrefined"]


def test_a_broken_network_is_not_hidden_by_refining(pair: tuple[np.ndarray, np.ndarray]) -> None:
    checkpoint = checkpoint_of("svf")
    broken = {name: value * np.nan if name.endswith("weight") else value for name, value in checkpoint.weights.items()}
    model = checkpoint.model()
    model.load_state_dict(broken)
    method = replace(load_method(checkpoint, "cpu", refine="auto"), model=model.eval())
    with pytest.raises(DataError, match="is not made of finite numbers"):
        register(method, *pair)
