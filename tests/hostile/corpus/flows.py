"""Flows in pixels with the .json beside them, and displacement fields in mm."""

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile import headers
from tests.hostile.corpus.arrays import npy, saved
from tests.hostile.corpus.kinds import Hostile, alien, cuts, of_bytes
from tests.hostile.corpus.sound import ENDINGS, by_itk, sound
from tests.pictures import HEIGHT, WIDTH

_FLOW = np.zeros((2, HEIGHT, WIDTH), np.float32)
_RECORD = {"image_size": [HEIGHT, WIDTH], "affine": None, "axes": "itk", "facing": None}


def inputs() -> Iterator[Hostile]:
    """All of them."""
    yield from cuts("flow", ".npy", saved(_FLOW), header=128)
    yield from alien(".npy", {ending: sound(ending) for ending in (".png", ".nii")})
    for name, array in (
        ("nan", np.full_like(_FLOW, np.nan)), ("inf", np.full_like(_FLOW, np.inf)),
        ("integers", _FLOW.astype(int)), ("flat", _FLOW[0]),
        ("three", np.zeros((3, HEIGHT, WIDTH))), ("last", np.moveaxis(_FLOW, 0, -1)), ("batch", _FLOW[None]),
        ("complex", _FLOW.astype(complex)),
        ("empty", _FLOW[:, :0]), ("small", _FLOW[:, :5, :5]),
    ):  # fmt: skip
        yield of_bytes(f"{name}_flow.npy", saved(array))
    yield of_bytes("huge_flow.npy", npy((2, 10**6, 10**6)))
    yield of_bytes("far_flow.npy", saved(np.full_like(_FLOW, 1e30)), None)
    yield from _records()
    yield from _fields()


def _records() -> Iterator[Hostile]:
    for name, change in (
        ("affine_short", {"affine": [1, 2, 3]}), ("affine_text", {"affine": "x"}),
        ("size_text", {"image_size": "ab"}),
        ("size_negative", {"image_size": [-1, -1]}), ("size_huge", {"image_size": [10**9, 10**9]}),
        ("size_one", {"image_size": [40]}),
        ("facing_text", {"facing": "up"}), ("facing_short", {"facing": [[1], [2]]}), ("axes_odd", {"axes": 5}),
        ("turn_text", {"on_turn": "abc"}), ("affine_singular", {"affine": np.zeros((4, 4)).tolist()}),
        ("affine_huge", {"affine": (np.eye(4) * 1e300).tolist()}),
    ):  # fmt: skip
        text = json.dumps(_RECORD | change)
        yield Hostile(file=f"json_{name}_flow.npy", write=partial(_with_record, text=text), usable=None)
    for name, text in (
        ("empty", ""), ("list", "[]"), ("null", "null"), ("nesting", "[" * 100_000), ("cut", '{"image_size": ['),
        ("nan", '{"affine": NaN}'),
        ("number", "9" * 10_000),
    ):  # fmt: skip
        yield Hostile(file=f"json_{name}_flow.npy", write=partial(_with_record, text=text))


def _with_record(path: Path, *, text: str) -> None:
    path.write_bytes(saved(_FLOW))
    path.with_suffix(".json").write_text(text)


def _fields() -> Iterator[Hostile]:
    vectors: Any = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    for ending in (".mha", ".nrrd", ".nii.gz"):
        content = by_itk(vectors, ending, vectors=True)
        yield from list(cuts("field", ending, content))[:12]
        nan = by_itk(vectors + np.nan, ending, vectors=True)
        yield of_bytes(f"field_nan{ending}", nan, None if ending == ".nii.gz" else False)  # ITK reads 0 there
        yield of_bytes(f"field_of_1{ending}", by_itk(vectors[..., 0], ending))
        yield of_bytes(f"field_of_3{ending}", by_itk(np.zeros((HEIGHT, WIDTH, 3), np.float32), ending, vectors=True))
        yield of_bytes(f"field_of_another_size{ending}", by_itk(vectors[:9, :9], ending, vectors=True), None)
    yield Hostile(file="field_header_alone.nrrd", write=headers.nrrd_header_alone)
    yield Hostile(file="field_16_dimensions.nrrd", write=headers.nrrd_of_many_dimensions)
    yield of_bytes("field.mhd", b"ElementDataFile = /etc/hostname")
    for ending in (".npy", ".nii.gz", ".mha"):
        yield Hostile(file=f"fifo{ending}", write=lambda path: os.mkfifo(path))
        yield Hostile(file=f"folder{ending}", write=lambda path: path.mkdir())
    yield from (of_bytes(f"{ending[1:]}_as_field{ending}", sound(ending)) for ending in ENDINGS)
