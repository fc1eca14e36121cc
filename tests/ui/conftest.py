"""Pages that tests share: one that nobody changes, and the Viewer's, whose tests all start from the same case."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from regstudio.studio.studio import Studio
from tests.browser import Served, unused_port, watched_page
from tests.ui.acting import CASES, VIEWER, choose, wait_for_case


@pytest.fixture(scope="session", autouse=True)
def _unmeasured() -> Iterator[None]:
    """No page measures how long a training would take: that has tests of its own, and would slow all others."""
    from regstudio.studio.time_estimate import Estimator
    from regstudio.ui import app

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "Estimator", partial(Estimator, settled=float("inf")))
        yield


@pytest.fixture(scope="session")
def viewer_server(demo: Path, one_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    from regstudio.ui.app import build_app
    from regstudio.ui.server.serving import serve

    folder = tmp_path_factory.mktemp("viewer")
    studio = Studio(runs_dir=folder / "runs", roots=(folder, demo), demo_dir=demo, data_base_dir=demo)
    shutil.copytree(one_run, folder / "runs" / "first")
    page = serve(build_app(studio), port=unused_port())
    yield Served(page.url, studio)
    page.close()


@pytest.fixture(scope="session")
def untouched_server(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page of a studio without runs, for all tests that change nothing in it."""
    from regstudio.ui.app import build_app
    from regstudio.ui.server.serving import serve

    folder = tmp_path_factory.mktemp("untouched")
    studio = Studio(runs_dir=folder / "runs", roots=(folder, demo), demo_dir=demo, data_base_dir=demo)
    page = serve(build_app(studio), port=unused_port())
    yield Served(page.url, studio)
    page.close()


@pytest.fixture(scope="session")
def viewer_page(viewer_server: Served, browser: Any) -> Iterator[Any]:
    with watched_page(browser) as page:
        page.goto(viewer_server.url)
        page.get_by_role("tab", name="Viewer").click()
        page.wait_for_selector(f"{VIEWER}[data-state=open]", timeout=30_000)
        yield page


@pytest.fixture
def opened(viewer_page: Any) -> Iterator[Any]:
    """The Viewer with the first case, side by side; whatever a test opens, it leaves that behind."""
    yield viewer_page
    viewer_page.set_viewport_size({"width": 1280, "height": 800})
    if viewer_page.inner_text(f"{VIEWER} .place") != "1 of 6":
        choose(viewer_page, "case", "validation/phantom_05")
        wait_for_case(viewer_page, CASES[0])
    viewer_page.click(f"{VIEWER} .mode[data-mode='1']")
    viewer_page.click(f"{VIEWER} .reset")
