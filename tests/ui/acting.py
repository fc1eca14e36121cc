"""What a person does at the page, at a person's pace."""

from typing import Any

GLANCE_MS = 300


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
