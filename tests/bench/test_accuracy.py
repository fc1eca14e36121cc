"""Methods compared on several data sets: what is measured, what is left out, and how it is written."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from regstudio.bench.accuracy import Accuracy, LeftOut, chosen, compare_accuracy
from regstudio.bench.accuracy_tables import panels, to_json, to_markdown
from regstudio.bench.contenders import CONTENDERS, ByName, Made, Workshop
from regstudio.cli import main
from regstudio.config.presets import PRESETS, Preset
from regstudio.data.folders.layout import DataIndex
from regstudio.data.pairs.pair import Pair
from regstudio.data.pictures.writing import write_image
from regstudio.errors import ConfigError, DataError
from regstudio.methods import BASELINES, Tool
from regstudio.methods.method import Unregistered
from regstudio.transforms.transform import Transform
from tests.pictures import ramp
from tests.training.whole_training import QUICK


class Shift(Unregistered):
    """Moves every image by the same two numbers of pixels, in half a second."""

    def __init__(self, dy: float, dx: float) -> None:
        self._flow = dy, dx

    def __call__(self, pair: Pair) -> Transform:
        flow = np.broadcast_to(np.float32(self._flow)[:, None, None], (2, *pair.fixed.shape))
        return Transform(flow=np.ascontiguousarray(flow), seconds=0.5)


class Shifting:
    """A contender of `Shift`; without numbers, one that fails."""

    def __init__(self, *flow: float) -> None:
        self.title, self._flow = f"shifted by {flow}", flow

    def check(self) -> None:
        pass

    def make(self, workshop: Workshop, index: DataIndex) -> Made:
        if not self._flow:
            raise DataError("it has no\nnumbers")
        return Made(method=Shift(*self._flow))


@pytest.fixture
def points(tmp_path: Path) -> Path:
    """Three pairs with landmarks that lie 5, 5 and 10 pixels apart, as (3, 4), (3, 4) and (6, 8)."""
    for number, far in enumerate((1, 1, 2)):
        for folder, landmark in (("fixed", (10, 10)), ("moving", (10 + 3 * far, 10 + 4 * far))):
            write_image(tmp_path / "points" / folder / f"p{number}.png", ramp(shift=number))
            table = tmp_path / "points" / f"{folder}_points" / f"p{number}_points.csv"
            table.parent.mkdir(exist_ok=True)
            table.write_text("y,x\n{},{}\n".format(*landmark))
    return tmp_path / "points"


def rows(found: list[Accuracy | LeftOut]) -> dict[tuple[str, str], Accuracy]:
    return {(row.data, row.method): row for row in found if isinstance(row, Accuracy)}


def test_landmarks_are_measured_by_their_distance_on_all_pairs(points: Path) -> None:
    methods = {"none": Shifting(0, 0), "right": Shifting(3, 4), "left": Shifting(-3, -4)}
    found = rows(list(compare_accuracy([points], methods, device="cpu")))
    before, right, left = (found["points", name] for name in methods)
    assert before.measure == "TRE (pixels)"
    assert (before.mean, before.worst30, before.worse) == pytest.approx((20 / 3, 10, 0))
    assert (right.mean, right.worst30, right.worse) == pytest.approx((5 / 3, 5, 0))
    assert (left.mean, left.worse) == pytest.approx((35 / 3, 1))
    assert right.values == pytest.approx((0, 0, 5))
    assert right.ids == ("p0", "p1", "p2")
    assert (right.seconds, right.folds_percent, right.training_seconds) == (0.5, 0, None)


def test_labels_are_measured_by_dice_on_the_first_cases(demo: Path) -> None:
    (found,) = compare_accuracy([demo], {"none": CONTENDERS["none"]}, cases=1, device="cpu")
    assert isinstance(found, Accuracy)
    assert found.measure == "Dice"
    assert len(found.values) == 1
    assert 0 < found.mean < 1


def test_what_fails_is_one_line_and_the_rest_goes_on(points: Path, tmp_path: Path) -> None:
    methods = {"broken": Shifting(), "none": CONTENDERS["none"], "missing": ByName("magic", "magic")}
    found = list(compare_accuracy([tmp_path / "nowhere", points], methods, device="cpu"))
    missing, nowhere, broken = (str(entry) for entry in found if isinstance(entry, LeftOut))
    assert missing.startswith("missing: left out: There is no method 'magic'")
    assert nowhere.startswith("nowhere: left out: ")
    assert broken == "points, broken: left out: it has no numbers"
    assert rows(found).keys() == {("points", "none")}


def test_a_tool_that_is_not_installed_is_said_once(points: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BASELINES, "syn", Tool("antspyx", "no_such_module"))
    found = list(compare_accuracy([points, points], chosen(["syn", "none"]), device="cpu"))
    (left_out,) = (str(entry) for entry in found if isinstance(entry, LeftOut))
    assert left_out.startswith("syn: left out: ")
    assert "antspyx, which is not installed" in left_out


def test_pairs_without_a_training_part_train_no_network(points: Path) -> None:
    (left_out,) = compare_accuracy([points], chosen(["fast"]), device="cpu")
    assert str(left_out) == ("points, fast: left out: there are no images to train on beside those that are measured")


@pytest.mark.slow
def test_a_preset_is_trained_once_and_its_last_network_measured(
    demo: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    monkeypatch.setitem(
        PRESETS, "fast", Preset(purpose="a test", values=QUICK | {"affine": "auto", "epochs": 1, "total_steps": 4})
    )
    found = rows(list(compare_accuracy([demo], chosen(["fast", "fast-refined"]), cases=1, device="cpu")))
    plain, refined = found[demo.name, "fast"], found[demo.name, "fast-refined"]
    assert plain.training_seconds == refined.training_seconds  # to the last digit: it is one training
    assert plain.training_seconds is not None
    assert plain.training_seconds > 0
    assert not own_cache.exists()


def test_methods_come_in_the_order_of_the_table() -> None:
    assert list(chosen(["general", "none"])) == ["none", "general"]
    assert list(chosen([])) == list(CONTENDERS)
    with pytest.raises(ConfigError, match=r"'magic'.*none, affine"):
        chosen(["magic"])


def example() -> list[Accuracy]:
    def row(method: str, data: str, column: str, mean: float) -> Accuracy:
        measure = {"dice": "Dice", "tre": "TRE (pixels)"}[column]
        worst = mean - 0.1 if column == "dice" else mean + 1
        same = {"worse": 0.5, "folds_percent": 0.0, "seconds": 0.25, "training_seconds": None, "ids": ("a", "b")}
        names = {"data": data, "method": method, "title": method, "measure": measure, "column": column}
        return Accuracy(**names, mean=mean, worst30=worst, values=(mean, None), **same)

    lungs = [row("none", "lungs", "dice", 0.8), row("ours", "lungs", "dice", 0.9)]
    return [*lungs, row("none", "skulls", "tre", 12.0), row("ours", "skulls", "tre", 4.0)]


def test_the_markdown_has_the_best_in_bold_and_every_line() -> None:
    text = to_markdown(example()[:3], [LeftOut(data="skulls", method="ours", reason="it broke")])
    lines = text.splitlines()
    assert lines[0] == "| method | lungs, Dice | skulls, TRE (pixels) |"
    assert "| ours | **0.900** | - |" in lines
    assert "| none | 0.800 | **12.00** |" in lines
    assert "| lungs | ours | Dice | 2 | 0.900 | 0.800 | 50% | 0.000 % | 0.25 |  |" in lines
    assert lines[-1] == "- skulls, ours: left out: it broke"


def test_json_holds_the_value_of_each_case() -> None:
    record = json.loads(json.dumps(to_json(example(), []), allow_nan=False))
    assert record["rows"][1]["values"] == [0.9, None]
    assert record["rows"][1]["ids"] == ["a", "b"]


def test_a_picture_has_a_panel_a_set() -> None:
    lungs, skulls = panels(example())
    assert (lungs.title, lungs.higher_is_better) == ("lungs, Dice", True)
    assert (skulls.title, skulls.higher_is_better) == ("skulls, TRE (pixels)", False)
    assert [(dot.name, dot.mean, dot.worst) for dot in skulls.dots] == [("none", 12, 13), ("ours", 4, 5)]


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["bench", *(str(argument) for argument in arguments)])


@pytest.mark.slow
def test_the_command_prints_a_line_each_and_writes_the_files(points: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / f"out.{name}" for name in ("json", "md", "png")}
    wanted = ("--json", files["json"], "--markdown", files["md"], "--figure", files["png"])
    result = bench("--accuracy", points, "--methods", "none, fast", "--device", "cpu", *wanted)
    assert result.exit_code == 0, result.output
    assert "torch" in result.stdout
    assert result.stdout.splitlines()[-1].split()[:4] == ["points", "not", "registered", "TRE"]
    assert "points, fast: left out" in result.stderr
    record = json.loads(files["json"].read_text())
    assert record["machine"]["threads"] > 0
    assert [row["method"] for row in record["rows"]] == ["none"]
    assert [entry["method"] for entry in record["left_out"]] == ["fast"]
    assert "| points | not registered | TRE (pixels) | 3 |" in files["md"].read_text()
    with Image.open(files["png"]) as picture:
        assert picture.width > 400


@pytest.mark.slow
def test_nothing_measured_is_a_failure(tmp_path: Path) -> None:
    result = bench("--accuracy", tmp_path / "nowhere", "--methods", "none")
    assert result.exit_code == 1
    assert "nowhere: left out" in result.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--accuracy"], "--accuracy needs data folders"),
        (["--accuracy", "data", "--size", "64"], "--size goes without --accuracy"),
        (["--accuracy", "data", "--seconds", "0"], "--seconds goes without --accuracy"),
        (["--cases", "3"], "--cases goes with --accuracy"),
        (["data"], "a data folder goes with --accuracy"),
    ],
)
def test_flags_of_the_other_kind_are_refused(flags: list[str], words: str) -> None:
    result = bench(*flags)
    assert result.exit_code == 2
    assert words in result.output
