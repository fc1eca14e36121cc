"""A view as one zip to keep: figure, warped image, flow, warped label and metrics, as the command line writes them."""

import json
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from regstudio.data.formats import Picture, read_image, read_label
from regstudio.data.layout import Case
from regstudio.data.loaders import ImageLoader, LabelLoader
from regstudio.drawing.overlay import before_after
from regstudio.studio.viewer import Pair, View
from regstudio.transforms.result_files import save_registration


def write_bundle(view: View, folder: Path) -> Path:
    """Write a view's figure, warped image, flow, warped label and metrics as one zip into `folder`; return its path."""
    pair = view.pair
    fixed, moving = (_picture(pair, case) for case in (pair.fixed, pair.moving))
    label = None if pair.moving.label is None else read_label(pair.moving.label, **_options(pair.labels))
    bundle = folder / f"{uuid.uuid4().hex}" / f"{pair.name}.zip"
    bundle.parent.mkdir(parents=True)
    with TemporaryDirectory() as temporary:
        for shown, registration in view.shown:
            # Names of networks hold a comma and a space, which are awkward in the names of folders.
            out = Path(temporary) / (shown.title.replace(", ", "_").replace(" ", "_") if len(view.shown) > 1 else "")
            out.mkdir(exist_ok=True)
            save_registration(
                registration,
                out,
                pair.name,
                fixed=fixed,
                moving=moving,
                label=label,
                image_key=pair.images.key,
                label_key=pair.labels.key,
            )
            before_after([shown.case]).savefig(out / f"{pair.name}_figure.png")
            record = {"network": shown.title, "metrics": _finite(shown.metrics), "seconds": registration.seconds}
            (out / f"{pair.name}_metrics.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(Path(temporary).rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(temporary))
    return bundle


def _picture(pair: Pair, case: Case) -> Picture:
    return read_image(case.image, **_options(pair.images))


def _options(loader: ImageLoader | LabelLoader) -> dict[str, Any]:
    return {"key": loader.key, "slice_axis": loader.slice_axis, "slice_index": loader.slice_index}


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: float(value) if np.isfinite(value) else None for name, value in metrics.items()}
