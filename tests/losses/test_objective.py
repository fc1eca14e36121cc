"""The overlap term against MONAI, and the weighted sum of all terms."""

import pytest
import torch
from monai.losses import DiceLoss
from torch import Tensor

from regstudio.losses import NCC, Folding, Grad, Objective, SoftDice, SoftLabels, one_hot, scored_labels
from regstudio.losses.objective import SIMILARITIES
from tests.losses.gradients import with_gradient

LABEL = torch.tensor([[0, 0, 5, 5], [0, 2, 2, 5], [2, 2, 2, 0]])[None, None]


def test_one_hot_has_one_map_for_each_id() -> None:
    maps = one_hot(LABEL, (2, 5, 9))
    assert maps.shape == (1, 3, 3, 4)
    assert [int(count) for count in maps.sum(dim=(0, 2, 3))] == [5, 3, 0]
    torch.testing.assert_close(maps[0, 0], (LABEL[0, 0] == 2).float())


def test_soft_dice_equals_monai() -> None:
    fixed, warped = one_hot(LABEL, (2, 5)).expand(2, -1, -1, -1), torch.rand(2, 2, 3, 4)
    scored = torch.ones(2, 2, dtype=torch.bool)
    monai = DiceLoss(smooth_nr=0, smooth_dr=0)
    ours, our_gradient = with_gradient(lambda f, w: SoftDice()(f, w, scored), fixed, warped)
    theirs, their_gradient = with_gradient(lambda f, w: monai(w, f), fixed, warped)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_gradient, their_gradient)


def test_labels_absent_from_one_side_are_not_scored() -> None:
    fixed, moving = one_hot(LABEL, (2, 5, 9)), one_hot(LABEL * (LABEL == 2), (2, 5, 9))
    scored = scored_labels(fixed, moving)
    assert scored.tolist() == [[True, False, False]]
    assert SoftDice()(fixed, moving, scored).item() == 0


def test_without_scored_labels_loss_and_gradient_are_zero() -> None:
    fixed = one_hot(LABEL, (2, 5))
    nothing = torch.zeros(1, 2, dtype=torch.bool)
    value, gradient = with_gradient(lambda f, w: SoftDice()(f, w, nothing), fixed, torch.rand(1, 2, 3, 4))
    assert value == 0
    assert not gradient.any()


@pytest.fixture
def step() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    fixed, warped = torch.rand(2, 1, 16, 12).split(1)
    return fixed, warped, torch.randn(1, 2, 16, 12), torch.randn(1, 2, 16, 12)


def test_by_default_the_objective_is_ncc_plus_grad(step: tuple[Tensor, ...]) -> None:
    fixed, warped, field, flow = step
    terms = Objective()(fixed, warped, field, flow)
    assert list(terms) == ["loss", "ncc", "grad"]
    torch.testing.assert_close(terms["loss"], NCC(9)(fixed, warped) + Grad("l2")(field))


def test_every_weighted_term_counts_and_has_a_name(step: tuple[Tensor, ...]) -> None:
    maps = torch.rand(1, 2, 16, 12)
    labels = SoftLabels(fixed=maps.round(), warped=maps, scored=torch.ones(1, 2, dtype=torch.bool))
    weights = {"ncc": 2, "global_ncc": 3, "mse": 4, "mi": 5, "mind": 9, "dice": 6, "grad": 7, "fold": 8}
    terms = Objective(**{f"{name}_weight": float(weight) for name, weight in weights.items()})(*step, labels)
    named = {name.removesuffix("_loss"): term for name, term in terms.items()}
    assert named.keys() == {"loss", *weights}
    expected = sum(weight * named[name] for name, weight in weights.items())
    torch.testing.assert_close(terms["loss"], expected)
    torch.testing.assert_close(terms["fold"], Folding()(step[-1]))


def test_without_labels_there_is_no_dice_term(step: tuple[Tensor, ...]) -> None:
    assert "dice_loss" not in Objective(dice_weight=1.0)(*step)


def test_a_new_similarity_needs_no_more_than_a_name(step: tuple[Tensor, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIMILARITIES, "mean", torch.nn.L1Loss)
    objective = Objective(ncc_weight=0.0, grad_weight=0.0, mean_weight=3.0)
    assert objective.compares_images
    terms = objective(*step)
    assert terms.keys() == {"loss", "mean"}
    torch.testing.assert_close(terms["loss"], 3 * (step[0] - step[1]).abs().mean())


def test_the_weight_of_a_term_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="no term of the loss for mad_weight"):
        Objective(mad_weight=1.0)


@pytest.mark.parametrize("name", ["ncc", "global_ncc", "mse", "mi", "mind"])
def test_within_a_mask_each_similarity_is_blind_to_the_rest(step: tuple[Tensor, ...], name: str) -> None:
    fixed, warped, *rest = step
    mask = torch.ones(1, 1, 16, 12)
    objective = Objective(**{"ncc_weight": 0.0, "grad_weight": 0.0, f"{name}_weight": 1.0})
    whole = objective(fixed, warped, *rest)[name]
    if name != "ncc":  # whose windows beyond the border are smaller with a mask
        torch.testing.assert_close(objective(fixed, warped, *rest, mask=mask)[name], whole)
    mask[..., :6] = 0
    spoilt = warped.clone()
    spoilt[..., :2] = 1 - spoilt[..., :2]  # as far from the mask as descriptors reach
    values = [objective(fixed, other, *rest, mask=mask)[name] for other in (warped, spoilt)]
    torch.testing.assert_close(*values, atol=1e-3 if name == "mind" else 1e-6, rtol=0)
    assert not torch.isclose(objective(fixed, spoilt, *rest)[name], whole, atol=1e-4)
    torch.testing.assert_close(objective.similarity(fixed, warped, mask), -values[0])


def test_a_similarity_that_knows_no_masks_sees_nothing_outside(
    step: tuple[Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIMILARITIES, "mean", torch.nn.L1Loss)
    fixed, warped, *rest = step
    mask = torch.ones(1, 1, 16, 12)
    mask[..., :3] = 0
    terms = Objective(ncc_weight=0.0, grad_weight=0.0, mean_weight=1.0)(fixed, warped, *rest, mask=mask)
    torch.testing.assert_close(terms["mean"], ((fixed - warped).abs() * mask).mean())
