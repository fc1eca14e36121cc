"""Half precision on the command line: a little different, and never taken for the other."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from regstudio.cli import main


def regstudio(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.slow
def test_training_and_registering_in_bfloat16(demo: Path, tmp_path: Path) -> None:
    settings = ("--encoder_channels", 2, "--decoder_channels", 4, "--lr", 1e-3, "--epochs", 2, "--device", "cpu")
    place = ("--data_base_dir", demo, "--runs_dir", tmp_path, "--run_name", "half")
    assert regstudio("train", *place, *settings, "--precision", "bfloat16").exit_code == 0
    epochs = [
        event
        for line in (tmp_path / "half" / "events.jsonl").read_text().splitlines()
        if (event := json.loads(line))["event"] == "EpochDone"
    ]
    assert epochs[1]["losses"]["loss"] < epochs[0]["losses"]["loss"]

    best, out = tmp_path / "half" / "checkpoints" / "best_model.pt", tmp_path / "out"
    files = ("--fixed", demo / "fixed" / "atlas.png", "--moving", demo / "validation_moving", "--out", out)
    flows = []
    for precision in ("float32", "bfloat16"):
        result = regstudio("register", "--checkpoint", best, *files, "--precision", precision, "--device", "cpu")
        assert result.exit_code == 0
        assert "before" not in result.output.splitlines()[-1]  # nothing was taken for done
        flows.append(np.load(sorted(out.glob("*_flow.npy"))[0]))
    assert not np.array_equal(*flows)
    assert np.abs(flows[0] - flows[1]).max() == pytest.approx(0, abs=0.1)
    result = regstudio(
        "evaluate", "--checkpoint", best, "--precision", "bfloat16", "--baseline", "none", "--device", "cpu"
    )
    assert result.exit_code == 0
    assert "best_model in bfloat16" in result.output
