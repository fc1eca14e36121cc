"""A plot of the runs of a sweep: how well each registers, against how much its transforms fold."""

from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from regstudio.drawing.colours import SERIES_COLOURS, hexadecimal

DPI = 120
SIZE = (6.4, 4.2)  # inches
COLOUR = hexadecimal(SERIES_COLOURS[0])

Point = tuple[float, float, str]  # % of folds, score, and what is written beside


def sweep_plot(points: Sequence[Point], score: str) -> Figure:
    """Draw the points, better always up and to the left; the caller saves the figure."""
    figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([folds for folds, _, _ in points], [value for _, value, _ in points], "o", color=COLOUR, markersize=6)
    for folds, value, name in points:
        axes.annotate(name, (folds, value), xytext=(6, 4), textcoords="offset points", fontsize=8, parse_math=False)
    axes.set_xlabel("folds, % of the pixels")
    axes.set_ylabel(score, parse_math=False)
    axes.set_xlim(left=0)
    axes.margins(x=0.15, y=0.15)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if score.startswith("TRE"):  # less is better
        axes.invert_yaxis()
    return figure
