"""Affine registration of many images to one fixed image: in parallel, and each pair of images only once.

Results are kept on disk under a hash of what they depend on, so a file that is renamed is known again and one that is
changed is not mistaken for what it was.
"""

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.affine import METHOD, Affine, register_affine
from regstudio.errors import DataError
from regstudio.files import write_text

Array = npt.NDArray[Any]
Load = Callable[[Path], Array]


def cache_folder() -> Path:
    """Return where results are kept unless the caller says otherwise: regstudio/affine in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "regstudio" / "affine"


def cached_affine(fixed: Array, moving: Array, cache: Path | None = None) -> Affine:
    """Return `register_affine` of two images (H, W), from the folder `cache` if it was done before.

    An entry that is damaged is made anew, and a folder that cannot be written to is done without.
    """
    path = (cache or cache_folder()) / f"{_digest(fixed, moving)}.json"
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
    with closing(_in_parallel(work, images, workers or os.cpu_count() or 1)) as found:
        yield from zip(images, found, strict=True)


def _one(fixed: Array, load: Load, cache: Path | None, path: Path) -> Affine | DataError:
    try:
        moving = load(path)
    except DataError as error:
        return error
    return cached_affine(fixed, moving.reshape(moving.shape[-2:]), cache)


def _in_parallel(work: Callable[[Path], Any], images: Sequence[Path], workers: int) -> Generator[Any, None, None]:
    """Yield the results in the order of the images; an end before the last one, such as Ctrl-C, starts no more."""
    # Threads, not processes: SimpleITK lets go of Python's lock while it works. They need no time to start, nothing to
    # be pickled and no guard around the caller's main module, and they end with the one registration under way.
    executor = ThreadPoolExecutor(workers, thread_name_prefix="affine")
    ahead: deque[Future[Any]] = deque()
    try:
        for path in images:
            ahead.append(executor.submit(work, path))
            if len(ahead) > 2 * workers:  # so that an end comes soon, and few images are in memory
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _digest(fixed: Array, moving: Array) -> str:
    digest = hashlib.blake2b(METHOD.encode(), digest_size=20)
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
