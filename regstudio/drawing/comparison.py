"""A case before and after its registration, as all pictures of it take it."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from regstudio.drawing.thumbnails import Spacing, aspect_of

Array = npt.NDArray[Any]


class DrawnPair(Protocol):
    """What is drawn of a pair; see regstudio.data.pairs.pair."""

    @property
    def id(self) -> str:
        """The name of the case."""

    @property
    def fixed(self) -> Array:
        """The fixed image (H, W)."""

    @property
    def moving(self) -> Array:
        """The moving image (H, W)."""

    @property
    def fixed_label(self) -> Array | None:
        """The fixed label (H, W)."""

    @property
    def moving_label(self) -> Array | None:
        """The moving label (H, W)."""

    @property
    def fixed_mask(self) -> Array | None:
        """Where the fixed image counts (H, W)."""

    @property
    def moving_mask(self) -> Array | None:
        """Where the moving image counts (H, W)."""

    @property
    def spacing(self) -> Spacing | None:
        """The distances of the fixed image's rows and columns."""

    @property
    def moving_spacing(self) -> Spacing | None:
        """Those of the moving image."""

    @property
    def fixed_points(self) -> Array | None:
        """The landmarks of the fixed image (n, 2), y and x in pixels."""

    @property
    def moving_points(self) -> Array | None:
        """Those of the moving image, row by row the same places."""

    @property
    def unit(self) -> str:
        """The unit of distances."""

    @property
    def distance_scale(self) -> Spacing:
        """The height and width of a pixel in that unit."""


class Mean(Protocol):
    """A score and its mean."""

    @property
    def mean(self) -> float:
        """The mean over the labels."""


class Registered(Protocol):
    """What is drawn of a registered pair; see regstudio.transforms.registration."""

    @property
    def pair(self) -> DrawnPair:
        """The images as they were."""

    @property
    def warped(self) -> Array:
        """The moving image (H, W) on the fixed grid."""

    @property
    def colours(self) -> tuple[Array | None, Array | None, Array | None]:
        """The fixed, moving and warped image in colour, (H, W, 3) bytes, where their files have colours."""

    @property
    def flow(self) -> Array:
        """The displacement (2, H, W) in pixels."""

    @property
    def mirrored(self) -> bool:
        """Whether the displacement is to turn the image over."""

    @property
    def warped_label(self) -> Array | None:
        """The moving label (H, W) on the fixed grid."""

    @property
    def warped_mask(self) -> Array | None:
        """Where the warped image counts (H, W)."""

    @property
    def dice_before(self) -> Mean | None:
        """The Dice of the labels as they were."""

    @property
    def dice(self) -> Mean | None:
        """The Dice of the warped label."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """One case before and after registration: images (H, W) in [0, 1], `flow` (2, H, W) in pixels (dy, dx).

    Labels, masks (H, W) and Dice are drawn where they are given, and images in their colours, (H, W, 3) bytes. An
    aspect is the height of a pixel over its width. Points (n, 2) are landmarks, y and x in pixels, which have the
    `distance` height and width in the `unit`.
    """

    name: str
    fixed: Array
    moving: Array
    warped: Array
    flow: Array
    fixed_label: Array | None = None
    moving_label: Array | None = None
    warped_label: Array | None = None
    dice_before: float | None = None
    dice: float | None = None
    aspect: float = 1.0
    moving_aspect: float = 1.0
    fixed_colours: Array | None = None
    moving_colours: Array | None = None
    warped_colours: Array | None = None
    fixed_points: Array | None = None
    moving_points: Array | None = None
    unit: str = "pixels"
    distance: Spacing = (1.0, 1.0)
    fixed_distance: Spacing = (1.0, 1.0)
    fixed_mask: Array | None = None
    moving_mask: Array | None = None
    warped_mask: Array | None = None
    mirrored: bool = False

    @property
    def shown(self) -> tuple[Array, Array, Array]:
        """Fixed, moving and warped image as they are looked at: in colour, where they have some."""
        return (
            self.fixed if self.fixed_colours is None else self.fixed_colours,
            self.moving if self.moving_colours is None else self.moving_colours,
            self.warped if self.warped_colours is None else self.warped_colours,
        )


def comparison(registration: Registered) -> Comparison:
    """Return a pair before and after its registration, to be drawn."""
    pair, before, after = registration.pair, registration.dice_before, registration.dice
    fixed_colours, moving_colours, warped_colours = registration.colours
    return Comparison(
        name=pair.id,
        fixed=pair.fixed,
        moving=pair.moving,
        warped=registration.warped,
        flow=registration.flow,
        fixed_label=pair.fixed_label,
        moving_label=pair.moving_label,
        warped_label=registration.warped_label,
        dice_before=None if before is None else before.mean,
        dice=None if after is None else after.mean,
        aspect=aspect_of(pair.spacing),
        moving_aspect=aspect_of(pair.moving_spacing),
        fixed_colours=fixed_colours,
        moving_colours=moving_colours,
        warped_colours=warped_colours,
        fixed_points=pair.fixed_points,
        moving_points=pair.moving_points,
        unit=pair.unit,
        distance=pair.distance_scale,
        fixed_distance=pair.spacing or pair.distance_scale,
        fixed_mask=pair.fixed_mask,
        moving_mask=pair.moving_mask,
        warped_mask=registration.warped_mask,
        mirrored=registration.mirrored,
    )
