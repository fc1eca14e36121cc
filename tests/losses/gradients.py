"""The value of a loss, and its gradient."""

from torch import Tensor


def with_gradient(loss, fixed: Tensor, warped: Tensor) -> tuple[Tensor, Tensor]:
    leaf = warped.clone().requires_grad_()
    value = loss(fixed, leaf)
    value.backward()
    return value.detach(), leaf.grad
