"""Registered cases as the browser's canvas draws them: arrays in, JSON-ready values out.

Images are PNG data URIs: grey, as they are compared, and in colour, as they are shown. Numbers are planes: bytes,
compressed by zlib, in base64. No browser changes those, while some change the pixels that a script reads back from a
picture.
"""

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image

from regstudio.drawing.colours import FOLD_COLOUR, JACOBIAN_MAP, MAGNITUDE_MAP, hexadecimal, label_colours
from regstudio.drawing.comparison import Comparison
from regstudio.metrics import jacobian_determinant

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]

FINEST_STEP = 1 / 256  # pixels: the readout rounds displacements to it, unless they are too large for 16 bits
JACOBIAN_RANGE = 2.0  # powers of two from no change to the end of the colours: a quarter and four times the area


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """What one network made of a case: `title` names the network, `metrics` are a Registration's."""

    title: str
    case: Comparison
    metrics: Mapping[str, float]


def to_payload(shown: Sequence[Shown], names: Mapping[int, tuple[str, str]] | None = None) -> dict[str, Any]:
    """Return one case, registered by one or more networks, as the canvas's JSON-ready payload.

    All of `shown` have the same fixed and moving image; magnitudes share one scale, so that they can be compared.
    `names` are those of labels, each with its colour, #rrggbb, or nothing for that of its id.
    """
    names = names or {}
    case = shown[0].case
    height, width = case.fixed.shape
    ids = _label_ids(case)
    largest = max(float(_magnitude(item.case.flow).max()) for item in shown)
    return {
        "name": case.name,
        "height": height,
        "width": width,
        "aspect": case.aspect,
        "moving_aspect": case.moving_aspect,
        "ids": ids.tolist(),
        "names": [names.get(number, (f"label {number}", ""))[0] for number in ids.tolist()],
        "colours": [
            names.get(number, ("", ""))[1] or hexadecimal(colour) for number, colour in label_colours(ids).items()
        ],
        "fixed": grey_png(case.fixed),
        "moving": grey_png(case.moving),
        "fixed_colours": _colour_png(case.fixed_colours),
        "moving_colours": _colour_png(case.moving_colours),
        "fixed_label": _label_plane(case.fixed_label, ids),
        "moving_label": _label_plane(case.moving_label, ids),
        "points": _points(case),
        "unit": case.unit,
        "distance": list(case.distance),
        "fixed_distance": list(case.fixed_distance),
        "fixed_mask": _mask_plane(case.fixed_mask),
        "moving_mask": _mask_plane(case.moving_mask),
        "largest": largest,
        "jacobian_range": JACOBIAN_RANGE,
        "jacobian_colours": [FOLD_COLOUR, *_colours(JACOBIAN_MAP, 255)],
        "magnitude_colours": _colours(MAGNITUDE_MAP, 256),
        "results": [_result(item, ids, largest) for item in shown],
    }


def _points(case: Comparison) -> list[list[float]]:
    """Return the landmarks as rows: y and x in the fixed image, then in the moving one."""
    if case.fixed_points is None or case.moving_points is None:
        return []
    rows: list[list[float]] = np.concatenate((case.fixed_points, case.moving_points), axis=1).round(3).tolist()
    return rows


def grey_png(image: Array) -> str:
    """Return an image (H, W) in [0, 1] as the data URI of an 8-bit grey PNG."""
    return png_of_bytes(np.rint(255 * np.nan_to_num(image).clip(0, 1)).astype(np.uint8))


def _colour_png(image: Array | None) -> str | None:
    return None if image is None else png_of_bytes(image)


def png_of_bytes(pixels: Bytes) -> str:
    """Return a picture (H, W) or (H, W, 3) as the data URI of a PNG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=4)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def jacobian_index(flow: Array, *, mirrored: bool = False) -> Bytes:
    """Return the Jacobian determinant of a flow (2, H, W) as places (H, W) in its colours.

    0 is a fold; 1 to 255 are the logarithm of the determinant, and 128 is no change of area. That of a `mirrored` flow
    has the other sign.
    """
    determinant = jacobian_determinant(flow) * (-1 if mirrored else 1)
    unfolded = determinant > 0
    power = np.log2(determinant, out=np.zeros_like(determinant), where=unfolded)
    place = 128 + 127 * (power / JACOBIAN_RANGE).clip(-1, 1)
    return np.where(unfolded, np.rint(place), 0).astype(np.uint8)


def _result(shown: Shown, ids: Array, largest: float) -> dict[str, Any]:
    flow = np.nan_to_num(shown.case.flow.astype(np.float64), posinf=0, neginf=0)
    step = max(FINEST_STEP, float(np.abs(flow).max()) / 32767)
    magnitude = _magnitude(flow) / (largest or 1)
    return {
        "title": shown.title,
        "warped": grey_png(shown.case.warped),
        "warped_colours": _colour_png(shown.case.warped_colours),
        "warped_label": _label_plane(shown.case.warped_label, ids),
        "warped_mask": _mask_plane(shown.case.warped_mask),
        "flow": _plane(_differences(np.rint(flow / step).astype("<i2"))),
        "flow_step": step,
        "magnitude": _plane(np.rint(255 * magnitude).clip(0, 255).astype(np.uint8)),
        "jacobian": _plane(jacobian_index(shown.case.flow, mirrored=shown.case.mirrored)),
        "mirrored": shown.case.mirrored,
        "metrics": {name: float(value) if np.isfinite(value) else None for name, value in shown.metrics.items()},
    }


def _magnitude(flow: Array) -> npt.NDArray[np.float64]:
    length: npt.NDArray[np.float64] = np.nan_to_num(np.hypot(*flow.astype(np.float64)), posinf=0)
    return length


def _label_ids(case: Comparison) -> npt.NDArray[np.int64]:
    labels = [label for label in (case.fixed_label, case.moving_label) if label is not None]
    ids = np.unique(np.concatenate([np.unique(label) for label in labels])) if labels else np.zeros(0)
    foreground: npt.NDArray[np.int64] = ids[ids != 0].astype(np.int64)
    return foreground


def _label_plane(label: Array | None, ids: Array) -> str | None:
    """Return a label map as 16-bit places in the list of ids, counted from 1; 0 is the background."""
    if label is None:
        return None
    return _plane(np.where(label == 0, 0, np.searchsorted(ids, label) + 1).astype("<u2"))


def _mask_plane(mask: Array | None) -> str | None:
    """Return where an image counts as a label map of one id."""
    return None if mask is None else _plane((mask > 0).astype("<u2"))


def _differences(rows: Array) -> Array:
    """Return each number minus its left neighbour, modulo 2**16: smooth rows become small numbers, which compress."""
    left = np.zeros_like(rows)
    left[..., 1:] = rows[..., :-1]
    return rows - left


def _plane(array: Array) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 4)).decode()


def _colours(name: str, count: int) -> list[str]:
    table = (colormaps[name](np.linspace(0, 1, count), bytes=True)[:, :3]).tolist()
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in table]
