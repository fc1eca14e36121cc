"""What the tests of registering a folder share."""

import csv
from pathlib import Path
from typing import Any

from regstudio.data.folders.layout import Case
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.pairs.reader import PairReader


def reader(fixed: Case, **loaders: Any) -> PairReader:
    given = {"image_loader": ImageLoader(), "label_loader": LabelLoader()}
    return PairReader(fixed=fixed, **{**given, **loaders})


def fixed_case(folder: Path) -> Case:
    return Case(id="fixed", image=folder / "fixed.png", label=folder / "fixed_seg.png")


def table(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "metrics.csv").read_text(encoding="utf-8").splitlines()))
