import subprocess

import pytest

from regstudio.bench.beside import measure_beside


def test_a_step_is_timed_alone_and_beside_a_busy_process_that_ends_then(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[call-overload]
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    beside = measure_beside("voxelmorph", 32, 1, "cpu", 0.0)
    assert 0 < beside.alone < 60
    assert 0 < beside.busy < 60
    (process,) = started
    assert process.poll() is not None
