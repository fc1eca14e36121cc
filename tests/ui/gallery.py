"""Takes the README's pictures of page and report: python -m tests.ui.gallery writes them to assets/gallery/.

The report compares with the baselines that are installed.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from regstudio.cli import main as command
from regstudio.data.phantom import make_demo
from regstudio.studio.studio import Studio
from regstudio.studio.training_control import start_demo
from regstudio.ui.app import build_app
from regstudio.ui.launch import CHECKOUT_DATA
from regstudio.ui.server.serving import free_port, serve
from tests.browser import BROWSERS, FLAGS
from tests.ui.acting import open_tab

GALLERY = CHECKOUT_DATA.parent / "assets" / "gallery"
WIDTH, HEIGHT = 1280, 800
LONGEST = 1200  # of a picture: what is further down is cut off
MINUTES = 8  # that the training may take
NARROW = 400
BASELINES = {"demons": None, "syn": "ants", "elastix": "itk"}  # and the package that each needs


def main() -> None:
    """Train on the demo data and photograph every tab, during and after the training."""
    GALLERY.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="studio_") as folder, opened_page(Path(folder)) as (page, studio):
        take_all(page, studio)
        take_report(page, studio, Path(folder) / "report")


@contextmanager
def opened_page(place: Path) -> Iterator[tuple[Page, Studio]]:
    """A page of a new studio in a folder, with demo data; nobody's recent folders are seen."""
    program = next(filter(None, map(shutil.which, BROWSERS)))
    os.environ["XDG_STATE_HOME"] = str(place / "state")
    studio = Studio(runs_dir=place / "runs", roots=(place,), demo_dir=place / "data", data_base_dir=place / "data")
    make_demo(studio.demo_dir)
    served = serve(build_app(studio), port=free_port(7860))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
            page = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}).new_page()
            page.set_default_timeout(60_000 * MINUTES)
            page.goto(served.url)
            page.wait_for_selector("#tabs [role=tab]")
            yield page, studio
            browser.close()
    finally:
        studio.job.stop()
        studio.job.join()
        served.close()


def take_all(page: Page, studio: Studio) -> None:
    """Go through the tabs as a newcomer would."""
    open_tab(page, "Data")
    page.locator("#data-gallery img").nth(7).wait_for()
    take(page, "data")

    start_demo(studio)
    open_tab(page, "Train")
    page.wait_for_function("Number(document.querySelector('#live .shown').textContent.split(' ')[0]) >= 4")
    take(page, "train")
    page.wait_for_selector("#live .live[data-state=finished]")
    dark(page)
    take(page, "train_dark")
    dark(page)

    page.click("#settings-view [data-view=all]")
    fill(page, lr=1e15, epochs=2, run_name="learning rate too high")
    page.click("#train-start")
    page.wait_for_selector("#live .live[data-state=failed]")
    take(page, "error")

    compare_runs(page)
    take(page, "runs")
    open_tab(page, "Viewer")
    page.wait_for_function("document.querySelector('#viewer-canvas .name').textContent.length > 2")
    for key, name in (("1", "viewer"), ("6", "viewer_magenta_green"), ("4", "viewer_checkerboard")):
        page.locator("#viewer-canvas canvas").focus()
        page.keyboard.press(key)
        take(page, name)
    open_tab(page, "Share")
    take(page, "share")
    page.set_viewport_size({"width": NARROW, "height": HEIGHT})
    open_tab(page, "Viewer")
    take(page, "phone")


def take_report(page: Page, studio: Studio, folder: Path) -> None:
    """Photograph the report of the finished run beside classical methods."""
    finished = next(run for run in studio.runs() if run.state == "finished")
    methods = [name for name, package in BASELINES.items() if package is None or find_spec(package)]
    named = [word for name in methods for word in ("--baseline", name)]
    checkpoint = str(finished.path / "checkpoints" / "best_model.pt")
    command(["evaluate", "--checkpoint", checkpoint, *named, "--report", str(folder)], standalone_mode=False)
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    page.goto((folder / "report.html").as_uri())
    take(page, "report")


def compare_runs(page: Page) -> None:
    """Open the Runs tab and select the runs that have curves."""
    open_tab(page, "Runs")
    page.locator("#runs-table [role=gridcell]", has_text="finished").first.click()
    page.wait_for_selector("#runs-curves .trace.scatter")


def fill(page: Page, **values: Any) -> None:
    """Type into the fields of settings."""
    for name, value in values.items():
        page.fill(f"#setting-{name} input, #setting-{name} textarea", str(value))


def dark(page: Page) -> None:
    """Change from light to dark or back."""
    page.evaluate("document.body.classList.toggle('dark')")


def settled(page: Page) -> bytes:
    """Return the picture of the window once it is drawn."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(1500)
    return page.screenshot()


def take(page: Page, name: str) -> None:
    """Photograph the page once it is drawn. 256 colours, hard to tell from all, take a third of the bytes."""
    settled(page)
    path, size = GALLERY / f"{name}.png", page.viewport_size or {"width": WIDTH}
    height = min(LONGEST, int(page.evaluate("document.documentElement.scrollHeight")))
    page.screenshot(path=path, full_page=True, clip={"x": 0, "y": 0, "width": size["width"], "height": height})
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
