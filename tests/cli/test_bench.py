import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from regstudio.bench import steps as measuring
from regstudio.cli import bench, main


def regstudio(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def _little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "READING_IMAGES", 2)
    monkeypatch.setattr(bench, "WAITING_IMAGES", 2)
    monkeypatch.setattr(measuring, "memory_of", lambda _: 10**8)


@pytest.mark.slow
def test_it_tells_times_rates_and_memory_and_tries_nothing_that_would_not_fit(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    options = ("--size", 32, "--size", 40, "--batch_size", 1, "--network", "corrmlp", "--seconds", 0)
    earlier = {
        "network": "corrmlp",
        "precision": "float32",
        "size": 32,
        "batch_size": 1,
        "step": 1e9,
        "registration": 1e9,
    }
    before = tmp_path / "before.json"
    before.write_text(json.dumps({"networks": [{**earlier, "registration": 1e9}]}))
    result = regstudio("bench", *options, "--device", "cpu", "--json", file, "--compare", before)
    assert result.exit_code == 0
    assert "0.00           0.00" in result.stdout.partition("As a share of the earlier time")[2]
    assert "own kernels for " in result.stdout or "torch's operators alone" in result.stdout
    for word in (" threads, ", "; torch ", "GFLOP/s in float32", "corrmlp", "peak MB", ".nii.gz", "Waiting for images"):
        assert word in result.stdout
    assert "not measured: it takes about" in result.stdout
    content = json.loads(file.read_text())
    (speed,) = content["networks"]
    # A step is a registration and its backward pass, which is about twice that.
    assert 2.5 < speed["step_flops"] / speed["registration_flops"] < 3.1
    assert speed["peak_bytes"] > 50e6
    assert [read["ending"] for read in content["reading"]][:2] == [".png", ".jpg"]
    assert 0 <= content["waiting_share"] < 1


@pytest.mark.parametrize("content", ["[]", '{"networks": [{"size": "large"}]}', "no JSON"])
def test_an_earlier_benchmark_is_one(tmp_path: Path, content: str) -> None:
    (tmp_path / "before.json").write_text(content)
    result = regstudio("bench", "--compare", tmp_path / "before.json")
    assert result.exit_code == 1
    assert "before.json" in result.stderr
    assert "Name a file that `regstudio bench --json` wrote" in result.stderr
