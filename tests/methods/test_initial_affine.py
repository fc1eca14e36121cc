"""The affine map that a registration starts from: closed forms, made pairs, and that it never harms."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from regstudio.data.pairs.pair import Pair, pair_of_arrays
from regstudio.errors import DataError
from regstudio.methods import general_network as module
from regstudio.methods.affine import register_affine
from regstudio.methods.affine_cache import affine_matrices
from regstudio.methods.alignment import Aligner
from regstudio.methods.general import General, general_method
from regstudio.methods.general_network import general_network, look
from regstudio.methods.initial_affine import initial_affine, nearest_affine
from regstudio.networks.base import RegistrationNetwork
from regstudio.networks.warp import affine_after, seen_through
from regstudio.training.synthesis import synthesise
from regstudio.transforms.registration import Registration

SIDE = 96
TRUE = torch.tensor([[[0.9, 0.2, 3.0], [-0.25, 1.1, -4.0]]])


@pytest.fixture(scope="module")
def network() -> RegistrationNetwork:
    brought = general_network()
    assert brought is not None
    return brought


@pytest.fixture(scope="module")
def image() -> Tensor:
    return synthesise(11, 2, (SIDE, SIDE)).fixed


def turned(degrees: float, scale: float = 1.0) -> Tensor:
    """A turn about the centre: (1, 2, 3)."""
    turn, centre = np.deg2rad(degrees), np.full(2, (SIDE - 1) / 2)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return torch.from_numpy(np.column_stack((linear, centre - linear @ centre)).astype(np.float32))[None]


def distance(found: Tensor, true: Tensor) -> float:
    """Mean distance in pixels between where two maps lead from the middle of the image."""
    flows = [affine_after(matrix, torch.zeros(1, 2, SIDE, SIDE))[..., 24:-24, 24:-24] for matrix in (found, true)]
    return float((flows[0] - flows[1]).norm(dim=1).mean())


def test_the_nearest_affine_map_of_an_affine_flow_is_it() -> None:
    flow = affine_after(TRUE, torch.zeros(1, 2, 40, 30))
    assert torch.allclose(nearest_affine(flow), TRUE, atol=1e-4)


def test_the_nearest_affine_map_is_least_squares() -> None:
    """A map of another kind is approximated with a residual that no affine map changes."""
    flow = torch.randn(1, 2, 12, 9, generator=torch.Generator().manual_seed(0))
    rest = flow - affine_after(nearest_affine(flow), torch.zeros_like(flow))
    assert nearest_affine(rest)[0].numpy() == pytest.approx(np.eye(2, 3), abs=1e-4)


@pytest.mark.parametrize("true", [turned(0, 1.25), turned(50), turned(-45, 0.85)])
def test_images_that_lie_askew_are_brought_together(network: RegistrationNetwork, image: Tensor, true: Tensor) -> None:
    """The fixed image is the moving one through the map."""
    found = initial_affine(network, seen_through(true, image), image)
    assert distance(found, true) < 4 < distance(turned(0), true)


@pytest.mark.slow
@pytest.mark.parametrize("degrees", [100, 150, 180])
def test_wide_finds_images_that_lie_upside_down(network: RegistrationNetwork, image: Tensor, degrees: float) -> None:
    fixed = seen_through(turned(degrees), image)
    assert distance(initial_affine(network, fixed, image, wide=True), turned(degrees)) < 4


@pytest.mark.slow
def test_wide_finds_images_that_are_mirrored(network: RegistrationNetwork, image: Tensor) -> None:
    fixed = seen_through(turned(160), image).flip(3)
    found = initial_affine(network, fixed, image, wide=True)
    mirror = torch.tensor([[1.0, 0, 0], [0, -1, SIDE - 1], [0, 0, 1]])
    assert distance(found, turned(160) @ mirror) < 4
    assert distance(initial_affine(network, image, image, wide=True), turned(0)) < 1
    pair = pair_of_arrays(fixed[0, 0].numpy(), image[0, 0].numpy(), name="mirrored")
    result = Registration(pair=pair, transform=general_method(wide=True)(pair))
    assert result.mirrored
    assert result.folds.percent < 1
    assert result.quality > 0.4


def test_images_that_lie_right_stay(network: RegistrationNetwork, image: Tensor) -> None:
    assert distance(initial_affine(network, image, image), turned(0)) < 0.5


def test_images_that_lie_right_are_looked_at_once(network: RegistrationNetwork, image: Tensor) -> None:
    """Others are registered from eighteen starts, which takes several times as long."""
    seen: list[int] = []
    handles = [
        part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].numel())) for part in network.children()
    ]
    try:
        for degrees in (2, 100):
            initial_affine(network, seen_through(turned(degrees), image), image)
            seen.append(0)
    finally:
        for handle in handles:
            handle.remove()
    end = seen.index(0)
    assert 3 * sum(seen[:end]) < sum(seen[end:])


def test_the_maps_are_those_of_the_whole_images(network: RegistrationNetwork, image: Tensor) -> None:
    """Of images twice as large, the same map in their pixels."""
    true = turned(40)
    fixed = seen_through(true, image)
    large = [torch.nn.functional.interpolate(i, scale_factor=2, mode="nearest") for i in (fixed, image)]
    small, found = initial_affine(network, fixed, image), initial_affine(network, large[0], large[1])
    assert torch.allclose(found[:, :, :2], small[:, :, :2], atol=1e-2)
    centre = torch.tensor([47.5, 47.5, 1.0]), torch.tensor([95.5, 95.5, 1.0])
    assert torch.allclose(found @ centre[1] + 0.5, 2 * (small @ centre[0] + 0.5), atol=0.5)


@pytest.fixture(scope="module")
def askew(image: Tensor) -> Pair:
    """The image and itself, turned by 50 degrees."""
    return pair_of_arrays(seen_through(turned(50), image)[0, 0].numpy(), image[0, 0].numpy(), name="askew")


def test_the_general_method_starts_from_it(askew: Pair) -> None:
    transform = general_method("ncc")(askew)
    registration = Registration(pair=askew, transform=transform)
    inner = slice(24, -24), slice(24, -24)
    difference = np.abs(registration.warped - askew.fixed)[inner].mean()
    assert difference < 0.25 * np.abs(askew.moving - askew.fixed)[inner].mean()
    assert transform.inverse_flow is not None


def test_the_network_alone_is_a_method_of_its_own(askew: Pair) -> None:
    from regstudio.methods.named import named_method

    method = named_method("general_network", similarity="ncc")
    assert isinstance(method, General)
    network = general_network()
    assert network is not None
    fixed, moving = (torch.from_numpy(image)[None, None] for image in (askew.fixed, askew.moving))
    seen = look(network, fixed, moving)
    warped = Registration(pair=askew, transform=method(askew)).warped
    assert np.abs(warped - seen.warped[0, 0].numpy()).mean() < 0.02


def test_an_aligner_finds_what_our_search_does_not(askew: Pair) -> None:
    found = Aligner()(askew.fixed, askew.moving)
    assert distance(torch.from_numpy(found.matrix).float()[None], turned(50)) < 4


def test_images_of_one_value_keep_their_reason() -> None:
    found = Aligner()(np.zeros((64, 64), np.float32), np.ones((64, 64), np.float32))
    assert found.reason == "every pixel of the fixed image has the same value"


def test_without_the_network_it_is_our_search(askew: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    with_network = Aligner().version
    for place in ("regstudio.methods.alignment", module.__name__):
        monkeypatch.setattr(f"{place}.general_path", lambda: module.Path("nowhere.pt"))
    assert Aligner().version != with_network
    np.testing.assert_array_equal(
        Aligner()(askew.fixed, askew.moving).matrix, register_affine(askew.fixed, askew.moving).matrix
    )


def test_another_way_of_aligning_has_another_key() -> None:
    assert Aligner(wide=True).version != Aligner().version


def test_a_batch_has_the_maps_of_each_pair_alone(image: Tensor, tmp_path: Path) -> None:
    """Here of three that are plainly alike, one that is turned, and one that cannot be read."""
    shown = {
        "near": seen_through(turned(5), image)[0, 0],
        "askew": seen_through(turned(40), image)[0, 0],
        "far": seen_through(turned(-8, 1.1), image)[0, 0],
        "same": image[0, 0],
    }
    fixed, arrays = image[0, 0].numpy(), {name: picture.numpy() for name, picture in shown.items()}
    aligner = Aligner()
    alone = {name: aligner(fixed, array).matrix for name, array in arrays.items()}
    together = aligner.batch([(fixed, array) for array in arrays.values()])
    for expected, found in zip(alone.values(), together, strict=True):
        np.testing.assert_allclose(found.matrix, expected, atol=1e-3)

    def load(name: str) -> Any:
        if name == "broken":
            raise DataError("it is broken")
        return arrays[name]

    names = ["near", "broken", "far", "same", "askew"]
    for _ in range(2):  # then they come from the cache
        results = dict(affine_matrices(fixed, names, load, cache=tmp_path, workers=2))
        assert list(results) == names
        for name, found in results.items():
            if isinstance(found, DataError):
                assert name == "broken"
            else:
                np.testing.assert_allclose(found.matrix, alone[name], atol=1e-3)
        assert len(list(tmp_path.iterdir())) == len(arrays)


def test_images_of_one_value_keep_their_reason_in_a_batch(image: Tensor) -> None:
    fixed = image[0, 0].numpy()
    even, same = Aligner().batch([(fixed, np.ones_like(fixed)), (fixed, fixed)])
    assert even.reason == "every pixel of the moving image has the same value"
    assert same.reason is None


def test_a_pair_that_is_not_plainly_alike_is_registered_both_ways(network: RegistrationNetwork, image: Tensor) -> None:
    """Its field is then the negative of that of the pair the other way round."""
    other, identity = synthesise(12, 2, (SIDE, SIDE)).fixed, torch.eye(2, 3)[None]
    assert not look(network, image, other, identity).alike
    there, back = (look(network, *pair, identity).velocity for pair in ((image, other), (other, image)))
    assert torch.allclose(there, -back, atol=1e-4)
    near = seen_through(turned(5), image)
    assert look(network, image, near, identity).alike
    there, back = (look(network, *pair, identity).velocity for pair in ((image, near), (near, image)))
    assert not torch.allclose(there, -back, atol=0.05)
