"""Registration from an affine map that a person made."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from regstudio.data.pairs.pair import Pair, pair_of_arrays
from regstudio.methods.affine import Matrix, affine_flow
from regstudio.methods.method import Unregistered
from regstudio.methods.named import named_method
from regstudio.methods.starting import registered_from
from regstudio.metrics import inverse_consistency
from regstudio.transforms.registration import Registration
from regstudio.transforms.resampling import warp
from regstudio.transforms.transform import Transform

MIRROR: Matrix = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 47.0]])


@pytest.fixture
def pair() -> Pair:
    """Three blobs, and the same upside down and a little to the left: a half turn, in which no two blobs lie alike."""
    y, x = np.mgrid[:48, :48]
    fixed = sum(np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 20) for cy, cx in ((14, 14), (30, 33), (34, 12)))
    turned = np.roll(fixed[::-1, ::-1], -2, axis=1)
    points = np.array([[14.0, 14.0], [30.0, 33.0]])
    pair = pair_of_arrays(fixed, turned)
    return replace(pair, fixed_points=points, moving_points=np.array([47.0, 45.0]) - points)


def half_turn(size: int = 48) -> Matrix:
    return np.array([[-1.0, 0.0, size - 1.0], [0.0, -1.0, size - 1.0]])


def test_a_method_goes_on_from_the_map_and_its_result_is_that_of_both(pair: Pair) -> None:
    seen: list[Pair] = []

    class Left:
        """Finds the two columns that are left after the half turn."""

        name, provenance = "left", {}

        def __call__(self, pair: Pair) -> Transform:
            seen.append(pair)
            flow = np.stack((np.zeros((48, 48)), np.full((48, 48), 2.0))).astype(np.float32)
            return Transform(flow=flow, inverse_flow=-flow, unrefined_flow=np.zeros_like(flow), seconds=0.0)

    found = registered_from(Left(), pair, half_turn())
    after = Registration(pair=pair, transform=found)
    assert after.metrics["tre"] < 1e-3 < 20 < after.metrics["tre_before"]
    np.testing.assert_allclose(after.warped[4:-4, 4:-4], pair.fixed[4:-4, 4:-4], atol=1e-4)
    assert found.inverse_flow is not None and inverse_consistency(found.flow, found.inverse_flow) < 1e-3
    np.testing.assert_allclose(found.unrefined_flow, affine_flow(half_turn(), (48, 48)), atol=1e-4)
    (laid,) = seen
    assert laid.laid_by_hand and laid.moving_points is not None and pair.fixed_points is not None
    np.testing.assert_allclose(laid.moving_points - pair.fixed_points, [[0, 2], [0, 2]], atol=1e-9)
    np.testing.assert_allclose(
        laid.moving, warp(pair.moving, affine_flow(half_turn(), (48, 48)), "bilinear"), atol=1e-6
    )


def test_an_image_that_is_turned_over_on_purpose_has_no_folds(pair: Pair) -> None:
    mirrored = replace(pair, moving=np.ascontiguousarray(pair.fixed[:, ::-1]))
    found = registered_from(Unregistered(), mirrored, MIRROR)
    result = Registration(pair=mirrored, transform=found)
    assert (found.mirrored, result.folds.count) == (True, 0)
    assert result.quality > 0.9
    assert Registration(pair=mirrored, transform=replace(found, mirrored=False)).folds.percent == 100
    twice = registered_from(lambda pair: registered_from(Unregistered(), pair, MIRROR), pair, MIRROR)
    assert not twice.mirrored


def test_the_general_network_looks_for_no_map_before(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.Tensor | None] = []
    from regstudio.methods import general

    def look(*images: object, **how: object) -> object:
        asked.append(images[3])  # type: ignore[arg-type]
        raise StopIteration

    monkeypatch.setattr(general, "look", look)
    method = named_method("general")
    for one in (pair, replace(pair, laid_by_hand=True)):
        with pytest.raises(StopIteration):
            method(one)
    assert asked[0] is None and asked[1] is not None
    torch.testing.assert_close(asked[1][0], torch.eye(2, 3))
