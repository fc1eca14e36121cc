"""Takes the README's pictures of the page: python -m tests.ui.gallery writes them to assets/gallery/."""

import shutil
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from regstudio.data.phantom import make_demo
from regstudio.ui.app import build_app
from regstudio.ui.launch import CHECKOUT_DATA, start_demo
from regstudio.ui.serving import free_port, serve
from regstudio.ui.studio import Studio
from tests.ui.conftest import BROWSERS, FLAGS

GALLERY = CHECKOUT_DATA.parent / "assets" / "gallery"
WIDTH, HEIGHT = 1280, 800


def main() -> None:
    """Train on the demo data and photograph every tab, during and after the training."""
    GALLERY.mkdir(exist_ok=True)
    program = next(filter(None, map(shutil.which, BROWSERS)))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make_demo(place / "demo")
        studio = Studio(runs_dir=place / "runs", roots=(place,), demo_dir=place / "demo", data_base_dir=place / "demo")
        served = serve(build_app(studio), port=free_port(7860))
        start_demo(studio)
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
                page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
                page.goto(served.url)
                take_all(page, studio)
                browser.close()
        finally:
            studio.job.stop()
            studio.job.join()
            served.close()


def take_all(page: Page, studio: Studio) -> None:
    """Go through the tabs as a newcomer would."""
    take(page, "Data", "data", wait=4)
    take(page, "Train", "train", wait=45)
    take(page, "Runs", "runs", wait=3)
    take(page, "Viewer", "viewer", wait=8)
    for key, name in (("6", "viewer_magenta_green"), ("4", "viewer_checkerboard")):
        page.locator("canvas").first.click()
        page.keyboard.press(key)
        take(page, None, name, wait=1)


def take(page: Page, tab: str | None, name: str, *, wait: float) -> None:
    """Open a tab, wait for it to be drawn, and photograph it."""
    if tab is not None:
        page.get_by_role("tab", name=tab, exact=True).click()
    time.sleep(wait)
    page.screenshot(path=GALLERY / f"{name}.png", full_page=True)


if __name__ == "__main__":
    sys.exit(main())
