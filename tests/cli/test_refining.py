"""--refine and --affine of `regstudio register` and `regstudio evaluate`."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from regstudio.cli import main
from regstudio.methods.network import load_method
from regstudio.networks.checkpoint import save_checkpoint
from tests.known_flows import constant_flow

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A network that leaves every image where it is."""
    path = tmp_path / "brains" / "checkpoints" / "best_model.pt"
    save_checkpoint(path, constant_flow(0, 0))
    return path


def regstudio(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(main, [command, "--device", "cpu", *(str(argument) for argument in arguments)])


def register(checkpoint: Path, demo: Path, out: Path, *arguments: object) -> Result:
    files = ["--fixed", demo / "fixed" / "atlas.png", "--fixed_seg", demo / "fixed_seg" / "atlas_seg.png"]
    files += ["--moving", demo / "validation_moving", "--moving_seg", demo / "validation_moving_seg"]
    result = regstudio("register", "--checkpoint", checkpoint, *files, "--out", out, *arguments)
    assert result.exit_code == 0, result.output
    return result


def table(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "metrics.csv").read_text(encoding="utf-8").splitlines()))


@pytest.mark.slow
def test_register_refines_and_says_what_it_brought(checkpoint: Path, demo: Path, tmp_path: Path) -> None:
    register(checkpoint, demo, tmp_path / "plain")
    result = register(checkpoint, demo, tmp_path / "refined", "--refine", 20)
    assert "dice_unrefined" in result.output
    assert not any("refine" in name for name in table(tmp_path / "plain")[0])
    for before, after in zip(table(tmp_path / "plain"), table(tmp_path / "refined"), strict=True):
        assert after["dice_unrefined"] == before["dice"]
        assert after["ncc_unrefined"] == before["ncc"]
        assert float(after["ncc"]) > float(before["ncc"]) + 0.02
        assert float(after["refine_seconds"]) > 0
    flows = [np.load(next((tmp_path / name).glob("*_flow.npy"))) for name in ("plain", "refined")]
    assert abs(flows[0]).max() == 0
    assert abs(flows[1]).max() > 0.5


@pytest.mark.slow
def test_register_repeats_cases_done_with_other_settings(checkpoint: Path, demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    register(checkpoint, demo, out)
    assert "2 of them before" in register(checkpoint, demo, out).output
    assert "of them before" not in register(checkpoint, demo, out, "--refine", 2).output
    assert "2 of them before" in register(checkpoint, demo, out, "--refine", 2).output
    assert "of them before" not in register(checkpoint, demo, out, "--refine", 2, "--affine", "auto").output


@pytest.mark.slow
def test_register_refines_velocity_fields_unless_told_otherwise(demo: Path, tmp_path: Path) -> None:
    svf = tmp_path / "svf.pt"
    still = constant_flow(0, 0)
    save_checkpoint(svf, replace(still, network={**still.network, "transform": "svf"}))
    for name, arguments in (("auto", ()), ("none", ("--refine", 0))):
        register(svf, demo, tmp_path / name, *arguments)
    for before, after in zip(table(tmp_path / "none"), table(tmp_path / "auto"), strict=True):
        assert not any("refine" in name for name in before)
        assert [after[f"{name}_unrefined"] for name in ("dice", "ncc")] == [before[name] for name in ("dice", "ncc")]
        assert float(after["ncc"]) > float(before["ncc"]) + 0.02
    result = regstudio("evaluate", "--checkpoint", svf, "--data_base_dir", demo, "--refine", "auto")
    assert re.search(r"Refined: Dice 0\.\d+ -> 0\.\d+, NCC", result.stdout), result.output


@pytest.mark.slow
@pytest.mark.parametrize("affine", ["auto", "none"])
def test_register_aligns_if_asked(checkpoint: Path, demo: Path, tmp_path: Path, affine: str) -> None:
    register(checkpoint, demo, tmp_path / "out", "--affine", affine)
    flow = np.load(next((tmp_path / "out").glob("*_flow.npy")))
    assert (abs(flow).max() > 0.1) == (affine == "auto")


@pytest.mark.slow
def test_evaluate_says_what_refining_brought_and_cost(checkpoint: Path, demo: Path, tmp_path: Path) -> None:
    command = ["--checkpoint", checkpoint, "--data_base_dir", demo, "--json"]
    plain = regstudio("evaluate", *command, tmp_path / "plain.json")
    refined = regstudio("evaluate", *command, tmp_path / "refined.json", "--refine", 20)
    assert (plain.exit_code, refined.exit_code) == (0, 0), refined.output
    assert "Refined" not in plain.stdout
    scores = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("plain", "refined")]
    before, after = (record["mean"] for record in scores)
    assert after["ncc"] > before["ncc"] + 0.02
    line = next(line for line in refined.stdout.splitlines() if line.startswith("Refined by 20 steps"))
    gain = re.search(r"Dice (\S+) -> (\S+), NCC (\S+) -> (\S+), for (\S+) s a pair", line)
    assert gain is not None
    dice_before, dice, ncc_before, ncc, seconds = map(float, gain.groups())
    assert dice_before == pytest.approx(before["dice"], abs=1e-4)
    assert dice == pytest.approx(after["dice"], abs=1e-4)
    assert (ncc_before, ncc) == pytest.approx((before["ncc"], after["ncc"]), abs=1e-4)
    assert 0 <= seconds <= after["seconds"] + 0.01
    assert scores[1]["method"] == "brains/best_model refined by 20"
    method = scores[1]["provenance"]["method"]
    assert (method["refine"], method["affine"]) == (20, "none")


@pytest.mark.slow
def test_evaluate_measures_the_affine_stage_too(checkpoint: Path, demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.json"
    result = regstudio(
        "evaluate", "--checkpoint", checkpoint, "--data_base_dir", demo, "--affine", "auto", "--json", out
    )
    assert result.exit_code == 0, result.output
    record = json.loads(out.read_text())
    # The network adds nothing, so that all of the gain is the affine map's.
    assert record["mean"]["dice"] == record["mean"]["dice_affine"] != record["mean"]["dice_before"]
    assert record["provenance"]["method"]["affine"] == "auto"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--refine", -1], "-1"), (["--refine", "much"], "much"), (["--affine", "maybe"], "'maybe'")],
)
@pytest.mark.parametrize("command", ["register", "evaluate"])
def test_mistakes_are_named(command: str, arguments: list[object], message: str) -> None:
    result = regstudio(command, *arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_without_a_flag_a_checkpoint_is_used_as_it_was_trained(checkpoint: Path) -> None:
    assert load_method(checkpoint, "cpu").provenance["affine"] == "none"
