"""The browser tab that shows the page: its name leads handlers to the tab's own workspace."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from regstudio.files import read_asset
from regstudio.ui.handlers import on_page_load


@dataclass(frozen=True)
class BrowserTab:
    """The component that holds the tab's `name`, an input of every handler that needs the workspace."""

    name: gr.Textbox
    _named: Any

    def on_load(
        self, handler: Callable[..., Any], inputs: Sequence[Any] = (), outputs: Any = None, **options: Any
    ) -> Any:
        """Call the handler with the name and the inputs once a browser has loaded the page and the name is known."""
        return self._named.then(handler, [self.name, *inputs], outputs, **options)


def browser_tab() -> BrowserTab:
    """Return the tab; called inside the page's gr.Blocks."""
    name = gr.Textbox(visible="hidden", elem_id="browser-tab")
    return BrowserTab(name, on_page_load(None, outputs=name, js=read_asset("browser_tab.js"), queue=False))
