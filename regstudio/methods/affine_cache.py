"""Affine registration of many images to one fixed image: in parallel, and each pair of images only once.

Results are kept on disk under a hash of what they depend on, so a file that is renamed is known again and one that is
changed is not mistaken for what it was.
"""

import hashlib
import json
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.errors import DataError
from regstudio.files import cache_folder, write_text
from regstudio.methods.affine import CACHE_KEY_VERSION, Affine, register_affine
from regstudio.threads import map_in_order

Array = npt.NDArray[Any]
Load = Callable[[Path], Array]


def cached_affine(fixed: Array, moving: Array, cache: Path | None = None) -> Affine:
    """Return `register_affine` of two images (H, W), from the folder `cache` if it was done before.

    `cache` is by default regstudio/affine in the user's cache folder. An entry that is damaged is made anew, and a
    folder that cannot be written to is done without.
    """
    path = (cache or cache_folder("affine")) / f"{_digest(fixed, moving)}.json"
    kept = _read(path)
    if kept is not None:
        return kept
    found = register_affine(fixed, moving)
    with suppress(OSError):
        write_text(path, json.dumps({"matrix": found.matrix.tolist(), "reason": found.reason}) + "\n")
    return found


def affine_matrices(
    fixed: Array,
    images: Sequence[Path],
    load: Load,
    *,
    cache: Path | None = None,
    workers: int | None = None,
) -> Generator[tuple[Path, Affine | DataError], None, None]:
    """Register each image to `fixed` (H, W) and yield them in their order, `workers` at a time, by default a core each.

    `load` reads an image file as (H, W) or (1, H, W). An image that it cannot read has its DataError as the result.
    The results do not depend on `workers`.
    """
    work = partial(_one, fixed, load, cache)
    with closing(map_in_order(work, images, workers=workers)) as found:
        yield from zip(images, found, strict=True)


def _one(fixed: Array, load: Load, cache: Path | None, path: Path) -> Affine | DataError:
    try:
        moving = load(path)
    except DataError as error:
        return error
    return cached_affine(fixed, moving.reshape(moving.shape[-2:]), cache)


def _digest(fixed: Array, moving: Array) -> str:
    digest = hashlib.blake2b(CACHE_KEY_VERSION.encode(), digest_size=20)
    for image in (fixed, moving):
        digest.update(repr(image.shape).encode())
        digest.update(np.ascontiguousarray(image, np.float32).tobytes())
    return digest.hexdigest()


def _read(path: Path) -> Affine | None:
    """Return an entry, or None where there is none that is whole."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        matrix, reason = np.array(entry["matrix"], np.float64), entry["reason"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    whole = matrix.shape == (2, 3) and np.isfinite(matrix).all() and (reason is None or isinstance(reason, str))
    return Affine(matrix, reason) if whole else None
