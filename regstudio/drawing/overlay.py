"""Fixed, moving and warped images side by side and on top of each other: arrays in, pictures out.

Fixed is magenta and moving or warped is green throughout; where the two agree, an overlay is grey.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from regstudio.drawing.colours import FIXED_COLOUR, GRID_ON_WHITE, MOVING_COLOUR
from regstudio.drawing.comparison import Comparison

Array = npt.NDArray[Any]

COLUMNS = ("fixed", "moving (before)", "warped (after)", "overlay before", "overlay after", "deformed grid")
DPI = 100
WIDTH, LEFT, TOP, BOTTOM = 16.0, 0.35, 0.4, 0.4  # inches: the figure, and its margins for names, titles and legend
GAP, BELOW_ROW = 0.05, 0.34  # inches: between columns, and below a row for its Dice
MAX_NAME_LENGTH = 24  # characters that fit beside a square panel
GRID_LINES = 24  # along the longer side, of an image of at least as many pixels
OUTLINE_WIDTH = 1.4  # points


def overlay(fixed: Array, other: Array) -> npt.NDArray[np.float32]:
    """Lay two images (H, W) in [0, 1] on top of each other: RGB (H, W, 3), magenta and green, grey where equal."""
    picture: npt.NDArray[np.float32] = np.stack((fixed, other, fixed), axis=-1).clip(0, 1).astype(np.float32)
    return picture


def label_outline(label: Array) -> list[Array]:
    """Return the borders of every id but 0 in `label` (H, W) as closed lines, each (N, 2) points (x, y) in pixels.

    Pixel centres lie at whole numbers; a line crosses halfway between a pixel of the id and one of another.
    """
    padded = np.pad(label, 1)  # so that lines close where an id reaches the image's border
    outline: list[Array] = []
    for number in np.unique(label[label != 0]):
        lines: Any = contour_generator(z=(padded == number).astype(float)).lines(0.5)
        outline.extend(line - 1 for line in lines)
    return outline


def draw_outline(axes: Axes, label: Array | None, colour: str, width: float) -> None:
    """Draw the outline of `label` (H, W), if there is one, with lines of `width` points."""
    if label is not None:
        axes.add_collection(LineCollection(label_outline(label), colors=colour, linewidths=width), autolim=False)


def deformed_grid(flow: Array, spacing: int) -> list[Array]:
    """Return the lines of a square grid on the fixed image, carried along by `flow` (2, H, W): each (N, 2), (x, y).

    A point p of the fixed image goes to p + flow(p), where its counterpart lies in the moving image; `spacing` is the
    distance between two lines, in pixels.
    """
    _, height, width = flow.shape
    points = (np.indices((height, width)) + flow)[::-1].transpose(1, 2, 0)
    rows, columns = (range((size - 1) % spacing // 2, size, spacing) for size in (height, width))
    return [*(points[row] for row in rows), *(points[:, column] for column in columns)]


def before_after(cases: Sequence[Comparison]) -> Figure:
    """Draw cases before and after registration, one a row, 1600 pixels wide; the caller saves the figure."""
    height, width = cases[0].fixed.shape
    height *= max(max(case.aspect, case.moving_aspect) for case in cases)
    panel = (WIDTH - LEFT - len(COLUMNS) * GAP) / len(COLUMNS)
    row = panel * height / width
    full = TOP + len(cases) * (row + BELOW_ROW) + BOTTOM
    figure = Figure(figsize=(WIDTH, full), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.subplots_adjust(
        left=LEFT / WIDTH,
        right=1 - GAP / WIDTH,
        top=1 - TOP / full,
        bottom=(BOTTOM + BELOW_ROW) / full,
        wspace=GAP / panel,
        hspace=BELOW_ROW / row,
    )
    axes = figure.subplots(len(cases), len(COLUMNS), squeeze=False)
    for panels, case in zip(axes, cases, strict=True):
        _draw_row(panels, case)
    for column, title in zip(axes[0], COLUMNS, strict=True):
        column.set_title(title, fontsize=17)
    handles = [Line2D([], [], color=colour, linewidth=5) for colour in (FIXED_COLOUR, MOVING_COLOUR)]
    figure.legend(handles, ("fixed", "moving or warped"), loc="lower center", ncols=2, fontsize=15, frameon=False)
    return figure


def _draw_row(row: Sequence[Axes], case: Comparison) -> None:
    fixed, moving, warped, before, after, grid = row
    for axes, image in zip((fixed, moving, warped), case.shown, strict=True):
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
        draw_outline(axes, case.fixed_label, FIXED_COLOUR, OUTLINE_WIDTH)
    draw_outline(moving, case.moving_label, MOVING_COLOUR, OUTLINE_WIDTH)
    draw_outline(warped, case.warped_label, MOVING_COLOUR, OUTLINE_WIDTH)
    before.imshow(overlay(case.fixed, case.moving))
    after.imshow(overlay(case.fixed, case.warped))
    height, width = case.fixed.shape
    grid.add_collection(
        LineCollection(
            deformed_grid(case.flow, max(1, max(height, width) // GRID_LINES)), colors=GRID_ON_WHITE, linewidths=0.8
        )
    )
    grid.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    for axes in row:
        axes.set(xticks=[], yticks=[], aspect=case.moving_aspect if axes is moving else case.aspect)
        axes.spines[:].set_visible(False)
    # Long names differ at their ends.
    name = case.name if len(case.name) <= MAX_NAME_LENGTH else f"…{case.name[1 - MAX_NAME_LENGTH :]}"
    fixed.set_ylabel(name, fontsize=14)
    for axes, dice in ((moving, case.dice_before), (warped, case.dice)):
        if dice is not None:
            axes.set_xlabel(f"Dice {dice:.3f}", fontsize=16)
