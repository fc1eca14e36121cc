"""Where the browser's files lie: scripts, styles, pictures."""

from pathlib import Path

ASSETS = Path(__file__).resolve().parents[2] / "assets"
PLOTLY = ASSETS / "plotly" / "plotly-basic.min.js"


def read_asset(name: str) -> str:
    """Return the text of one of our own scripts or styles."""
    return (ASSETS / name).read_text(encoding="utf-8")
