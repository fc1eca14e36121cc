import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from regstudio.runs.events import StepDone
from regstudio.runs.run import Run
from regstudio.ui.launch import main
from tests.browser import unused_port

LAUNCH = Path(__file__).resolve().parents[2] / "launch.py"
PATIENCE = 60


class Launched:
    """`python launch.py` as a process, and what it prints."""

    def __init__(self, folder: Path, *flags: str, program: Path = LAUNCH) -> None:
        self.port = unused_port()
        self.output = folder / "output.txt"
        command = [sys.executable, str(program), "--no-browser", "--runs_dir", str(folder / "runs"), *flags]
        if "--port" not in flags:
            command += ["--port", str(self.port)]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )

    def says(self, pattern: str) -> str:
        """Wait until it has printed the pattern; return what the pattern's group holds."""
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            found = re.search(pattern, self.output.read_text())
            if found:
                return found[1]
            assert self.process.poll() is None, self.output.read_text()
            time.sleep(0.05)
        raise AssertionError(self.output.read_text())


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[object]:
    started: list[Launched] = []

    def start(*flags: str, **program: Path) -> Launched:
        started.append(Launched(tmp_path, *flags, **program))
        return started[-1]

    yield start
    for launched in started:
        if launched.process.poll() is None:
            launched.process.kill()
            launched.process.wait()


@pytest.mark.slow
def test_the_demo_trains_with_the_quick_setting_and_a_signal_saves_it_and_ends(launch):
    launched = launch("--demo")
    run = Run(Path(launched.says(r"Training on the demo data: (.+)\n")))
    assert (run.config().optimisation.epochs, run.config().optimisation.lr) == (10, 1e-3)
    wait_until(lambda: any(isinstance(event, StepDone) for event in run.events()))
    launched.process.send_signal(signal.SIGINT)
    assert launched.process.wait(PATIENCE) == 130
    assert run.last_path.is_file()
    assert run.events()[-1].reason == "stopped"
    assert "Stopped." in launched.output.read_text()


@pytest.mark.slow
def test_a_port_in_use_gives_way_to_the_next_and_a_signal_ends_at_once_what_does_not_train(launch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        launched = launch("--port", str(port))
        assert launched.says(r"in use; taking (\d+)") != str(port)
        assert httpx.get(launched.says(r"RegStudio: (http\S+)")).status_code == 200
    launched.process.send_signal(signal.SIGTERM)
    assert launched.process.wait(PATIENCE) == 143


@pytest.mark.slow
def test_the_whole_studio_is_shared_behind_a_password_and_with_a_warning(launch, tmp_path):
    """And the page does not wait for torch: tabs import it, and what imports it, where they use it."""
    frpc, program = tmp_path / "frpc", tmp_path / "program.py"
    frpc.write_text("#!/bin/sh\necho 'start proxy success: http://fake.example'\nexec sleep 60\n")
    frpc.chmod(0o755)
    program.write_text(
        "import sys, gradio.networking, gradio.tunneling, regstudio.ui.app, regstudio.ui.launch\n"
        "print('loaded too early:', [name for name in ('torch', 'matplotlib') if name in sys.modules], flush=True)\n"
        f"gradio.tunneling.BINARY_PATH = {str(frpc)!r}\n"
        "gradio.networking.GRADIO_SHARE_SERVER_ADDRESS = '127.0.0.1:1'\n"
        "regstudio.ui.launch.main()\n"
    )
    launched = launch("--share-studio", program=program)
    assert launched.says(r"loaded too early: (.*)") == "[]"
    launched.says(r"whole studio.*(https://fake\.example)")
    url, password = launched.says(r"RegStudio: (http\S+)"), launched.says(r"User regstudio, password (\S+)")
    assert "Warning: whoever has the password can train" in launched.output.read_text()
    assert httpx.get(url + "config").status_code == 401
    with httpx.Client() as client:
        client.post(url + "login", data={"username": "regstudio", "password": password})
        assert client.get(url + "config").status_code == 200
    launched.process.send_signal(signal.SIGTERM)
    assert launched.process.wait(PATIENCE) == 143


def test_processes_that_load_images_open_no_second_page(monkeypatch):
    """A spawned process imports the file that was started, under this name."""
    opened = []
    monkeypatch.setattr("regstudio.__main__.studio", lambda: opened.append(1))
    runpy.run_path(str(LAUNCH), run_name="__mp_main__")
    assert not opened
    runpy.run_path(str(LAUNCH), run_name="__main__")
    assert opened


def test_only_requests_that_name_this_machine_are_answered(untouched_server):
    assert httpx.get(untouched_server.url).status_code == 200
    assert httpx.get(untouched_server.url, headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("path", ["openapi.json", "docs", "redoc"])
def test_the_description_of_the_interface_is_closed(untouched_server, path):
    assert "swagger" not in httpx.get(untouched_server.url + path).text.lower()


@pytest.mark.browser
def test_the_page_opens_with_its_tabs_which_say_what_to_do(untouched_server, page):
    page.goto(untouched_server.url)
    for name in ("Data", "Train", "Runs", "Viewer", "Share"):
        page.get_by_role("tab", name=name).wait_for()
    page.get_by_text("Nothing is training.").wait_for()
    page.get_by_role("tab", name="Runs").click()
    page.get_by_text("There are no runs yet.").wait_for()
    page.get_by_role("tab", name="Viewer").click()
    page.wait_for_function("document.querySelector('#viewer-run input')?.value === 'no training'")


def wait_until(holds) -> None:
    give_up = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.05)


@pytest.mark.parametrize("host", ["203.0.113.7", "no such name.invalid", "256.1.1.1", "x" * 300])
def test_an_address_of_another_machine_is_named(host: str) -> None:
    result = CliRunner().invoke(main, ["--host", host])
    assert result.exit_code == 2
    assert f"{host}: is no address of this machine" in result.output
