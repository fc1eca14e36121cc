"""What every registration network has in common: the transform that it predicts, and how images are warped with it."""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regstudio.networks.passes import MIN_SIDE as MIN_SIDE
from regstudio.networks.passes import fields_at
from regstudio.networks.replay import replayed_with
from regstudio.networks.warp import SpatialTransformer, affine_after, integrate, inverse_affine_after

Transform = Literal["displacement", "svf"]
Precision = Literal["float32", "bfloat16"]


class Prediction(NamedTuple):
    """What a network makes of a pair; flows in pixels on the fixed grid, (B, 2, H, W).

    `field` is the network's own output: the flow, or with the transform "svf" the velocity field that is integrated to
    it. `deformation` is the flow without, `flow` with the affine map that comes before; `warped` (B, 1, H, W) is the
    moving image, resampled once with `flow`.
    """

    field: Tensor
    deformation: Tensor
    flow: Tensor
    warped: Tensor


class RegistrationNetwork(nn.Module):
    """A network that warps `moving` onto `fixed`; subclasses say in `compute_field` how.

    `transform` is "displacement", where the network predicts the flow, or "svf", where it predicts a stationary
    velocity field: the flow then has an inverse and practically no folds. Raises ValueError for another.

    `network_side` is the shorter side in pixels of what the network is shown: it sees every image smaller or larger
    than it is, and its field is taken to the size of the whole. None shows images as they are. `passes`, with an "svf"
    and a `network_side`, is how often it looks, at half the size each time before (see regstudio.networks.passes).
    """

    # Images are padded to a multiple of this, for the network alone.
    multiple = 1
    # Of what the network computes; its field, the warping and the losses are always as precise as the images.
    precision: Precision = "float32"
    network_side: int | None = None
    passes = 1

    def __init__(self, transform: Transform = "displacement") -> None:
        super().__init__()
        if transform not in get_args(Transform):
            raise ValueError(f"transform is {transform!r}; it must be 'displacement' or 'svf'")
        self.transform = transform
        self.warp = SpatialTransformer("bilinear")

    def forward(self, fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor]:
        """Return the warped moving image (B, 1, H, W) and the flow (B, 2, H, W), in pixels on the fixed grid.

        `moving` is (B, 1, H, W), any H and W of at least 32; `fixed` has the same shape, or batch size 1 and is then
        encoded once for the whole batch. Raises ValueError for any other shapes.
        """
        prediction = self.predict(fixed, moving)
        return prediction.warped, prediction.flow

    def predict(self, fixed: Tensor, moving: Tensor, affine: Tensor | None = None) -> Prediction:
        """Return all that the network makes of a pair.

        `affine` (B, 2, 3) maps a pixel (y, x, 1) of the fixed grid to the moving image: the network then sees the
        moving image through it, and its flow comes first in `Prediction.flow`.
        """
        *_, field = self.fields(fixed, moving, affine)
        return self.follow(field, moving, affine)

    @torch.no_grad()
    def register(self, fixed: Tensor, moving: Tensor, affine: Tensor | None = None) -> Prediction:
        """Return what `predict` does, without gradients; a GPU replays it (see regstudio.networks.replay)."""
        given = {"fixed": fixed, "moving": moving, "affine": affine}
        return replayed_with(self, _predict).copied((self.precision, self.network_side, self.passes), given)

    def fields(self, fixed: Tensor, moving: Tensor, affine: Tensor | None = None) -> Iterator[Tensor]:
        """Yield the network's output after each of its passes, (B, 2, H, W); the last is what counts."""
        check_shapes(fixed, moving)
        seen = moving
        if affine is not None:
            seen = self.warp(moving, affine_after(affine, moving.new_zeros(len(moving), 2, *moving.shape[2:])))
        yield from fields_at(self, fixed, seen, self.network_side, self.passes)

    def follow(self, field: Tensor, moving: Tensor, affine: Tensor | None = None) -> Prediction:
        """Return where `field` (B, 2, H, W), the network's own or a better one, leads `moving`."""
        deformation = integrate(field) if self.transform == "svf" else field
        flow = deformation if affine is None else affine_after(affine, deformation)
        return Prediction(field=field, deformation=deformation, flow=flow, warped=self.warp(moving, flow))

    def inverse(self, field: Tensor, affine: Tensor | None = None) -> Tensor | None:
        """Return the inverse flow of `follow`, from the moving grid; None where the transform has none."""
        if self.transform != "svf":
            return None
        inverse = integrate(-field)
        return inverse if affine is None else inverse_affine_after(affine, inverse)

    def one_pass(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Return the output for a pair of any size, seen once and as it is: (B, 2, H, W)."""
        height, width = moving.shape[2:]
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        with torch.autocast(moving.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            field = self.compute_field(_pad(fixed, padding), _pad(moving, padding))
        return field[:, :, :height, :width].to(moving.dtype)

    def compute_field(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Return the output for images whose sides are multiples of `multiple`."""
        raise NotImplementedError


def _predict(network: RegistrationNetwork, _: object, inputs: Mapping[str, Tensor]) -> Prediction:
    return network.predict(inputs["fixed"], inputs["moving"], inputs.get("affine"))


def check_shapes(fixed: Tensor, moving: Tensor) -> None:
    """Raise ValueError where two images are no pair that a network takes."""
    if moving.ndim != 4 or moving.shape[1] != 1 or fixed.shape not in (moving.shape, (1, *moving.shape[1:])):
        raise ValueError(
            f"fixed is {tuple(fixed.shape)} and moving {tuple(moving.shape)}; "
            "both must be (B, 1, H, W) of one size, where fixed may have batch size 1"
        )
    if min(moving.shape[2:]) < MIN_SIDE:
        raise ValueError(f"images of {tuple(moving.shape[2:])} pixels; at least {MIN_SIDE} are needed each way")


def start_from_zero(head: nn.Module) -> None:
    """Make a convolution to a field almost zero at first, so that training starts from the identity."""
    if not isinstance(head, nn.Conv2d) or head.bias is None:
        raise TypeError(f"a head is a convolution with a bias; got {head}")
    if head.weight.is_meta:  # of a network of which only the shapes are asked; torch would import SymPy to draw numbers
        return
    nn.init.normal_(head.weight, std=1e-5)
    nn.init.zeros_(head.bias)


def _pad(image: Tensor, padding: tuple[int, int, int, int]) -> Tensor:
    """Repeat the last row and column, so that the padding adds no edge of its own."""
    return F.pad(image, padding, mode="replicate") if any(padding) else image
