import os
import subprocess
import sys
from pathlib import Path

import pytest

from regstudio.waiting import QUIET_SECONDS, SET_BY_USER, TASKS, Choice, RunDelays

UNSET = {name: value for name, value in os.environ.items() if name not in SET_BY_USER}
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def write_task(tasks: Path, name: str, waited: float) -> None:
    (tasks / name).mkdir(exist_ok=True)
    (tasks / name / "schedstat").write_text(f"123456 {waited * 1e9:.0f} 78\n")


def test_the_delays_of_all_threads_are_added_up_from_one_look_to_the_next(tmp_path: Path) -> None:
    write_task(tmp_path, "1", 5.0)
    delays = RunDelays(tmp_path)
    assert delays.seconds() == 5.0
    write_task(tmp_path, "1", 5.25)
    write_task(tmp_path, "2", 0.5)
    assert delays.seconds() == 0.75
    (tmp_path / "1" / "schedstat").unlink()  # the thread has ended
    assert delays.seconds() == 0


@pytest.mark.parametrize("content", ["", "what is this", "1"])
def test_a_system_that_does_not_tell_is_known(tmp_path: Path, content: str) -> None:
    assert RunDelays(tmp_path / "none").seconds() is None
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "schedstat").write_text(content)
    assert RunDelays(tmp_path).seconds() is None


def test_threads_sleep_from_the_first_busy_look_until_it_was_quiet_for_a_while() -> None:
    choice = Choice()
    assert not choice.look(0.1, 0.5)  # little is no reason
    assert choice.look(0.25, 0.5)
    assert choice.look(0.1, 0.5)  # nor is it quiet
    looks = [choice.look(0.0, 0.5) for _ in range(int(QUIET_SECONDS / 0.5))]
    assert looks == [True] * (len(looks) - 1) + [False]


WAITING = """
import time, torch
from regstudio.waiting import SleepingTeam, _loaded_libraries

torch.set_num_threads(2)
ones = torch.ones(10**5)

def cpu_seconds():
    started = time.process_time()
    for _ in range(40):
        ones.add(1)  # by two threads, of which one then waits for the next
        time.sleep(0.002)
    return time.process_time() - started

team = SleepingTeam()
cpu_seconds()
awake = cpu_seconds()
team.hold(True)
cpu_seconds()
asleep = cpu_seconds()
team.hold(False)
cpu_seconds()
print(len(_loaded_libraries()), awake, asleep, cpu_seconds(), torch.get_num_threads())
"""


@pytest.mark.skipif(CORES < 2, reason="one thread waits for nobody")
def test_threads_sleep_while_the_team_is_there_and_are_as_many_as_before() -> None:
    done = subprocess.run([sys.executable, "-c", WAITING], env=UNSET, capture_output=True, text=True, check=True)
    libraries, awake, asleep, again, threads = map(float, done.stdout.split())
    if not libraries:
        pytest.skip("this torch has another OpenMP")
    assert asleep < awake / 2
    assert asleep < again / 2
    assert threads == 2


@pytest.mark.skipif(not TASKS.exists(), reason="this system does not tell how long threads wait for a core")
@pytest.mark.parametrize(("extra", "watched"), [({}, True), ({"GOMP_SPINCOUNT": "7"}, False)])
def test_the_program_watches_the_load_unless_the_user_chose(extra: dict[str, str], watched: bool) -> None:
    code = (
        "import sys, threading, regstudio.__main__ as program; sys.argv[1:] = ['--help']\n"
        "try: program.main()\n"
        "finally: print('load watch' in [thread.name for thread in threading.enumerate()], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=UNSET | extra, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == f"{watched} False"
