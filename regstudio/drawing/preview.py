"""Draws a run's preview: the same pair after every epoch, fast enough to follow a training."""

import base64
import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from regstudio.drawing.colours import DARK, FIXED_COLOUR, GRID_ON_DARK, MOVING_COLOUR
from regstudio.drawing.overlay import GRID_LINES, deformed_grid, label_outline, overlay

Array = npt.NDArray[Any]
Scale = tuple[float, float]  # of rows and columns: picture pixels for one of the image
MAX_PIXELS = 2**23  # of an image: to draw more takes longer than anyone waits
MAX_FLOW = 1e6  # pixels
LONGER_SIDE = 384  # of a picture, in pixels: small images are enlarged so that lines stay thin


def draw(arrays: Mapping[str, Array], aspect: float = 1.0) -> dict[str, str]:
    """Return the pictures of one preview as PNG data URIs: before, after, grid and, with labels, their outlines.

    `arrays` are those of the run's pair and of one epoch's result, see `regstudio.runs.run`; `aspect` is the height of
    a pixel over its width. Raises ValueError for other arrays.
    """
    _check(arrays)
    fixed, moving, warped = (arrays[name] / 255 for name in ("fixed", "moving", "warped"))
    flow = arrays["flow"].astype(np.float32)
    height, width = fixed.shape
    if not height * aspect * width <= MAX_PIXELS:
        aspect = 1.0
    longer = LONGER_SIDE / max(height * aspect, width)
    # Whole numbers where pixels are square, so that they stay so.
    across = max(1.0, float(round(longer)) if aspect == 1 else longer)
    scale = (across * aspect, across)
    spacing = max(1, max(fixed.shape) // GRID_LINES)
    pictures = {
        "before": _picture(overlay(fixed, moving), scale),
        "after": _picture(overlay(fixed, warped), scale),
        "grid": _with_lines(_dark(fixed, scale), {GRID_ON_DARK: deformed_grid(flow, spacing)}, scale),
    }
    if "warped_label" in arrays:
        atlas = label_outline(arrays["fixed_label"])
        for name, image, label in (("before", moving, "moving_label"), ("after", warped, "warped_label")):
            lines = {FIXED_COLOUR: atlas, MOVING_COLOUR: label_outline(arrays[label])}
            pictures[f"labels_{name}"] = _with_lines(_picture(np.dstack([image] * 3), scale), lines, scale)
    return {name: _data_uri(picture) for name, picture in pictures.items()}


def _size(shape: tuple[int, ...], scale: Scale) -> tuple[int, int]:
    return max(1, round(shape[1] * scale[1])), max(1, round(shape[0] * scale[0]))


def _check(arrays: Mapping[str, Array]) -> None:
    labels = [name for name in ("fixed_label", "moving_label", "warped_label") if "warped_label" in arrays]
    lacking = [name for name in ("fixed", "moving", "warped", "flow", *labels) if name not in arrays]
    if lacking:
        raise ValueError(f"it has no {lacking[0]}")
    shape = arrays["fixed"].shape
    if len(shape) != 2 or not 0 < arrays["fixed"].size <= MAX_PIXELS:
        raise ValueError(f"its image is {shape}, and not of rows and columns, {MAX_PIXELS:,} pixels at most")
    for name in ("fixed", "moving", "warped", *labels):
        if arrays[name].shape != shape or arrays[name].dtype.kind not in ("iu" if name in labels else "u"):
            raise ValueError(f"its {name} is {arrays[name].dtype} {arrays[name].shape}")
    flow = arrays["flow"]
    if flow.shape != (2, *shape) or flow.dtype.kind != "f" or not (np.abs(flow.astype(np.float64)) <= MAX_FLOW).all():
        raise ValueError(f"its flow is {flow.dtype} {flow.shape}, or leads nowhere")


def _picture(colours: Array, scale: Scale) -> Image.Image:
    picture = Image.fromarray((255 * colours).round().astype(np.uint8))
    return picture.resize(_size(colours.shape, scale), Image.Resampling.NEAREST)


def _dark(image: Array, scale: Scale) -> Image.Image:
    return Image.new("RGB", _size(image.shape, scale), DARK)


def _with_lines(picture: Image.Image, lines: Mapping[str, Iterable[Array]], scale: Scale) -> Image.Image:
    pen, across = ImageDraw.Draw(picture), np.array(scale[::-1])
    for colour, group in lines.items():
        for line in group:
            points = (line + 0.5) * across - 0.5  # pixel centres lie at whole numbers
            pen.line([(float(x), float(y)) for x, y in points], fill=colour, width=2 if scale[1] > 1 else 1)
    return picture


def _data_uri(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
