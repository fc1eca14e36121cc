import re
from pathlib import Path

import pytest

from regstudio.config.handbook import settings_markdown

ROOT = Path(__file__).resolve().parents[2]
HANDBOOK = ROOT / "assets" / "handbook"
PAGES = sorted(HANDBOOK.glob("*.md"))


def links(page: Path) -> list[Path]:
    """Return the files that a page links to."""
    targets = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    return [(page.parent / target).resolve() for target in targets if "://" not in target]


def test_the_page_of_settings_is_what_the_declaration_says() -> None:
    # Write it again: python -c "from regstudio.config.handbook import settings_markdown as page; print(page(), end='')"
    assert (HANDBOOK / "settings.md").read_text(encoding="utf-8") == settings_markdown()


def test_the_index_lists_every_page_once() -> None:
    listed = [path.name for path in links(HANDBOOK / "index.md")]
    assert sorted(listed) == [page.name for page in PAGES if page.name != "index.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_plain_markdown_under_one_title(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^# .*", text, flags=re.MULTILINE) == [text.splitlines()[0]]
    without_code = re.sub(r"^    .*$|`[^`\n]*`", "", text, flags=re.MULTILINE)
    assert not re.search(r"(?<!\\)</?\w", without_code), "HTML"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    assert [path for path in links(page) if not path.exists()] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 1000
