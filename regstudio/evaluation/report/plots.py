"""Box plots of an evaluation, as SVG in the page's text colour."""

import io
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from regstudio.drawing.colours import hexadecimal, label_colour
from regstudio.evaluation.evaluate import Evaluation
from regstudio.evaluation.report.html import Html

INK = "#010203"  # placeholder for the page's text colour
BEFORE, ALL_LABELS = "#bbbbbb", "#666666"  # greys, as colours are those of the labels
STAGE_ALPHA = {"before": 1.0, "affine": 0.4, "after": 1.0}
COLUMNS = 3
FIGURE_WIDTH, NAME_WIDTH, TITLE_HEIGHT, BOX_HEIGHT = 11.0, 2.2, 0.75, 0.27  # inches

Row = tuple[str, str, list[float]]  # name, stage, values


def box_plots(evaluations: Sequence[Evaluation], labels: Sequence[int]) -> Html:
    """Return a panel for all labels and one for each label: Dice before, and after each method and its affine part."""
    panels = [("all labels", ALL_LABELS, _rows(evaluations, None))]
    panels += [(f"label {label}", hexadecimal(label_colour(label)), _rows(evaluations, label)) for label in labels]
    rows = -(-len(panels) // COLUMNS)
    height = rows * (TITLE_HEIGHT + BOX_HEIGHT * len(panels[0][2]))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "regstudio", "font.family": "sans-serif"}):
        figure = Figure(figsize=(FIGURE_WIDTH, height), facecolor="none")
        FigureCanvasSVG(figure)
        axes = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
        for number, panel in enumerate(axes.flat):
            if number < len(panels):
                _draw(panel, *panels[number])
            else:
                panel.set_visible(False)
        figure.subplots_adjust(
            left=NAME_WIDTH / FIGURE_WIDTH,
            right=0.99,
            top=1 - 0.3 / height,
            bottom=0.3 / height,
            wspace=0.08,
            hspace=0.35,
        )
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    return Html(svg[svg.index("<svg") :].replace(INK, "currentColor"))


def _rows(evaluations: Sequence[Evaluation], label: int | None) -> list[Row]:
    def values(evaluation: Evaluation, column: str) -> list[float]:
        return [value for value in evaluation.values(column, label) if value is not None]

    rows = [("before", "before", values(evaluations[0], "dice_before"))]
    for evaluation in evaluations:
        if "dice_affine" in evaluation.columns:
            rows.append((f"{evaluation.method}, affine", "affine", values(evaluation, "dice_affine")))
        rows.append((evaluation.method, "after", values(evaluation, "dice")))
    return rows


def _draw(axes: Axes, title: str, colour: str, rows: Sequence[Row]) -> None:
    ink = {"color": INK, "linewidth": 0.9}
    boxes = axes.boxplot(
        [values for _, _, values in rows],
        orientation="horizontal",
        widths=0.6,
        patch_artist=True,
        flierprops={"marker": ".", "markersize": 4, "markerfacecolor": INK, "markeredgecolor": INK},
        boxprops=dict(ink),  # copies, as matplotlib modifies its arguments
        whiskerprops=dict(ink),
        capprops=dict(ink),
        medianprops=dict(ink),
    )
    for box, (_, stage, _) in zip(boxes["boxes"], rows, strict=True):
        box.set_facecolor(to_rgba(BEFORE if stage == "before" else colour, STAGE_ALPHA[stage]))
    names = [name if len(name) <= 28 else f"…{name[-27:]}" for name, _, _ in rows]  # long names differ at their ends
    axes.set_yticks(range(1, len(rows) + 1), names, parse_math=False)
    axes.set_ylim(len(rows) + 0.5, 0.5)
    axes.set_title(f"Dice, {title}", fontsize=10, color=INK)
    axes.tick_params(colors=INK, labelsize=9, length=3)
    axes.grid(axis="x", color=INK, alpha=0.15, linewidth=0.6)
    axes.set_facecolor("none")
    axes.spines[:].set_color(INK)
    axes.spines[["top", "right"]].set_visible(False)
