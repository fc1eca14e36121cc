"""A view as one zip to keep: figure, warped image, flow, warped label and metrics, as the command line writes them."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from regstudio.data.landmarks.landmarks import Family
from regstudio.drawing.comparison import comparison
from regstudio.drawing.overlay import before_after
from regstudio.files import atomic_path, temporary_folder
from regstudio.studio.correcting import write_view_points
from regstudio.studio.view import View
from regstudio.transforms.result_files import save_registration


def write_view_zip(view: View, path: Path, family: Family = "table") -> Path:
    """Write a view's figure, warped image, flow, warped label, metrics and landmarks as one zip; return its path."""
    name, start = view.chosen.case.id, view.chosen.start
    loaders = view.chosen.reader.image_loader, view.chosen.reader.label_loader
    with temporary_folder() as temporary:
        for title, registration in view.registrations:
            # Names of networks hold a comma and a space, which are awkward in the names of folders.
            several = len(view.registrations) > 1
            out = temporary / (title.replace(", ", "_").replace(" ", "_") if several else "")
            out.mkdir(exist_ok=True)
            save_registration(registration, out, name, image_key=loaders[0].key, label_key=loaders[1].key)
            before_after([comparison(registration)]).savefig(out / f"{name}_figure.png")
            record = {
                "network": title,
                "metrics": _finite(registration.metrics),
                "seconds": registration.seconds,
                "start": None if start.is_identity else asdict(start.on(registration.pair.fixed.shape)),
            }
            (out / f"{name}_metrics.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        write_view_points(view, temporary, family)
        with atomic_path(path) as zipped, zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(temporary.rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(temporary))
    return path


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: float(value) if np.isfinite(value) else None for name, value in metrics.items()}
