import os
import signal

import pytest

from regstudio.signals import StopSignals


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
