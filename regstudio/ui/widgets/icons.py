"""Icons: the tool row of the Viewer, with words on hover, in the colour of the text; pictures where nothing is yet."""

# What dragging does: the tool's name, its words, and its path in 18 x 18 pixels.
DRAGS = (
    (
        "move",
        "Drag to move the images",
        "M9 2v14M2 9h14M6.5 4.5 9 2l2.5 2.5M6.5 13.5 9 16l2.5-2.5M4.5 6.5 2 9l2.5 2.5M13.5 6.5 16 9l-2.5 2.5",
    ),
    (
        "window",
        "Drag to change brightness (down) and contrast (sideways)",
        "M9 3a6 6 0 1 0 0 12a6 6 0 1 0 0-12M9 3v12M9 6h4.5M9 9h6M9 12h4.5",
    ),
    ("measure", "Drag to measure a distance", "M2 12 12 2l4 4L6 16ZM5 9l1.5 1.5M8 6l2 2M11 3l1.5 1.5"),
    ("outline", "Drag around an area to measure it", "M4 12C1 7 6 3 9 5s6-2 6 3-5 3-6 5-4 1-5-1Z"),
)
# What a click does at once: the button's class, its words, and its path.
ACTIONS = (
    ("flicker", "Before and after (space bar)", "M9 2v14M7 5H3v8h4M11 5h4v8h-4M11.5 9h2"),
    ("reset", "Whole image (double click)", "M3 9a6 6 0 1 0 2-4.5M3 2v3.5h3.5"),
    ("full", "Full screen", "M2 6V2h4M12 2h4v4M16 12v4h-4M6 16H2v-4"),
    (
        "save",
        "Save as PNG: what you see, at 300 dpi, with a scale bar",
        "M2 3h14v12H2ZM2 13l4-4 3 3 3-4 4 5M5.5 6.5h.01",
    ),
    (
        "save-svg",
        "Save as SVG: the same, with lines and words as vectors",
        "M3 14C3 6 15 12 15 4M2 13h2v2H2ZM14 3h2v2h-2Z",
    ),
)
# Two images of which one is laid on the other.
EMPTY = """<svg class="empty-picture" viewBox="0 0 96 64" aria-hidden="true">
  <path d="M8 14Q28 4 44 14Q52 30 44 48Q28 58 8 48Q0 30 8 14Z"/>
  <path d="M36 20h44v36H36ZM56 12q10-8 20 0M72 12h4V8" stroke-dasharray="3 3"/></svg>"""
# A table that waits for its lines; many images on their way to one; one point that leads to others.
EMPTY_RUNS = "M10 8h76v12H10ZM34 8v12M62 8v12", "M10 20v36h76V20M10 32h76M10 44h76M34 20v36M62 20v36"
EMPTY_RESULTS = "M6 22h28v34H6ZM12 22v-6h28v34h-6M18 16v-6h28v34h-6M52 32h12M59 27l5 5-5 5", "M68 15h22v34H68Z"
EMPTY_SHARE = (
    "M28 32a8 8 0 1 1-16 0 8 8 0 1 1 16 0",
    "M28 29 60 18M28 35l32 11M76 14a8 8 0 1 1-16 0 8 8 0 1 1 16 0M76 50a8 8 0 1 1-16 0 8 8 0 1 1 16 0",
)


def nothing_yet(picture: tuple[str, str], words: str) -> str:
    """Return the markup of a picture, of a drawn path and a dashed one, above words that say what comes there."""
    drawn, dashed = picture
    paths = f'<path d="{drawn}"/><path d="{dashed}" stroke-dasharray="3 3"/>'
    return f'<div class="nothing-yet"><svg viewBox="0 0 96 64" aria-hidden="true">{paths}</svg><p>{words}</p></div>'


def tool_row() -> str:
    """Return the markup of the buttons; those that stay pressed say so."""
    drags = (
        _button(words, path, f'data-tool="{name}" aria-pressed="{str(name == "move").lower()}"')
        for name, words, path in DRAGS
    )
    acts = (
        _button(words, path, f'class="{name}"' + ' aria-pressed="false"' * (name == "flicker"))
        for name, words, path in ACTIONS
    )
    return f"{''.join(drags)}<hr>{''.join(acts)}"


def _button(words: str, path: str, more: str) -> str:
    icon = f'<svg viewBox="0 0 18 18" aria-hidden="true"><path d="{path}"/></svg>'
    return f'<button type="button" title="{words}" aria-label="{words}" {more}>{icon}</button>'
