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
from functools import partial
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
    search = search or Aligner()
    if isinstance(search, Aligner):
        version = search.version
    path = (cache or cache_folder("affine")) / f"{_cache_key(version, fixed, moving, *masks)}.json"
    cached = _read_entry(path)
    if cached is not None:
        return cached
    found = search(fixed, moving) if masks[0] is masks[1] is None else search(fixed, moving, masks)
    with suppress(OSError):
        matrix, reason = found.matrix.tolist(), found.reason
        entry = _Entry(matrix=matrix, reason=reason, checksum=_checksum(path.stem, matrix, reason))
        write_text(path, json.dumps(asdict(entry)) + "\n")
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
    that returns the fixed image of each. If `load` raises a DataError, that is the image's result. The results
    do not depend on `workers`. `search` is that of `cached_affine`; `masks` returns those of a pair.
    """
    found = partial(cached_affine, cache=cache, search=search or Aligner())
    register = partial(_load_and_register, fixed, load, masks or (lambda _: (None, None)), found)
    workers = workers or os.cpu_count() or 1
    split = divide_cpu_threads(workers)
    with closing(map_in_order(register, images, workers=workers, initializer=split)) as results:
        yield from zip(images, results, strict=True)


def _load_and_register(
    fixed: Array | Callable[[Image], Array],
    load: Callable[[Image], Array],
    masks: Callable[[Image], MaskArrays],
    search: Search,
    image: Image,
) -> Affine | DataError:
    try:
        moving, own, count = load(image), fixed(image) if callable(fixed) else fixed, masks(image)
    except DataError as error:
        return error
    return search(own, moving.reshape(moving.shape[-2:]), masks=count)


def _cache_key(version: str, fixed: Array, moving: Array, *masks: Array | None) -> str:
    digest = hashlib.blake2b(version.encode(), digest_size=20)
    for image in (fixed, moving, *masks):
        if image is None:
            continue
        digest.update(repr(image.shape).encode())
        digest.update(np.ascontiguousarray(image, np.float32).tobytes())
    return digest.hexdigest()


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
