"""A dropdown whose choices change while the page is open.

A run is renamed or deleted, or another page does so, between two looks at the list: gradio's own dropdown would answer
every event of this page with an error of the server until the list is the same on both sides.
"""

from abc import ABCMeta
from typing import Any

import gradio as gr


def _pass_on(dropdown: gr.Dropdown, payload: Any) -> Any:
    """Return the text, or the list of texts, that the browser sent, also if it is no choice any more.

    Handlers say what is wrong with it. Anything else is nothing.
    """
    if dropdown.multiselect:
        return [value for value in payload if isinstance(value, str)] if isinstance(payload, list) else []
    return payload if isinstance(payload, str) else None


# Made without gradio's own metaclass, which would write a file beside this one. For the browser it is a plain dropdown.
ChangingDropdown: type[gr.Dropdown] = ABCMeta.__new__(
    type(gr.Dropdown),
    "ChangingDropdown",
    (gr.Dropdown,),
    {"__module__": __name__, "__doc__": __doc__, "preprocess": _pass_on, "is_template": True},
)
