"""A pair from a seed and a number."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from regstudio.networks.warp import SpatialTransformer, pixel_grid
from regstudio.training.synthesis.anatomy import Labels, draw_anatomy
from regstudio.training.synthesis.motion import Motion, draw_motion
from regstudio.training.synthesis.noise import Size
from regstudio.training.synthesis.painting import acquire, draw_contrasts, draw_texture, paint

SIDES, SHARES = (64, 96, 128, 160, 192, 256), (0.15, 0.38, 0.37, 0.06, 0.03, 0.01)  # of the shorter side, in pixels
MULTIPLE = 8  # of both sides
MAX_ASPECT = 1.5  # the longer side, in shorter ones
MARGIN = 8  # the canvas reaches an eighth of the size beyond the field of view, each way
FINE = 2  # pixels of the anatomy along one of the images
MIN_PIXELS = 12  # of a label in each image, for it to be scored
MAX_LABELS = 16

_bilinear = SpatialTransformer("bilinear")


@dataclass(frozen=True, kw_only=True, eq=False)
class SyntheticPair:
    """Two images of one random anatomy, and the flow between them; all with a batch of 1.

    `fixed` and `moving` (1, 1, H, W) are in [0, 1]; `fixed_label` and `moving_label` (1, L, H, W) are one-hot, of
    labels that both have. `flow` (1, 2, H, W), in pixels, is true: warped(p) = moving(p + flow(p)) shows at p what
    fixed does. `known` (1, 1, H, W) is false where that lies outside the moving image.
    """

    fixed: Tensor
    moving: Tensor
    fixed_label: Tensor
    moving_label: Tensor
    flow: Tensor
    known: Tensor


def draw_size(random: Generator, max_side: int | None = None) -> Size:
    """Return the height and width of a pair to train on, the shorter of them at most `max_side`."""
    short = min(int(random.choice(SIDES, p=SHARES)), max_side or SIDES[-1])
    longest = min(MAX_ASPECT, SIDES[-1] / short)
    long = round(short * random.uniform(1, longest) / MULTIPLE) * MULTIPLE if random.random() < 0.6 else short
    return (short, long) if random.random() < 0.5 else (long, short)


def synthesise(seed: int, number: int, size: Size | None = None) -> SyntheticPair:
    """Return pair `number` of the endless sequence that `seed` names; of any size if none is wanted."""
    random = np.random.default_rng([seed, number])
    height, width = size or draw_size(random)
    margins = (height // MARGIN, width // MARGIN)
    canvas = (height + 2 * margins[0], width + 2 * margins[1])
    to_fixed, to_moving = _motions(random, canvas, min(height, width))

    anatomy = draw_anatomy(random, (FINE * canvas[0], FINE * canvas[1]))
    texture = draw_texture(random, anatomy, FINE * min(height, width))
    contrasts = draw_contrasts(random, int(anatomy.max()) + 1)
    views = [_points(motion.flow, margins) for motion in (to_fixed, to_moving)]
    fixed, moving = (
        acquire(random, _seen(paint(anatomy, texture, contrast), view))
        for contrast, view in zip(contrasts, views, strict=True)
    )
    fixed_label, moving_label = _one_hot(random, *(_labels_seen(anatomy, view) for view in views))
    flow, known = _between(to_fixed, to_moving, margins)
    return SyntheticPair(
        fixed=fixed, moving=moving, fixed_label=fixed_label, moving_label=moving_label, flow=flow, known=known
    )


def _motions(random: Generator, canvas: Size, side: int) -> tuple[Motion, Motion]:
    """How the anatomy moves to either image: not at all in some pairs, and in a few by more than can be made good."""
    smooth = 0.0 if random.random() < 0.1 else float(random.random())
    affine = float(random.choice((0.0, 0.3, 0.8, 1.8), p=(0.2, 0.25, 0.35, 0.2)))
    # Most pairs have both images moved, so that the middle of the canvas is no place of its own.
    strengths = (smooth, smooth) if random.random() < 0.7 else (0.0, smooth)
    first, second = (draw_motion(random, canvas, side, smooth=strength, affine=affine / 1.4) for strength in strengths)
    return first, second


def _points(flow: Tensor, margins: Size) -> Tensor:
    """Where in the anatomy the pixels of the field of view come from, its nearest pixel if from outside: (2, H, W)."""
    rows, columns = margins
    points = (pixel_grid(flow) + flow[0])[:, rows:-rows, columns:-columns]
    points = (points + 0.5) * FINE - 0.5
    last = [FINE * length - 1 for length in flow.shape[2:]]
    return torch.stack([axis.clamp(0, end) for axis, end in zip(points, last, strict=True)])


def _seen(perfect: Tensor, points: Tensor) -> Tensor:
    seen: Tensor = _bilinear(perfect, points[None] - pixel_grid(points[None]))
    return seen


def _labels_seen(anatomy: Labels, points: Tensor) -> Labels:
    rows, columns = points.round().long().numpy()
    seen: Labels = anatomy[rows, columns]
    return seen


def _one_hot(random: Generator, fixed: Labels, moving: Labels) -> tuple[Tensor, Tensor]:
    """One-hot maps of what both images show enough of; of many labels, some."""
    least = int(max(fixed.max(), moving.max())) + 1
    counts = [np.bincount(labels.ravel(), minlength=least) for labels in (fixed, moving)]
    shared = np.flatnonzero(np.minimum(*counts) >= MIN_PIXELS)
    chosen = np.sort(random.permutation(shared)[:MAX_LABELS])
    maps = [torch.from_numpy(labels == chosen[:, None, None]).float()[None] for labels in (fixed, moving)]
    return maps[0], maps[1]


def _between(to_fixed: Motion, to_moving: Motion, margins: Size) -> tuple[Tensor, Tensor]:
    """The flow from fixed to moving image, through the anatomy, and where it ends within the field of view."""
    rows, columns = margins
    whole = to_fixed.flow + _bilinear(to_moving.inverse, to_fixed.flow)
    on_canvas = _bilinear(torch.ones_like(whole[:, :1]), to_fixed.flow)[:, :, rows:-rows, columns:-columns] > 0.99
    flow = whole[:, :, rows:-rows, columns:-columns].contiguous()
    ends = pixel_grid(flow) + flow
    last = ends.new_tensor([length - 1 for length in flow.shape[2:]])[:, None, None]
    within = ((ends >= 0) & (ends <= last)).all(dim=1, keepdim=True)
    return flow, within & on_canvas
