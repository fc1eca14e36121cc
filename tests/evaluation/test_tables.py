"""An evaluation as text, JSON and CSV, by hand."""

import csv
import json
from pathlib import Path

import pytest

from regstudio.evaluation.earlier import read_evaluation
from regstudio.evaluation.evaluate import Evaluation, compare
from regstudio.evaluation.scores import COLUMNS, CaseScores
from regstudio.evaluation.tables import comparison_text, format_score, to_json, to_text, write_tables

CASES = (
    CaseScores(
        id="a",
        unit="mm",
        values={
            "dice_before": 0.5,
            "dice": 0.8,
            "hd95_before": 4,
            "hd95": 2,
            "njd": 0,
            "njd_percent": 0,
            "seconds": 0.1,
        },
        labels={
            1: {"dice_before": 0.4, "dice": 0.7},
            -2: {"dice_before": 0.6, "dice": 0.9, "hd95_before": 4, "hd95": 2},
        },
        lost=(1,),
    ),
    CaseScores(
        id="b",
        unit="mm",
        values={"dice_before": 0.7, "dice": 0.6, "njd": 6, "njd_percent": 0.6, "seconds": 0.2},
        labels={1: {"dice_before": 0.7, "dice": 0.6}},
        left_out=(5,),
    ),
    CaseScores(id="c", unit="mm", values={"njd": 3, "njd_percent": 0.3, "seconds": 0.3}, labels={}),
)
EVALUATION = Evaluation(method="brains/best_model", cases=CASES, provenance={"regstudio": "1"})


def test_json_by_hand() -> None:
    record = to_json(EVALUATION)
    means = {"dice_before": 0.6, "dice": 0.7, "hd95_before": 4, "hd95": 2, "njd": 3, "njd_percent": 0.3, "seconds": 0.2}
    assert record["mean"] == pytest.approx(means)
    assert record["std"]["dice"] == pytest.approx(2**0.5 / 10)
    assert record["std"]["hd95"] is None
    assert record["median"]["njd"] == 3
    assert record["worst30"]["dice"] == 0.6
    assert record["worst30"]["njd"] == 6
    assert record["count"]["dice"] == 2
    assert record["unit"] == "mm"
    assert record["labels"]["1"]["mean"]["dice_before"] == pytest.approx(0.55)
    assert record["labels"]["-2"]["mean"]["hd95"] == 2
    assert record["cases"][0]["per_label"]["1"] == {"dice_before": 0.4, "dice": 0.7}
    assert record["cases"][2]["dice"] is None
    assert record["cases"][1]["left_out"] == [5]
    assert record["provenance"] == {"regstudio": "1"}


@pytest.mark.parametrize("cases", [CASES, CASES[:1], CASES[2:], ()])
def test_json_has_no_nan_and_comes_back(cases: tuple[CaseScores, ...], tmp_path: Path) -> None:
    evaluation = Evaluation(method="m", cases=cases)
    text = json.dumps(to_json(evaluation), allow_nan=False)
    (tmp_path / "scores.json").write_text(text)
    read = read_evaluation(tmp_path / "scores.json")
    assert read.cases == evaluation.cases
    assert to_json(read) == json.loads(text)
    assert {"dice_before", "dice"} <= json.loads(text)["mean"].keys()


def test_a_summary_reads_well() -> None:
    assert to_text(EVALUATION).splitlines() == [
        "brains/best_model, 3 cases: mean ± sample standard deviation",
        "",
        "                   before          after  median  worst 30 %",
        "Dice        0.600 ± 0.141  0.700 ± 0.141   0.700       0.600",
        "  label -2          0.600          0.900   0.900       0.900",
        "  label 1   0.550 ± 0.212  0.650 ± 0.071   0.650       0.600",
        "HD95 (mm)            4.00           2.00    2.00        2.00",
        "  label -2           4.00           2.00    2.00        2.00",
        "  label 1               -              -       -           -",
        "",
        "NJD (pixels)      3.0 ± 3.0",
        "NJD (%)       0.300 ± 0.300",
        "Time (s)      0.200 ± 0.100",
        "",
        "A label that the fixed or the original moving image lacks is left out, as in Learn2Reg; one that the",
        "registration lost has a Dice of 0 and no surface distance.",
        "Left out: label 5 in 1 of 3 cases.",
        "Lost: label 1 in 1 of 3 cases.",
        "",
        "Lowest Dice  before  after  folded",
        "  b           0.700  0.600  0.60 %",
        "  a           0.500  0.800  0.00 %",
    ]


def test_the_affine_stage_has_a_column_where_there_is_one() -> None:
    case = CaseScores(id="a", unit="pixels", values={"ncc_before": 0.1, "ncc_affine": 0.2, "ncc": 0.3}, labels={})
    lines = to_text(Evaluation(method="m", cases=(case,))).splitlines()
    assert lines[2].split() == ["before", "affine", "after", "median", "worst", "30", "%"]
    assert lines[3].split() == ["NCC", "0.100", "0.200", "0.300", "0.300", "0.300"]


def test_of_many_labels_a_terminal_shows_dice_alone() -> None:
    labels = {label: {"dice": 0.5, "hd95": 1.0} for label in range(1, 36)}
    case = CaseScores(id="a", unit="mm", values={"dice": 0.5, "hd95": 1.0, "seconds": 1}, labels=labels)
    lines = to_text(Evaluation(method="m", cases=(case,))).splitlines()
    assert sum(line.startswith("  label ") for line in lines) == 35
    assert lines[lines.index("") + 2].startswith("Dice")


def test_cases_without_labels_say_so() -> None:
    text = to_text(Evaluation(method="m", cases=CASES[2:]))
    assert "No Dice: the fixed images or the cases have no labels to score." in text
    assert "Lowest" not in text
    assert to_text(Evaluation(method="m", cases=())) == "0 cases: there is nothing to evaluate."
    apart = CaseScores(id="a", unit="mm", values={"ncc": 0.5}, labels={}, left_out=(3,))
    assert "have no label in common" in to_text(Evaluation(method="m", cases=(apart,)))


def test_tables_of_two_methods(tmp_path: Path) -> None:
    other = Evaluation(method="none", cases=CASES[:1])
    write_tables(tmp_path / "out", [EVALUATION, other])

    def rows(name: str) -> list[dict[str, str]]:
        with (tmp_path / "out" / name).open(newline="") as file:
            return list(csv.DictReader(file))

    cases, labels, summary = rows("cases.csv"), rows("labels.csv"), rows("summary.csv")
    assert [(row["method"], row["id"]) for row in cases] == [
        *(("brains/best_model", name) for name in "abc"),
        ("none", "a"),
    ]
    assert list(cases[0])[:5] == ["method", "unit", "id", "dice_before", "dice"]
    assert (cases[0]["hd95"], cases[2]["dice"]) == ("2", "")
    assert [(row["id"], row["label"], row["dice"]) for row in labels[:3]] == [
        ("a", "1", "0.7"),
        ("a", "-2", "0.9"),
        ("b", "1", "0.6"),
    ]
    dice = next(row for row in summary if row["metric"] == "dice" and row["label"] == "")
    assert float(dice["mean"]) == pytest.approx(0.7)
    assert (dice["count"], dice["worst30"]) == ("2", "0.6")
    assert any(row["method"] == "none" and row["label"] == "1" for row in summary)


def test_a_comparison_reads_well() -> None:
    def evaluation(name: str, dice: float, step: float) -> Evaluation:
        cases = (CaseScores(id=str(n), unit="mm", values={"dice": dice + n * step}, labels={}) for n in range(6))
        return Evaluation(method=name, cases=tuple(cases))

    first, second = evaluation("syn", 0.5, 0), evaluation("best", 0.6, 0.01)
    assert comparison_text(first, second, compare(first, second)).splitlines() == [
        "best against syn, Wilcoxon's signed-rank test (two-sided) on 6 common cases",
        "",
        "        syn   best  median change       p",
        "Dice  0.500  0.625         +0.125  0.0312",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(25.0945, "25.09"), (0.1, "0.10"), (0.0250945, "0.0251"), (-0.00031, "-0.000310"), (0.0, "0.00"), (1e-9, "0.00")],
)
def test_small_distances_have_the_digits_that_they_need(value: float, text: str) -> None:
    """A picture from a microscope is some micrometres wide, and its distances are in mm."""
    metric = COLUMNS["hd95"]
    assert format_score(metric, value) == text
