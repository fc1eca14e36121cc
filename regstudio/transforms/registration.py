"""A registered pair: warped image and label, folds, Dice and metrics, from the pair and its transform."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.loading.working_grid import Placement, padded, resampled
from regstudio.data.pairs.pair import Pair
from regstudio.metrics import DiceScore, FoldCount, dice, ncc, njd, shared_labels, target_registration_error
from regstudio.transforms.file_field import FileField, field_between
from regstudio.transforms.quality import quality
from regstudio.transforms.resampling import warp
from regstudio.transforms.transform import Transform

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Registration:
    """A pair and its transform. All images lie on the pair's grid; labels are scored at the fixed file's resolution.

    Properties are computed on first access. Pixels from outside the moving image are 0, in the label too.
    """

    pair: Pair
    transform: Transform

    @property
    def flow(self) -> Array:
        """The flow (2, H, W) in pixels (dy, dx): warped(p) = moving(p + flow(p))."""
        return self.transform.flow

    @property
    def mirrored(self) -> bool:
        """Whether the flow is to turn the image over, as a mirror does."""
        return self.transform.mirrored

    @property
    def affine_flow(self) -> Array | None:
        """The affine part of the flow (2, H, W) in pixels, or None if the method has none."""
        return self.transform.affine_flow

    @property
    def inverse_flow(self) -> Array | None:
        """The inverse flow (2, H', W') in pixels, on the moving image's grid, or None if the method has none."""
        return self.transform.inverse_flow

    @property
    def seconds(self) -> float:
        """The method's running time, without reading, warping and scoring."""
        return self.transform.seconds

    @cached_property
    def warped(self) -> npt.NDArray[np.float32]:
        """The warped moving image (H, W), float32 in [0, 1]."""
        return self._warp_image(self.flow)

    @cached_property
    def warped_label(self) -> Array | None:
        """The warped moving label (H, W) in its own dtype, by nearest neighbour; None without a label."""
        return None if self.pair.moving_label is None else warp(self.pair.moving_label, self.flow, "nearest")

    @cached_property
    def warped_mask(self) -> Array | None:
        """Where the warped moving image counts (H, W); None where all of it does."""
        return None if self.pair.moving_mask is None else warp(self.pair.moving_mask, self.flow, "nearest")

    @cached_property
    def file_field(self) -> FileField:
        """The flow between the pair's files, in their pixels."""
        return field_between(self.flow, *self.pair.places)

    @cached_property
    def inverse_file_field(self) -> FileField | None:
        """The inverse flow between the pair's files, from the moving one; None if the method has none."""
        return None if self.inverse_flow is None else field_between(self.inverse_flow, *self.pair.places[::-1])

    @cached_property
    def fixed_label(self) -> Array | None:
        """The fixed label at its file's own resolution."""
        files = self.pair.pictures
        return self.pair.fixed_label if files is None or files.fixed_label is None else files.fixed_label.array

    def label_by(self, flow: Array | None) -> Array | None:
        """Return the moving label as a flow of the grid, or none at all, brings it to the fixed file's resolution."""
        files, ids = self.pair.pictures, self.pair.moving_label
        if all(place.is_identity for place in self.pair.places) or files is None or files.moving_label is None:
            return ids if ids is None or flow is None else warp(ids, flow, "nearest")
        flow = np.zeros_like(self.flow) if flow is None else flow
        return field_between(flow, *self.pair.places).warped(files.moving_label.array, label=True)

    @cached_property
    def colours(self) -> tuple[Array | None, Array | None, Array | None]:
        """Fixed, moving and warped image in colour, (H, W, 3) bytes on the pair's grid; None for those in grey."""
        files, (on, image) = self.pair.pictures, self.pair.places
        if files is None:
            return None, None, None
        moving = _colours(files.moving.array, image)
        warped = None
        if moving is not None:
            channels = [warp(channel, self.flow, "bilinear") for channel in np.moveaxis(moving, -1, 0)]
            warped = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
        return _colours(files.fixed.array, on), moving, warped

    @cached_property
    def scored_labels(self) -> list[int]:
        """The ids in both labels; only these are scored."""
        files = self.pair.pictures
        moving = self.pair.moving_label if files is None or files.moving_label is None else files.moving_label.array
        return [] if self.fixed_label is None or moving is None else shared_labels(self.fixed_label, moving)

    @cached_property
    def folds(self) -> FoldCount:
        """The number and percentage of pixels where the flow folds."""
        return njd(self.upright_flow)

    @property
    def upright_flow(self) -> Array:
        """The flow or, where that is to turn the image over, the same one turned back: it folds where a result does."""
        return _turned_over(self.flow) if self.mirrored else self.flow

    @cached_property
    def quality(self) -> float:
        """How far the result is to be trusted, in [0, 1], without the moving label; see `quality`."""
        return self._quality(self.warped, self.flow, self.inverse_flow)

    @cached_property
    def dice_before(self) -> DiceScore | None:
        """The Dice before registration; None if there is no label to score."""
        return self._dice(None)

    @cached_property
    def dice(self) -> DiceScore | None:
        """The Dice of the warped label; None if there is no label to score."""
        return self._dice(self.flow)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """njd (pixels), njd_percent, ncc_before, ncc and quality (in [0, 1], 1 for a perfect match), dice_before, dice.

        The Dice is the mean over the labels, with dice_before_ID and dice_ID for each; all are missing without a label
        to score. With landmarks tre_before and tre, their mean distances in the pair's unit. After a refinement also
        ncc_unrefined, quality_unrefined and dice_unrefined. Then the transform's own metrics.
        """
        return dict(self._metrics())

    def _metrics(self) -> Iterator[tuple[str, float]]:
        yield "njd", self.folds.count
        yield "njd_percent", self.folds.percent
        yield "ncc_before", self._ncc(self.pair.moving, None)
        yield "ncc", self._ncc(self.warped, self.flow)
        yield "quality", self.quality
        for name, score in (("dice_before", self.dice_before), ("dice", self.dice)):
            if score is not None:
                yield name, score.mean
                yield from ((f"{name}_{int(label)}", value) for label, value in score.per_label.items())
        yield from self._errors_at_points()
        unrefined = self.transform.unrefined_flow
        if unrefined is not None:
            warped = self._warp_image(unrefined)
            yield "ncc_unrefined", self._ncc(warped, unrefined)
            yield "quality_unrefined", self._quality(warped, unrefined, None)
            if self.scored_labels and self.pair.moving_label is not None:
                score = self._dice(unrefined)
                yield from () if score is None else (("dice_unrefined", score.mean),)
        yield from self.transform.metrics.items()

    def _quality(self, warped: Array, flow: Array, inverse: Array | None) -> float:
        fixed, label, mask = self.pair.fixed, self.pair.fixed_label, self.mask_by(flow)
        return quality(fixed, warped, flow, inverse, mask=mask, label=label, mirrored=self.mirrored)

    def _errors_at_points(self) -> Iterator[tuple[str, float]]:
        """Mean distances of the landmarks, in the pair's unit."""
        fixed, moving, scale = self.pair.fixed_points, self.pair.moving_points, self.pair.distance_scale
        if fixed is not None and moving is not None:
            yield "tre_before", float(target_registration_error(fixed, moving, None, scale).mean())
            yield "tre", float(target_registration_error(fixed, moving, self.flow, scale).mean())

    def _warp_image(self, flow: Array) -> npt.NDArray[np.float32]:
        return warp(self.pair.moving, flow, "bilinear").astype(np.float32)

    def mask_by(self, flow: Array | None) -> Array | None:
        """Return where both images count under a flow of the grid, or none at all: (H, W) of 0 and 1; None without."""
        masks = [] if self.pair.fixed_mask is None else [self.pair.fixed_mask]
        if self.pair.moving_mask is not None:
            moving = self.pair.moving_mask
            masks.append(moving if flow is None else warp(moving, flow, "nearest"))
        return np.prod(masks, axis=0, dtype=np.float32) if masks else None

    def _ncc(self, warped: Array, flow: Array | None) -> float:
        """NCC where both images count."""
        return ncc(self.pair.fixed, warped, mask=self.mask_by(flow))

    def labels_by(self, flow: Array | None) -> tuple[Array, Array] | None:
        """Return the fixed label, and the moving one as a flow brings it to the fixed file's resolution.

        Both are 0 where a mask says that an image does not count. None without a label to score.
        """
        fixed, moving, mask = self.fixed_label, self.label_by(flow), self.mask_by(flow)
        if fixed is None or moving is None or not self.scored_labels:
            return None
        if mask is None:
            return fixed, moving
        on = self.pair.places[0]
        rows, columns = (
            np.rint((np.arange(n) - start) / step).astype(int).clip(0, last - 1)
            for n, step, start, last in zip(fixed.shape, on.step, on.start, mask.shape, strict=True)
        )
        counts = mask[np.ix_(rows, columns)] > 0
        return np.where(counts, fixed, 0), np.where(counts, moving, 0)

    def _dice(self, flow: Array | None) -> DiceScore | None:
        labels = self.labels_by(flow)
        return None if labels is None else dice(*labels, self.scored_labels)


def _turned_over(flow: Array) -> Array:
    """Return the flow (2, H, W) whose map is that of `flow` seen in an upright mirror."""
    columns = np.arange(flow.shape[2])
    return np.stack((flow[0], (flow.shape[2] - 1 - 2 * columns) - flow[1]))


def _colours(array: Array, place: Placement) -> Array | None:
    """Return a picture (H', W', C) as red, green and blue (H, W, 3) bytes on the grid; None if it is grey."""
    if array.ndim != 3 or array.shape[2] < 3:
        return None
    white = np.iinfo(array.dtype).max if array.dtype.kind in "ui" else 1.0
    seen = resampled(array[..., :3], place).astype(np.float64) * (255 / white)
    return padded(np.rint(seen.clip(0, 255)).astype(np.uint8), place, 0)
