import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from regstudio.cli import main
from regstudio.config import TrainConfig, build_config
from regstudio.errors import ConfigError, RunError
from regstudio.runs.sweep import Sweep, outcomes, plan_sweep, read_sweep, summaries_in, to_rows, values_of
from tests.training.whole_training import QUICK

Configs = Callable[..., TrainConfig]


def test_a_sweep_makes_a_run_for_each_combination() -> None:
    sweep, configs = plan_sweep("s", build_config({"epochs": 3}), {"grad_weight": ["0.5", "1", "1.0"], "passes": ["1"]})
    assert sweep.runs == {"s_grad_weight=0.5_passes=1": ("0.5", "1"), "s_grad_weight=1_passes=1": ("1", "1")}
    assert [config.loss.grad_weight for config in configs] == [0.5, 1]
    assert {config.optimisation.epochs for config in configs} == {3}
    assert [config.run.run_name for config in configs] == list(sweep.runs)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("data_base_dir", "a,b", "no setting that a sweep can vary"),
        ("nothing", "1,2", "no setting that a sweep can vary"),
        ("lr", " , ", "has no values"),
    ],
)
def test_what_cannot_be_varied_is_refused(name: str, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        values_of(name, text)


def test_values_out_of_bounds_and_too_many_runs_are_refused() -> None:
    with pytest.raises(ConfigError, match="grad_weight is -1"):
        plan_sweep("s", build_config({}), {"grad_weight": ["-1"]})
    with pytest.raises(ConfigError, match="these would be 64"):
        plan_sweep("s", build_config({}), {"lr": ["1"] * 8, "seed": ["1"] * 8})


def test_the_table_holds_what_is_known_by_now(tmp_path: Path) -> None:
    sweep = Sweep(settings=("lr",), runs={"s_lr=1": ("1",)})
    assert to_rows(sweep, outcomes(sweep, summaries_in(tmp_path))) == [
        ["run", "lr", "state", "Dice", "folds %", "seconds"],
        ["s_lr=1", "1", "not yet", "", "", ""],
    ]
    with pytest.raises(RunError, match="holds no sweep"):
        read_sweep(tmp_path)


def test_the_command_trains_all_writes_table_and_plot_and_goes_on_where_it_was(demo: Path, tmp_path: Path) -> None:
    values = {**QUICK, "epochs": 1, "batch_size": 4, "grad_weight": "0.1,5", "run_name": "s"}
    line = ["sweep", *(word for name, value in values.items() for word in (f"--{name}", str(value)))]
    line += ["--data_base_dir", str(demo), "--runs_dir", str(tmp_path)]
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "s_sweep"
    heads, *rows = csv.reader((folder / "table.csv").read_text().splitlines())
    assert heads == ["run", "grad_weight", "state", "Dice", "folds %", "seconds"]
    assert [row[:3] for row in rows] == [["s_grad_weight=0.1", "0.1", "finished"], ["s_grad_weight=5", "5", "finished"]]
    assert all(0 < float(row[3]) <= 1 for row in rows)
    assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert read_sweep(folder).settings == ("grad_weight",)
    again = CliRunner().invoke(main, line)
    assert again.output.count("which is done") == 2
    refused = CliRunner().invoke(main, ["sweep", "--grad_weight", "1"])
    assert "varies at least one setting" in refused.output
