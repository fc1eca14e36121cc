"""Tables of landmarks."""

import os
from collections.abc import Iterator

from tests.hostile.corpus.kinds import Hostile, of_bytes
from tests.hostile.corpus.sound import sound

_SLICER = b"# Markups fiducial file version = 4.11\n# CoordinateSystem = %s\n# columns = %s\n%s"
_COLUMNS = b"id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label"


def inputs() -> Iterator[Hostile]:
    """All of them."""
    for name, content in (
        ("empty", b""), ("header_alone", b"y,x\n"), ("blank_lines", b"\n\n\n"), ("no_header", b"1,2\n3,4\n"),
        ("one_column", b"y\n1\n"),
        ("text", b"y,x\nhere,there\n"), ("nan", b"y,x\nnan,nan\n"), ("inf", b"y,x\ninf,1\n"),
        ("overflow", b"y,x\n1e999,1\n"),
        ("short_line", b"y,x\n1\n"), ("noise", os.urandom(0) + bytes(range(256)) * 8), ("nul", b"y,x\n1\0,2\n"),
        ("picture", sound(".png")),
        ("latin_1", b"y,x,name\n1,2,Geh\xf6r\n"), ("utf_16_cut", "y,x\n1,2\n".encode("utf-16")[:-1]),
        ("open_quote", b'y,x\n"1,2\n'),
        ("long_cell", b"y,x\n" + b"1" * 200_000 + b",2\n"), ("escape", b"y,x\n\x1b[2J,2\n"),
        ("hex", b"y,x\n0x10,2\n"),
        ("bigwarp_cut", b"Pt-0,true,1,2\n"), ("bigwarp_none", b"Pt-0,false,1,2,3,4\n"),
        ("bigwarp_text", b"Pt-0,true,a,b,c,d\n"),
    ):  # fmt: skip
        yield of_bytes(f"{name}.csv", content)
    for name, content in (
        ("huge", b"y,x\n1e300,-1e300\n"), ("outside", b"y,x\n-5,10000\n"), ("twice", b"y,x,y\n1,2,3\n"),
        ("100000_lines", b"y,x\n" + b"1,2\n" * 100_000),
        ("only_returns", b"y,x\r1,2\r"), ("formula", b"y,x,name\n1,2,=cmd()\n"),
    ):  # fmt: skip
        yield of_bytes(f"{name}.csv", content, None)
    for name, system, columns, rows in (
        ("empty", b"LPS", _COLUMNS, b""), ("system", b"IJK", _COLUMNS, b"1,2,3,4\n"),
        ("columns", b"LPS", b"a,b", b"1,2\n"),
        ("nan", b"LPS", _COLUMNS, b"1,nan,nan,nan\n"), ("short", b"LPS", _COLUMNS, b"1,2\n"),
    ):  # fmt: skip
        yield of_bytes(f"slicer_{name}.fcsv", _SLICER % (system, columns, rows))
    yield Hostile(file="folder.csv", write=lambda path: path.mkdir())
    yield Hostile(file="fifo.csv", write=lambda path: os.mkfifo(path))
    yield Hostile(file="zeros.csv", write=lambda path: path.symlink_to("/dev/zero"))
    yield Hostile(file="loop.csv", write=lambda path: path.symlink_to(path.name))
