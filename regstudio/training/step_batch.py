"""The pairs of one step: images with what belongs to them, and what is done to all of it alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from regstudio.losses import PointPairs, SoftLabels, one_hot, scored_labels, whole
from regstudio.losses.masked import common_mask
from regstudio.networks.warp import SpatialTransformer, at_places, inverse_2x2, inverse_places, numbers, resampled

Maps = TypeVar("Maps", Tensor, Tensor | None)

_warp = SpatialTransformer("bilinear")


@dataclass(frozen=True, kw_only=True, eq=False)
class StepBatch:
    """The network's input, images (B or 1, 1, H, W) and affine matrices (B, 2, 3), and what its losses need.

    Labels are one-hot, (B or 1, K, H, W); masks (B or 1, 1, H, W) are 1 where an image counts. Points (B, n, 2) are y
    and x in pixels, NaN where a pair has fewer; `pixel` is the height and width of a pixel in those of the whole
    working grid.
    """

    fixed: Tensor
    moving: Tensor
    affine: Tensor | None = None
    fixed_label: Tensor | None = None
    moving_label: Tensor | None = None
    fixed_mask: Tensor | None = None
    moving_mask: Tensor | None = None
    fixed_points: Tensor | None = None
    moving_points: Tensor | None = None
    pixel: tuple[float, float] = (1.0, 1.0)

    def deformed(self, flow: Tensor) -> "StepBatch":
        """Return the batch with the moving images, and all that belongs to them, warped by a flow (B, 2, H, W)."""
        points = self.moving_points
        return replace(
            self,
            moving=_warp(self.moving, flow),
            moving_label=None if self.moving_label is None else _warp(self.moving_label, flow),
            moving_mask=None if self.moving_mask is None else _warp(self.moving_mask, flow),
            moving_points=None if points is None else _visible(inverse_places(flow, points), flow),
        )

    def swapped(self) -> "StepBatch":
        """Return the batch with fixed and moving exchanged and the affine maps inverted."""
        affine = self.affine
        if affine is not None:
            linear = inverse_2x2(affine[:, :, :2])
            affine = torch.cat((linear, -linear @ affine[:, :, 2:]), dim=2)
        batch = len(self.moving)
        return replace(
            self,
            fixed=self.moving,
            moving=_expanded(self.fixed, batch),
            affine=affine,
            fixed_label=self.moving_label,
            moving_label=_expanded(self.fixed_label, batch),
            fixed_mask=self.moving_mask,
            moving_mask=_expanded(self.fixed_mask, batch),
            fixed_points=self.moving_points,
            moving_points=self.fixed_points,
        )

    def resampled(self, size: Sequence[int]) -> "StepBatch":
        """Return the batch at another size (h, w); one-hot labels become fractions of each pixel."""
        full = self.moving.shape[2:]
        if tuple(size) == tuple(full):
            return self
        height, width = (before / after for before, after in zip(full, size, strict=True))
        # The centre of pixel i of the new grid is at scale * i + (scale - 1) / 2 of the old one.
        scale = numbers([height, width], self.moving)
        centre = (scale - 1) / 2
        affine = self.affine
        if affine is not None:
            column = scale[:, None]
            shift = (affine[:, :, :2] @ centre[:, None] + affine[:, :, 2:] - centre[:, None]) / column
            affine = torch.cat((affine[:, :, :2] * scale / column, shift), dim=2)
        masks = (None if mask is None else whole(resampled(mask, size)) for mask in (self.fixed_mask, self.moving_mask))
        points = (None if some is None else (some - centre) / scale for some in (self.fixed_points, self.moving_points))
        fixed_mask, moving_mask = masks
        fixed_points, moving_points = points
        return StepBatch(
            fixed=resampled(self.fixed, size),
            moving=resampled(self.moving, size),
            affine=affine,
            fixed_label=None if self.fixed_label is None else resampled(self.fixed_label, size),
            moving_label=None if self.moving_label is None else resampled(self.moving_label, size),
            fixed_mask=fixed_mask,
            moving_mask=moving_mask,
            fixed_points=fixed_points,
            moving_points=moving_points,
            pixel=(self.pixel[0] * height, self.pixel[1] * width),
        )

    def soft_labels(self, flow: Tensor) -> SoftLabels | None:
        """Return the labels under a flow (B, 2, H, W); None where there are none."""
        if self.fixed_label is None or self.moving_label is None:
            return None
        return SoftLabels(
            fixed=self.fixed_label,
            warped=_warp(self.moving_label, flow),
            scored=scored_labels(self.fixed_label, self.moving_label),
        )

    def landmarks(self, flow: Tensor) -> PointPairs | None:
        """Return where a flow (B, 2, H, W) takes the fixed points, and where they should be; None without any."""
        if self.fixed_points is None or self.moving_points is None:
            return None
        counted = (self.fixed_points + self.moving_points).isfinite().all(dim=2)
        # A gradient through NaN is NaN, whatever it is multiplied by.
        fixed, moving = (points.nan_to_num(0.0) for points in (self.fixed_points, self.moving_points))
        pixel = numbers(self.pixel, flow)
        return PointPairs(reached=(fixed + at_places(flow, fixed)) * pixel, moving=moving * pixel, counted=counted)

    @torch.no_grad()
    def mask(self, flow: Tensor) -> Tensor | None:
        """Return where both images count under a flow, (B, 1, H, W) of 0 and 1; None where all of both does.

        It has no gradient: a flow must not gain by moving what does not match out of sight.
        """
        if self.fixed_mask is None or self.moving_mask is None:
            return None
        return common_mask(self.fixed_mask, self.moving_mask, flow)


def step_batch(batch: Mapping[str, Tensor], label_ids: Sequence[int] = ()) -> StepBatch:
    """Return a batch of the loader; `label_ids` are the labels that are compared, or none."""
    labels = {name: one_hot(batch[name], label_ids) for name in ("fixed_label", "moving_label") if label_ids}
    return StepBatch(
        fixed=batch["fixed_image"],
        moving=batch["moving_image"],
        affine=batch.get("affine"),
        fixed_label=labels.get("fixed_label"),
        moving_label=labels.get("moving_label"),
        fixed_mask=batch.get("fixed_mask"),
        moving_mask=batch.get("moving_mask"),
        fixed_points=batch.get("fixed_points"),
        moving_points=batch.get("moving_points"),
    )


def _expanded(maps: Maps, batch: int) -> Maps:
    return maps if maps is None else maps.expand(batch, -1, -1, -1)


def _visible(points: Tensor, images: Tensor) -> Tensor:
    """Return points (B, n, 2) in pixels of images (B, C, H, W), NaN where they lie outside."""
    last = numbers([side - 1 for side in images.shape[2:]], points)
    return points.where(((points >= 0) & (points <= last)).all(dim=2, keepdim=True), torch.nan)
