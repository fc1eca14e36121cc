"""Synthetic pairs: the same from the same seed, what they hold, and that the true flow is true."""

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from torch import Tensor

from regstudio.metrics import one_sided_determinants
from regstudio.networks.warp import SpatialTransformer
from regstudio.training.synthesis import SyntheticPair, draw_size, pairs, synthesise
from regstudio.training.synthesis.anatomy import draw_anatomy
from regstudio.training.synthesis.motion import Motion, draw_motion
from regstudio.training.synthesis.noise import rough_noise, smooth_noise
from regstudio.training.synthesis.painting import acquire, draw_contrasts

warp = SpatialTransformer("bilinear")
CANVAS, SIDE = (160, 200), 128


def motions(monkeypatch: pytest.MonkeyPatch, first: Motion, second: Motion) -> None:
    """Let the next pair be moved so."""
    drawn = iter((first, second))
    monkeypatch.setattr(pairs, "draw_motion", lambda *args, **kwargs: next(drawn))


def shift(rows: float, columns: float, size: tuple[int, int]) -> Motion:
    flow = torch.tensor([float(rows), columns]).view(1, 2, 1, 1).repeat(1, 1, *size)
    return Motion(flow=flow, inverse=-flow)


def same(one: SyntheticPair, other: SyntheticPair) -> bool:
    return all(torch.equal(tensor, vars(other)[name]) for name, tensor in vars(one).items())


def test_a_pair_is_a_function_of_seed_and_number() -> None:
    torch.manual_seed(1)
    first = synthesise(3, 5)
    torch.manual_seed(2)
    np.random.seed(2)
    assert same(first, synthesise(3, 5))
    others = [synthesise(3, 6, (64, 64)), synthesise(4, 5, (64, 64)), synthesise(3, 5, (64, 64))]
    assert not torch.equal(others[0].fixed, others[2].fixed)
    assert not torch.equal(others[1].fixed, others[2].fixed)


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    synthesise(0, 0, (64, 64))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("number", range(8))
def test_what_a_pair_holds(number: int) -> None:
    size = (96, 120)
    pair = synthesise(0, number, size)
    for image in (pair.fixed, pair.moving):
        assert image.shape == (1, 1, *size)
        assert image.dtype == torch.float32
        assert image.min() >= 0
        assert image.max() <= 1
    labels = pair.fixed_label.shape[1]
    assert 1 <= labels <= pairs.MAX_LABELS
    for label in (pair.fixed_label, pair.moving_label):
        assert label.shape == (1, labels, *size)
        assert set(label.unique().tolist()) <= {0.0, 1.0}
        assert label.sum(dim=1).max() == 1
        assert label.sum(dim=(2, 3)).min() >= pairs.MIN_PIXELS
    assert pair.flow.shape == (1, 2, *size)
    assert pair.known.shape == (1, 1, *size)
    assert pair.known.dtype == torch.bool
    assert pair.known.float().mean() > 0.15


def test_sizes_are_as_the_constants_say() -> None:
    random = default_rng(0)
    sizes = [draw_size(random) for _ in range(500)]
    assert {min(size) for size in sizes} == set(pairs.SIDES)
    assert {side % pairs.MULTIPLE for size in sizes for side in size} == {0}
    assert max(max(size) / min(size) for size in sizes) <= pairs.MAX_ASPECT + pairs.MULTIPLE / min(pairs.SIDES)
    assert max(max(size) for size in sizes) == max(pairs.SIDES)
    assert {size[0] > size[1] for size in sizes} == {True, False}
    assert {min(draw_size(random, 96)) for _ in range(100)} == {64, 96}
    pair = synthesise(0, 0)
    assert tuple(pair.fixed.shape[2:]) == draw_size(default_rng([0, 0]))


def overlap(pair: SyntheticPair, flow: Tensor) -> Tensor:
    """Dice of each large label, where the true flow is known."""
    fixed, warped = pair.fixed_label * pair.known, warp(pair.moving_label, flow) * pair.known
    sizes = fixed.sum(dim=(2, 3))
    dice = 2 * (fixed * warped).sum(dim=(2, 3)) / (sizes + warped.sum(dim=(2, 3))).clamp(min=1)
    # A pixel's edge of a small or thin structure is a good part of it.
    edges = (fixed.diff(dim=2).abs().sum(dim=(2, 3)) + fixed.diff(dim=3).abs().sum(dim=(2, 3))).clamp(min=1)
    return dice[sizes > 8 * edges]


@pytest.mark.slow
def test_the_true_flow_lays_moving_labels_on_the_fixed_ones() -> None:
    drawn = [synthesise(1, number, (128, 128)) for number in range(40)]
    true = torch.cat([overlap(pair, pair.flow) for pair in drawn])
    before = torch.cat([overlap(pair, torch.zeros_like(pair.flow)) for pair in drawn])
    assert len(true) > 20
    assert true.min() > 0.9
    assert true.mean() > 0.95
    assert before.mean() < 0.9


@pytest.mark.slow
def test_motions_range_from_none_to_a_quarter_of_the_image() -> None:
    mean = [synthesise(2, number, (64, 64)).flow.norm(dim=1).mean().item() / 64 for number in range(60)]
    assert min(mean) < 0.005
    assert 0.03 < np.median(mean) < 0.12
    assert max(mean) > 0.15


def test_between_two_shifts_lies_their_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fixed image shows the anatomy from 3 pixels below, the moving one from 5 to the right."""
    size = (64, 96)
    canvas = (80, 120)
    motions(monkeypatch, shift(3, 0, canvas), shift(0, 5, canvas))
    pair = synthesise(0, 0, size)
    assert torch.allclose(pair.flow, torch.tensor([3.0, -5.0]).view(1, 2, 1, 1), atol=1e-4)
    assert pair.known[0, 0, :-4, 6:].all()
    assert not pair.known[0, 0, -2:].any()
    assert not pair.known[0, 0, :, :4].any()
    assert torch.equal(pair.fixed_label[:, :, :-3, 5:], pair.moving_label[:, :, 3:, :-5])


def test_what_no_motion_moves_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    none = draw_motion(default_rng(0), (80, 80), 64, smooth=0, affine=0)
    assert none.flow.abs().max() < 1e-5
    motions(monkeypatch, none, none)
    pair = synthesise(0, 1, (64, 64))
    assert pair.flow.abs().max() < 1e-4
    assert torch.equal(pair.fixed_label, pair.moving_label)
    assert not torch.equal(pair.fixed, pair.moving)


def test_an_affine_motion_is_affine() -> None:
    flow = draw_motion(default_rng(0), CANVAS, SIDE, smooth=0, affine=1).flow[0]
    for axis in (1, 2):
        slopes = flow.diff(dim=axis)
        assert slopes.std(dim=(1, 2)).max() < 1e-4
    assert flow.abs().max() > 5


@pytest.mark.parametrize("seed", range(5))
def test_the_inverse_of_a_motion_leads_back(seed: int) -> None:
    motion = draw_motion(default_rng(seed), CANVAS, SIDE, smooth=1, affine=0.5)
    back = motion.flow + warp(motion.inverse, motion.flow)
    reached = warp(torch.ones(1, 1, *CANVAS), motion.flow) > 0.999
    error = back.norm(dim=1, keepdim=True)[reached]
    assert reached.float().mean() > 0.4
    assert error.quantile(0.95) < 0.3
    assert error.mean() < 0.1


def test_smooth_motions_do_not_fold() -> None:
    drawn = [draw_motion(default_rng(seed), CANVAS, SIDE, smooth=1, affine=0) for seed in range(10)]
    folded = [(one_sided_determinants(motion.flow[0].numpy()) <= 0).mean() for motion in drawn]
    assert max(folded) < 1e-3


@pytest.mark.parametrize("noise", [smooth_noise, rough_noise])
def test_noise_has_mean_0_variance_1_and_the_wanted_length(noise: object) -> None:
    assert callable(noise)
    field = noise(default_rng(0), 40, (120, 160), 12.0)
    assert field.shape == (40, 120, 160)
    assert field.dtype == np.float32
    assert abs(field.mean()) < 0.05
    assert field.std() == pytest.approx(1, abs=0.07)
    near, far = ((field[:, gap:] * field[:, :-gap]).mean() for gap in (2, 36))
    assert near > 0.8
    assert abs(far) < 0.1


def test_anatomies_have_several_labels_numbered_without_end() -> None:
    drawn = [draw_anatomy(default_rng(seed), (100, 120)) for seed in range(40)]
    counts = [len(np.unique(labels)) for labels in drawn]
    assert all(labels.shape == (100, 120) and labels.min() >= 0 for labels in drawn)
    assert min(counts) <= 5
    assert max(counts) >= 12
    bodies = [labels for labels in drawn if (labels[0] == 0).all()]
    assert 5 < len(bodies) < 40  # bodies on a background, and pictures filled to the edge


def test_contrasts_are_the_same_inverted_or_unrelated() -> None:
    drawn = [draw_contrasts(default_rng(seed), 30) for seed in range(300)]
    alike = [np.corrcoef(a.brightness[1:], b.brightness[1:])[0, 1] for a, b in drawn]
    assert 0.15 < np.mean(np.greater(alike, 0.9999)) < 0.35
    assert 0.05 < np.mean(np.less(alike, -0.9)) < 0.2
    assert 0.2 < np.mean(np.abs(alike) < 0.4) < 0.6


def test_a_scanner_gives_grey_values_even_of_nothing() -> None:
    for seed in range(40):
        for image in (torch.zeros(1, 1, 64, 80), torch.rand(1, 1, 64, 80, generator=torch.manual_seed(seed))):
            seen = acquire(default_rng(seed), image)
            assert seen.shape == image.shape
            assert seen.isfinite().all()
            assert seen.min() >= 0
            assert seen.max() <= 1
