import time

import gradio.networking
import httpx
import pytest
from gradio import tunneling

from regstudio.errors import ConfigError, RunError
from regstudio.runs.run import Run
from regstudio.studio import sharing as share_module
from regstudio.studio.sharing import USER, Share
from regstudio.ui.app import serve_viewer
from regstudio.ui.server.tunnel import GradioTunnel
from tests.ui.acting import fill

# Stands for the tunnel's program: says what it says once it is through, and waits.
FRPC = """#!/bin/sh
echo "start proxy success: http://fake.example"
exec sleep 60
"""
SILENT = """#!/bin/sh
exec sleep 60
"""


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
def tunnel(monkeypatch, tmp_path):
    """gradio's own tunnel, but with another program and a server that is never asked."""

    def use(script):
        program = tmp_path / "frpc"
        program.write_text(script)
        program.chmod(0o755)
        monkeypatch.setattr(tunneling, "BINARY_PATH", str(program))
        monkeypatch.setattr(gradio.networking, "GRADIO_SHARE_SERVER_ADDRESS", "127.0.0.1:1")

    return use


@pytest.fixture
def shared(studio, run):
    share = Share(studio, lambda studio, login: FakePage(), GradioTunnel())
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


def test_offline_it_says_why_there_is_no_link(shared, monkeypatch, capsys):
    def offline(*args, **kwargs):
        raise httpx.ConnectError("no route")

    monkeypatch.setattr(gradio.networking.httpx, "get", offline)
    shared.start()
    status = settled(shared)
    assert status.state == "failed"
    assert "Could not get share link" in status.problem
    assert "goes on" in capsys.readouterr().err


def test_a_tunnel_that_says_nothing_is_given_up(shared, tunnel, monkeypatch):
    tunnel(SILENT)
    monkeypatch.setattr(share_module, "SECONDS", 0.3)
    shared.start()
    assert "did not answer" in settled(shared).problem
    assert not tunneling.CURRENT_TUNNELS


def test_stopping_ends_the_tunnel_and_its_page(studio, run, tunnel):
    tunnel(FRPC)
    page = FakePage()
    share = Share(studio, lambda studio, login: page, GradioTunnel())
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
    assert not {"runs-delete", "data-folder", "share-start"} & ids
    path = next(part for part in config["components"] if part["props"].get("elem_id") == "viewer-path")
    assert path["props"]["visible"] is False


@pytest.fixture
def _no_tunnel_left():
    yield
    for left in list(tunneling.CURRENT_TUNNELS):
        GradioTunnel().close(left.share_token)


@pytest.fixture
def tab(studio_server, run, page):
    """The Share tab of a studio with a run."""
    page.goto(studio_server.url)
    page.get_by_role("tab", name="Share").click()
    return page


def value(page, name):
    return page.locator(name).locator("input, textarea").input_value()


@pytest.mark.browser
@pytest.mark.usefixtures("_no_tunnel_left")
def test_the_tab_starts_and_stops_sharing(tab, browser, tunnel):
    tunnel(FRPC)
    tab.locator("#share-start").click()
    tab.wait_for_function(
        "document.querySelector('#share-link input, #share-link textarea')?.value.includes('fake.example')"
    )
    port = tunneling.CURRENT_TUNNELS[-1].local_port
    password = value(tab, "#share-password")
    assert len(password) >= 20
    look_as_a_guest(browser, f"http://127.0.0.1:{port}", value(tab, "#share-user"), password)
    tab.locator("#share-stop").click()
    tab.get_by_text("Nothing is shared.").wait_for()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}")


def look_as_a_guest(browser, url, user, password):
    """Log in, and find the viewer of the shared run without anything that changes or opens more."""
    with browser.new_context() as context:
        guest = context.new_page()
        guest.goto(url)
        fill(guest, "input", user)
        fill(guest, "input[type=password]", password)
        guest.get_by_role("button", name="Login").click()
        guest.locator("#viewer-canvas").wait_for()
        assert guest.get_by_role("tab").count() == 0
        for name in ("viewer-path", "viewer-register", "data-folder", "train-start", "runs-delete", "share-start"):
            assert not guest.locator(f"#{name}").is_visible(), name


@pytest.mark.browser
def test_offline_the_tab_says_why_there_is_no_link(tab, monkeypatch):
    def offline(*args, **kwargs):
        raise httpx.ConnectError("no route")

    monkeypatch.setattr(gradio.networking.httpx, "get", offline)
    tab.locator("#share-start").click()
    tab.get_by_text("No public link: no route (ConnectError). The studio on this machine goes on.").wait_for()
    assert tab.locator("#share-start").is_enabled()
    assert not tab.locator("#share-link").is_visible()
