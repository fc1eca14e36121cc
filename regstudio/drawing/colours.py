"""The colours of every picture and chart: labels by their id, fixed and moving, grid lines, folds and colour maps.

Every kind of colour vision can tell the label colours apart (Okabe and Ito; their black is left out, as images are
dark), and magenta from green.
"""

from collections.abc import Iterable

Colour = tuple[int, int, int]  # red, green, blue: 0 to 255

LABEL_COLOURS: tuple[Colour, ...] = (
    (230, 159, 0),  # label 1: orange
    (86, 180, 233),  # label 2: sky blue
    (0, 158, 115),  # label 3: green
    (240, 228, 66),  # label 4: yellow
    (0, 114, 178),  # label 5: blue
    (213, 94, 0),  # label 6: vermilion
    (204, 121, 167),  # label 7: purple; label 8 is orange again
)

# Of curves that are no labels, such as losses and runs: the same colours in another order, and a grey.
SERIES_COLOURS: tuple[Colour, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (140, 140, 140),
)

FIXED_COLOUR, MOVING_COLOUR = "#ff3df5", "#1fe03a"  # magenta and green: grey where both agree

GRID_ON_WHITE = "#262626"
GRID_ON_DARK, DARK = "#d8dee9", "#16181d"

FOLD_COLOUR = "#000000"
JACOBIAN_MAP = "PuOr"  # matplotlib's colour maps: orange shrinks, white keeps its area, purple grows
MAGNITUDE_MAP = "cividis"


def hexadecimal(colour: Colour) -> str:
    """Return a colour as style sheets write it: #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def from_hexadecimal(text: str) -> Colour:
    """Return the colour that is written as #rrggbb."""
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue


def label_colour(number: int) -> Colour:
    """Return the colour of a label id; the same id has the same colour in every picture."""
    return LABEL_COLOURS[(number - 1) % len(LABEL_COLOURS)]


def label_colours(ids: Iterable[int]) -> dict[int, Colour]:
    """Return the colour of each label id but 0, in the order of the ids."""
    return {number: label_colour(number) for number in sorted({int(number) for number in ids} - {0})}
