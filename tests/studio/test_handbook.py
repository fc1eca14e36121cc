import re

import pytest

from regstudio.errors import ConfigError
from regstudio.files import asset
from regstudio.studio import handbook


def test_every_file_is_a_page_and_the_index_is_the_first() -> None:
    names = [page.name for page in handbook.pages()]
    assert names[0] == "index"
    assert sorted(names) == sorted(path.stem for path in asset("handbook").glob("*.md"))


def test_pages_follow_the_order_of_the_index() -> None:
    first, *rest = handbook.pages()
    linked = re.findall(r"\(#handbook-(\w+)\)", first.text)
    assert [page.name for page in rest][: len(linked)] == linked
    assert len(linked) > 5


def test_a_title_is_the_first_line() -> None:
    assert handbook.page("formats").title == "File formats"


def test_links_lead_to_pages_within_the_tab() -> None:
    names = {page.name for page in handbook.pages()}
    for page in handbook.pages():
        assert ".md)" not in page.text, page.name
        assert set(re.findall(r"\(#handbook-([\w-]+)\)", page.text)) <= names, page.name


def test_pictures_lie_beside_the_pages_and_are_small() -> None:
    for page in handbook.pages():
        assert "<img" not in page.text, page.name
        for path in re.findall(r"!\[[^]]*\]\(([^)]*)\)", page.text):
            assert path.startswith(handbook.PICTURES), path
            assert 20_000 < (asset("handbook") / path).stat().st_size < 150_000, path


def test_an_unknown_page_is_refused() -> None:
    with pytest.raises(ConfigError, match="no page"):
        handbook.page("../../LICENSE")
