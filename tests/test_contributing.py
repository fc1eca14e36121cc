"""CONTRIBUTING.md leads somewhere, is short, and tells the truth about the rooms and about the way of a training."""

import re
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from regstudio.studio import training_control
from regstudio.studio.studio import Studio
from tests.config.test_handbook import ROOT, links

PAGE = ROOT / "CONTRIBUTING.md"
PACKAGE = ROOT / "regstudio"
MAX_WORDS, MAX_FILES = 700, 12

Way = tuple[str, ...]


def listed_way() -> Way:
    """The files that the page lists from Start to the first step, as paths within the package."""
    section = PAGE.read_text(encoding="utf-8").split("## From Start to the first step")[1]
    chain = section.split(" >\n")
    return tuple(re.findall(r"\(regstudio/([^)]+)\)", part)[0] for part in chain)


def test_it_is_one_page_that_the_readme_links_to() -> None:
    assert PAGE in links(ROOT / "README.md")
    assert len(PAGE.read_text(encoding="utf-8").split()) <= MAX_WORDS


def test_its_links_lead_somewhere() -> None:
    assert [path for path in links(PAGE) if not path.exists()] == []


def test_every_room_is_listed_once() -> None:
    listed = re.findall(r"`(\w+)/?`", "".join(re.findall(r"^\| (`.+?) \|", PAGE.read_text("utf-8"), re.MULTILINE)))
    rooms = {path.stem for path in PACKAGE.iterdir() if not path.stem.startswith("_")}
    assert sorted(listed) == sorted(rooms | {"assets"})


@pytest.mark.slow
def test_the_longest_way_from_start_to_the_first_step_is_the_one_listed(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = ways_to_the_first_step(studio, monkeypatch)
    longest = {way for way in ways if len(way) == max(map(len, ways))}
    assert listed_way() in longest
    assert len(listed_way()) <= MAX_FILES


def ways_to_the_first_step(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> set[Way]:
    """Start a training as the Train tab does; return the files on the stack at each call, until a step is done.

    A thread's stack goes on from that of whoever started it.
    """
    ways: set[Way] = set()
    begun: dict[threading.Thread, Way] = {}
    stepped = threading.Event()

    def way_to(frame: FrameType | None) -> Way:
        files = []
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(PACKAGE):
                files.append(path.relative_to(PACKAGE).as_posix())
            frame = frame.f_back
        return tuple(dict.fromkeys((*begun.get(threading.current_thread(), ()), *reversed(files))))

    def look(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if stepped.is_set() or not code.co_filename.startswith(str(PACKAGE)):
            return
        if event == "call":
            ways.add(("ui/tabs/train_tab.py", *way_to(frame)))
        elif event == "return" and code.co_name == "finish" and code.co_filename.endswith("training/step.py"):
            stepped.set()

    original = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        begun[thread] = way_to(sys._getframe())
        original(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    threading.setprofile(look)
    sys.setprofile(look)
    try:
        settings = {
            "encoder_channels": 2,
            "decoder_channels": 4,
            "device": "cpu",
            "disk_cache_gb": 0.0,
            "compare": False,
        }
        training_control.start(studio, settings)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert stepped.wait(60)
    return ways
