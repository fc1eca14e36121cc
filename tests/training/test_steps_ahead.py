"""Steps that are begun before the numbers of those before are known, as on a GPU, and their replay there."""

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from regstudio.config import TrainConfig, build_config
from regstudio.methods.optimiser import optimise
from regstudio.networks import ops
from regstudio.networks.checkpoint import load_checkpoint
from regstudio.networks.replay import FIRST_CALLS
from regstudio.runs.events import CheckpointSaved, RunFinished, StepDone
from regstudio.training.setup import build, build_learner
from regstudio.training.step import Begun, Learner, NotFiniteError
from regstudio.training.trainer import train
from tests.training.whole_training import index_of, run_of, steps

Configs = Callable[..., TrainConfig]
SIZE = 64
STEPS = 12
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
EVERYTHING: dict[str, Any] = {
    "transform": "svf",
    "augment_affine": 1.0,
    "augment_smooth": 1.0,
    "augment_intensity": 1.0,
    "both_directions": True,
    "start_scale": 2,
    "coarse_share": 0.5,
    "dice_weight": 0.5,
    "landmark_weight": 0.1,
    "fold_weight": 0.1,
    "ncc_scales": 2,
    "mind_weight": 0.1,
    "mi_weight": 0.1,
}


def learner_on(device: str = "cpu", *, ahead: int | None = None, **settings: Any) -> Learner:
    values = {"encoder_channels": 8, "decoder_channels": 16, "ema": 0.9, "lr": 1e-3, "epochs": 1}
    config = build_config({**values, "lr_schedule": "cosine", **settings})
    return build_learner(
        config, steps_per_epoch=STEPS, device=torch.device(device), label_ids=(1, 2), steps_ahead=ahead
    )


def batch(number: int, device: str = "cpu", *, masks: bool = False) -> dict[str, Tensor]:
    """Two smooth images and one fixed one, with labels, affine maps and landmarks, and with masks if asked."""
    random = torch.Generator().manual_seed(number)
    coarse = torch.rand(3, 1, SIZE // 8, SIZE // 8, generator=random)
    images = torch.nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bicubic", align_corners=True).clamp(0, 1)
    labels = (images > 0.6).long() + 2 * (images < 0.4).long()
    points = SIZE * (0.2 + 0.6 * torch.rand(2, 2, 5, 2, generator=random))
    made = {
        "fixed_image": images[:1],
        "moving_image": images[1:],
        "fixed_label": labels[:1],
        "moving_label": labels[1:],
        "affine": torch.tensor([[[1.02, 0.01, -1.0], [-0.02, 0.97, 1.0]]]).expand(2, 2, 3),
        "fixed_points": points[0],
        "moving_points": points[1],
    }
    if masks:
        made |= {"fixed_mask": (images[:1] > 0.2).float(), "moving_mask": (images[1:] > 0.2).float()}
    return {name: tensor.to(device) for name, tensor in made.items()}


def ahead(learner: Learner, batches: list[dict[str, Tensor]]) -> list[dict[str, float]]:
    """Take the steps as a training does, as many ahead as the learner allows."""
    begun: deque[Begun] = deque()
    losses = []
    for number, inputs in enumerate(batches):
        begun.append(learner.begin(inputs, number))
        if len(begun) > learner.ahead:
            losses.append(learner.finish(begun.popleft()))
    return losses + [learner.finish(step) for step in begun]


def weights_of(learner: Learner) -> list[Tensor]:
    networks = (learner.model, learner.averaged)
    return [tensor.detach().cpu().clone() for network in networks for tensor in network.state_dict().values()]


def test_steps_ahead_give_what_steps_one_by_one_give() -> None:
    batches = [batch(number) for number in range(5)]
    one_by_one, several = learner_on(network="voxelmorph"), learner_on(network="voxelmorph", ahead=3)
    wanted = [one_by_one.step(inputs, number) for number, inputs in enumerate(batches)]
    for got, expected in zip(ahead(several, batches), wanted, strict=True):
        assert got == pytest.approx(expected, rel=1e-5)
    got, expected = (torch.cat([tensor.flatten() for tensor in weights_of(one)]) for one in (several, one_by_one))
    # Adam turns the rounding of a gradient that is zero into a step; there are few such weights.
    assert (got - expected).abs().mean() < 1e-6


def _stops_at_a_bad_step(device: str, learner: Learner) -> None:
    batches = [batch(number, device) for number in range(STEPS)]
    bad = FIRST_CALLS + 4
    batches[bad]["moving_image"][0, 0, 5, 5] = torch.nan
    begun = [learner.begin(inputs, number) for number, inputs in enumerate(batches[:bad])]
    for step in begun:
        learner.finish(step)
    before = weights_of(learner)
    begun = [learner.begin(inputs, number) for number, inputs in enumerate(batches[bad:], bad)]
    with pytest.raises(NotFiniteError) as caught:
        learner.finish(begun[0])
    assert torch.isnan(caught.value.images["moving_image"]).any()
    for got, expected in zip(weights_of(learner), before, strict=True):
        assert torch.equal(got, expected)
    losses = learner.step(batch(99, device), STEPS - 1)  # it can go on
    assert losses["loss"] == pytest.approx(losses["loss"])
    assert any(not torch.equal(got, old) for got, old in zip(weights_of(learner), before, strict=True))


def test_steps_begun_after_one_that_is_not_finite_change_nothing() -> None:
    _stops_at_a_bad_step("cpu", learner_on(network="voxelmorph", ahead=STEPS))


def test_a_training_that_steps_ahead_can_be_stopped_saved_and_resumed(
    quick_config: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was begun is finished first; the whole is that of a training that was left alone."""
    monkeypatch.setattr("regstudio.training.setup.build_learner", partial(build_learner, steps_ahead=2))
    config = quick_config(run_name="straight", epochs=3)
    straight = list(train(config, index_of(config)))
    config, stop, save = quick_config(run_name="interrupted", epochs=3), threading.Event(), threading.Event()
    events = []
    for event in train(config, index_of(config), stop=stop, save=save):
        events.append(event)
        if isinstance(event, StepDone) and (event.epoch, event.step) == (1, 1):
            save.set()
        if isinstance(event, CheckpointSaved) and event.epoch == 0:
            assert event.step == steps(events)[-1][1]
            assert not save.is_set()
            stop.set()
    assert [event.reason for event in events if isinstance(event, RunFinished)] == ["stopped"]
    run = run_of(events)
    list(train(run.config(), index_of(config), run=run))
    assert steps(run.events()) == steps(straight)
    wanted, got = (load_checkpoint(one.last_path).weights for one in (run_of(straight), run))
    assert all(torch.equal(wanted[name], got[name]) for name in wanted)


@pytest.mark.gpu
@on_gpu
def test_images_that_were_read_stay_on_the_gpu(quick_config: Configs) -> None:
    config = quick_config(device="cuda", dice_weight=1.0)
    parts, on_cpu = build(config, index_of(config)), build(build_config({"device": "cpu"}, config), index_of(config))
    for number in range(2):
        for got, wanted in zip(parts.loader.epoch(number), on_cpu.loader.epoch(number), strict=True):
            assert got["moving_image"].is_cuda
            assert got.keys() == wanted.keys()
            assert all(torch.equal(got[name].cpu(), tensor) for name, tensor in wanted.items())


@pytest.mark.gpu
@on_gpu
def test_on_a_gpu_steps_begun_after_one_that_is_not_finite_change_nothing() -> None:
    _stops_at_a_bad_step("cuda", learner_on("cuda", ahead=STEPS))


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize(
    "settings", [{}, EVERYTHING, {"network_side": 32, "transform": "svf"}, {"gradient_checkpointing": True}]
)
def test_a_gpu_learns_as_the_cpu_does(settings: dict[str, Any], masks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same losses at first; later ones drift apart, as Adam makes large steps of gradients that are rounding."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    batches = [batch(number, masks=masks) for number in range(STEPS)]
    on_cpu, on_cuda = (learner_on(device, lr=1e-4, **settings) for device in ("cpu", "cuda"))
    wanted = ahead(on_cpu, batches)
    got = ahead(on_cuda, [{name: tensor.cuda() for name, tensor in inputs.items()} for inputs in batches])
    assert not on_cuda.replayed.refused
    assert on_cuda.replayed.replays
    for number, (mine, theirs) in enumerate(zip(got, wanted, strict=True)):
        assert mine == pytest.approx(theirs, rel=5e-2 if number > 1 else 1e-3, abs=1e-3), number


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("settings", [{}, EVERYTHING, {"precision": "bfloat16"}])
def test_a_replay_changes_the_weights_as_the_step_itself(settings: dict[str, Any]) -> None:
    """From the same state, step by step: the same losses and gradients."""
    replaying, plain = learner_on("cuda", **settings), learner_on("cuda", **settings)
    for number in range(STEPS):
        plain.replayed.forget()
        inputs = batch(number, "cuda")
        mine, theirs = replaying.step(inputs, number), plain.step(inputs, number)
        assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-4)
        for one, other in zip(replaying.model.parameters(), plain.model.parameters(), strict=True):
            assert one.grad is not None
            assert other.grad is not None
            difference = (one.grad - other.grad).norm()
            assert difference <= 0.03 * other.grad.norm() + 1e-5
            # Adam turns the rounding of a gradient that is zero into a step.
            assert (one - other).abs().mean() < 0.3 * plain.schedule.lr
        plain.averaged.load_state_dict(replaying.averaged.state_dict())
        plain.load_state_dict(replaying.state_dict())
    assert replaying.replayed.replays


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize(("precision", "within"), [("float32", 5e-3), ("bfloat16", 5e-2)])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_compiled_kernels_learn_as_torchs_operators_do(
    precision: str, within: float, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops, "_compiled_for_gpu", True)
    settings = {"precision": precision, "gradient_checkpointing": checkpointing, "both_directions": True}
    compiled, plain = learner_on("cuda", **settings), learner_on("cuda", **settings)
    for number in range(STEPS):
        inputs = batch(number, "cuda")
        mine = compiled.step(inputs, number)
        with ops.suspended():
            plain.replayed.forget()
            theirs = plain.step(inputs, number)
        assert mine == pytest.approx(theirs, rel=within, abs=1e-3)
        for one, other in zip(compiled.model.parameters(), plain.model.parameters(), strict=True):
            assert one.grad is not None
            assert other.grad is not None
            largest = max(float(p.grad.norm()) for p in plain.model.parameters() if p.grad is not None)
            assert (one.grad - other.grad).norm() <= 4 * within * other.grad.norm() + 1e-3 * largest
        plain.averaged.load_state_dict(compiled.averaged.state_dict())
        plain.load_state_dict(compiled.state_dict())
    assert compiled.replayed.replays


@pytest.mark.gpu
@on_gpu
def test_a_replayed_registration_is_that_of_the_network() -> None:
    model = learner_on("cuda", network_side=32, transform="svf", passes=1).model.eval()
    for number in range(FIRST_CALLS + 3):
        inputs = batch(number, "cuda")
        pair = inputs["fixed_image"], inputs["moving_image"], inputs["affine"].contiguous()
        got = model.register(*pair)
        with torch.no_grad():
            wanted = model.predict(*pair)
        for mine, theirs in zip(got, wanted, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.gpu
@on_gpu
def test_the_optimiser_finds_on_a_gpu_what_it_finds_on_the_cpu() -> None:
    for number in range(FIRST_CALLS + 3):
        inputs = {name: tensor[:1] for name, tensor in batch(number).items()}
        images = inputs["fixed_image"], inputs["moving_image"]
        on_cpu = optimise(*images, affine=inputs["affine"])
        on_cuda = optimise(*(image.cuda() for image in images), affine=inputs["affine"].cuda())
        torch.testing.assert_close(on_cuda.energy.cpu(), on_cpu.energy, rtol=2e-2, atol=2e-2)
        assert (on_cuda.flow.cpu() - on_cpu.flow).abs().mean() < 0.2
