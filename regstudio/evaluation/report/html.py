"""Build HTML from Python calls; every text is escaped."""

from collections.abc import Iterable
from html import escape


class Html(str):
    """A piece of HTML that needs no escaping, unlike a plain str."""

    __slots__ = ()


def tag(name: str, /, *children: str | Iterable[str], **attributes: str) -> Html:
    """Return an element; children are texts, which are escaped, Html, or iterables of both.

    A trailing underscore of an attribute's name is dropped, as in class_.

        tag("p", "1 < 2", class_="soft")
    """
    attribute_text = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    content = "".join(map(_render, children))
    return Html(
        f"<{name}{attribute_text}>{content}"
        if name in ("img", "meta")
        else f"<{name}{attribute_text}>{content}</{name}>"
    )


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Html:
    """Return a table with a header row; the first cell of each row is its header. Scrolls if it is too wide."""
    body = [tag("tr", tag("th", first, scope="row"), [tag("td", cell) for cell in rest]) for first, *rest in rows]
    header = tag("tr", [tag("th", cell, scope="col") for cell in head])
    return tag("div", tag("table", tag("thead", header), tag("tbody", body)), class_="wide")


def _render(child: str | Iterable[str]) -> str:
    if isinstance(child, Html):
        return child
    return escape(child) if isinstance(child, str) else "".join(map(_render, child))
