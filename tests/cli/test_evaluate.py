import csv
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from regstudio.cli import main
from regstudio.data.pictures.formats import stem
from regstudio.networks.checkpoint import save_checkpoint
from tests.known_flows import constant_flow


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A network that leaves every image where it is."""
    path = tmp_path / "brains" / "checkpoints" / "best_model.pt"
    save_checkpoint(path, constant_flow(0, 0))
    return path


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", "--device", "cpu", *(str(argument) for argument in arguments)])


def test_scores_tables_and_where_they_come_from(checkpoint: Path, demo: Path, tmp_path: Path) -> None:
    out, tables = tmp_path / "scores.json", tmp_path / "tables"
    result = evaluate("--checkpoint", checkpoint, "--data_base_dir", demo, "--json", out, "--csv", tables)
    assert result.exit_code == 0, result.output
    record = json.loads(out.read_text())
    assert record["mean"]["dice"] == record["mean"]["dice_before"]
    assert {"njd_percent", "seconds"} <= record["mean"].keys()
    assert len(record["cases"]) == 2
    method, data = record["provenance"]["method"], record["provenance"]["data"]
    assert method["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert method["name"] == "brains/best_model"
    assert data["validation"] == [case["id"] for case in record["cases"]]
    assert len(data["train"]) == 4
    with (tables / "cases.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == data["validation"]
    for word in ("Dice", "HD95 (pixels)", "ASSD (pixels)", "NJD, one-sided (%)", "SSIM", "SDlogJ", "as in Learn2Reg"):
        assert word in result.stdout


@pytest.mark.slow
def test_without_a_checkpoint_the_general_method_is_measured(demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.json"
    result = evaluate("--data_base_dir", demo, "--baseline", "none", "--json", out)
    assert result.exit_code == 0, result.output
    record = json.loads(out.read_text())
    assert record["method"] == "general"
    assert record["mean"]["dice"] > record["mean"]["dice_before"] + 0.1
    assert "general, 2 cases" in result.stdout
    assert "none, 2 cases" in result.stdout
    assert "general against none" in result.stdout


@pytest.mark.slow
def test_methods_come_in_the_order_given_after_checkpoints_and_before_baselines(
    checkpoint: Path, demo: Path, tmp_path: Path
) -> None:
    data = ("--data_base_dir", demo, "--csv", tmp_path)

    def measured(*arguments: object) -> list[str]:
        result = evaluate(*data, *arguments)
        assert result.exit_code == 0, result.output
        with (tmp_path / "summary.csv").open(newline="") as file:
            return list(dict.fromkeys(row["method"] for row in csv.DictReader(file)))

    both = ("--baseline", "none", "--method", "affine", "--checkpoint", checkpoint)
    assert measured(*both) == ["brains/best_model", "affine", "none"]
    assert measured("--checkpoint", checkpoint) == ["brains/best_model"]
    assert measured("--method", "none", "--baseline", "none") == ["none"]


@pytest.mark.slow
def test_a_method_is_compared_with_an_earlier_evaluation(demo: Path, tmp_path: Path) -> None:
    first = tmp_path / "first.json"
    assert evaluate("--data_base_dir", demo, "--method", "none", "--json", first).exit_code == 0
    result = evaluate("--data_base_dir", demo, "--method", "affine", "--compare", first)
    assert result.exit_code == 0, result.output
    assert "affine against none" in result.stdout


def test_the_report_of_pairs_names_no_atlas_and_no_training(demo: Path, tmp_path: Path) -> None:
    for image in (demo / "validation_moving").iterdir():
        for folder, source in (("moving", image), ("fixed", next((demo / "fixed").iterdir()))):
            (tmp_path / "pairs" / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(source, tmp_path / "pairs" / folder / f"{stem(image)}{''.join(source.suffixes)}")
    files = ("--report", tmp_path / "report", "--figure", tmp_path / "cases.png")
    result = evaluate("--data_base_dir", tmp_path / "pairs", "--method", "none", *files)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "cases.png").is_file()
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "Registration report: none" in page
    assert "each registered to a fixed image of its own" in page
    assert "pairs: 2 cases" in page
    assert "train:" not in page


@pytest.mark.parametrize("flags", [("--affine", "auto"), ("--refine", "5"), ("--precision", "bfloat16")])
def test_flags_of_networks_are_refused_without_one(demo: Path, flags: tuple[str, str]) -> None:
    result = evaluate("--data_base_dir", demo, "--method", "none", *flags)
    assert result.exit_code == 2
    assert f"{flags[0]} is for networks" in result.output


def test_landmarks_beside_the_images_are_scored(checkpoint: Path, demo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(demo, folder)
    (folder / "fixed_points").mkdir()
    (folder / "validation_moving_points").mkdir()
    (folder / "fixed_points" / "atlas_points.csv").write_text("y,x\n10,10\n20,30\n")
    for image in (folder / "validation_moving").iterdir():
        (folder / "validation_moving_points" / f"{image.stem}_points.csv").write_text("y,x\n13,14\n23,34\n")
    out = tmp_path / "scores.json"
    result = evaluate("--checkpoint", checkpoint, "--data_base_dir", folder, "--json", out)
    assert result.exit_code == 0, result.output
    mean = json.loads(out.read_text())["mean"]
    assert mean["tre_before"] == 5
    assert mean["tre"] == pytest.approx(5, abs=1e-3)
    assert "TRE (pixels)" in result.stdout


def test_two_checkpoints_are_compared(checkpoint: Path, demo: Path, tmp_path: Path) -> None:
    first, other = tmp_path / "first.json", tmp_path / "other.pt"
    save_checkpoint(other, constant_flow(5, 5))
    assert evaluate("--checkpoint", checkpoint, "--data_base_dir", demo, "--json", first).exit_code == 0
    result = evaluate("--checkpoint", other, "--data_base_dir", demo, "--compare", first)
    assert result.exit_code == 0, result.output
    assert "other against brains/best_model, Wilcoxon's signed-rank test (two-sided) on 2 common cases" in result.stdout
    row = next(line for line in result.stdout.splitlines()[::-1] if line.startswith("Dice "))
    before, after, change, p = map(float, row.split()[1:])
    assert after < before
    assert change < 0
    assert p == 0.5  # all that two cases can say


@pytest.mark.parametrize("text", ["{}", "[1]", "no json", '{"method": "m", "unit": "mm", "cases": [{"dice": 1}]}'])
def test_a_file_that_is_no_evaluation(checkpoint: Path, demo: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    result = evaluate("--checkpoint", checkpoint, "--data_base_dir", demo, "--compare", path)
    assert result.exit_code == 1
    assert f"{path}: is no evaluation that this version reads" in result.output
    assert isinstance(result.exception, SystemExit)
    missing = evaluate("--checkpoint", checkpoint, "--data_base_dir", demo, "--compare", tmp_path / "none.json")
    assert "there is no such file" in missing.output


def test_a_bad_landmark_names_its_file(checkpoint: Path, demo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(demo, folder)
    (folder / "fixed_points").mkdir()
    (folder / "fixed_points" / "atlas_points.csv").write_text("y,x\n10,left\n")
    for image in (folder / "validation_moving").iterdir():
        (folder / "validation_moving" / f"{image.stem}_points.csv").write_text("y,x\n1,1\n")
    result = evaluate("--checkpoint", checkpoint, "--data_base_dir", folder)
    assert result.exit_code == 1
    assert "atlas_points.csv: line 2 holds 'left' where a number should be" in result.output
