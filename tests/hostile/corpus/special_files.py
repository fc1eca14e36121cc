"""What is no ordinary file, and names that no program likes."""

import os
import socket
import sys
import unicodedata
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.hostile.corpus.kinds import Hostile, of_bytes
from tests.hostile.corpus.sound import sound

_FILES = ("a.png", "a.tif", "a.npy", "a.npz", "a.nii", "a.nii.gz", "a.mha", "a.nrrd", "a.dcm", "a", "a.xyz")


def inputs() -> Iterator[Hostile]:
    """All of them."""
    for file in _FILES:
        yield Hostile(file=f"folder_{file}", write=Path.mkdir)
        yield Hostile(file=f"nowhere_{file}", write=partial(_link, "there_is_no_such_file"))
        yield Hostile(file=f"loop_{file}", write=lambda path: path.symlink_to(path.name))
        yield Hostile(file=f"fifo_{file}", write=lambda path: os.mkfifo(path))
        yield Hostile(file=f"socket_{file}", write=_socket)
        if sys.platform == "linux":
            for device in ("zero", "null", "full", "random"):
                yield Hostile(file=f"{device}_{file}", write=partial(_link, f"/dev/{device}"))
    yield Hostile(file="proc.png", write=partial(_link, "/proc/self/mem"))
    yield Hostile(file="kernel.png", write=partial(_link, "/proc/kmsg"))
    yield Hostile(file="link_to_a_folder.png", write=partial(_link, "."))
    yield from _names()


def _link(target: str, path: Path) -> None:
    path.symlink_to(target)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the whole path may be too long for a socket's
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def _names() -> Iterator[Hostile]:
    picture = sound(".png")
    for name in (
        "two\nlines", "carriage\rreturn", "tab\there", "bell\a", "escape\x1b[2J\x1b[31m", "delete\x7f",
        "c1\x9b31m", "right\u202eleft",
        "zero\u200bwidth", "line\u2028separator", " blanks at both ends ", "-rf", "--help", "a'b\"c", "$(true)",
        "`true`", "%s%n%d",
        "{0}", "*?[x]", "<script>alert(1)<", "back\\slash", "semi;colon|pipe&", "a.b.c..d", "~", "~root", "#hash",
        "%2e%2e",
        "n" * 246, "\U0001f9e0", unicodedata.normalize("NFC", "Gehör"), unicodedata.normalize("NFD", "Gehör"),
        "CON", "a:b",
    ):  # fmt: skip
        yield of_bytes(f"{name}.png", picture, None if len(name) > 240 else True)
    for name in ("latin_\udcf6", "\udcff\udcfe", "cut_\udce2\udc82"):
        yield of_bytes(f"{name}.png", picture)
    damaged = picture[: len(picture) // 2]
    for name in (
        "two\nlines_damaged",
        "escape\x1b[2J_damaged",
        "n" * 238 + "_damaged",
        "<b>_damaged",
        "latin_\udcf6_damaged",
    ):
        yield of_bytes(f"{name}.png", damaged)
