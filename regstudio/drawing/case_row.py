"""One case as a row of pictures, for a report: arrays in, a picture's bytes out."""

import io

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from regstudio.drawing.canvas_payload import jacobian_index
from regstudio.drawing.colours import FIXED_COLOUR, FOLD_COLOUR, GRID_ON_WHITE, JACOBIAN_MAP, MOVING_COLOUR
from regstudio.drawing.comparison import Comparison
from regstudio.drawing.overlay import GRID_LINES, deformed_grid, draw_outline, overlay

TITLES = ("fixed", "moving", "warped", "fixed on warped", "deformed grid", "log Jacobian")
PANEL, HEAD, GAP, DPI = 2.0, 0.25, 0.04, 110  # inches, and dots an inch
OUTLINE_WIDTH = 0.9  # points


def case_row(case: Comparison) -> bytes:
    """Return a WebP (a fifth of a PNG's size) of fixed, moving and warped image with outlines, grid and Jacobian.

    Fixed outlines are magenta, moving and warped ones green; orange shrinks and purple grows, up to a quarter and four
    times the area, and black folds.
    """
    height, width = case.fixed.shape
    side = PANEL * height * max(case.aspect, case.moving_aspect) / width
    figure = Figure(figsize=(len(TITLES) * PANEL, side + HEAD), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=side / (side + HEAD), wspace=GAP)
    panels = figure.subplots(1, len(TITLES))
    for axes, title in zip(panels, TITLES, strict=True):
        axes.set_title(title, fontsize=9, pad=3)
    fixed, moving, warped, both, grid, jacobian = panels
    for axes, image in zip((fixed, moving, warped), case.shown, strict=True):
        axes.imshow(np.nan_to_num(image), cmap="gray", vmin=0, vmax=1)
    both.imshow(overlay(np.nan_to_num(case.fixed), np.nan_to_num(case.warped)))
    draw_outline(fixed, case.fixed_label, FIXED_COLOUR, OUTLINE_WIDTH)
    draw_outline(moving, case.moving_label, MOVING_COLOUR, OUTLINE_WIDTH)
    for axes in (warped, both):
        draw_outline(axes, case.fixed_label, FIXED_COLOUR, OUTLINE_WIDTH)
        draw_outline(axes, case.warped_label, MOVING_COLOUR, OUTLINE_WIDTH)
    flow = np.nan_to_num(case.flow)
    lines = deformed_grid(flow, max(1, max(height, width) // GRID_LINES))
    grid.add_collection(LineCollection(lines, colors=GRID_ON_WHITE, linewidths=0.6))
    colours = np.vstack((to_rgba(FOLD_COLOUR), colormaps[JACOBIAN_MAP](np.linspace(0, 1, 255))))
    jacobian.imshow(colours[jacobian_index(case.flow)])
    for axes in panels:
        axes.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        axes.set_aspect(case.moving_aspect if axes is moving else case.aspect)
        axes.spines[:].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, format="webp", pil_kwargs={"quality": 85})
    return stream.getvalue()
