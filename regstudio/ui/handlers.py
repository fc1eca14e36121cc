"""How a handler's errors reach the person at the page."""

import html
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from regstudio.errors import RegStudioError


@contextmanager
def told() -> Iterator[None]:
    """Show what goes wrong in the block as an error on the page, its text escaped."""
    try:
        yield
    except gr.Error:
        raise
    except RegStudioError as error:
        raise gr.Error(html.escape(str(error)), duration=None, print_exception=False) from None
    except Exception as error:
        logging.getLogger(__name__).exception("A handler of the page failed.")
        what = html.escape(f"{type(error).__name__}: {error}")
        raise gr.Error(f"This should not have happened ({what}). Reload the page and try again.") from error
