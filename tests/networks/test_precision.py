"""bfloat16 is rounding and nothing else: the same flow and the same gradient, to about two digits."""

import pytest
import torch
from torch import Tensor

from regstudio.networks.base import RegistrationNetwork
from regstudio.networks.build import build_network


@pytest.fixture(params=["corrmlp", "voxelmorph"])
def network(request: pytest.FixtureRequest) -> RegistrationNetwork:
    """A network whose flow is some pixels, not the first almost zero one."""
    torch.manual_seed(0)
    network = build_network(request.param)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "heads" in name or "final_conv_out" in name:
                parameter.add_(torch.randn_like(parameter), alpha=0.05 if request.param == "corrmlp" else 1)
    return network


def smooth_images() -> tuple[Tensor, Tensor]:
    noise = torch.rand(2, 1, 1, 12, 10, generator=torch.Generator().manual_seed(1))
    fixed, moving = (torch.nn.functional.interpolate(image, (48, 40), mode="bicubic") for image in noise)
    return fixed, moving


def outcome(network: RegistrationNetwork, precision: str) -> tuple[Tensor, Tensor]:
    """The flow, and the gradient of its energy."""
    network.precision = precision  # type: ignore[assignment]
    network.zero_grad()
    flow = network(*smooth_images())[1]
    flow.square().mean().backward()
    return flow.detach(), torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def test_flow_and_gradient_are_those_of_float32_but_for_rounding(network: RegistrationNetwork) -> None:
    (exact, exact_gradient), (rounded, gradient) = (outcome(network, name) for name in ("float32", "bfloat16"))
    assert exact.abs().max() > 0.5
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).norm() < 0.05 * exact.norm()
    assert torch.nn.functional.cosine_similarity(gradient, exact_gradient, dim=0) > 0.98


def test_weights_and_their_gradients_stay_in_float32(network: RegistrationNetwork) -> None:
    outcome(network, "bfloat16")
    for parameter in network.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is None or parameter.grad.dtype == torch.float32
