"""Five ways through the page, each from files as people have them to a result, as a newcomer goes them.

Each yields, at every moment worth a picture, what there is to see: tests walk them on small images, and the handbook's
strips of pictures are taken on the way (python -m tests.ui.strips).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.ui.acting import CANVAS, VIEWER, change_settings, choose, fill, open_tab, register_own

PLACES = (0.35, 0.4), (0.6, 0.62)  # where landmarks are placed on the fixed image, from 0 to 1 across and down


def two_images(page: Any, fixed: Path, moving: Path) -> Iterator[str]:
    """Two images are dropped in and registered by what RegStudio brings along."""
    page.wait_for_selector("#data-two-images")
    yield "Press Register two images."
    _drop_two(page, fixed, moving)
    yield "Drop in a fixed and a moving image."
    _register(page)
    yield "Press Register: the moving image, warped, in its colours."
    page.focus(CANVAS)
    page.keyboard.press("3")
    yield "Swipe over the edge; download all of it as a zip."


def radiographs(page: Any, folder: Path, new: Path) -> Iterator[str]:
    """A flat folder of radiographs and masks becomes data, a network, and new images that it registers."""
    _open_folder(page, folder)
    page.wait_for_function("document.querySelector('#import-atlas input')?.value")
    page.locator("#import-gallery img").last.wait_for()
    page.locator("#import-summary").scroll_into_view_if_needed()
    yield "A folder as it is: what RegStudio makes of it, and which image could be the atlas."
    fill(page, "#import-name :is(input, textarea)", "chest")
    page.click("#import-send")
    page.wait_for_function("document.querySelector('#data-folder :is(input, textarea)').value.endsWith('chest')")
    page.wait_for_selector("#data-overview .verdict.ready")
    page.click("#data-train:enabled")
    page.wait_for_function("document.querySelector('#train-command textarea')?.value.includes('chest')")
    before = page.inner_text("#live .run")
    page.click("#train-start")
    page.wait_for_function("before => document.querySelector('#live .run').innerText !== before", arg=before)
    _wait_for_state(page, "finished")
    page.wait_for_selector("#live .pictures img")
    yield "Start: the network learns, and measures itself on images that are set apart."
    page.click("#train-apply")
    fill(page, "#apply-folder :is(input, textarea)", str(new))
    page.click("#apply-start")
    page.wait_for_selector("#apply-progress .apply[data-state=finished]")
    page.locator("#apply-table [role=gridcell]").first.wait_for()
    page.locator("#apply-table").scroll_into_view_if_needed()
    yield "Apply to new images: the worst come first."
    page.locator("#apply-table [role=gridcell]").first.click()
    page.wait_for_selector(f"{VIEWER}[data-state=open]")
    yield "A click opens the case."


def cine(page: Any, folder: Path) -> Iterator[str]:
    """A table pairs the frames of hearts; all pairs are measured without any training, and the worst one is opened."""
    _open_folder(page, folder)
    page.locator("#data-overview").get_by_text("pairs to train on").wait_for()
    page.locator("#data-gallery img").first.wait_for()
    yield "A folder with a table of pairs: each frame belongs to the first of its heart."
    open_tab(page, "Viewer")
    page.wait_for_function("document.querySelector('#viewer-run input')?.value")
    choose(page, "run", "no training")
    page.wait_for_selector(f"{VIEWER}[data-state=open][data-case*=frame]")
    yield "The first pair, by what RegStudio brings along."
    page.click("#viewer-cases button.label-wrap")
    page.click("#cases-start")
    all_done = r"/^(\d+) of \1 cases/.test(document.querySelector('#cases-words').innerText.trim())"
    page.wait_for_function(all_done)
    page.locator("#cases-table [role=gridcell]").first.wait_for()
    page.locator("#cases-table").scroll_into_view_if_needed()
    yield "All pairs to validate on, the worst first."
    worst = page.locator("#cases-table [role=gridcell]").first
    name = worst.inner_text().partition("/")[2]
    worst.click()
    page.wait_for_selector(f"{VIEWER}[data-state=open][data-case='{name}']")
    page.locator(f"{VIEWER} .bar").evaluate("bar => bar.scrollIntoView()")
    page.select_option(f"{VIEWER} .flow", "grid")
    yield "A click opens a pair, here with the deformed grid."


def sections(page: Any, fixed: Path, moving: Path) -> Iterator[str]:
    """Landmarks are placed on two sections in two stains, and one of them is put right."""
    page.wait_for_selector("#data-two-images")
    _drop_two(page, fixed, moving)
    _register(page)
    yield "Two neighbouring sections in two stains, registered."
    page.click(f"{VIEWER} .place-marks")
    for x, y in PLACES:
        click(page, 0, x, y)
        click(page, 2, x + 0.05, y)
    page.wait_for_selector(f"{VIEWER}[data-corrected='{len(PLACES)}']")  # by all of them, not by the first alone
    yield "Place: a click on the fixed image, one on the warped one; the registration follows."
    x, y = PLACES[0]  # where it lies on the warped image, too, now that this follows
    _drag(page, 2, (x, y), (x + 0.03, y))
    yield "Drag a landmark that lies wrong; undo, or delete it by a right click."


def mended(page: Any) -> Iterator[str]:
    """A training fails, says why and what to do; with that, the next one learns."""
    open_settings(page)
    change_settings(page, lr=1e15, run_name="wild")
    page.wait_for_function("document.querySelector('#train-command textarea')?.value.includes('--run_name wild')")
    page.click("#train-start")
    _wait_for_state(page, "failed")
    yield "A learning rate far too high: the training fails, and says why and what to do."
    page.wait_for_selector("#train-start:enabled")
    change_settings(page, lr=1e-3)
    page.wait_for_function("document.querySelector('#train-command textarea')?.value.includes('--lr 0.001')")
    page.click("#train-start")
    _wait_for_state(page, "finished")
    yield "A lower one: it learns."


def open_settings(page: Any) -> None:
    """Open the Train tab with all settings."""
    open_tab(page, "Train")
    page.wait_for_function("document.querySelector('#train-purpose')?.innerText.trim()")
    page.click("#settings-view [data-view=all]")


def _wait_for_state(page: Any, state: str) -> None:
    """Wait for as long as the page allows: pictures are taken of whole trainings."""
    page.wait_for_selector(f"#live .live[data-state={state}]")


def _open_folder(page: Any, folder: Path) -> None:
    page.wait_for_selector("#data-overview .verdict")
    fill(page, "#data-folder :is(input, textarea)", str(folder))
    page.click("#data-open")


def _drop_two(page: Any, fixed: Path, moving: Path) -> None:
    page.click("#data-two-images")
    page.wait_for_selector("#viewer-register")
    for role, path in (("fixed", fixed), ("moving", moving)):
        page.set_input_files(f"#viewer-{role} input[type=file]", path)
        page.locator(f"#viewer-{role}").get_by_text(path.suffix).first.wait_for()


def _register(page: Any) -> None:
    register_own(page)
    page.wait_for_function(f"document.querySelector('{VIEWER} .place').textContent === 'own images'")
    page.locator(f"{VIEWER} .bar").evaluate("bar => bar.scrollIntoView()")


def _on_canvas(page: Any, panel: int, x: float, y: float) -> tuple[float, float]:
    """Return where on the page a place of one of three panels side by side is, each coordinate from 0 to 1."""
    box = page.locator(CANVAS).bounding_box()
    width = (box["width"] - 16) / 3
    return box["x"] + panel * (width + 8) + x * width, box["y"] + 20 + y * width


def click(page: Any, panel: int, x: float, y: float, **how: Any) -> None:
    """Click on a place of one of three panels side by side."""
    page.mouse.click(*_on_canvas(page, panel, x, y), **how)


def _drag(page: Any, panel: int, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*_on_canvas(page, panel, *start))
    page.mouse.down()
    page.mouse.move(*_on_canvas(page, panel, *end), steps=3)
    page.mouse.up()
