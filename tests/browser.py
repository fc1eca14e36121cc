"""The studio in a real browser: `studio_server` runs the app, `page` is a Playwright page that looks at it.

Every test that asks for `page` also asserts that no request left the machine and that no script failed.
"""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before anything imports gradio

from regstudio.config import build_config
from regstudio.studio.studio import Studio
from regstudio.training.trainer import train
from tests.training.whole_training import QUICK, index_of

PATIENCE_MS = 30_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Chromium's own calls home are turned off: what is recorded is what the page asks for.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test in a browser is a slow one."""
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.slow)


@dataclass(frozen=True)
class Served:
    """A studio and where a browser finds it."""

    url: str
    studio: Studio


def unused_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def studio(demo: Path, tmp_path: Path) -> Iterator[Studio]:
    """A studio whose data folder is the small demo data and whose runs folder is empty."""
    studio = Studio(runs_dir=tmp_path / "runs", roots=(tmp_path, demo), demo_dir=demo, data_base_dir=demo)
    yield studio
    studio.job.stop()
    assert studio.job.join(60), "the training did not stop"


@pytest.fixture
def tunnel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Makes gradio's tunnel run this script instead of its own program."""

    from gradio import tunneling

    def use(script: str) -> None:
        program = tmp_path / "frpc"
        program.write_text(script)
        program.chmod(0o755)
        monkeypatch.setattr(tunneling, "BINARY_PATH", str(program))

    return use


@pytest.fixture
def studio_server(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The app of `studio`, served on a free port; it does not share its recent folders with whoever runs the tests."""
    from regstudio.ui.app import build_app
    from regstudio.ui.server.serving import serve

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    page = serve(build_app(studio), port=unused_port())
    yield Served(page.url, studio)
    page.close()


@pytest.fixture(scope="session")
def one_run(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs, trained once for all tests, which copy it."""
    runs_dir = tmp_path_factory.mktemp("runs")
    config = build_config({"data_base_dir": demo, "runs_dir": runs_dir, "run_name": "first", "epochs": 2, **QUICK})
    list(train(config, index_of(config)))
    return runs_dir / "first"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium under Playwright; tests skip where there is none, and fail where CI says that there must be one."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _do_without("Playwright is not installed: pip install -e '.[test]'")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        _do_without(f"there is no browser here: none of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield chromium
        chromium.close()


def _do_without(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"Browser tests must run in CI, but {reason}")
    pytest.skip(reason)


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of this test alone, as `watched_page` opens it."""
    with watched_page(browser) as opened:
        yield opened


@contextmanager
def watched_page(browser: Any) -> Iterator[Any]:
    """A page of 1280x800 in a context of its own; at its end, no foreign request and no failed script."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    foreign: list[str] = []
    failures: list[str] = []
    context.on("request", lambda request: _is_foreign(request.url) and foreign.append(request.url))
    context.on("weberror", lambda error: failures.append(str(error.error)))
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    yield opened
    context.close()
    assert not foreign, f"the page asked other machines: {foreign}"
    assert not failures, f"scripts of the page failed: {failures}"


def _is_foreign(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1"
