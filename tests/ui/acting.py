"""What a person does at the page, at a person's pace."""

from typing import Any

from regstudio.studio.studio import Studio
from regstudio.studio.workspace import Workspace

GLANCE_MS = 300
VIEWER = "#viewer-canvas .viewer"
CANVAS = f"{VIEWER} canvas"
CASES = ["phantom_05", "phantom_06", "phantom_01", "phantom_02", "phantom_03", "phantom_04"]
POINTS = "(document.querySelector('[data-chart=loss]').data?.[0]?.x.length ?? 0)"  # of the curve of the loss


def fill(page: Any, selector: str, text: str) -> None:
    """Put `text` into the first field that `selector` finds, once it keeps what it is given.

    What Gradio has just unfolded is there a moment before it is given its first value, which a person is too slow to
    see.
    """
    field = page.locator(selector).first
    for _ in range(20):
        field.fill(text)
        page.wait_for_timeout(GLANCE_MS)
        if field.input_value() == text:
            return
    raise AssertionError(f"{selector} does not keep {text!r}, it says {field.input_value()!r}")


def open_tab(page: Any, name: str) -> None:
    """Open a tab; in a narrow window some of them are in a menu."""
    page.locator("#tabs [role=tab]:visible").first.wait_for()
    tab = page.get_by_role("tab", name=name, exact=True)
    if not tab.is_visible():
        page.locator(".overflow-menu > button").first.click()
        tab = page.locator(".overflow-dropdown button", has_text=name)
    tab.click()


def workspace(page: Any, studio: Studio) -> Workspace:
    """Return the workspace of the browser tab."""
    page.wait_for_function("window.regstudioTab")
    return studio.workspace(page.evaluate("window.regstudioTab"))


def open_train_tab(page: Any, url: str) -> None:
    """Open the page and its Train tab."""
    page.goto(url)
    page.get_by_role("tab", name="Train").click()
    page.wait_for_selector("#live .live[data-state]")
    page.wait_for_function("document.querySelector('#train-purpose')?.innerText.trim()")  # the form has its values
    page.click("#settings-view [data-view=all]")


def change_settings(page: Any, **values: Any) -> None:
    """Fill in settings of the training's form."""
    for name, value in values.items():
        fill(page, f"#setting-{name} :is(input, textarea)", str(value))


def wait_for_state(page: Any, state: str) -> None:
    """Wait until the live panel shows the state."""
    page.wait_for_selector(f"#live .live[data-state={state}]", timeout=30_000)


def wait_for_points(page: Any, number: int) -> None:
    """Wait until the curve of the loss has that many points."""
    page.wait_for_function(f"{POINTS} >= {number}", timeout=30_000)


def choose(page: Any, box: str, option: str) -> None:
    """Choose an option of one of the Viewer's fields."""
    page.click(f"#viewer-{box} input")
    page.get_by_role("option", name=option, exact=True).click()


def wait_for_case(page: Any, name: str) -> None:
    """Wait until the Viewer shows the case."""
    page.wait_for_selector(f"{VIEWER}[data-state=open][data-case='{name}']")


def unfold(page: Any) -> None:
    """Open the part of the tab for own images and checkpoint files."""
    if not page.is_visible("#viewer-register"):
        page.get_by_text("Own images, or a checkpoint file").click()
        page.wait_for_selector("#viewer-register")


def register_own(page: Any) -> None:
    """Register own images, whose fields fold once they are."""
    page.click("#viewer-register")
    page.locator("#viewer-register").wait_for(state="hidden")
