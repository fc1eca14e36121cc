"""Takes the handbook's strips of pictures on five ways through the page: python -m tests.ui.strips [NAME...].

All images are made: the project's own phantom. It prints how many clicks and seconds each way takes.
"""

import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from regstudio.files import asset
from regstudio.studio.studio import Studio
from tests.ui import journeys, made_images
from tests.ui.gallery import MINUTES, opened_page, settled

SIZE = 160
FRAME, CAPTION, GAP, COLUMNS = (640, 400), 44, 8, 2  # pixels
MAX_BYTES = 150_000
FEW_EPOCHS = {"epochs": 3}
NAMES = ("two_images", "radiographs", "cine", "sections", "mended")


def main() -> None:
    """Walk the ways that are named, or all, each in a browser tab of its own, and write its strip."""
    with tempfile.TemporaryDirectory(prefix="journeys_") as folder, opened_page(Path(folder)) as (page, studio):
        clicks: list[int] = []
        page.context.expose_function("clicked", lambda: clicks.append(1))
        page.context.add_init_script("addEventListener('pointerdown', () => window.clicked?.(), true)")
        url, context = page.url, page.context
        for name in sys.argv[1:] or NAMES:
            page = context.new_page()  # with data and settings of its own
            page.set_default_timeout(60_000 * MINUTES)
            page.goto(url)
            page.wait_for_function("window.regstudioTab")
            clicks.clear()
            steps = walk(name, page, studio, Path(folder) / name)
            frames, seconds, begun = [], 0.0, time.monotonic()
            for caption in steps:
                seconds += time.monotonic() - begun
                frames.append((settled(page), f"{len(frames) + 1}. {caption}"))
                begun = time.monotonic()
            seconds += time.monotonic() - begun
            page.close()
            size = write_strip(frames, asset("journeys") / f"{name}.webp")
            sys.stdout.write(f"{name}: {len(clicks)} clicks, {seconds:.0f} s, {size / 1000:.0f} kB\n")
            sys.stdout.flush()


def walk(name: str, page: Any, studio: Studio, folder: Path) -> Iterator[str]:
    """Make the images of a way, and return its steps."""
    scratch = folder.with_name(f"{name}_made")
    if name == "two_images":
        return journeys.two_images(page, *made_images.make_sections(folder, scratch, size=SIZE))
    if name == "sections":
        return journeys.sections(page, *made_images.make_sections(folder, scratch, size=SIZE))
    if name == "radiographs":
        made_images.make_radiographs(folder, scratch, count=6, new=50, size=SIZE)
        return journeys.radiographs(page, folder, folder.with_name(f"{name}_new"))
    if name == "cine":
        made_images.make_cine(folder, scratch, frames=5, size=SIZE)
        return journeys.cine(page, folder)
    studio.workspace(page.evaluate("window.regstudioTab")).change_settings(FEW_EPOCHS)
    return journeys.mended(page)


def write_strip(frames: list[tuple[bytes, str]], path: Path) -> int:
    """Write the frames with their captions side by side and below each other; return the size of the file in bytes."""
    width, height = FRAME[0] + GAP, FRAME[1] + CAPTION
    rows = -(-len(frames) // COLUMNS)
    strip = Image.new("RGB", (COLUMNS * width - GAP, rows * height), "white")
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(15)
    for number, (png, caption) in enumerate(frames):
        x, y = number % COLUMNS * width, number // COLUMNS * height
        with Image.open(BytesIO(png)) as picture:
            strip.paste(picture.convert("RGB").resize(FRAME, Image.Resampling.LANCZOS), (x, y))
        pen.rectangle((x, y, x + FRAME[0] - 1, y + FRAME[1] - 1), outline="#94a3b8")
        pen.multiline_text((x + 2, y + FRAME[1] + 4), textwrap.fill(caption, 85), fill="#1e293b", font=font, spacing=2)
    path.parent.mkdir(exist_ok=True)
    for quality in range(80, 20, -10):
        strip.save(path, quality=quality, method=6)
        if path.stat().st_size <= MAX_BYTES:
            break
    return path.stat().st_size


if __name__ == "__main__":
    main()
