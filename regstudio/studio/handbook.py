"""The handbook: the pages in assets/handbook, index first, with links that work inside the Help tab."""

import re
from dataclasses import dataclass
from functools import cache

from regstudio.errors import ConfigError
from regstudio.files import asset

INDEX = "index"
PICTURES = "../journeys/"  # where they lie, beside the pages
ANCHOR = "#handbook-"  # before a page's name, in a link; assets/help.js opens the page
_LINK = re.compile(r"\]\(([\w-]+)\.md(#[\w-]+)?\)")


@dataclass(frozen=True, kw_only=True)
class HandbookPage:
    """A page: its name in links, its title, and its text in Markdown."""

    name: str
    title: str
    text: str


@cache
def pages() -> tuple[HandbookPage, ...]:
    """Return all pages: the index, then the pages that it links to in their order, then the rest by name."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(asset("handbook").glob("*.md"))}
    linked = [match[1] for match in _LINK.finditer(texts[INDEX])]
    names = dict.fromkeys([INDEX, *(name for name in linked if name in texts), *texts])
    return tuple(HandbookPage(name=name, title=_title(texts[name]), text=_with_anchors(texts[name])) for name in names)


def page(name: str) -> HandbookPage:
    """Return a page by its name; raises ConfigError if there is none."""
    for one in pages():
        if one.name == name:
            return one
    raise ConfigError(f"The handbook has no page {name!r}. Choose one from the list.")


def _title(text: str) -> str:
    return text.partition("\n")[0].lstrip("# ").strip()


def _with_anchors(text: str) -> str:
    """Replace links to other pages, such as (formats.md), by anchors, such as (#handbook-formats)."""
    return _LINK.sub(lambda match: f"]({ANCHOR}{match[1]})", text)
