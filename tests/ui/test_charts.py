"""The charts of the page, in a browser: what they draw, in which colours, and what they offer."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from regstudio.drawing.colours import hexadecimal, label_colour
from regstudio.studio import training_control
from regstudio.studio.studio import Studio
from tests.browser import Served, unused_port, watched_page
from tests.ui.acting import open_tab

pytestmark = pytest.mark.browser

BUTTONS = {"Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"}
SETTINGS = {"network": "voxelmorph", "epochs": 1, "device": "cpu", "compare": False, "run_name": "one"}
TRACES = "(chart) => document.querySelector(`[data-chart=${chart}]`)?.data"


@pytest.fixture(scope="module")
def trained_server(demo: Path, one_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A studio that has trained one epoch, and knows a run of two."""
    from regstudio.ui.app import build_app
    from regstudio.ui.server.serving import serve

    folder = tmp_path_factory.mktemp("charts")
    studio = Studio(runs_dir=folder / "runs", roots=(folder, demo), demo_dir=demo, data_base_dir=demo)
    training_control.start(studio, SETTINGS)
    assert studio.job.join(60)
    shutil.copytree(one_run, folder / "runs" / "first")
    page = serve(build_app(studio), port=unused_port())
    yield Served(page.url, studio)
    page.close()


class Live:
    """The Train tab of one page, which draws what `change` makes of what the server says of the run."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._change: Callable[[dict[str, Any]], None] = lambda answer: None
        self._all_anew = False
        self._best: Any = None
        page.route("**/component_server/**", self._answer)

    def __call__(self, change: Callable[[dict[str, Any]], None] = lambda answer: None) -> Any:
        """Have everything drawn anew, on linear axes; return the page."""
        open_tab(self._page, "Train")
        self._page.wait_for_function(f"({TRACES})('dice')?.length > 0")
        self._page.uncheck("#live .log-scale")
        self._page.evaluate(f"drawn = ({TRACES})('dice')")
        self._change, self._all_anew = change, True
        self._page.wait_for_function(f"({TRACES})('dice') !== drawn")
        return self._page

    def _answer(self, route: Any) -> None:
        asked = route.request.post_data_json
        if self._all_anew and asked["fn_name"] == "poll":
            asked["data"]["version"] = None
        answer = route.fetch(post_data=asked)
        said = answer.json()
        if isinstance(said, dict) and said.get("epochs"):
            self._change(said)
            self._best, self._all_anew = said["best"], False
        elif isinstance(said, dict) and "best" in said and self._best is not None:
            said["best"] = self._best  # in what only says that there is nothing new
        route.fulfill(response=answer, json=said)


@pytest.fixture(scope="module")
def live(trained_server: Served, browser: Any) -> Iterator[Live]:
    with watched_page(browser) as page:
        page.goto(trained_server.url)
        yield Live(page)
        page.unroute_all(behavior="ignoreErrors")


def traces(page: Any, chart: str) -> dict[str, dict[str, Any]]:
    """Return the curves of a live chart that its legend names."""
    return {trace["name"]: trace for trace in page.evaluate(TRACES, chart) if trace.get("showlegend") is not False}


def test_labels_have_their_colours_a_legend_hides_both_lines_and_no_chart_offers_to_send_itself(
    live: Live,
) -> None:
    page = live()
    drawn = {name: trace["line"]["color"] for name, trace in traces(page, "dice").items() if name.startswith("label ")}
    assert len(drawn) > 2
    assert drawn == {name: hexadecimal(label_colour(int(name.split()[1]))) for name in drawn}

    page.wait_for_function("document.querySelector('[data-chart=loss]').data.length === 6")
    page.locator("[data-chart=loss] .legendtoggle").first.click()
    page.wait_for_function(
        "document.querySelector('[data-chart=loss]').data.some((trace) => trace.visible === 'legendonly')"
    )
    hidden = [trace["name"] for trace in page.evaluate(TRACES, "loss") if trace.get("visible") == "legendonly"]
    assert hidden == ["total", "total"]
    page.locator("[data-chart=loss] .legendtoggle").first.click()

    offered = {}
    for selector in ("[data-chart=loss]", "[data-chart=dice]"):
        page.hover(selector)
        offered[selector] = page.eval_on_selector_all(
            f"{selector} .modebar-btn", "all => all.map(one => one.dataset.title)"
        )
    open_tab(page, "Runs")
    page.locator("#runs-table [role=gridcell]", has_text="first").first.click()
    for name in ("loss", "dice", "njd"):
        selector = f"#runs-curves [data-of={name}]"
        page.locator(f"{selector} .trace.scatter").first.wait_for()
        page.hover(selector)
        offered[selector] = page.eval_on_selector_all(
            f"{selector} .modebar-btn", "all => all.map(one => one.dataset.title)"
        )
    assert page.locator(".js-plotly-plot").count() == len(offered) == 5  # every chart of the page
    for selector, titles in offered.items():
        assert titles, selector
        assert set(titles) <= BUTTONS, selector


def test_one_validation_with_few_labels(live: Live) -> None:
    """A label keeps its colour, there is a line "before", what is better has a star, no folds start at 0."""

    def few(answer: dict[str, Any]) -> None:
        for epoch in answer["epochs"]:
            epoch["metrics"] = {"dice": 0.5, "dice_before": 0.4, "dice_3": 0.5, "dice_10": 0.5, "njd_percent": 0.0}
        answer["best"] = {"epoch": 1, "dice": 0.5}

    page = live(few)
    drawn = traces(page, "dice")
    assert drawn["label 3"]["line"] | {"width": 0} == {"color": "#009e73", "dash": "solid", "width": 0}
    assert drawn["label 10"]["line"] | {"width": 0} == {"color": "#009e73", "dash": "dash", "width": 0}
    assert drawn["mean before"]["x"] == [0, 1]
    assert "best" in drawn
    assert "worse than before" not in page.inner_text("[data-fact=best]")
    low, high = page.evaluate("document.querySelector('[data-chart=dice]')._fullLayout.yaxis2.range")
    assert low == 0
    assert 0 < high <= 1


def test_an_epoch_below_before_gets_no_star(live: Live) -> None:
    def scored(answer: dict[str, Any]) -> None:
        for epoch in answer["epochs"]:
            epoch["metrics"] |= {"dice": 0.3, "dice_before": 0.4}
        answer["best"] = {"epoch": 1, "dice": 0.3}

    page = live(scored)
    assert "best" not in traces(page, "dice")
    assert "worse than before" in page.inner_text("[data-fact=best]")


@pytest.mark.parametrize(("tre", "star"), [(3.0, True), (12.0, False)])
def test_landmarks_take_the_place_of_dice(live: Live, tre: float, star: bool) -> None:
    def marked(answer: dict[str, Any]) -> None:
        for epoch in answer["epochs"]:
            epoch["metrics"] = {"tre": tre, "tre_before": 10.0, "njd_percent": 0.0}
        answer["best"] = {"epoch": 1, "dice": None, "tre": tre}

    page = live(marked)
    drawn = traces(page, "dice")
    assert ("best" in drawn) is star
    assert (drawn["TRE before"]["y"], drawn["mean TRE"]["y"][0]) == ([10.0, 10.0], tre)
    assert page.text_content("[data-chart=dice] .y3title") == "TRE, pixels"
    assert page.locator("[data-chart=dice] .ytitle").count() == 0
    assert f"TRE {tre:.2f} pixels" in page.inner_text("[data-fact=best]")


def test_the_loss_is_cut_where_the_images_become_larger(live: Live) -> None:
    def coarse(answer: dict[str, Any]) -> None:
        answer["steps"]["scale"] = [2, 2, 1, 1]

    page = live(coarse)
    page.wait_for_function("document.querySelector('[data-chart=loss]').data.length === 6")
    for trace in page.evaluate(TRACES, "loss"):
        assert trace["x"] == [1, 2, 3, 3, 4]
        assert trace["y"][2] is None
    lines, words = page.evaluate(
        "(({ shapes, annotations }) => [shapes.map((line) => line.x0), annotations.map((word) => word.text)])"
        "(document.querySelector('[data-chart=loss]').layout)"
    )
    assert lines == [3]
    assert words == ["images at 1/2 size", "images at full size"]


def logarithmic(page: Any) -> dict[str, Any]:
    page.check("#live .log-scale")
    axis: dict[str, Any] = page.evaluate("document.querySelector('[data-chart=loss]').layout.yaxis")
    return axis


def with_terms(**terms: list[float]) -> Callable[[dict[str, Any]], None]:
    def change(answer: dict[str, Any]) -> None:
        count = len(next(iter(terms.values())))
        places = list(range(1, count + 1))
        answer["steps"] = {"x": places, "seconds": places, "scale": [1] * count, "terms": terms}
        answer["epochs"][0]["losses"] = {}

    return change


def test_on_a_logarithmic_axis_no_curve_vanishes_and_a_tiny_first_value_flattens_none(
    live: Live,
) -> None:
    page = live(with_terms(mi=[-0.5] * 50, grad=[1e-12] + [0.01] * 49, fold=[0.0] * 50))
    axis = logarithmic(page)
    low, high = axis["range"]
    assert axis["type"] == "log"
    assert -2.5 < low < -2
    assert high < 1
    drawn = traces(page, "loss")
    assert drawn["mi + 3.47"]["y"] == pytest.approx([2.97] * 50)
    assert min(drawn["fold"]["y"]) == pytest.approx(10**low)


def test_where_a_curve_goes_below_0_the_axis_stays_linear_and_says_so(live: Live) -> None:
    axis = logarithmic(live(with_terms(grad=[0.5, -0.5])))
    assert axis["type"] == "linear"
    assert axis["title"]["text"] == "not logarithmic: below 0"
