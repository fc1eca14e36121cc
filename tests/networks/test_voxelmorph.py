from pathlib import Path

import pytest
import torch

from regstudio.networks.base import RegistrationNetwork
from regstudio.networks.build import build_network
from regstudio.networks.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from regstudio.networks.corrmlp import CorrMLP
from regstudio.networks.voxelmorph import VoxelMorph


@pytest.fixture(scope="module")
def model() -> VoxelMorph:
    """A network whose flow is a few pixels."""
    torch.manual_seed(0)
    network = VoxelMorph()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (50, 41)])
def test_any_size_of_at_least_32(model: VoxelMorph, size: tuple[int, int]) -> None:
    fixed, moving = torch.rand(2, 2, 1, *size)
    warped, flow = model(fixed, moving)
    assert warped.shape == (2, 1, *size)
    assert flow.shape == (2, 2, *size)
    assert flow.isfinite().all()


def test_one_fixed_image_serves_the_whole_batch(model: VoxelMorph) -> None:
    fixed, moving = torch.rand(1, 1, 40, 32), torch.rand(3, 1, 40, 32)
    flow = model(fixed, moving)[1]
    alone = torch.cat([model(fixed, moving[i : i + 1])[1] for i in range(3)])
    torch.testing.assert_close(flow, alone)
    assert flow.abs().max() > 0.1
    assert (flow[0] - flow[1]).abs().max() > 1e-3


def test_both_images_and_their_order_matter(model: VoxelMorph) -> None:
    fixed, moving, other = torch.rand(3, 1, 1, 40, 32)
    flow = model(fixed, moving)[1]
    for pair in ((moving, fixed), (fixed, other), (other, moving)):
        assert (model(*pair)[1] - flow).abs().max() > 1e-3


def test_first_flow_is_almost_zero() -> None:
    fixed, moving = torch.rand(2, 1, 1, 40, 56)
    warped, flow = VoxelMorph()(fixed, moving)
    assert flow.abs().max() < 0.01
    assert torch.allclose(warped, moving, atol=0.02)


def test_a_wrong_size_is_named(model: VoxelMorph) -> None:
    with pytest.raises(ValueError, match="at least 32"):
        model(torch.zeros(1, 1, 24, 40), torch.zeros(1, 1, 24, 40))


@pytest.mark.parametrize("transform", ["displacement", "svf"])
def test_a_checkpoint_comes_back(tmp_path: Path, transform: str) -> None:
    first = build_network("voxelmorph", transform=transform)
    arguments = {"network": "voxelmorph", "transform": transform}
    save_checkpoint(tmp_path / "v.pt", Checkpoint(weights=first.state_dict(), network=arguments))
    second = load_checkpoint(tmp_path / "v.pt").model()
    assert isinstance(second, VoxelMorph)
    assert second.transform == transform
    fixed, moving = torch.rand(2, 1, 1, 40, 32)
    torch.testing.assert_close(second.eval()(fixed, moving)[1], first.eval()(fixed, moving)[1])


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_plain_state_dict_is_recognised(model: VoxelMorph, tmp_path: Path, prefix: str) -> None:
    torch.save({prefix + name: tensor for name, tensor in model.state_dict().items()}, tmp_path / "plain.pt")
    loaded = load_checkpoint(tmp_path / "plain.pt")
    assert loaded.network == {"network": "voxelmorph"}
    fixed, moving = torch.rand(2, 1, 1, 40, 32)
    torch.testing.assert_close(loaded.model().eval()(fixed, moving)[1], model(fixed, moving)[1])


@pytest.mark.parametrize(("name", "kind"), [("corrmlp", CorrMLP), ("voxelmorph", VoxelMorph)])
def test_networks_are_built_by_name(name: str, kind: type[RegistrationNetwork]) -> None:
    assert type(build_network(name)) is kind
    assert build_network(name, transform="svf").transform == "svf"


def test_the_widths_and_the_checkpointing_are_corrmlps() -> None:
    built = build_network(encoder_channels=2, decoder_channels=4, gradient_checkpointing=True)
    assert isinstance(built, CorrMLP)
    assert built.gradient_checkpointing
    assert built.state_dict().keys() == CorrMLP(2, 4).state_dict().keys()
    assert built.heads[0].weight.shape == CorrMLP(2, 4).heads[0].weight.shape


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="'transmorph'; it must be 'corrmlp' or 'voxelmorph'"):
        build_network("transmorph")
