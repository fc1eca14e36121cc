"""A GPU's kernels beside torch's operators in float64: on a GPU or, without one, in Triton's interpreter."""

import os
from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported
pytest.importorskip("triton")

from regstudio.networks import gpu, ops
from regstudio.networks.blocks import GatedMLP

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HALF = pytest.param(
    torch.bfloat16,
    marks=pytest.mark.skipif(DEVICE == "cpu", reason="the interpreter's products in half precision are wrong"),
)
WITHIN = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
# The interpreter is not up to date with NumPy.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def assert_agree(kernel: Callable[..., Tensor], plain: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Results and gradients by all inputs: those of `plain` in float64."""
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    got, wanted = kernel(*inputs), plain(*exact)
    slope = torch.randn(wanted.shape, device=DEVICE, generator=torch.Generator(DEVICE).manual_seed(1))
    results = (got, *torch.autograd.grad(got, inputs, slope.to(got.dtype)))
    expected = (wanted, *torch.autograd.grad(wanted, exact, slope.to(got.dtype).double()))
    for result, right in zip(results, expected, strict=True):
        assert (result.double() - right).norm() <= WITHIN[got.dtype] * right.norm()


def maps(*shape: int, kind: torch.dtype = torch.float32) -> Tensor:
    return (torch.randn(shape) + 0.3).to(DEVICE, kind).requires_grad_()


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [8, 16, 128])
def test_layer_norm(channels: int, kind: torch.dtype) -> None:
    norm = nn.LayerNorm(channels).to(DEVICE).double()
    x, weight, bias = maps(3, 7, 11, channels, kind=kind), maps(channels), maps(channels)
    assert_agree(
        lambda x, weight, bias: gpu.layer_norm(x, weight, bias, ops.EPSILON),
        lambda x, weight, bias: nn.functional.layer_norm(x, norm.normalized_shape, weight, bias, ops.EPSILON),
        x,
        weight,
        bias,
    )
    assert_agree(
        lambda x: gpu.layer_norm(x, None, None, ops.EPSILON), lambda x: ops.layer_norm(x, norm, affine=False), x
    )


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [8, 64])
def test_join(channels: int, kind: torch.dtype) -> None:
    assert_agree(
        gpu.join,
        lambda x1, x2: ops.channels_last(ops.join(ops.channels_first(x1), ops.channels_first(x2))),
        maps(2, 5, 9, channels, kind=kind),
        maps(2, 5, 9, channels, kind=kind),
    )


@pytest.mark.parametrize("kind", [torch.float32, HALF])
@pytest.mark.parametrize(("channels", "shape"), [(16, (1, 8, 10)), (16, (2, 13, 17)), (32, (2, 8, 11))])
def test_gated_windows(channels: int, shape: tuple[int, ...], kind: torch.dtype) -> None:
    torch.manual_seed(0)
    branches = [GatedMLP(channels, side).to(DEVICE) for side in (3, 5, 7)]
    names = [(branch, name) for branch in branches for name, _ in branch.named_parameters() if "project" not in name]
    for branch in branches:
        for parameter in branch.parameters():
            nn.init.normal_(parameter, mean=0.2, std=0.4)
    weights = [branch.get_parameter(name) for branch, name in names]
    exact = deepcopy(branches)

    def by_kernel(x: Tensor, *_: Tensor) -> Tensor:
        layers = [branch.gate[1:] for branch in branches]
        gated, sums = gpu.gated_windows(x, [3, 5, 7], layers, ops.EPSILON)
        return torch.cat((gated.flatten(1), sums.flatten(1).to(gated.dtype)), dim=1)

    def plain(x: Tensor, *values: Tensor) -> Tensor:
        by_branch = {id(branch): dict[str, Tensor]() for branch in branches}
        for (branch, name), value in zip(names, values, strict=True):
            by_branch[id(branch)][name] = value
        results = [
            torch.func.functional_call(_Gated(copy), {f"branch.{name}": value for name, value in mine.items()}, (x,))
            for copy, mine in zip(exact, by_branch.values(), strict=True)
        ]
        gated = torch.stack(results)
        return torch.cat((gated.flatten(1), gated.sum(dim=(2, 3)).flatten(1)), dim=1)

    assert_agree(by_kernel, plain, maps(*shape, channels, kind=kind), *weights)


class _Gated(nn.Module):
    """A gated window in torch's operators, as a module of its own."""

    def __init__(self, branch: GatedMLP) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        with ops.suspended():
            return ops._gated_window(x, self.branch.gate)


@pytest.mark.parametrize("kernel", ["layer_norm", "join", "gated_windows"])
def test_a_kernel_is_tried_before_it_is_used(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ops._gpu_agrees.__wrapped__(kernel, 16, torch.float32, torch.device(DEVICE))
    right = getattr(gpu, kernel)
    wrong = {"gated_windows": lambda *given: (2 * right(*given)[0], None)}.get(kernel, lambda *given: 2 * right(*given))
    monkeypatch.setattr(gpu, kernel, wrong)
    assert not ops._gpu_agrees.__wrapped__(kernel, 16, torch.float32, torch.device(DEVICE))
    monkeypatch.setattr(gpu, kernel, lambda *given: 1 / 0)
    with pytest.warns(UserWarning, match=f"torch's operators do the work of {kernel}"):
        assert not ops._gpu_agrees.__wrapped__(kernel, 16, torch.float32, torch.device(DEVICE))
