"""The page for everyone: axe-core finds nothing on any tab, in light and dark, with all that can be opened open."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from regstudio.studio import training_control
from regstudio.studio.studio import Studio
from tests.browser import Served, unused_port, watched_page
from tests.ui.acting import VIEWER, open_tab

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
TABS = ("Data", "Train", "Runs", "Apply", "Viewer", "Share", "Help")
QUICK = {
    "epochs": 1,
    "network": "voxelmorph",
    "device": "cpu",
    "compare": False,
    "run_name": "first",
}


@pytest.fixture(scope="module")
def trained_server(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A studio that has trained one epoch."""
    from regstudio.ui.app import build_app
    from regstudio.ui.server.serving import serve

    folder = tmp_path_factory.mktemp("axe")
    studio = Studio(runs_dir=folder / "runs", roots=(folder, demo), demo_dir=demo, data_base_dir=demo)
    training_control.start(studio, QUICK)
    assert studio.job.join(60)
    page = serve(build_app(studio), port=unused_port())
    yield Served(page.url, studio)
    page.close()


WIDTHS = (390, 1280)


@pytest.fixture(scope="module", params=["light", "dark"])
def themed(request: pytest.FixtureRequest, trained_server: Served, browser: Any) -> Iterator[Any]:
    """The page in one theme."""
    with watched_page(browser) as page:
        page.goto(f"{trained_server.url}?__theme={request.param}")
        page.wait_for_selector("#data-overview .verdict.ready")
        page.evaluate(AXE)
        yield page


def violations_in_all_widths(page: Any) -> list[str]:
    found = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        found += [f"at {width}: {line}" for line in violations(page)]
    return found


def violations(page: Any) -> list[str]:
    page.wait_for_timeout(1200)  # names are given once a second, colours change by degrees
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [f"{rule['id']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]]


def unfold_all(page: Any) -> None:
    """Open everything that can be opened in the tab."""
    closed = page.locator("[role=tabpanel]:visible button.label-wrap:not(.open):visible")
    while closed.count():
        closed.first.click()
        page.wait_for_timeout(200)


def test_the_check_finds_what_is_wrong(page: Any) -> None:
    page.set_content(
        "<html lang='en'><title>t</title><main><h1 style='color: #94a3b8'>pale</h1><button></button></main>"
    )
    page.evaluate(AXE)
    assert [line.split(": ")[0] for line in violations(page)] == ["button-name", "color-contrast"]


@pytest.mark.parametrize("tab", TABS)
def test_nothing_is_hard_to_read_or_without_a_name(themed: Any, tab: str) -> None:
    open_tab(themed, tab)
    if tab == "Train":
        themed.wait_for_selector("#live .pictures img")
    if tab == "Runs":
        themed.locator("#runs-table [role=gridcell]", has_text="first").first.click()
        themed.wait_for_selector("#runs-curves .trace.scatter")
    if tab == "Viewer":
        themed.wait_for_selector(f"{VIEWER}[data-state=open]", timeout=30_000)
    unfold_all(themed)
    found = violations_in_all_widths(themed)
    assert not found, "\n".join(found)


def test_nor_is_a_refusal(themed: Any) -> None:
    open_tab(themed, "Data")
    themed.fill("#data-folder :is(input, textarea)", "/etc")
    themed.click("#data-open")
    themed.wait_for_selector("#data-overview .verdict.blocked")
    open_tab(themed, "Train")
    themed.click("#settings-view [data-view=all]")
    themed.fill("#setting-epochs input", "0")
    themed.click("#train-start")
    themed.locator(".toast-body").wait_for()
    found = violations_in_all_widths(themed)
    open_tab(themed, "Data")
    found += violations_in_all_widths(themed)
    assert not found, "\n".join(found)
