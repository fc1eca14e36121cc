"""Passes of a network over a pair: what adds up, at which scale, in whose pixels."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from regstudio.networks.base import RegistrationNetwork
from regstudio.networks.build import build_network
from regstudio.networks.passes import coarse_to_fine, full_velocity, network_size, register
from regstudio.networks.warp import resize_flow


class Constant(RegistrationNetwork):
    """Says of every pair that it moves by (1, -2) pixels times a weight, and notes what it was shown."""

    def __init__(self) -> None:
        super().__init__("svf")
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.shown: list[tuple[Tensor, Tensor]] = []

    def compute_field(self, fixed: Tensor, moving: Tensor) -> Tensor:
        self.shown.append((fixed, moving))
        return self.weight * torch.tensor([1.0, -2.0]).view(1, 2, 1, 1).expand(len(moving), 2, *moving.shape[2:])


def images(height: int = 128, width: int = 160) -> tuple[Tensor, Tensor]:
    return torch.rand(1, 1, height, width), torch.rand(1, 1, height, width)


def test_velocities_add_up_in_the_pixels_of_each_pass() -> None:
    velocities = list(coarse_to_fine(Constant(), *images(), scales=(4, 2, 1)))
    assert [velocity.shape[2:] for velocity in velocities] == [(32, 40), (64, 80), (128, 160)]
    assert [velocity[0, :, 5, 5].tolist() for velocity in velocities] == [[1, -2], [3, -6], [7, -14]]


def test_each_pass_sees_the_moving_image_as_warped_so_far() -> None:
    network, (fixed, moving) = Constant(), images()
    list(coarse_to_fine(network, fixed, moving, scales=(1, 1)))
    (_, first), (_, second) = network.shown
    assert torch.equal(first, moving)
    assert torch.allclose(second[:, :, :100, 20:], moving[:, :, 1:101, 18:-2], atol=1e-4)


def test_no_gradient_reaches_a_pass_from_the_next() -> None:
    network = Constant()
    *_, last = coarse_to_fine(network, *images(), scales=(2, 1))
    last[0, 0, 3, 3].backward()
    assert network.weight.grad == 1


def test_scales_too_small_for_the_network_are_left_out() -> None:
    shapes = [velocity.shape[2:] for velocity in coarse_to_fine(Constant(), *images(96, 128), scales=(4, 2, 1))]
    assert shapes == [(48, 64), (96, 128)]


def test_the_flow_of_a_large_image_is_in_its_own_pixels() -> None:
    """At half the size, passes at 1/4, 1/2 and 1 of it find (1, -2) * (4 + 2 + 1)."""
    flow = register(Constant(), *images(256, 320))
    assert flow.shape == (1, 2, 256, 320)
    assert torch.allclose(flow[0, :, 50, 50], torch.tensor([14.0, -28.0]), atol=1e-4)


@pytest.mark.parametrize(("size", "working"), [((201, 333), (128, 212)), ((50, 60), (128, 152))])
def test_sides_of_any_length_do(size: tuple[int, int], working: tuple[int, int]) -> None:
    flow = register(Constant(), *images(*size))
    assert flow.shape == (1, 2, *size)
    found = torch.tensor([7 * size[0] / working[0], -14 * size[1] / working[1]])
    assert torch.allclose(flow[0, :, 20, 20], found, atol=1e-4)


def test_a_network_without_a_velocity_field_is_refused() -> None:
    network = build_network(encoder_channels=2, decoder_channels=4)
    with pytest.raises(ValueError, match="displacement"):
        next(coarse_to_fine(network, *images()))


@pytest.mark.parametrize("size", [(256, 320), (201, 333), (96, 70)])
def test_a_network_with_a_network_side_and_passes_is_what_the_general_method_does(size: tuple[int, int]) -> None:
    """Found by hand at 128 pixels, in three passes; small images are enlarged."""
    torch.manual_seed(0)
    network = build_network(transform="svf", encoder_channels=2, decoder_channels=4, network_side=128, passes=3)
    heads(network.double())  # noise makes much of rounding
    fixed, moving = (image.double() for image in images(*size))
    shorter = min(size)
    small = [round(side * 128 / shorter / 4) * 4 for side in size]
    mode = {"mode": "area"} if shorter > 128 else {"mode": "bilinear", "align_corners": False}
    *_, velocity = coarse_to_fine(network, *(F.interpolate(image, small, **mode) for image in (fixed, moving)))
    prediction = network.predict(fixed, moving)
    assert prediction.field.abs().max() > 0.05
    torch.testing.assert_close(prediction.field, resize_flow(velocity, size))
    assert torch.equal(prediction.field, full_velocity(network, fixed, moving))
    assert len(list(network.fields(fixed, moving))) == 3


def test_each_pass_of_a_network_has_its_own_gradient() -> None:
    network = Constant()
    network.network_side, network.passes = 64, 2
    gradients = []
    for field in network.fields(*images(128, 160)):
        network.weight.grad = None
        field[0, 0, 3, 3].backward()
        assert network.weight.grad is not None
        gradients.append(network.weight.grad.item())
    assert gradients == [pytest.approx(4), pytest.approx(2)]  # a pixel of a pass is 4 and 2 of the whole


def test_a_single_look_at_a_smaller_size_serves_displacements_too() -> None:
    network = Constant()
    network.transform, network.network_side = "displacement", 64
    flow = network.predict(*images(128, 160)).flow
    torch.testing.assert_close(flow[0, :, 50, 50], torch.tensor([2.0, -4.0]))


@pytest.mark.parametrize("passes", [1, 2, 3, 4])
def test_what_has_the_network_size_stays_as_it_is(passes: int) -> None:
    """So a training may make its pairs smaller before the network does."""
    for height in range(32, 700, 13):
        for width in (height, height + 5, 3 * height // 2):
            size = network_size((height, width), 64 * 2 ** (passes - 1), passes)
            assert network_size(size, 64 * 2 ** (passes - 1), passes) == size
            assert min(size) == 64 * 2 ** (passes - 1)


def heads(network: RegistrationNetwork) -> None:
    """Make the fields of a fresh network large enough to be compared."""
    for name, weight in network.named_parameters():
        if name.startswith("heads.") and name.endswith("weight"):
            torch.nn.init.normal_(weight, std=0.01)
