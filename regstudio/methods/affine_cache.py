"""Disk cache of affine maps, and the affine registration of many images in parallel.

The cache key is a hash of the pixels and of the search's version, so renaming a file keeps its entry and changing the
image does not.
"""

import hashlib
import json
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from regstudio.errors import DataError
from regstudio.files import cache_folder, write_text
from regstudio.methods.affine import Affine
from regstudio.methods.alignment import Aligner
from regstudio.methods.masks import MaskArrays
from regstudio.schema import Name, Number, SchemaError, Text, parse, read_bytes
from regstudio.threads import divide_cpu_threads, map_in_order

Array = npt.NDArray[Any]
Image = TypeVar("Image")
Search = Callable[..., Affine]  # of two images and, where there are masks, of these
_Row = tuple[Number, Number, Number]
_Pair = tuple[Array, Array, MaskArrays]  # fixed, moving, and where they count


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """What a file of the cache holds; `checksum` is that of the rest and of the key."""

    matrix: tuple[_Row, _Row]
    reason: Text | None
    checksum: Name


_ENTRY = TypeAdapter(_Entry)


def cached_affine(
    fixed: Array,
    moving: Array,
    cache: Path | None = None,
    *,
    search: Search | None = None,
    version: str = "",
    masks: MaskArrays = (None, None),
) -> Affine:
    """Return the affine map of two images (H, W) from the folder `cache`; on a cache miss, find and store it.

    `cache` defaults to regstudio/affine in the user's cache folder. `search` finds a map, an Aligner if not given, and
    `version` names another one in the cache key. `masks` (H, W) say where the images count. A damaged entry is a cache
    miss, and a folder that cannot be written to is ignored.
    """
    (found,) = _cached_affines([(fixed, moving, masks)], cache, search or Aligner(), version)
    return found


def is_cached(fixed: Array, moving: Array, search: Aligner) -> bool:
    """Whether the affine map of two images (H, W) is known already, in the user's cache folder."""
    return _read_entry(cache_folder("affine") / f"{_cache_key(search.version, fixed, moving)}.json") is not None


def affine_matrices(
    fixed: Array | Callable[[Image], Array],
    images: Sequence[Image],
    load: Callable[[Image], Array],
    *,
    cache: Path | None = None,
    workers: int | None = None,
    search: Search | None = None,
    masks: Callable[[Image], MaskArrays] | None = None,
) -> Generator[tuple[Image, Affine | DataError], None, None]:
    """Register each image to `fixed` (H, W) in `workers` threads (default: one a core); yield the results in order.

    `images` are files or whatever else `load` reads an image from, as (H, W) or (1, H, W). `fixed` may be a function
    that returns the fixed image of each. If `load` raises a DataError, that is the image's result. The results do not
    depend on `workers`; their last digits depend on which other images are searched for. `search` is that of
    `cached_affine`; `masks` returns those of a pair.
    """
    search = search or Aligner()

    def read(image: Image) -> _Pair | DataError:
        try:
            moving, own = load(image), fixed(image) if callable(fixed) else fixed
            return own, moving.reshape(moving.shape[-2:]), (None, None) if masks is None else masks(image)
        except DataError as error:
            return error

    def register(some: Sequence[Image]) -> list[Affine | DataError]:
        read_ones = [read(image) for image in some]
        found = iter(_cached_affines([pair for pair in read_ones if not isinstance(pair, DataError)], cache, search))
        return [pair if isinstance(pair, DataError) else next(found) for pair in read_ones]

    at_once = search.at_once if isinstance(search, Aligner) else 1
    batches = [images[first : first + at_once] for first in range(0, len(images), at_once)]
    workers = workers or os.cpu_count() or 1
    split = divide_cpu_threads(workers)
    with closing(map_in_order(register, batches, workers=workers, initializer=split)) as results:
        yield from zip(images, chain.from_iterable(results), strict=True)


def _cached_affines(pairs: Sequence[_Pair], cache: Path | None, search: Search, version: str = "") -> list[Affine]:
    """Return the affine maps of pairs: those that are not in the cache are searched for, and stored."""
    if isinstance(search, Aligner):
        version = search.version
    folder = cache or cache_folder("affine")
    paths = [folder / f"{_cache_key(version, fixed, moving, *masks)}.json" for fixed, moving, masks in pairs]
    found = {path: known for path in paths if (known := _read_entry(path)) is not None}
    missing = {path: pair for path, pair in zip(paths, pairs, strict=True) if path not in found}
    for path, affine in zip(missing, _searched(list(missing.values()), search), strict=True):
        _write_entry(path, affine)
        found[path] = affine
    return [found[path] for path in paths]


def _searched(pairs: Sequence[_Pair], search: Search) -> list[Affine]:
    if isinstance(search, Aligner) and len(pairs) > 1 and all(on is of is None for _, _, (on, of) in pairs):
        return search.batch([(fixed, moving) for fixed, moving, _ in pairs])
    return [
        search(fixed, moving) if masks[0] is masks[1] is None else search(fixed, moving, masks)
        for fixed, moving, masks in pairs
    ]


def _cache_key(version: str, fixed: Array, moving: Array, *masks: Array | None) -> str:
    digest = hashlib.blake2b(version.encode(), digest_size=20)
    for image in (fixed, moving, *masks):
        if image is None:
            continue
        digest.update(repr(image.shape).encode())
        digest.update(np.ascontiguousarray(image, np.float32).tobytes())
    return digest.hexdigest()


def _write_entry(path: Path, found: Affine) -> None:
    with suppress(OSError):
        matrix, reason = found.matrix.tolist(), found.reason
        entry = _Entry(matrix=matrix, reason=reason, checksum=_checksum(path.stem, matrix, reason))
        write_text(path, json.dumps(asdict(entry)) + "\n")


def _checksum(key: str, matrix: Any, reason: str | None) -> str:
    return hashlib.sha256(json.dumps([key, matrix, reason]).encode()).hexdigest()


def _read_entry(path: Path) -> Affine | None:
    """Return a cache entry, or None if it is missing or damaged."""
    try:
        entry = parse(read_bytes(path), _ENTRY)
    except SchemaError:
        return None
    if entry.checksum != _checksum(path.stem, entry.matrix, entry.reason):
        return None
    return Affine(np.array(entry.matrix, np.float64), entry.reason)
