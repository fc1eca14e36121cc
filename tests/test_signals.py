import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from regstudio import signals as module
from regstudio.signals import INTERRUPTED, StopSignals, end_while_importing


@pytest.fixture
def _python_handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_python_handlers")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_to_stop_and_says_so(number: int, capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(number)
    with StopSignals(message="Saving.") as signals:
        assert not signals.stop.is_set()
        os.kill(os.getpid(), number)
        assert signals.wait() == number
        assert signals.exit_code == 128 + number
        assert signal.getsignal(number) is before  # so that a second one ends the program
    assert signal.getsignal(number) is before
    assert capfd.readouterr().err == "\nSaving.\n"


@pytest.mark.usefixtures("_python_handlers")
def test_in_a_group_of_processes_every_signal_is_handled() -> None:
    with StopSignals(every=True) as signals:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == [signal.SIGTERM] * 2


@pytest.mark.usefixtures("_python_handlers")
def test_an_interrupt_that_python_could_not_pass_on_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_interrupts", [])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_while_importing()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    with StopSignals() as signals:
        assert signals.stop.is_set()
        assert signals.exit_code == INTERRUPTED


@pytest.mark.usefixtures("_python_handlers")
def test_where_ctrl_c_is_ignored_it_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_while_importing()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.slow
@pytest.mark.parametrize("imports", [1, 5, 40, 150, 400, 800, 1200])
def test_ctrl_c_while_the_program_imports_ends_it_without_a_traceback(demo: Path, tmp_path: Path, imports: int) -> None:
    """`imports` more modules are loaded, after those that take care of Ctrl-C."""
    data = ["--data_base_dir", str(demo), "--runs_dir", str(tmp_path), "--epochs", "3", "--device", "cpu"]
    command = [sys.executable, "-X", "importtime", "-m", "regstudio", "train", *data]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines: list[str] = []
        while not any("regstudio.signals" in line for line in lines):
            lines.append(process.stderr.readline())
        lines += [process.stderr.readline() for _ in range(imports)]
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) in (INTERRUPTED, 1)  # 1: Aborted, before there is a command
    said = [line for line in rest.splitlines() if not line.startswith("import time:")]
    assert not re.search("Traceback|Exception ignored", rest), said
    assert not [path for path in tmp_path.iterdir() if (path / "checkpoints" / "epoch_001.pt").exists()]
