"""What the event handlers of all tabs share: how errors reach the user, how events run, how a download starts."""

import hashlib
import html
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import gradio as gr
from gradio.context import Context

from regstudio.errors import ConfigError, RegStudioError
from regstudio.files import is_full, system_message
from regstudio.studio.page_words import on_the_page

T = TypeVar("T")

MESSAGE_SECONDS = 30  # that a message stays: long enough to read one of several lines

# Options of events. Whatever shows the progress of an event, hidden or not, is gone through at every later one.
QUIET: dict[str, Any] = {"show_progress": "hidden", "show_progress_on": [], "api_visibility": "private"}
PARALLEL: dict[str, Any] = {**QUIET, "concurrency_limit": None}
# Gradio shows no error of a handler outside its queue: only what cannot fail may run there.
UNQUEUED: dict[str, Any] = {**PARALLEL, "queue": False}


def shown_fingerprint() -> gr.Textbox:
    """Return a hidden component that holds the `fingerprint` of what this page shows.

    It is an input and an output of what redraws the page where there is anything new. The browser gets it together with
    what it stands for. A gr.State is set on the server before the answer arrives: of two answers that arrive in the
    other order the page would show the older one, and never be redrawn.
    """
    return gr.Textbox(visible="hidden")


def fingerprint(value: object) -> str:
    """Return a short text that differs where the values do."""
    return hashlib.blake2b(repr(value).encode(errors="replace"), digest_size=16).hexdigest()


@contextmanager
def shown_to_user(words: Callable[[str], str] = on_the_page) -> Iterator[None]:
    """Show an error of the block, or of the decorated handler, as a message on the page: in `words`, and escaped."""
    try:
        yield
    except gr.Error:
        raise
    except RegStudioError as error:
        raise gr.Error(html.escape(words(str(error))), duration=MESSAGE_SECONDS, print_exception=False) from None
    except Exception as error:
        if isinstance(error, OSError) and is_full(error):
            raise gr.Error(html.escape(words(system_message(error))), duration=None, print_exception=False) from None
        logging.getLogger(__name__).exception("A handler of the page failed.")
        what = html.escape(words(f"{type(error).__name__}: {error}"))
        raise gr.Error(f"This should not have happened ({what}). Reload the page and try again.") from error


def sent(value: T | None, what: str) -> T:
    """Return a value that every page sends; raises ConfigError for a request without it, which no page makes."""
    if value is None:
        raise ConfigError(f"The request lacks {what}. Reload the page and try again.")
    return value


def on_page_load(handler: Callable[..., Any] | None, inputs: Any = None, outputs: Any = None, **options: Any) -> Any:
    """Call the handler, or run the script `js`, whenever a browser loads the page that is being built."""
    if Context.root_block is None:
        raise RuntimeError("a page is built inside gr.Blocks")
    return Context.root_block.load(handler, inputs, outputs, **options)


def on_tab_select(handler: Callable[..., Any], inputs: Any = None, outputs: Any = None, **options: Any) -> None:
    """Call the handler whenever the user opens the tab that is being built."""
    block = Context.block
    while block is not None and not isinstance(block, gr.Tab):
        block = block.parent
    if block is not None:
        block.select(handler, inputs, outputs, **options)


def click_link(elem_id: str) -> str:
    """Return the script that clicks a hidden download button, so that the browser saves the file it was given."""
    return f"() => document.querySelector('#{elem_id}')?.closest('a, button')?.click()"
