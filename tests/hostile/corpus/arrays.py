"""NumPy's .npy and .npz."""

import io
import pickle
import struct
import zipfile
from collections.abc import Iterator

import numpy as np

from tests.hostile.corpus.kinds import Hostile, alien, cuts, of_bytes
from tests.hostile.corpus.sound import ENDINGS, sound
from tests.pictures import GREY, HEIGHT, WIDTH, ramp


class Trap:
    """What unpickling would spring."""

    def __reduce__(self) -> tuple[object, ...]:
        """Raise the alarm."""
        return exec, ("raise SystemExit('it was unpickled')",)


def npy(
    shape: object, descr: object = "<f4", *, order: object = False, pixels: bytes = bytes(100), extra: str = ""
) -> bytes:
    """A .npy whose header need not be true."""
    text = f"{{'descr': {descr!r}, 'fortran_order': {order!r}, 'shape': {shape!r}, {extra}}}".encode() + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + pixels


def saved(array: object, **options: bool) -> bytes:
    """What np.save writes."""
    stream = io.BytesIO()
    np.save(stream, np.asarray(array), **options)  # type: ignore[arg-type]
    return stream.getvalue()


def archived(compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    """A zip of .npy members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def inputs() -> Iterator[Hostile]:
    """All of them."""
    yield from cuts("grey", ".npy", sound(".npy"), header=128)
    yield from cuts("grey", ".npz", sound(".npz"), header=128)
    yield from alien(".npy", {ending: sound(ending) for ending in ENDINGS})
    yield from alien(".npz", {ending: sound(ending) for ending in ENDINGS})
    yield from _headers()
    yield from _values()
    yield from _archives()


def _headers() -> Iterator[Hostile]:
    for name, shape in (
        ("huge", (10**6, 10**6)), ("overflow", (2**62, 4)), ("beyond_int64", (2**70, 2**70)), ("negative", (-1, 40)),
        ("both_negative", (-40, -40)), ("0", (0, 40)), ("none", ()), ("one", (1600,)), ("16", (2,) * 16),
        ("65", (1,) * 65),
        ("3_of_1", (HEIGHT, WIDTH, 1)), ("channels", (40, 40, 2_000_000_000)), ("float", (40.0, 40)),
        ("text", "40"), ("bool", (True, True)),
        ("None", None), ("declared", (HEIGHT, WIDTH)),
    ):  # fmt: skip
        yield of_bytes(f"shape_{name}.npy", npy(shape))
        yield of_bytes(f"shape_{name}.npz", archived(img=npy(shape)))
    for name, descr in (
        ("object", "|O"), ("void", "|V8"), ("text", "<U5"), ("huge_text", "<U1000000000"), ("date", "<M8[s]"),
        ("fields", [("a", "<f4")]),
        ("nested", [("a", [("b", "<f4")])]), ("unknown", "<q99"), ("number", 5),
        ("code", "__import__('os').system('true')"), ("half", "<f2"),
        ("long", "<f16"), ("complex", "<c16"),
    ):  # fmt: skip
        yield of_bytes(
            f"type_{name}.npy",
            npy((HEIGHT, WIDTH), descr, pixels=bytes(HEIGHT * WIDTH * 32)),
            None if name in ("half", "long") else False,
        )
    yield of_bytes("order_of_text.npy", npy((HEIGHT, WIDTH), order="maybe", pixels=bytes(4 * HEIGHT * WIDTH)))
    yield of_bytes("key_too_many.npy", npy((HEIGHT, WIDTH), extra="'x': 1", pixels=bytes(4 * HEIGHT * WIDTH)))
    yield of_bytes("version_9.npy", b"\x93NUMPY\x09\0" + sound(".npy")[8:])
    yield of_bytes("header_of_64_KB.npy", b"\x93NUMPY\x01\0\xff\xff" + b"{" * 65_535)
    yield of_bytes("header_of_4_GB.npy", b"\x93NUMPY\x02\0\xff\xff\xff\xff" + b"{" * 1000)
    yield of_bytes("header_of_nesting.npy", b"\x93NUMPY\x01\0\x60\xea" + b"(" * 60_000)
    yield of_bytes(
        "header_of_a_huge_number.npy",
        npy((HEIGHT, WIDTH), pixels=b"").replace(b"(40, 56)", b"(" + b"9" * 9000 + b", 40)"),
    )
    yield of_bytes("header_of_no_text.npy", b"\x93NUMPY\x01\0\x40\0" + b"\xff" * 64)
    yield of_bytes("pickle.npy", pickle.dumps(Trap()))
    yield of_bytes("pickle.npz", pickle.dumps(Trap()))
    yield of_bytes("objects.npy", saved(np.array([[Trap()]], object), allow_pickle=True))
    yield of_bytes("objects.npz", archived(img=saved(np.array([[Trap()]], object), allow_pickle=True)))


def _values() -> Iterator[Hostile]:
    picture = ramp().astype(np.float64)
    for name, value in (("nan", np.nan), ("inf", np.inf), ("minus_inf", -np.inf)):
        yield of_bytes(f"all_{name}.npy", saved(np.full_like(picture, value)))
        one = picture.copy()
        one[3, 5] = value
        yield of_bytes(f"one_{name}.npy", saved(one))
    for kind in ("u1", "i2", "f8", "?"):
        yield of_bytes(f"constant_{kind}.npy".replace("?", "bool"), saved(np.ones_like(picture).astype(kind)), None)
    for name, array in (
        ("largest", np.where(picture > 0.5, np.finfo("f8").max, -np.finfo("f8").max)), ("smallest", picture * 5e-324),
        ("uint64", (picture * 2.0**64 * 0.99).astype("u8")), ("int64", ((picture - 0.5) * 2.0**63).astype("i8")),
        ("big_endian", picture.astype(">f8")), ("bool", picture > 0.5), ("column_major", np.asfortranarray(picture)),
    ):  # fmt: skip
        yield of_bytes(f"values_{name}.npy", saved(array), None if name in ("largest", "smallest") else True)
    for height, width in ((1, 1), (1, 40), (40, 1), (2, 2), (31, 40), (40, 31), (1, 10_000)):
        yield of_bytes(
            f"size_{height}x{width}.npy", saved(np.arange(height * width).reshape(height, width) % 251), False
        )
    yield of_bytes("size_32x2000.npy", saved(np.arange(64_000).reshape(32, 2000)), None)
    for shape in ((40, 40, 2), (40, 40, 5), (2, 2, 40, 40), (40, 40, 40)):
        content = saved(np.arange(np.prod(shape)).reshape(shape) % 251)
        yield of_bytes(f"shape_{'x'.join(map(str, shape))}.npy", content, volume=shape == (40, 40, 40))


def _archives() -> Iterator[Hostile]:
    grey = saved(GREY)
    yield of_bytes("no_members.npz", archived())
    yield of_bytes("another_key.npz", archived(image=grey))
    yield of_bytes("many_keys.npz", archived(**{f"k{number}": b"" for number in range(3000)}))
    yield of_bytes("odd_key.npz", archived(**{"\x1b[2J\n<script>": grey}))
    yield of_bytes("lies_about_its_size.npz", _lying(grey), None)
    yield of_bytes("wrong_checksum.npz", archived(img=grey).replace(GREY.tobytes()[:64], bytes(64), 1))
    yield of_bytes("bomb.npz", archived(zipfile.ZIP_DEFLATED, img=npy((8000, 8000), "<f4", pixels=bytes(2**26))), False)
    yield of_bytes("bomb_behind_the_pixels.npz", archived(zipfile.ZIP_DEFLATED, img=grey + bytes(2**27)), None)
    yield of_bytes("bomb_beside_the_pixels.npz", archived(zipfile.ZIP_DEFLATED, img=grey, other=bytes(2**27)), True)
    yield of_bytes("bzip2.npz", archived(zipfile.ZIP_BZIP2, img=grey), True)
    for method in (9, 97, 99):
        yield of_bytes(f"method_{method}.npz", patched(archived(img=grey), 8, 10, "<H", method))
    yield of_bytes("encrypted.npz", patched(archived(img=grey), 6, 8, "<H", 1))
    yield of_bytes("member_beyond_the_file.npz", patched(archived(img=grey), None, 42, "<I", 2**31))
    yield of_bytes("two_of_one_name.npz", _two_of_one_name(grey), None)
    yield of_bytes("a_folder.npz", archived(**{"img.npy/x": grey}))
    yield of_bytes("text_member.npz", archived(img=b"no array"))
    yield of_bytes("inner_zip.npz", archived(img=archived(img=grey)))


def patched(content: bytes, local: int | None, central: int, form: str, value: int) -> bytes:
    """A zip of one member with a changed field in its local and its central header."""
    damaged = bytearray(content)
    if local is not None:
        struct.pack_into(form, damaged, local, value)
    struct.pack_into(form, damaged, content.index(b"PK\x01\x02") + central, value)
    return bytes(damaged)


def _lying(member: bytes) -> bytes:
    """A zip whose member is said to be 4 GB long."""
    content = archived(zipfile.ZIP_DEFLATED, img=member)
    return patched(content, 22, 24, "<I", 2**32 - 2)


def _two_of_one_name(member: bytes) -> bytes:
    content = archived(img=member, imx=member)
    return content.replace(b"imx.npy", b"img.npy")
