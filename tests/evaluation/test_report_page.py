import csv
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regstudio.drawing.colours import hexadecimal, label_colour
from regstudio.drawing.comparison import Comparison
from regstudio.evaluation.evaluate import Evaluation
from regstudio.evaluation.report.html import Html, table, tag
from regstudio.evaluation.report.page import worst_and_best, write_report
from regstudio.evaluation.scores import CaseScores

EVIL = '<script>alert("x")</script> & $y^2$'


def evaluation(name: str, gain: float, count: int = 14, step: float = 0, **provenance: Any) -> Evaluation:
    cases = []
    for number in range(count):
        before = 0.6 + 0.01 * number
        values = {"dice_before": before, "dice_affine": before + gain / 2, "dice": before + gain + step * number}
        labels = {label: {**values, "dice": before + gain + label / 100} for label in (1, 2)}
        cases.append(CaseScores(id=f"case{number:02d}", unit="pixels", values=values | {"njd": 3.0}, labels=labels))
    return Evaluation(method=name, cases=tuple(cases), provenance=provenance)


def comparison(name: str) -> Comparison:
    rng = np.random.default_rng(0)
    label = np.zeros((40, 56), np.int64)
    label[10:20, 15:40] = 1
    images = dict(zip(("fixed", "moving", "warped"), rng.random((3, 40, 56)), strict=True))
    flow = rng.normal(0, 1, (2, 40, 56))
    flow[0, 0, 0] = np.nan
    return Comparison(
        name=name, flow=flow, fixed_label=label, moving_label=label, warped_label=label, dice=0.9, **images
    )


class Page(HTMLParser):
    """The elements and texts of a page, having checked that what is opened is closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert not self._open

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((name, dict(attributes)))
        if name not in ("meta", "img"):
            self._open.append(name)

    def handle_startendtag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((name, dict(attributes)))

    def handle_endtag(self, name: str) -> None:
        assert self._open.pop() == name

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    data = {"root": EVIL, "atlas": "atlas.png", "train": ["t1", EVIL], "validation": ["v1"]}
    method = {"sha256": "0123abcd", "seed": 42, "config": {"optimisation": {"lr": 0.5, "note": EVIL}}}
    first = evaluation(
        f"ours {EVIL}", 0.2, data=data, method=method, conventions={"flow": "pull-back"}, regstudio="9.9"
    )
    path = write_report(
        tmp_path_factory.mktemp("report"),
        [first, evaluation("syn", 0.1, step=0.002)],
        worst=[comparison(EVIL)],
        best=[comparison("b"), comparison("c")],
    )
    return Page(path.read_text(encoding="utf-8"))


def test_every_text_is_escaped(page: Page) -> None:
    assert not [name for name, _ in page.tags if name == "script"]
    assert sum(EVIL in text for text in page.text) >= 6
    assert {name for name, attributes in page.tags if any(key.startswith("on") for key in attributes)} == set()


def test_the_page_asks_for_nothing(page: Page) -> None:
    sources = [
        value or "" for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")
    ]
    assert all(source.startswith(("data:image/webp;base64,", "#")) for source in sources)
    assert not {"link", "script", "iframe", "object", "image"} & {name for name, _ in page.tags}
    assert not re.findall(r"url\((?!#)|@import", " ".join(page.text))
    policy = next(attributes["content"] for _, attributes in page.tags if "http-equiv" in attributes)
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_the_numbers_are_those_of_the_evaluation(page: Page) -> None:
    # Dice from 0.60 to 0.73 before: mean 0.665, and 0.2 more after; the worst five of 14 have a mean of 0.62.
    for number in ("0.665 ± 0.042", "0.865 ± 0.042", "0.765 ± 0.042", "0.820", "0.875 ± 0.042"):
        assert number in page.text
    assert "+0.087" in page.text  # the median difference: 0.1 less 0 to 0.026
    assert "0.0001" in page.text  # 2 / 2^14: Wilcoxon's exact p of 14 differences of one sign


def test_where_it_all_comes_from_is_told(page: Page) -> None:
    page_text = " ".join(page.text)
    for fact in ("0123abcd", "42", '"lr": 0.5', "pull-back", "train: 2 cases", "t1", "9.9", "syn"):
        assert fact in page_text


def test_a_label_has_the_colour_that_images_give_it_and_no_chart_a_button(tmp_path: Path) -> None:
    source = write_report(tmp_path, [evaluation("one", 0.2)]).read_text()
    plots = source[source.index("<svg") : source.rindex("</svg>")]
    fills = re.findall(r"fill: (#\w{6})", plots)
    for label, other in ((1, 2), (2, 1)):
        colour = hexadecimal(label_colour(label))
        panel = plots.index(f"Dice, label {label}")  # matplotlib writes a panel's boxes before its title
        boxes = re.findall(r"fill: (#\w{6})", plots[:panel])
        assert boxes[-1] == colour != hexadecimal(label_colour(other))
    assert set(fills) - {"#010203"} >= {hexadecimal(label_colour(label)) for label in (1, 2)}
    assert not {name for name, _ in Page(source).tags} & {"script", "button", "a", "form", "iframe"}


def test_plots_and_pictures_are_there(page: Page) -> None:
    assert [name for name, _ in page.tags].count("svg") == 1
    assert [name for name, _ in page.tags].count("img") == 3
    for text in ("Dice, all labels", "Dice, label 1", "Dice, label 2", "syn, affine", "Worst cases", "Best cases"):
        assert text in page.text


def test_the_tables_lie_beside_it(tmp_path: Path) -> None:
    write_report(tmp_path, [evaluation("one", 0.2), evaluation("two", 0.1)])
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "cases.csv", "labels.csv", "summary.csv"}
    with (tmp_path / "cases.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 28


def test_a_report_on_one_method_without_labels_or_pictures(tmp_path: Path) -> None:
    cases = tuple(CaseScores(id=str(number), unit="mm", values={"ncc": 0.1 * number}, labels={}) for number in range(3))
    page = Page(write_report(tmp_path, [Evaluation(method="plain", cases=cases)]).read_text(encoding="utf-8"))
    assert "0.100 ± 0.100" in page.text
    assert "svg" not in [name for name, _ in page.tags]


def test_the_same_evaluation_gives_the_same_page(tmp_path: Path) -> None:
    pages = [write_report(tmp_path / name, [evaluation("one", 0.2)], worst=[comparison("w")]) for name in ("a", "b")]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_the_worst_and_the_best_are_told_apart() -> None:
    worst, best = worst_and_best(evaluation("one", 0.2))
    assert worst == [f"case{number:02d}" for number in range(6)]
    assert best == [f"case{number:02d}" for number in range(13, 7, -1)]
    worst, best = worst_and_best(evaluation("one", 0.2, count=5))
    assert (worst, best) == (["case00", "case01", "case02"], ["case04", "case03"])


def test_html_is_escaped_once() -> None:
    assert tag("p", "a < b", [tag("b", "&")], class_='"') == '<p class="&quot;">a &lt; b<b>&amp;</b></p>'
    assert "<td>&lt;i&gt;</td>" in table(["", "x"], [["row", "<i>"]])
    assert isinstance(tag("p"), Html)


def test_the_report_says_what_is_seen_in_the_training(tmp_path: Path) -> None:
    path = write_report(tmp_path, [evaluation("a", 0.1)], findings=[("Overfitting.", f"Use epoch 2 {EVIL}")])
    page = path.read_text()
    assert "What is seen in the training" in page
    assert "Overfitting. " in "".join(Page(page).text)
    assert EVIL not in page
    assert "What is seen" not in write_report(tmp_path, [evaluation("a", 0.1)]).read_text()
