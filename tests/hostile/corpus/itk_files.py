"""MetaImage and NRRD."""

import bz2
import gzip
import zlib
from collections.abc import Iterator
from functools import partial

import numpy as np

from tests.hostile import headers
from tests.hostile.corpus.kinds import Hostile, alien, cuts, of_bytes
from tests.hostile.corpus.sound import ENDINGS, by_itk, sound
from tests.pictures import BYTES, GREY, HEIGHT, WIDTH

_PIXELS = BYTES.tobytes()
_SIZE = f"{WIDTH} {HEIGHT}"
_SECRET = "/etc/hostname"


def inputs() -> Iterator[Hostile]:
    """All of them."""
    for ending in (".mha", ".nrrd"):
        yield from cuts("grey", ending, sound(ending), header=sound(ending).index(GREY.tobytes()[:8]))
        yield from cuts("packed", ending, by_itk(GREY, ending, compressed=True))
        yield from alien(ending, {other: sound(other) for other in ENDINGS})
        for channels in (2, 5):
            array = np.stack([GREY] * channels, axis=-1).astype(np.float32)
            yield of_bytes(f"{channels}_channels{ending}", by_itk(array, ending, vectors=True))
    yield from _metaimages()
    yield from _nrrds()
    yield from _detached()


def _mha(file: str, *extra: str, usable: bool | None = False, pixels: bytes = _PIXELS, **fields: str) -> Hostile:
    fields = {"DimSize": _SIZE, **fields}
    write = partial(headers.metaimage, pixels=pixels, **fields)
    return Hostile(file=f"{file}.mha", write=lambda path: write(path, *extra), usable=usable)


def _metaimages() -> Iterator[Hostile]:
    for dimension in (-1, 0, 1, 3, 4, 5, 10, 11, 16, 10**9):
        sizes = " ".join([str(WIDTH), str(HEIGHT), *["1"] * 14][: max(0, min(dimension, 16))])
        usable = dimension in (3, 4)
        yield _mha(f"{dimension}_dimensions", NDims=str(dimension), DimSize=sizes, usable=usable)
    for sizes in ("0 40", "40 0", "-40 -40", "2147483647 2147483647", "100000 100000", "1e3 40", "nan 40", "40", "1 1"):
        yield _mha(f"size_{sizes.replace(' ', 'x')}", DimSize=sizes)
    for channels in ("0", "-1", "2", "5", "2000000000", "99999999999999999999", "1.5", "nan"):
        yield _mha(f"{channels}_channels", ElementNumberOfChannels=channels)
    for kind in ("MET_OTHER", "MET_NONE", "MET_STRING", "MET_ASCII_CHAR", "", "float", "MET_FLOAT_MATRIX"):
        yield _mha(f"type_{kind or 'none'}", ElementType=kind)
    for name, spacing in (
        ("0", "0 0"), ("negative", "-1 -1"), ("nan", "nan nan"), ("inf", "inf 1"), ("huge", "1e308 1e308"),
        ("tiny", "1e-320 1"), ("text", "a b"), ("one", "1"),
    ):  # fmt: skip
        yield _mha(f"spacing_{name}", ElementSpacing=spacing, usable=None)
        yield _mha(f"element_size_{name}", ElementSize=spacing, usable=None)
    for name, matrix in (
        ("singular", "1 0 1 0"), ("zero", "0 0 0 0"), ("nan", "nan 0 0 1"), ("inf", "inf 0 0 1"),
        ("huge", "1e308 0 0 1e308"),
        ("sheared", "1 0.9 0 1"), ("short", "1 0"), ("text", "a b c d"),
    ):  # fmt: skip
        yield _mha(f"direction_{name}", TransformMatrix=matrix, usable=None)
    for name, origin in (("nan", "nan nan"), ("inf", "inf 0"), ("huge", "1e308 1e308"), ("text", "a b")):
        yield _mha(f"origin_{name}", Offset=origin, usable=None)
    yield _mha("header_twice", "NDims = 16")
    yield _mha("header_size_of_2_GB", HeaderSize="2000000000")
    yield _mha("header_size_minus_2", HeaderSize="-2", usable=None)
    yield _mha("header_size_minus_1", HeaderSize="-1", usable=None)
    yield _mha("line_of_100000_letters", "Comment = " + "x" * 100_000, usable=None)
    yield _mha("10000_lines", *(f"C{number} = x" for number in range(10_000)), usable=None)
    yield _mha("carriage_return", "Comment = x\rNDims = 16")
    yield _mha("control_character", "Comment = \x1b[2J\0")
    yield _mha("other_bytes", BinaryDataByteOrderMSB="Maybe", usable=None)
    yield _mha("other_object", ObjectType="Tube", usable=None)
    yield _mha("text_of_noise", BinaryData="False", pixels=b"x y z " * 4000)
    yield _mha("text_of_huge_numbers", BinaryData="False", pixels=b"1e99 " * (WIDTH * HEIGHT), usable=None)
    packed = zlib.compress(bytes(2**28), 9)
    yield _mha("zlib_bomb", CompressedData="True", pixels=packed)
    yield _mha("zlib_bomb_of_pixels", CompressedData="True", DimSize="16000 16000", pixels=packed)
    yield _mha("zlib_of_noise", CompressedData="True", pixels=np.random.default_rng(0).bytes(2000))
    yield _mha("zlib_of_less", CompressedData="True", pixels=zlib.compress(_PIXELS[:-1]))
    yield _mha("zlib_of_more", CompressedData="True", pixels=zlib.compress(_PIXELS + b"x"), usable=None)
    yield _mha(
        "zlib_of_wrong_length", CompressedData="True", CompressedDataSize="999999999", pixels=zlib.compress(_PIXELS),
        usable=None,
    )  # fmt: skip
    yield _mha(
        "zlib_of_negative_length",
        CompressedData="True",
        CompressedDataSize="-5",
        pixels=zlib.compress(_PIXELS),
        usable=None,
    )


def _nrrd(file: str, *extra: str, usable: bool | None = False, pixels: bytes = _PIXELS, **fields: str) -> Hostile:
    fields = {"sizes": _SIZE, **fields}
    write = partial(headers.nrrd, pixels=pixels, **fields)
    return Hostile(file=f"{file}.nrrd", write=lambda path: write(path, *extra), usable=usable)


def _nrrds() -> Iterator[Hostile]:
    for dimension in (-1, 0, 1, 3, 4, 5, 10, 11, 16, 17, 10**9):
        sizes = " ".join([str(WIDTH), str(HEIGHT), *["1"] * 15][: max(0, min(dimension, 17))])
        usable = dimension in (3, 4)
        yield _nrrd(f"{dimension}_dimensions", dimension=str(dimension), sizes=sizes, usable=usable)
    for sizes in ("0 40", "40 0", "-40 -40", "2147483647 2147483647", "100000 100000", "1e3 40", "nan 40", "40", "1 1"):
        yield _nrrd(f"size_{sizes.replace(' ', 'x')}", sizes=sizes)
    for kinds in ("vector domain domain", "RGB-color domain domain", "3D-matrix domain domain", "stub stub stub"):
        for channels in (0, 1, 2, 3, 16, 2_000_000_000):
            sizes = f"{channels} {WIDTH} {HEIGHT}"
            name = f"{channels}_of_{kinds.split()[0]}"
            yield _nrrd(
                name, f"kinds: {kinds}", dimension="3", sizes=sizes, pixels=_PIXELS * min(channels, 16), usable=None
            )
    for kind in ("block", "", "uint128", "string"):
        yield _nrrd(f"type_{kind or 'none'}", type=kind)
    for encoding in ("zip", "", "gzip", "bzip2", "hex", "text"):
        yield _nrrd(f"encoding_{encoding or 'none'}", encoding=encoding, usable=None if encoding == "hex" else False)
    for name, lines in (
        ("0", ("spacings: 0 0",)), ("negative", ("spacings: -1 -1",)), ("nan", ("spacings: nan nan",)),
        ("inf", ("spacings: inf 1",)), ("huge", ("spacings: 1e308 1e308",)), ("one", ("spacings: 1",)),
        ("direction_singular", ("space dimension: 2", "space directions: (1,0) (1,0)")),
        ("direction_zero", ("space dimension: 2", "space directions: (0,0) (0,0)")),
        ("direction_nan", ("space dimension: 2", "space directions: (nan,0) (0,1)")),
        ("direction_inf", ("space dimension: 2", "space directions: (inf,0) (0,1)")),
        ("direction_huge", ("space dimension: 2", "space directions: (1e308,0) (0,1e308)")),
        ("direction_none", ("space dimension: 2", "space directions: none none")),
        ("direction_sheared", ("space dimension: 2", "space directions: (1,0.9) (0,1)")),
        ("direction_short", ("space dimension: 2", "space directions: (1) (0)")),
        ("origin_nan", ("space dimension: 2", "space directions: (1,0) (0,1)", "space origin: (nan,nan)")),
        ("origin_huge", ("space dimension: 2", "space directions: (1,0) (0,1)", "space origin: (1e308,1e308)")),
        ("space_16", ("space dimension: 16",)), ("space_unknown", ("space: nowhere",)),
        ("space_3_for_2", ("space: left-posterior-superior", "space directions: (1,0,0) (0,1,0)")),
        ("space_3_that_is_singular", ("space: left-posterior-superior", "space directions: (1,0,0) (1,0,0)")),
        ("centers_of_nonsense", ("centers: here there",)),
        ("axis_mins_nan", ("axis mins: nan nan", "axis maxs: nan nan")),
    ):  # fmt: skip
        yield _nrrd(f"place_{name}", *lines, usable=None)
    yield _nrrd("endian_unknown", "endian: middle", type="short", pixels=_PIXELS * 2, usable=None)
    yield _nrrd("field_twice", "dimension: 16")
    yield _nrrd("line_of_100000_letters", "content: " + "x" * 100_000, usable=None)
    yield _nrrd("10000_pairs", *(f"k{number}:=v" for number in range(10_000)), usable=None)
    yield _nrrd("skips", "byte skip: 100", usable=False)
    yield _nrrd("skips_back", "byte skip: -1", usable=None)
    yield _nrrd("lines_to_skip", "line skip: 1000000000")
    yield _nrrd("block_of_2_GB", "block size: 2000000000", type="block")
    yield _nrrd("gzip_bomb", encoding="gzip", pixels=gzip.compress(bytes(2**28), 9, mtime=0))
    yield _nrrd("gzip_of_less", encoding="gzip", pixels=gzip.compress(_PIXELS[:-1]))
    yield _nrrd("gzip_of_noise", encoding="gzip", pixels=np.random.default_rng(0).bytes(2000))
    yield _nrrd("bzip2_bomb", encoding="bzip2", pixels=bz2.compress(bytes(2**28)), usable=None)
    yield _nrrd("bzip2_of_less", encoding="bzip2", pixels=bz2.compress(_PIXELS[:-1]))
    yield _nrrd("bzip2_of_noise", encoding="bzip2", pixels=np.random.default_rng(0).bytes(2000))
    yield _nrrd("bzip2_of_1_GB", encoding="bzip2", sizes="16000 16000", pixels=bz2.compress(bytes(2**26)))
    yield _nrrd("text_of_noise", encoding="ascii", pixels=b"x y z " * 4000)
    yield of_bytes("only_the_magic.nrrd", b"NRRD0004\n")
    yield of_bytes("newer.nrrd", b"NRRD0009\n" + sound(".nrrd").split(b"\n", 1)[1])


def _detached() -> Iterator[Hostile]:
    for name, line in (
        ("absolute", f"ElementDataFile = {_SECRET}"), ("list", f"ElementDataFile = LIST\n{_SECRET}"),
        ("pattern", "ElementDataFile = /etc/host%s 1 2 1"), ("relative", "ElementDataFile = ../../../etc/hostname"),
        ("colon", f"ElementDataFile : {_SECRET}"), ("indented", f"  ElementDataFile = {_SECRET}"),
        ("lower_case", "elementdatafile = local"),
        ("after_local", f"ElementDataFile = LOCAL\nElementDataFile = {_SECRET}"),
        ("none", ""), ("empty", "ElementDataFile ="), ("itself", "ElementDataFile = itself.mha"),
        ("fifo", "ElementDataFile = /dev/stdin"), ("zeros", "ElementDataFile = /dev/zero"),
    ):  # fmt: skip
        usable = None if name == "after_local" else False
        write = partial(headers.metaimage, end=line, pixels=_PIXELS, DimSize=_SIZE)
        yield Hostile(file=f"elsewhere_{name}.mha", write=write, usable=usable)
    for name, line in (
        ("absolute", f"data file: {_SECRET}"), ("list", f"data file: LIST\n{_SECRET}"),
        ("pattern", "data file: /etc/host%d 1 2 1"),
        ("one_word", f"datafile: {_SECRET}"), ("capitals", f"DATA FILE: {_SECRET}"),
        ("zeros", "data file: /dev/zero"),
        ("blanks", f"data  file : {_SECRET}"),
    ):  # fmt: skip
        yield Hostile(file=f"elsewhere_{name}.nrrd", write=partial(_nrrd_with, line))
    for ending, text in (
        (
            ".mhd",
            f"ObjectType = Image\nNDims = 2\nDimSize = {_SIZE}\nElementType = MET_UCHAR\nElementDataFile = {_SECRET}\n",
        ),
        (".nhdr", f"NRRD0004\ntype: uchar\ndimension: 2\nsizes: {_SIZE}\nencoding: raw\ndata file: {_SECRET}\n\n"),
        (".hdr", "x" * 348),
    ):
        yield of_bytes(f"elsewhere{ending}", text.encode())
        yield of_bytes(f"header_of_two{ending.replace('.mhd', '.mha').replace('.nhdr', '.nrrd')}", text.encode())


def _nrrd_with(line: str, path: object) -> None:
    headers.nrrd(path, line, sizes=_SIZE, pixels=_PIXELS)  # type: ignore[arg-type]
