"""A dot plot of methods by data set: the mean of each, and that of its worst cases."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from regstudio.drawing.colours import SERIES_COLOURS, hexadecimal

COLUMNS = 3
PANEL_WIDTH, NAME_WIDTH, LINE, HEAD = 3.4, 2.2, 0.26, 0.8  # inches: a panel, names, a method's line, title and axis
DPI = 150
COLOUR = hexadecimal(SERIES_COLOURS[0])


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One method: the mean over all cases, and over the worst."""

    name: str
    mean: float
    worst: float


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One data set: its methods from top to bottom, the first drawn as a line to compare with."""

    title: str
    higher_is_better: bool
    dots: tuple[Dot, ...]


def dot_plot(panels: Sequence[Panel]) -> Figure:
    """Draw a panel for each data set, better always to the right; the caller saves the figure."""
    names = list(dict.fromkeys(dot.name for panel in panels for dot in panel.dots))
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    width, height = NAME_WIDTH + columns * PANEL_WIDTH, rows * (HEAD + LINE * len(names))
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for number, place in enumerate(axes.flat):
        if number < len(panels):
            _draw(place, panels[number], names)
        else:
            place.set_visible(False)
    return figure


def _draw(axes: Axes, panel: Panel, names: Sequence[str]) -> None:
    for dot in panel.dots:
        line = names.index(dot.name)
        axes.plot([dot.worst, dot.mean], [line, line], color=COLOUR, linewidth=1)
        axes.plot(dot.worst, line, "o", color=COLOUR, markerfacecolor="white", markersize=5)
        axes.plot(dot.mean, line, "o", color=COLOUR, markersize=6)
    axes.axvline(panel.dots[0].mean, color="#999999", linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    better = "" if panel.higher_is_better else ", less is better"
    axes.set_title(f"{panel.title}{better}", fontsize=10, parse_math=False)
    axes.set_xlabel("filled: mean; hollow: worst 30 %", fontsize=8)
    axes.tick_params(labelsize=9, length=3)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if not panel.higher_is_better:
        axes.invert_xaxis()
