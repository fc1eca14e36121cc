import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from regstudio.cli import bench, main
from regstudio.training import measuring


def regstudio(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def _little_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "READ_IMAGES", 2)
    monkeypatch.setattr(bench, "WAITED_FOR", 2)


def test_it_tells_times_rates_and_memory_and_keeps_them(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    options = ("--size", 32, "--batch_size", 1, "--batch_size", 2, "--network", "corrmlp", "--seconds", 0)
    result = regstudio("bench", *options, "--device", "cpu", "--json", file)
    assert result.exit_code == 0
    for word in ("GFLOP/s in float32", "corrmlp", "peak MB", ".nii.gz", "Waiting for images"):
        assert word in result.stdout
    content = json.loads(file.read_text())
    one, two = content["networks"]
    assert (one["batch_size"], two["batch_size"]) == (1, 2)
    # A step is the registration, and backward about twice that; the fixed image is encoded once for both batches.
    assert 2.5 < one["step_flops"] / one["registration_flops"] < 3.1
    assert 1.8 < two["registration_flops"] / one["registration_flops"] < 2
    assert one["peak_bytes"] > 50e6
    assert [read["ending"] for read in content["reading"]][:2] == [".png", ".jpg"]
    assert 0 <= content["waiting_share"] < 1


def test_what_would_not_fit_in_memory_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "memory_of", lambda _: 10**8)
    options = ("--size", 32, "--size", 40, "--batch_size", 1, "--network", "corrmlp", "--seconds", 0)
    result = regstudio("bench", *options, "--device", "cpu")
    assert result.exit_code == 0
    assert "not measured: it takes about" in result.stdout
