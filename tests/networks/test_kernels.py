"""The CPU's own kernels against the plain layers in double precision, which no kernel computes."""

import os
from collections.abc import Callable, Iterator
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn import functional as F

from regstudio.networks import ops
from regstudio.networks.blocks import RCAB, MultiWindow
from regstudio.networks.build import build_network
from regstudio.networks.kernels import library, normalisation

BUILT_FOR = library.built_for.__wrapped__  # not what the tests put in its place, and not what it said before


@pytest.fixture(params=["avx512", "avx2"], autouse=True)
def instructions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    own = BUILT_FOR()
    if own is None and os.environ.get("CI"):
        pytest.fail("CI must build the kernels.")
    if own is None or request.param == "avx512" != own:
        pytest.skip(f"There was no g++, or this processor has no {request.param}.")
    monkeypatch.setattr(library, "built_for", lambda: request.param)


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def outcome(module: nn.Module, compute: Callable[[Tensor], Tensor], x: Tensor) -> dict[str, Tensor]:
    """The result of a computation, and the gradients of the input and all parameters."""
    module.zero_grad()
    x = x.clone().requires_grad_()
    result = compute(x)
    along = torch.randn(result.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (result * along.to(result.dtype)).sum().backward()
    gradients = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    return {"result": result.detach(), "x": x.grad, **gradients}  # type: ignore[dict-item]


def assert_like_in_double_precision(module: nn.Module, compute: Callable[[Tensor], Tensor], x: Tensor) -> None:
    assert library.fit(x)
    assert not library.fit(x.double())
    found = outcome(module, compute, x)
    wanted = outcome(module.double(), compute, x.double())
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        error = (found[name].double() - tensor).norm() / tensor.norm()
        assert error < 1e-5, f"{name}: {error}"


@pytest.mark.parametrize(
    ("channels", "shape"), [(16, (2, 33, 40)), (32, (1, 17, 20)), (48, (3, 8, 9)), (128, (1, 4, 6))]
)
def test_a_multi_window_layer_and_its_gradients(threads: int, channels: int, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    layer = MultiWindow(channels)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=channels**-0.5)
    assert_like_in_double_precision(layer, layer, torch.randn(*shape, channels))


@pytest.mark.parametrize(
    ("channels", "shape", "batch"), [(8, (5, 7), 2), (16, (1, 9), 1), (24, (6, 1), 3), (64, (4, 4), 1)]
)
def test_joined_maps_and_their_gradients(threads: int, channels: int, shape: tuple[int, int], batch: int) -> None:
    torch.manual_seed(0)
    x1, x2 = torch.randn(1, channels, *shape), torch.randn(batch, channels, *shape)
    found, wanted = (joined_and_gradients(x1.to(dtype), x2.to(dtype)) for dtype in (torch.float32, torch.float64))
    for tensor, exact in zip(found, wanted, strict=True):
        assert (tensor - exact).norm() < 1e-5 * exact.norm()


def joined_and_gradients(x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x1, x2 = x1.requires_grad_(), x2.requires_grad_()
    joined = ops.join(x1.expand_as(x2), x2)
    along = torch.randn(joined.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return joined, *torch.autograd.grad(joined, (x1, x2), along.to(x1.dtype))


@pytest.mark.parametrize(("channels", "shape"), [(8, (2, 20, 30)), (24, (1, 3, 5)), (64, (3, 16, 17))])
def test_a_leaky_instance_norm_and_its_gradients(threads: int, channels: int, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    x = 3 + 2 * torch.randn(*shape, channels)
    assert_like_in_double_precision(nn.Identity(), lambda x: ops.leaky_instance_norm(ops.channels_first(x), 0.2), x)


@pytest.mark.parametrize(("channels", "shape"), [(8, (2, 20, 30)), (48, (1, 3, 5))])
def test_a_residual_channel_attention_block_and_its_gradients(
    threads: int, channels: int, shape: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    block = RCAB(channels)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    assert_like_in_double_precision(block, block, torch.randn(*shape, channels))


@pytest.mark.parametrize("affine", [True, False])
def test_a_layer_norm_and_its_gradients(threads: int, affine: bool) -> None:
    torch.manual_seed(0)
    norm = nn.LayerNorm(32)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = 3 + torch.randn(2, 13, 11, 32)
    assert_like_in_double_precision(norm, lambda x: ops.layer_norm(x, norm, affine=affine), x)


@pytest.mark.parametrize(("inside", "outside"), [(8, 8), (16, 16), (41, 16), (16, 2), (48, 35)])
@pytest.mark.parametrize("shape", [(5, 9, 12), (1, 70, 150), (103, 1, 5), (128, 4, 1), (129, 2, 2)])
def test_a_convolution_and_its_gradients(threads: int, inside: int, outside: int, shape: tuple[int, int, int]) -> None:
    """Of enough pixels for the kernel to be taken."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(inside, outside, 3, padding=1)
    batch, height, width = shape
    x = torch.randn(batch, height, width, inside)
    assert_like_in_double_precision(convolution, lambda x: ops.convolve(x, convolution), x)


@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 9, 40), (3, 50, 17), (1, 70, 64)])
def test_an_integrated_velocity_field_and_its_gradient(threads: int, shape: tuple[int, int, int]) -> None:
    batch, height, width = shape
    velocity = 6 * smooth(batch, 2, height, width)  # its flow folds nowhere, and leads over the border
    for steps in (1, 5, 7):
        assert_like_in_double_precision(nn.Identity(), lambda v, steps=steps: ops.integrate(v, steps), velocity)
        assert torch.equal(ops.integrate(velocity, steps), ops.integrate(velocity.clone().requires_grad_(), steps))


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize(("image", "flow"), [((1, 1), (5, 9)), ((20, 33), (20, 33)), ((40, 7), (70, 65))])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_warped_image_and_its_gradient(
    threads: int, padding: Literal["zeros", "border"], image: tuple[int, int], flow: tuple[int, int], channels: int
) -> None:
    torch.manual_seed(0)
    moving = torch.rand(2, channels, *image)
    displacements = 8 * torch.randn(2, 2, *flow)  # within the image, at its edge, and far beyond
    displacements[0, 0, 0, 0], displacements[1, 1, 2, 3] = 1e30, -1e30
    result = outcome(nn.Identity(), lambda d: ops.warp(moving, d, "bilinear", padding), displacements)
    expected = outcome(nn.Identity(), lambda d: directly_warped(moving.double(), d, padding), displacements.double())
    for name, tensor in expected.items():
        assert (result[name] - tensor).norm() <= 1e-5 * tensor.norm(), name


def directly_warped(image: Tensor, flow: Tensor, padding: str) -> Tensor:
    """By the definition: what each pixel gets from the four around its place, one after the other."""
    height, width = image.shape[2:]
    rows, columns = torch.meshgrid(*(torch.arange(side) for side in flow.shape[2:]), indexing="ij")
    y, x = rows + flow[:, 0], columns + flow[:, 1]
    if padding == "border":
        y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    total = torch.zeros(*image.shape[:2], *flow.shape[2:], dtype=image.dtype)
    for row in range(height):
        for column in range(width):
            weight = (1 - (y - row).abs()).clamp(min=0) * (1 - (x - column).abs()).clamp(min=0)
            total = total + image[:, :, row, column][:, :, None, None] * weight[:, None]
    return total


@pytest.mark.parametrize(("shape", "win"), [((2, 40, 33), 9), ((1, 3, 70), 5), ((3, 65, 16), 3), ((1, 6, 6), 13)])
@pytest.mark.parametrize("shared", [False, True])
def test_a_local_correlation_and_its_gradient(
    threads: int, shape: tuple[int, int, int], win: int, shared: bool
) -> None:
    torch.manual_seed(0)
    fixed, warped = torch.rand(2, shape[0], 1, *shape[1:])
    fixed, warped[:, :, :2] = fixed[:1] if shared else fixed, 0.7  # flat in part
    assert_like_in_double_precision(
        nn.Identity(), lambda image: ops.mean_local_ncc(fixed.to(image.dtype), image, win), warped
    )


def smooth(*shape: int) -> Tensor:
    torch.manual_seed(0)
    return F.interpolate(torch.randn(*shape[:2], 3, 3), shape[2:], mode="bicubic", align_corners=True)


def test_what_is_far_from_zero_passes_or_vanishes() -> None:
    layer = MultiWindow(16)
    with torch.no_grad():
        for branch in layer.branches:
            branch.expand.weight.mul_(1e4)  # type: ignore[union-attr, operator]
        x = torch.randn(1, 15, 15, 16)
        found, wanted = layer(x), layer.double()(x.double())
    assert (found - wanted).norm() < 1e-5 * wanted.norm()


def test_what_is_not_a_number_stays_so() -> None:
    layer, x = MultiWindow(16), torch.randn(1, 15, 15, 16)
    x[0, 7, 7, 3] = torch.nan
    assert layer(x).isnan().any()


def test_the_network_computes_the_same_with_and_without() -> None:
    torch.manual_seed(0)
    network = build_network()
    for head in network.heads:  # type: ignore[union-attr]
        nn.init.normal_(head.weight, std=0.01)
    fixed, moving = torch.rand(2, 1, 1, 56, 64)
    with torch.no_grad():
        found = network.compute_field(fixed, moving)
        with ops.suspended():
            without = network.compute_field(fixed, moving)
        wanted = network.double().compute_field(fixed.double(), moving.double())
    assert not torch.equal(found, without)
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_gradient_checkpointing_gives_the_same_digits() -> None:
    torch.manual_seed(0)
    network = build_network()
    fixed, moving = torch.rand(2, 1, 1, 40, 48)
    gradients = []
    for network.gradient_checkpointing in (False, True):  # type: ignore[assignment]
        flow = network(fixed, moving)[1]
        gradients.append(torch.autograd.grad(flow.square().sum(), list(network.parameters())))
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_the_same_number_of_threads_gives_the_same_digits(threads: int) -> None:
    torch.manual_seed(0)
    layer, x = MultiWindow(16), torch.randn(2, 30, 31, 16)
    first, second = (outcome(layer, layer, x) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


OPERATORS: dict[str, Callable[[], tuple[object, ...]]] = {
    "layer_norm": lambda: (leaf(2, 3, 4, 16), leaf(16), leaf(16), 1e-5),
    "leaky_instance_norm": lambda: (leaf(2, 3, 4, 8), 0.2, 1e-5),
    "gated_windows": lambda: (leaf(2, 3, 4, 16), [3], 1e-5, leaf(4 * 16 + 2 * 16 * 16 + 2 * 16 + 9 * 9 + 9)),
    "combine": lambda: (leaf(2, 3, 4, 16), leaf(2, 3, 4, 16), leaf(3, 2, 3, 4, 16), leaf(2, 4, 16, 16), leaf(2, 16)),
    "join": lambda: (leaf(2, 3, 4, 8), leaf(2, 3, 4, 8)),
    "integrate": lambda: (leaf(2, 2, 5, 4), 3, True),
    "warp": lambda: (torch.rand(2, 1, 5, 4), leaf(2, 2, 3, 6), True),
    "local_ncc": lambda: (torch.rand(1, 1, 9, 8), leaf(2, 1, 9, 8), 5, 1e-5, True),
    "convolution": lambda: (leaf(2, 3, 4, 8), leaf(5, 8, 3, 3), leaf(5)),
}


def leaf(*shape: int) -> Tensor:
    return torch.randn(*shape).requires_grad_()


@pytest.mark.parametrize("name", OPERATORS)
def test_torch_knows_shapes_and_gradients(name: str) -> None:
    """By torch's own checks: the schema, aliases, how autograd is registered, and the shapes of all results."""
    checks = "test_schema", "test_autograd_registration", "test_faketensor"
    operator = getattr(torch.ops.regstudio, name).default
    checked = torch.library.opcheck(operator, OPERATORS[name](), test_utils=checks)
    assert set(checked.values()) == {"SUCCESS"}


@pytest.mark.parametrize("name", OPERATORS)
def test_a_second_derivative_is_refused(name: str) -> None:
    arguments = OPERATORS[name]()
    result = getattr(torch.ops.regstudio, name)(*arguments)
    first = result[0] if isinstance(result, tuple) else result
    leaves = [a for a in arguments if isinstance(a, Tensor) and a.requires_grad]
    gradients = torch.autograd.grad(first.square().sum(), leaves, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.stack([gradient.sum() for gradient in gradients]).sum().backward()


@pytest.mark.parametrize("name", OPERATORS)
def test_autocast_brings_inputs_to_float32(name: str) -> None:
    arguments = [a.detach().bfloat16() if isinstance(a, Tensor) else a for a in OPERATORS[name]()]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        result = getattr(torch.ops.regstudio, name)(*arguments)
    results = result if isinstance(result, tuple) else (result,)
    assert all(tensor.dtype == torch.float32 for tensor in results)


@pytest.mark.parametrize("x", [torch.zeros(2, 16).t(), torch.zeros(16, dtype=torch.float64)])
def test_what_a_kernel_cannot_read_is_refused(x: Tensor) -> None:
    with pytest.raises(ValueError, match="contiguous float32"):
        library.call("layer_norm", 1, 16, x, None, None, 1e-5, torch.zeros(16))


def test_memory_that_is_not_there_is_an_error() -> None:
    x = torch.zeros(1, 1, 1, 16)
    maps = library.table([library.address(x)])
    with pytest.raises(torch.OutOfMemoryError, match="combine_backward: can't allocate memory"):
        library.call("combine_backward", 2**48, 1, 16, 1, maps, x, x, maps, x, x)


@torch.no_grad()
def test_a_kernel_called_at_once_gives_the_same_and_is_not_called_for_shapes_alone() -> None:
    x, norm = torch.rand(2, 5, 6, 16), torch.nn.LayerNorm(16)
    direct = normalisation.layer_norm(x, norm.weight, norm.bias, 1e-5)
    with torch.enable_grad():
        assert torch.equal(normalisation.layer_norm(x, norm.weight, norm.bias, 1e-5), direct)
    with FakeTensorMode() as mode:
        fake = normalisation.layer_norm(mode.from_tensor(x), None, None, 1e-5)
    assert isinstance(fake, FakeTensor)
    assert fake.shape == x.shape
