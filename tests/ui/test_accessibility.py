"""The page for everyone: axe-core finds nothing on any tab, in light and dark, with all that can be opened open."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from regstudio.studio import training_control
from regstudio.studio.studio import Studio
from tests.browser import Served, unused_port, watched_page
from tests.ui.acting import VIEWER, fill, open_tab
from tests.ui.journeys import click

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
OF_COLOURS = ("color-contrast", "link-in-text-block")  # rules
NAMED = 1100  # ms; parts get their names once a second
# Until colours, which change by degrees, are what they are to be; a message shows for how long it stays.
SETTLED = """() => Promise.all(document.getAnimations()
  .filter((change) => change.effect.getComputedTiming().endTime < 2000)
  .map((change) => change.finished.catch(() => null)))"""


@pytest.fixture(scope="module")
def opened(trained_server: Served, browser: Any) -> Iterator[Any]:
    """The page, which all tests share."""
    with watched_page(browser) as page:
        page.goto(f"{trained_server.url}?__theme=light")
        page.wait_for_selector("#data-overview .verdict.ready")
        page.evaluate(AXE)
        yield page


def violations_in_all_views(page: Any) -> list[str]:
    """What is wrong in narrow and wide windows; in the dark theme, with colours alone: all else is the same."""
    page.wait_for_timeout(NAMED)
    found = []
    for theme, rules in (("light", ()), ("dark", OF_COLOURS)):
        page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", theme == "dark")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            found += [f"{theme} at {width}: {line}" for line in violations(page, rules)]
            if page.evaluate("document.documentElement.scrollWidth") > width:
                found.append(f"{theme} at {width}: the page is wider than its window")
    page.evaluate("document.body.classList.remove('dark')")
    return found


def violations(page: Any, rules: Sequence[str] = ()) -> list[str]:
    page.evaluate(SETTLED)
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    found = page.evaluate("(options) => axe.run(document, options)", options)["violations"]
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
    assert [line.split(": ")[0] for line in violations(page, OF_COLOURS)] == ["color-contrast"]


@pytest.mark.parametrize("tab", TABS)
def test_nothing_is_hard_to_read_or_without_a_name(opened: Any, trained_server: Served, tab: str) -> None:
    open_tab(opened, tab)
    if tab == "Train":
        opened.wait_for_selector("#live .pictures img")
    if tab == "Runs":
        opened.locator("#runs-table [role=gridcell]", has_text="first").first.click()
        opened.wait_for_selector("#runs-curves .trace.scatter")
    if tab == "Apply":
        fill(opened, "#apply-folder :is(input, textarea)", str(trained_server.studio.demo_dir / "moving"))
        opened.click("#apply-method input")
        opened.get_by_role("option", name="not registered").click()
        opened.click("#apply-start")
        opened.wait_for_selector("#apply-table [role=gridcell]")
    if tab == "Viewer":
        opened.wait_for_selector(f"{VIEWER}[data-state=open]", timeout=30_000)
        opened.evaluate(f"document.querySelector('{VIEWER} .masks').hidden = false")
        opened.click(f"{VIEWER} .place-marks")
        for panel in (0, 1):
            click(opened, panel, 0.5, 0.5)
        opened.locator(f"{VIEWER} .numbers", has_text="TRE").wait_for()
    unfold_all(opened)
    if tab == "Viewer":
        opened.click("#cases-start")
        opened.wait_for_selector("#cases-table [role=gridcell]")
    found = violations_in_all_views(opened)
    assert not found, "\n".join(found)


def test_nor_is_a_refusal(opened: Any) -> None:
    open_tab(opened, "Data")
    opened.fill("#data-folder :is(input, textarea)", "/etc")
    opened.click("#data-open")
    opened.wait_for_selector("#data-overview .verdict.blocked")
    open_tab(opened, "Train")
    opened.click("#settings-view [data-view=all]")
    opened.fill("#setting-epochs input", "0")
    opened.click("#train-start")
    opened.locator(".toast-body").wait_for()
    found = violations_in_all_views(opened)
    open_tab(opened, "Data")
    found += violations_in_all_views(opened)
    assert not found, "\n".join(found)
