"""Looks for changes on the server, once a second and in one request for the whole page, and redraws only what changed.

Whenever a handler runs, Gradio's page goes through its components, which takes a tenth of a second where there are some
hundred. A gr.Timer a tab, which runs one at every tick, kept half a core busy with a page that nobody touched.

A redraw brings the fingerprint of the state that it draws into the page, which asks for another one until that is the
state of the server: whatever click is lost, and in whatever order answers arrive.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from regstudio.errors import RegStudioError
from regstudio.files import read_asset
from regstudio.ui.handlers import UNQUEUED, fingerprint, on_tab_select
from regstudio.ui.widgets.browser_tab import BrowserTab

CHANGED, DRAWN = "changed-", "drawn-"


class Watch:
    """What the parts of the page watch on the server; built inside the page's gr.Blocks."""

    def __init__(self, tab: BrowserTab) -> None:
        self._tab = tab
        self._watched: dict[str, Callable[[str], object]] = {}

        def look(sent: Any = None) -> dict[str, str]:  # Gradio marks it, which a method does not allow
            return self.look(sent)

        gr.HTML(html_template="", js_on_load=read_asset("watch.js"), server_functions=[look], elem_id="watch")

    def on_change(
        self,
        name: str,
        value: Callable[[str], object],
        handler: Callable[..., Any],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
    ) -> Any:
        """Call the handler when its tab is opened, and while it is open whenever `value(browser tab)` changes.

        Called where the tab is built. `value` is asked once a second, and only reads.
        """
        self._watched[name] = value

        def draw(tab: str, *sent: Any) -> list[Any]:
            now = self._now(name, tab) if tab else gr.skip()  # first: what changes while it is drawn is drawn again
            shown = handler(*sent)
            return [*(shown if isinstance(shown, list | tuple) else [gr.skip()] * len(outputs)), now]

        drawn = gr.Textbox(visible="hidden", elem_id=f"{DRAWN}{name}")
        event = {"inputs": [self._tab.name, *inputs], "outputs": [*outputs, drawn], **UNQUEUED}
        on_tab_select(draw, **event)
        changed = gr.Button(visible="hidden", elem_id=f"{CHANGED}{name}")
        return changed.click(draw, trigger_mode="always_last", **event)

    def look(self, sent: object) -> dict[str, str]:
        """Return a fingerprint of each value in "names" as it is now, for the browser tab "tab"."""
        fields = sent if isinstance(sent, Mapping) else {}
        names, tab = fields.get("names"), fields.get("tab")
        if not isinstance(names, Sequence) or not isinstance(tab, str):
            return {}
        return {name: self._now(name, tab) for name in self._watched if name in names}

    def _now(self, name: str, tab: str) -> str:
        try:
            return fingerprint(self._watched[name](tab))
        except RegStudioError as error:  # the handler says so
            return fingerprint(str(error))
