"""One type scale, one spacing scale, two accents, for light and dark: the style sheets take all of it from tokens."""

import re

import pytest

from regstudio.files import asset, read_asset
from regstudio.ui.server.theme import THEME, colour_tokens

SHEETS = sorted(
    path.relative_to(asset("")).as_posix() for path in asset("").rglob("*.css") if path.name != "report.css"
)
SIZES = re.compile(r"(?:var\(--(?:spacing|radius|size)-\w+\)|calc|[-()+*/ \d]|auto|inherit|!important|%)*")
TEXT = re.compile(r"var\(--text-(?:xs|sm|md|lg|xl|xxl)\)|inherit")
COLOURS = re.compile(r"#[0-9a-f]{3,8}\b|\b(?:rgba?|hsla?)\(", re.IGNORECASE)


def declarations(sheet: str) -> list[tuple[str, str]]:
    """The properties of a style sheet with their values."""
    rules = re.sub(r"/\*.*?\*/", "", read_asset(sheet), flags=re.DOTALL)
    inside = "".join(re.findall(r"\{([^{}]*)\}", rules))
    return [(name, value.strip()) for name, value in re.findall(r"([\w-]+)\s*:\s*([^;]+)", inside)]


@pytest.mark.parametrize("sheet", SHEETS)
def test_a_style_sheet_takes_sizes_and_colours_from_the_theme(sheet: str) -> None:
    for name, value in declarations(sheet):
        if re.match(r"padding|margin|(?:row-|column-)?gap|border-radius", name):
            assert SIZES.fullmatch(value), f"{name}: {value}"
        if name == "font-size":
            assert TEXT.fullmatch(value), value
        assert not COLOURS.search(value), f"{name}: {value}"


def test_there_are_style_sheets_to_look_at() -> None:
    assert {"studio.css", "canvas/canvas.css", "live/live.css"} <= set(SHEETS)
    assert ("font-size", "var(--text-sm)") in declarations("studio.css")


def test_light_and_dark_name_the_same_tokens_and_the_mark_has_the_two_accents() -> None:
    light, dark = colour_tokens().strip().splitlines()
    names = [set(re.findall(r"--([\w-]+):", rule)) for rule in (light, dark)]
    assert names[1] <= names[0]
    accents = {THEME.primary_500, re.search(r"--signal-warn: (#\w+)", light)[1]}  # type: ignore[index, attr-defined]
    assert set(COLOURS.findall(read_asset("mark.svg"))) == accents | {"#ffffff"}
