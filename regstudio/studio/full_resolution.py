"""The pictures of opened cases at their files' resolution, for whoever zooms in; bounded in memory."""

import secrets
import threading
from dataclasses import replace
from typing import Annotated, Any

import cachetools
import numpy as np
import numpy.typing as npt
from pydantic import Field, Strict, TypeAdapter
from pydantic.dataclasses import dataclass

from regstudio.data.loading.loaders import ImageLoader
from regstudio.data.pictures.picture import Picture
from regstudio.drawing.canvas_payload import png_of_bytes
from regstudio.schema import Name, Number, SchemaError, validate
from regstudio.studio.view import View
from regstudio.transforms.region import Box, FullResolution

MAX_BYTES = 256 * 2**20  # of all cases together; one that is larger is kept alone
MAX_SIDE = 1600  # pixels of an answer

Bytes = npt.NDArray[np.uint8]
Pixels = Annotated[int, Strict(), Field(ge=1, le=MAX_SIDE)]


@dataclass(frozen=True, kw_only=True)
class _Request:
    """A part of a side of the case that `detail` names: from edge to edge in pixels of the grid, as so many pixels."""

    detail: Name
    side: Annotated[str, Field(pattern="^(fixed|moving|warped)$")]
    top: Number
    left: Number
    bottom: Number
    right: Number
    rows: Pixels
    columns: Pixels
    number: Annotated[int, Strict(), Field(ge=0, le=8)] = 0


_REQUEST = TypeAdapter(_Request)


class FullResolutions:
    """Keeps the pictures of the cases that were opened last, by a name that no one can guess."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._lock = threading.Lock()
        self._kept: cachetools.LRUCache[str, tuple[FullResolution, object]] = cachetools.LRUCache(
            max_bytes, getsizeof=lambda kept: min(max_bytes, kept[0].bytes)
        )

    def keep(self, view: View) -> str | None:
        """Keep the pictures of a view; return their name, or None where the canvas has all their pixels already."""
        first = view.registrations[0][1]
        files, places = first.pair.pictures, first.pair.places
        if files is None or max(*places[0].step, *places[1].step) <= 1:
            return None
        fields = tuple(registration.file_field for _, registration in view.registrations)
        with self._lock:
            same = next((full for full, source in self._kept.values() if source is files), None)
        if same is None:
            loader = view.chosen.reader.image_loader
            fixed, moving = (_shown(loader, picture) for picture in (files.fixed, files.moving))
            same = FullResolution(fixed=fixed, moving=moving, places=places, fields=fields)
        name = secrets.token_hex(16)
        with self._lock:
            self._kept[name] = replace(same, fields=fields), files
        return name

    def holds(self, name: str | None) -> bool:
        """Whether there is nothing to keep under that name, or it is still kept."""
        with self._lock:
            return name is None or name in self._kept

    def region(self, request: object) -> dict[str, Any]:
        """Answer the canvas: a PNG of a part of a side, or nothing where that is not kept, or no such part."""
        try:
            asked = validate(request, _REQUEST)
        except SchemaError:
            return {}
        with self._lock:
            full = self._kept.get(asked.detail, (None, None))[0]
        if full is None or asked.number >= len(full.fields) or asked.bottom <= asked.top or asked.right <= asked.left:
            return {}
        box = Box(top=asked.top, left=asked.left, bottom=asked.bottom, right=asked.right)
        return {"png": png_of_bytes(full.region(asked.side, box, asked.rows, asked.columns, asked.number))}


def _shown(loader: ImageLoader, picture: Picture) -> Bytes:
    """Return a picture as the canvas shows it: in colour, or in grey as it is registered."""
    array = picture.array
    if array.ndim == 3 and array.shape[2] >= 3 and array.dtype == np.uint8:
        return array[..., :3]
    colours = picture.colours
    shown = replace(loader, grid=None, cache=None).of_picture(picture)[0] if colours is None else colours
    shown *= 255  # in place: a copy of a large picture is larger than all that is kept of it
    return np.rint(shown, out=shown).astype(np.uint8)
