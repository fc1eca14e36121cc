"""Pictures of a registration: outlines, overlays and grids at known places, and the whole figure."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from regstudio.drawing.case_row import case_row
from regstudio.drawing.comparison import Comparison, comparison
from regstudio.drawing.overlay import before_after, deformed_grid, label_outline, overlay
from regstudio.drawing.preview import draw
from regstudio.drawing.thumbnails import MAX_ASPECT, aspect_of


def test_an_overlay_is_grey_where_equal_magenta_and_green_elsewhere() -> None:
    fixed, other = np.array([[0.5, 1.0, 0.0]]), np.array([[0.5, 0.0, 1.0]])
    picture = overlay(fixed, other)
    np.testing.assert_array_equal(picture, [[[0.5, 0.5, 0.5], [1, 0, 1], [0, 1, 0]]])
    assert overlay(fixed * 2 - 0.5, other).max() == 1
    assert picture.dtype == np.float32


def test_an_outline_runs_halfway_between_pixels() -> None:
    label = np.zeros((10, 12), np.uint8)
    label[2:5, 6:10] = 7
    (line,) = label_outline(label)
    np.testing.assert_array_equal(line.min(axis=0), [5.5, 1.5])
    np.testing.assert_array_equal(line.max(axis=0), [9.5, 4.5])
    np.testing.assert_array_equal(line[0], line[-1])


def test_an_outline_closes_at_the_border_and_knows_ids_apart() -> None:
    label = np.ones((6, 6), np.int32)
    label[:, 3:] = -4
    lines = label_outline(label)
    assert len(lines) == 2
    assert all((line[0] == line[-1]).all() for line in lines)
    assert label_outline(np.zeros((6, 6), int)) == []


def test_a_constant_flow_moves_the_grid() -> None:
    flow = np.stack((np.full((9, 13), 2.0), np.full((9, 13), -1.0)))
    lines = deformed_grid(flow, 4)
    assert len(lines) == 3 + 4
    np.testing.assert_array_equal(lines[0], [(x - 1, 2) for x in range(13)])
    np.testing.assert_array_equal(lines[3], [(-1, y + 2) for y in range(9)])


def case_of(*, labels: bool) -> Comparison:
    rng = np.random.default_rng(0)
    image, label = rng.random((40, 64)), rng.integers(0, 3, (40, 64))
    known = {"fixed_label": label, "moving_label": label, "warped_label": label, "dice_before": 0.5, "dice": 0.75}
    return Comparison(
        name="a long name, longer than would fit beside the picture",
        fixed=image,
        moving=image,
        warped=image,
        flow=np.zeros((2, 40, 64)),
        **(known if labels else {}),
    )


@pytest.mark.parametrize("labels", [True, False])
def test_a_figure_has_a_row_for_each_case(labels: bool) -> None:
    figure = before_after([case_of(labels=labels)] * 3)
    assert len(figure.axes) == 18
    below = [axes.get_xlabel() for axes in figure.axes[:6]]
    assert below == (["", "Dice 0.500", "Dice 0.750", "", "", ""] if labels else [""] * 6)
    assert figure.axes[0].get_ylabel() == "… fit beside the picture"
    stream = io.BytesIO()
    figure.savefig(stream, format="rgba")
    assert len(stream.getvalue()) % (1600 * 4) == 0


def test_figures_are_drawn_in_threads_and_leave_no_global_state() -> None:
    def draw(_: int) -> bytes:
        stream = io.BytesIO()
        before_after([case_of(labels=True)]).savefig(stream, format="png")
        return stream.getvalue()

    with ThreadPoolExecutor(2) as pool:
        pictures = list(pool.map(draw, range(2)))
    assert pictures[0] == pictures[1]
    assert not mpl._pylab_helpers.Gcf.figs


def test_a_case_and_its_registration_are_put_side_by_side() -> None:
    fixed, moving, warped = np.random.default_rng(0).random((3, 4, 4))
    colours = np.zeros((4, 4, 3), np.uint8)
    flow, label = np.zeros((2, 4, 4)), np.ones((4, 4), int)
    given = {"fixed_label": label, "moving_label": None, "spacing": (3.0, 2.0), "moving_spacing": None}
    points = {"fixed_points": None, "moving_points": None, "unit": "mm", "distance_scale": (3.0, 2.0)}
    masks = {"fixed_mask": label, "moving_mask": None}
    pair = SimpleNamespace(id="a", fixed=fixed, moving=moving, **given, **points, **masks)
    after = SimpleNamespace(mean=0.5)
    case = comparison(
        SimpleNamespace(
            pair=pair,
            warped=warped,
            colours=(None, colours, None),
            flow=flow,
            warped_label=label,
            warped_mask=None,
            mirrored=False,
            dice_before=None,
            dice=after,
        )
    )
    assert (case.fixed is fixed, case.warped is warped, case.warped_label is label) == (True, True, True)
    assert (case.moving_label, case.dice_before, case.dice) == (None, None, 0.5)
    assert (case.fixed_mask is label, case.moving_mask, case.warped_mask) == (True, None, None)
    assert (case.aspect, case.moving_aspect) == (1.5, 1.0)
    assert [one is other for one, other in zip(case.shown, (fixed, colours, warped), strict=True)] == [True] * 3


@pytest.mark.parametrize(
    ("spacing", "aspect"),
    [(None, 1.0), ((2.0, 1.0), 2.0), ((0.5, 1.0), 0.5), ((1.0, 1e-9), MAX_ASPECT), ((0.0, 1.0), 1.0)],
)
def test_a_pixel_is_as_high_as_its_spacing_says(spacing: tuple[float, float] | None, aspect: float) -> None:
    assert aspect_of(spacing) == aspect


def test_figures_previews_and_rows_are_drawn_in_the_physical_aspect() -> None:
    square, tall = case_of(labels=True), replace(case_of(labels=True), aspect=2.0, moving_aspect=2.0)
    heights = [before_after([case]).get_size_inches()[1] for case in (square, tall)]
    assert heights[1] > 1.4 * heights[0]
    rows = [Image.open(io.BytesIO(case_row(case))).size for case in (square, tall)]
    assert rows[0][0] == rows[1][0]
    assert rows[1][1] > 1.7 * rows[0][1]
    arrays = {name: np.zeros((24, 48), np.uint8) for name in ("fixed", "moving", "warped")}
    arrays["flow"] = np.zeros((2, 24, 48), np.float32)
    for aspect, size in ((1.0, (384, 192)), (2.0, (384, 384)), (4.0, (192, 384))):
        picture = draw(arrays, aspect)["after"].partition(",")[2]
        assert Image.open(io.BytesIO(base64.b64decode(picture))).size == size
