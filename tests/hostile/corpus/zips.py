"""Zips of data folders, as they are uploaded."""

import io
import stat
import zipfile
from collections.abc import Iterator

from tests.hostile.corpus.arrays import patched
from tests.hostile.corpus.kinds import Hostile, alien, cuts, of_bytes
from tests.hostile.corpus.sound import sound


def zipped(*names: str, content: bytes = b"", mode: int = 0, method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of an atlas and files of these names."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name in names:
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, method
            archive.writestr(entry, content or sound(".png"))
    return stream.getvalue()


def inputs() -> Iterator[Hostile]:
    """All of them."""
    yield from cuts("set", ".zip", zipped("fixed/atlas.png", "moving/a.png"))
    yield from alien(".zip", {ending: sound(ending) for ending in (".png", ".nii.gz")})
    for name, inner in (
        ("up", "../moving/a.png"), ("far_up", "moving/../../../../tmp/a.png"), ("absolute", "/moving/a.png"),
        ("drive", "C:/moving/a.png"),
        ("backslashes", "..\\moving\\a.png"), ("share", "\\\\host\\moving\\a.png"),
        ("long", f"moving/{'n' * 300}.png"),
        ("lines", "moving/a\nb.png"), ("escape", "moving/\x1b[2J.png"), ("nowhere", "elsewhere/a.png"),
    ):  # fmt: skip
        yield of_bytes(f"{name}.zip", zipped(inner))
    yield of_bytes("deep.zip", zipped("d/" * 2000 + "moving/a.png"), None)
    yield of_bytes("link.zip", zipped("moving/a.png", content=b"/etc/passwd", mode=stat.S_IFLNK | 0o777))
    yield of_bytes("device.zip", zipped("moving/a.png", mode=stat.S_IFCHR | 0o777), None)
    two = zipped("moving/a.png", "moving/b.png").replace(b"moving/b.png", b"moving/a.png")
    yield of_bytes("two_of_one_name.zip", two)
    yield of_bytes("file_and_folder.zip", zipped("moving/a.png", "moving/a.png/b.png"), None)
    yield of_bytes("many.zip", zipped(*(f"moving/{number}.png" for number in range(20_001)), content=b"x"))
    yield of_bytes("nothing.zip", zipped())
    yield of_bytes("bzip2.zip", zipped("moving/a.png", method=zipfile.ZIP_BZIP2), True)
    one = zipped("moving/a.png")
    for method in (9, 97, 99):  # 9 is Deflate64
        yield of_bytes(f"method_{method}.zip", patched(one, 8, 10, "<H", method))
    yield of_bytes("encrypted.zip", patched(one, 6, 8, "<H", 1))
    yield of_bytes("beyond_the_file.zip", patched(one, None, 42, "<I", 2**31))
    yield of_bytes("wrong_checksum.zip", patched(one, 14, 16, "<I", 1))
    bomb = zipped("moving/a.png", content=bytes(2**26), method=zipfile.ZIP_DEFLATED)
    yield of_bytes("says_4_GB.zip", patched(bomb, 22, 24, "<I", 2**32 - 2), None)
    yield of_bytes("says_10_bytes.zip", patched(bomb, 22, 24, "<I", 10))
    yield of_bytes("inner.zip", zipped("moving/a.zip", content=one), None)
