from regstudio.drawing.dot_plot import Dot, Panel, dot_plot


def panel(higher_is_better: bool, *names: str) -> Panel:
    dots = tuple(Dot(name=name, mean=number + 2, worst=number + 1) for number, name in enumerate(names))
    return Panel(title="lungs $x^2$", higher_is_better=higher_is_better, dots=dots)


def test_better_is_to_the_right_and_methods_share_their_lines() -> None:
    figure = dot_plot([panel(True, "none", "syn", "ours"), panel(False, "none", "ours")])
    dice, distance = figure.axes
    assert [label.get_text() for label in dice.get_yticklabels()] == ["none", "syn", "ours"]
    assert dice.get_xlim()[0] < dice.get_xlim()[1]
    assert distance.get_xlim()[0] > distance.get_xlim()[1]
    assert distance.get_title() == "lungs $x^2$, less is better"

    def filled(axes: object) -> list[tuple[float, float]]:
        dots = [line for line in axes.get_lines() if line.get_marker() == "o" and line.get_markersize() == 6]
        return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in dots]

    assert filled(dice) == [(2, 0), (3, 1), (4, 2)]
    assert filled(distance) == [(2, 0), (3, 2)]


def test_panels_that_fill_no_row_leave_the_rest_empty() -> None:
    figure = dot_plot([panel(True, "none")] * 4)
    assert [axes.get_visible() for axes in figure.axes] == [True] * 4 + [False] * 2
    figure.canvas.draw()
