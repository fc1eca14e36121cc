import time

import gradio.networking
import httpx
import pytest
from gradio import tunneling

from regstudio.errors import ConfigError, RunError
from regstudio.runs.run import Run
from regstudio.studio.sharing import USER, Share
from regstudio.ui.app import serve_viewer
from regstudio.ui.server.tunnel import OFFLINE, GradioTunnel

# Stands for the tunnel's program: says what it says once it is through, and waits.
FRPC = """#!/bin/sh
echo "start proxy success: http://fake.example"
exec sleep 60
"""
SILENT = """#!/bin/sh
exec sleep 60
"""
UNUSED = "127.0.0.1:1"  # a share server: the scripts ask none


class FakePage:
    def __init__(self):
        self.port = 7777
        self.closed = False

    def close(self):
        self.closed = True


@pytest.fixture
def run(studio, quick_config):
    """A run that can be shared: its record is enough."""
    run = Run(studio.runs_dir / "shown")
    run.path.mkdir(parents=True)
    run.write_config(quick_config())
    return run


@pytest.fixture
def shared(studio, run):
    share = Share(studio, lambda studio, login: FakePage(), GradioTunnel(server=UNUSED))
    yield share
    share.stop()


def settled(share):
    give_up = time.monotonic() + 30
    while share.status.state == "opening":
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return share.status


def test_a_link_with_its_password_is_shown_and_printed(shared, tunnel, capsys):
    tunnel(FRPC)
    shared.start()
    status = settled(shared)
    assert (status.state, status.link) == ("open", "https://fake.example")
    printed = capsys.readouterr().out
    assert status.link in printed
    assert status.password in printed
    assert len(status.password) >= 20


def test_offline_it_says_why_there_is_no_link(studio, run, monkeypatch, capsys):
    def offline(*args, **kwargs):
        raise httpx.ConnectError("no route")

    monkeypatch.setattr(gradio.networking.httpx, "get", offline)
    share = Share(studio, lambda studio, login: FakePage(), GradioTunnel())
    share.start()
    status = settled(share)
    assert status.state == "failed"
    assert status.problem == OFFLINE
    assert "No public link: Gradio's servers cannot be reached." in capsys.readouterr().err
    share.stop()


def test_a_tunnel_that_says_nothing_is_given_up(studio, run, tunnel):
    tunnel(SILENT)
    share = Share(studio, lambda studio, login: FakePage(), GradioTunnel(server=UNUSED), timeout=0.3)
    share.start()
    assert settled(share).problem == "The tunnel did not answer within 0.3 s"
    assert not tunneling.CURRENT_TUNNELS
    share.stop()


def test_stopping_ends_the_tunnel_and_its_page(studio, run, tunnel):
    tunnel(FRPC)
    page = FakePage()
    share = Share(studio, lambda studio, login: page, GradioTunnel(server=UNUSED))
    share.start()
    settled(share)
    process = tunneling.CURRENT_TUNNELS[-1].proc
    share.stop()
    assert process.returncode is not None
    assert page.closed
    assert share.status.state == "closed"


def test_there_is_one_link_at_a_time(shared, tunnel):
    tunnel(FRPC)
    shared.start()
    with pytest.raises(RunError, match="already"):
        shared.start()


def test_without_runs_nothing_is_shared(studio):
    with pytest.raises(RunError, match="no run to share"):
        Share(studio, lambda studio, login: FakePage(), GradioTunnel()).start()


def test_the_shared_studio_knows_only_the_chosen_runs(studio, run):
    other = Run(studio.runs_dir / "hidden")
    other.path.mkdir()
    other.write_config(run.config())
    shared = studio.shared(["shown"])
    assert shared.run("shown") == run
    assert [summary.name for summary in shared.runs()] == ["shown"]
    with pytest.raises(RunError):
        shared.run("hidden")
    with pytest.raises(ConfigError):
        shared.allowed(str(studio.runs_dir))


def test_the_shared_page_asks_for_the_password(studio, run):
    page = serve_viewer(studio.shared(["shown"]), (USER, "secret"))
    try:
        assert httpx.get(page.url + "config").status_code == 401
        with httpx.Client() as client:
            assert client.post(page.url + "login", data={"username": USER, "password": "wrong"}).status_code == 400
            assert client.post(page.url + "login", data={"username": USER, "password": "secret"}).status_code == 200
            config = client.get(page.url + "config").json()
            sent = client.post(page.url + "gradio_api/upload", files={"files": ("big.bin", b"x" * 1000)})
            assert sent.status_code == 413
    finally:
        page.close()
    ids = {component["props"].get("elem_id") for component in config["components"]}
    assert "viewer-canvas" in ids
    assert not {"runs-delete", "data-folder", "share-start", "help-page"} & ids
    path = next(part for part in config["components"] if part["props"].get("elem_id") == "viewer-path")
    assert path["props"]["visible"] is False
