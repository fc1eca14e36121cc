"""Folders of pairs, evaluated, registered and trained on from the command line."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from regstudio.cli import main
from regstudio.data.pictures.formats import read_image
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.networks.checkpoint import save_checkpoint
from tests.known_flows import constant_flow
from tests.pictures import ids, ramp


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Two pairs whose moving images are the fixed ones, two pixels further down; the fixed images differ."""
    for name, shift in (("p1", 0.0), ("p2", 30.0)):
        for folder, image, label in (
            ("fixed", ramp(shift=shift), ids()),
            ("moving", lower(ramp(shift=shift)), lower(ids())),
        ):
            write_image(tmp_path / "data" / folder / f"{name}.png", image)
            write_label(tmp_path / "data" / f"{folder}_seg" / f"{name}_seg.png", label)
    return tmp_path / "data"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A network that moves every image up by two pixels."""
    path = tmp_path / "up.pt"
    save_checkpoint(path, constant_flow(2, 0))
    return path


def lower(array: np.ndarray) -> np.ndarray:
    """An array whose rows are two further down; the first one is repeated."""
    return np.pad(array[:-2], ((2, 0), (0, 0)), mode="edge")


def expected_dice() -> float:
    """Of the labels moved back: their last two rows come from outside."""
    fixed, warped = ids(), np.pad(ids()[:-2], ((0, 2), (0, 0)))
    shared = [((fixed == i) & (warped == i), fixed == i, warped == i) for i in (1, 2, 7)]
    return float(np.mean([2 * both.sum() / (one.sum() + other.sum()) for both, one, other in shared]))


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.slow
def test_evaluation_compares_each_image_with_its_own(pairs: Path, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.json"
    run("evaluate", "--device", "cpu", "--checkpoint", checkpoint, "--data_base_dir", pairs, "--json", out)
    record = json.loads(out.read_text())
    assert [case["id"] for case in record["cases"]] == ["p1", "p2"]
    assert record["mean"]["dice_before"] < 0.93
    assert record["mean"]["dice"] == pytest.approx(expected_dice())


def test_two_folders_are_registered_pair_by_pair(pairs: Path, checkpoint: Path, tmp_path: Path) -> None:
    out, folders = tmp_path / "out", [f"--fixed={pairs}/fixed", f"--moving={pairs}/moving"]
    labels = [f"--fixed_seg={pairs}/fixed_seg", f"--moving_seg={pairs}/moving_seg"]
    output = run("register", "--device", "cpu", "--checkpoint", checkpoint, *folders, *labels, "--out", out)
    for name in ("p1", "p2"):
        warped, fixed = (
            read_image(path).array for path in (out / f"{name}_warped.png", pairs / "fixed" / f"{name}.png")
        )
        np.testing.assert_allclose(warped[:-2], fixed[:-2], atol=1)
    with (out / "metrics.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [float(row["dice"]) for row in rows] == pytest.approx([expected_dice()] * 2)
    quality, worst = min((float(row["quality"]), row["id"]) for row in rows)
    assert f"Look at these first, the lowest quality (0 to 1): {worst} ({quality:.2f})" in output.output


@pytest.mark.slow
def test_a_training_on_pairs_validates_pairs(pairs: Path, tmp_path: Path) -> None:
    (pairs / "validation_moving").mkdir()
    (pairs / "validation_moving_seg").mkdir()
    (pairs / "moving" / "p2.png").rename(pairs / "validation_moving" / "p2.png")
    (pairs / "moving_seg" / "p2_seg.png").rename(pairs / "validation_moving_seg" / "p2_seg.png")
    run(
        *("train", "--data_base_dir", pairs, "--runs_dir", tmp_path / "runs", "--run_name", "pairs", "--epochs", 1),
        *("--device", "cpu", "--encoder_channels", 4, "--decoder_channels", 4, "--affine", "auto"),
    )
    events = [json.loads(line) for line in (tmp_path / "runs" / "pairs" / "events.jsonl").read_text().splitlines()]
    metrics = next(event["metrics"] for event in events if event["event"] == "EpochDone")
    assert 0.5 < metrics["dice_before"] < 0.95
    run(
        *("evaluate", "--checkpoint", tmp_path / "runs" / "pairs" / "checkpoints" / "best_model.pt"),
        *("--json", tmp_path / "scores.json", "--device", "cpu"),
    )
    scores = json.loads((tmp_path / "scores.json").read_text())["mean"]
    assert scores["dice"] == pytest.approx(metrics["dice"], abs=1e-6)


@pytest.mark.parametrize("way", ["folders", "table"])
def test_every_pair_of_a_data_folder_is_registered(pairs: Path, checkpoint: Path, tmp_path: Path, way: str) -> None:
    (pairs / "validation_moving").mkdir()
    write_image(pairs / "validation_moving" / "p1.png", lower(ramp(shift=0.0)))
    names = ["moving_p1", "p2", "validation_moving_p1"]
    if way == "table":
        rows = ["fixed/p2.png,moving/p2.png", "fixed/p1.png,moving/p1.png", "fixed/p1.png,moving/p2.png"]
        (pairs / "pairs.csv").write_text("\n".join(["fixed,moving", *rows]) + "\n")
        names = ["p1_to_p1", "p2_to_p1", "p2_to_p2"]
    run("register", "--device", "cpu", "--checkpoint", checkpoint, "--data_base_dir", pairs, "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("*_warped.png")) == [f"{n}_warped.png" for n in names]
    with (tmp_path / "out" / "metrics.csv").open(newline="") as table:
        rows_by_id = {row["id"]: row for row in csv.DictReader(table)}
    assert sorted(rows_by_id) == names
    warped, fixed = (
        read_image(path).array for path in (tmp_path / "out" / f"{names[-1]}_warped.png", pairs / "fixed" / "p1.png")
    )
    if way == "folders":
        np.testing.assert_allclose(warped[:-2], fixed[:-2], atol=1)
        assert float(rows_by_id["p2"]["dice"]) == pytest.approx(expected_dice())


def test_two_folders_are_paired_by_the_beginnings_of_names(pairs: Path, checkpoint: Path, tmp_path: Path) -> None:
    for name in ("p1", "p2"):
        (pairs / "moving" / f"{name}.png").rename(pairs / "moving" / f"{name}_late.png")
    folders = [f"--fixed={pairs}/fixed", f"--moving={pairs}/moving"]
    run("register", "--device", "cpu", "--checkpoint", checkpoint, *folders, "--out", tmp_path / "out")
    warped, fixed = (
        read_image(path).array for path in (tmp_path / "out" / "p2_late_warped.png", pairs / "fixed" / "p2.png")
    )
    np.testing.assert_allclose(warped[:-2], fixed[:-2], atol=1)
    result = CliRunner().invoke(
        main, ["register", "--device", "cpu", f"--checkpoint={checkpoint}", *folders, "--pair_by", "name", "--out", "x"]
    )
    assert result.exit_code == 1
    assert "holds no image of the same name" in result.output


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        ([], "Name images with --fixed and --moving, or a data folder with --data_base_dir"),
        (["--fixed", "a.png"], "Name images with --fixed and --moving"),
        (["--fixed", "a.png", "--moving", "b.png", "--data_base_dir", "c"], "--data_base_dir: name a data folder"),
        (["--data_base_dir", "none"], "there is no such folder"),
    ],
)
def test_what_is_registered_is_said_once(flags: list[str], what: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["register", "--method", "affine", "--out", str(tmp_path), *flags])
    assert result.exit_code in (1, 2)
    assert what in result.output.replace("\n", " ")
