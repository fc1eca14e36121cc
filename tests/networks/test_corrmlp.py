import pytest
import torch
from torch import Tensor

from regstudio.networks import corrmlp
from regstudio.networks.corrmlp import CorrMLP
from regstudio.networks.ops import join
from tests.networks import reference


@pytest.fixture
def model() -> CorrMLP:
    """A float64 network whose flow is a few pixels and whose biases and scales are not the initial 0 and 1."""
    torch.manual_seed(0)
    network = CorrMLP().double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def images(*shape: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    fixed, moving = torch.rand(2, *shape, generator=generator, dtype=torch.float64)
    return fixed, moving


def test_parameter_count() -> None:
    assert sum(parameter.numel() for parameter in CorrMLP().parameters()) == 1_276_890


def test_first_flow_is_almost_zero() -> None:
    fixed, moving = images(1, 1, 40, 56)
    warped, flow = CorrMLP()(fixed.float(), moving.float())
    assert flow.shape == (1, 2, 40, 56)
    assert flow.abs().max() < 0.01
    assert torch.allclose(warped, moving.float(), atol=0.01)


@pytest.mark.parametrize("shape", [(2, 1, 48, 64), (1, 1, 40, 32)])
def test_equals_the_word_for_word_reference(model: CorrMLP, shape: tuple[int, ...]) -> None:
    fixed, moving = images(*shape)
    warped, flow = model(fixed, moving)
    expected_warped, expected_flow = reference.corrmlp(model, fixed, moving)
    assert expected_flow.abs().max() > 1
    torch.testing.assert_close(flow, expected_flow)
    torch.testing.assert_close(warped, expected_warped)


def test_gradients_equal_the_word_for_word_reference(model: CorrMLP) -> None:
    fixed, moving = images(2, 1, 40, 48)
    weight = torch.rand(2, 2, 40, 48, dtype=torch.float64)
    parameters = dict(model.named_parameters())
    gradients = [
        torch.autograd.grad((network(fixed, moving)[1] * weight).sum(), list(parameters.values()))
        for network in (model, lambda f, m: reference.corrmlp(model, f, m))
    ]
    for name, actual, expected in zip(parameters, *gradients, strict=True):
        torch.testing.assert_close(
            actual, expected, rtol=1e-6, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_gradient_of_the_joined_maps() -> None:
    x1, x2 = (x.requires_grad_() for x in images(2, 3, 4, 5))
    assert torch.autograd.gradcheck(join, (x1, x2))


def test_one_fixed_image_serves_the_whole_batch(model: CorrMLP) -> None:
    fixed, moving = images(3, 1, 48, 40)
    once = model(fixed[:1], moving)
    repeated = model(fixed[:1].expand(3, -1, -1, -1).clone(), moving)
    alone = [model(fixed[:1], moving[i : i + 1]) for i in range(3)]
    for i in range(2):
        torch.testing.assert_close(once[i], repeated[i])
        torch.testing.assert_close(once[i], torch.cat([pair[i] for pair in alone]))


def test_a_fixed_image_that_is_known_is_not_encoded_again(model: CorrMLP) -> None:
    fixed, moving = images(1, 1, 40, 48)
    expected = model(fixed, moving)[1].detach()
    encoded: list[Tensor] = []
    model.requires_grad_(False)
    hook = model.encoder.register_forward_pre_hook(lambda _, images: encoded.extend(images))
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(model(fixed.clone(), moving)[1], expected)
        assert len(encoded) == 3
        hook.remove()  # the reference encodes, too
        # Another image, or other weights, are not mistaken for what is known.
        other = model(moving, fixed)[1]
        torch.testing.assert_close(other, reference.corrmlp(model, moving, fixed)[1])
        next(model.encoder.parameters()).mul_(1.5)
        torch.testing.assert_close(model(moving, fixed)[1], reference.corrmlp(model, moving, fixed)[1])


def test_the_features_of_several_fixed_images_are_kept_as_long_as_these_are_small(
    model: CorrMLP, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[Tensor] = []
    model.requires_grad_(False)
    model.encoder.register_forward_pre_hook(lambda _, images: encoded.extend(images))

    def encodings(*sides: int) -> int:
        """How many images are encoded, each of two pairs of a size of its own."""
        encoded.clear()
        with torch.no_grad():
            for side in sides:
                model(*images(1, 1, side, side))
        return len(encoded)

    assert encodings(32, 40, 48, 40, 32) == 3 + 5
    monkeypatch.setattr(corrmlp, "KEPT_PIXELS", 48**2 + 40**2)
    assert encodings(48, 32, 48) == 3  # there is no more room for the third
    assert encodings(40) == 2
    assert encodings(48) == 1


@pytest.mark.slow
def test_gradient_checkpointing_changes_nothing(model: CorrMLP) -> None:
    fixed, moving = images(1, 1, 32, 40)
    results = []
    for model.gradient_checkpointing in (False, True):
        model.zero_grad()
        flow = model(fixed, moving)[1]
        flow.square().sum().backward()
        results.append([flow.detach(), *(parameter.grad.clone() for parameter in model.parameters())])
    for plain, checkpointed in zip(*results, strict=True):
        torch.testing.assert_close(plain, checkpointed)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (50, 41), (39, 64)])
def test_any_size_of_at_least_32(model: CorrMLP, size: tuple[int, int]) -> None:
    fixed, moving = images(1, 1, *size)
    warped, flow = model(fixed, moving)
    assert warped.shape == (1, 1, *size)
    assert flow.shape == (1, 2, *size)
    assert flow.isfinite().all()


def test_padding_repeats_the_edge_and_is_cropped(model: CorrMLP) -> None:
    fixed, moving = images(1, 1, 37, 45)
    padded = [torch.nn.functional.pad(image, (0, 3, 0, 3), mode="replicate") for image in (fixed, moving)]
    torch.testing.assert_close(model(fixed, moving)[1], reference.corrmlp(model, *padded)[1][:, :, :37, :45])


@pytest.mark.parametrize(
    ("fixed", "moving", "message"),
    [
        ((1, 1, 40, 40), (1, 1, 40, 48), "of one size"),
        ((2, 1, 40, 40), (3, 1, 40, 40), "batch size 1"),
        ((1, 3, 40, 40), (1, 3, 40, 40), r"\(B, 1, H, W\)"),
        ((1, 1, 24, 40), (1, 1, 24, 40), "at least 32"),
    ],
)
def test_wrong_shapes_are_named(fixed: tuple[int, ...], moving: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CorrMLP()(torch.zeros(fixed), torch.zeros(moving))
