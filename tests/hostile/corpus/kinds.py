"""What a hostile input is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

Write = Callable[[Path], object]


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """A hostile input: `write(path)` makes it at a path that ends in `file`.

    `usable`: False where the program must refuse it, True where it must take it, None where both are right. A `volume`
    the commands refuse, and the page cuts.
    """

    file: str
    write: Write
    usable: bool | None = False
    volume: bool = False

    def usable_at(self, door: str) -> bool | None:
        """What `usable` is at one of the doors."""
        return True if self.volume and door in ("page_fixed", "page_moving") else self.usable

    def __str__(self) -> str:
        """Its name in the list of tests."""
        return self.file.encode("unicode_escape").decode()[:80]


def of_bytes(file: str, content: bytes, usable: bool | None = False, *, volume: bool = False) -> Hostile:
    """A file of these bytes."""
    return Hostile(file=file, write=lambda path: path.write_bytes(content), usable=usable, volume=volume)


def cuts(stem: str, ending: str, content: bytes, *, header: int = 0) -> Iterator[Hostile]:
    """A sound file cut off at every interesting length; `header` is the length of its header."""
    lengths = {0, 1, 2, 3, 4, 8, 16, 26, 64, 127, 128, 131, 132, 133, 347, 348, 352, header - 1, header, header + 1}
    lengths |= {len(content) * part // 8 for part in range(1, 8)}
    for length in sorted(lengths):
        if 0 <= length < len(content) * 15 // 16:
            yield of_bytes(f"{stem}_cut_at_{length}{ending}", content[:length])
    yield of_bytes(f"{stem}_twice{ending}", content + content, None)
    yield of_bytes(f"{stem}_then_zeros{ending}", content + bytes(4096), None)
    yield of_bytes(f"{stem}_after_a_line_end{ending}", b"\n" + content, None)


def alien(ending: str, sound: dict[str, bytes]) -> Iterator[Hostile]:
    """Content of other kinds behind an ending: text, noise, zeros, and sound files of the other formats."""
    import numpy as np

    contents = {
        "text": b"This is no picture. " * 40,
        "noise": np.random.default_rng(0).bytes(5000),
        "zeros": bytes(5000),
        "ones": b"\xff" * 5000,
        "html": b"<!DOCTYPE html><html><body>404</body></html>",
        "gif": b"GIF89a" + bytes(100),
        "pdf": b"%PDF-1.7\n" + bytes(100),
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
    }
    for name, content in (contents | {name: data for name, data in sound.items() if name != ending}).items():
        yield of_bytes(f"is_{name.strip('.').replace('.', '_')}{ending}", content, None if name in sound else False)
