"""Which of the compiled kernels are used."""

import os
from pathlib import Path

import pytest
import torch

from regstudio.networks.kernels import library


def test_kernels_older_than_their_source_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built, source = tmp_path / "avx2.so", tmp_path / "gate.cpp"
    built.touch()
    source.touch()
    os.utime(built, (1, 1))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(library, "_path", lambda name: built)
    with pytest.warns(RuntimeWarning, match="older than its source"):
        assert library.built_for.__wrapped__() is None
    os.utime(source, (0, 0))
    assert library.built_for.__wrapped__() == "avx2"
