"""HTML from Python calls, in which every text is escaped."""

from collections.abc import Iterable
from html import escape


class Html(str):
    """A piece of HTML, as opposed to a text that is still to be escaped."""

    __slots__ = ()


def tag(name: str, /, *children: str | Iterable[str], **attributes: str) -> Html:
    """Return an element: children are texts, which are escaped, elements, or sequences of both.

    An underscore at the end of an attribute's name is dropped, for class_; without children, the element is empty.
    """
    own = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    content = "".join(map(_render, children))
    return Html(f"<{name}{own}>{content}" if name in ("img", "meta") else f"<{name}{own}>{content}</{name}>")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Html:
    """Return a table with a head, whose rows are named by their first cells; it scrolls where it is too wide."""
    body = [tag("tr", tag("th", first, scope="row"), [tag("td", cell) for cell in rest]) for first, *rest in rows]
    header = tag("tr", [tag("th", cell, scope="col") for cell in head])
    return tag("div", tag("table", tag("thead", header), tag("tbody", body)), class_="wide")


def _render(child: str | Iterable[str]) -> str:
    if isinstance(child, Html):
        return child
    return escape(child) if isinstance(child, str) else "".join(map(_render, child))
