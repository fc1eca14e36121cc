from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import ids, ramp

from regstudio.data import loaders
from regstudio.data.writing import write_image, write_label


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A faultless data set: an atlas, four images to train on, two to validate on, with labels."""
    write_image(tmp_path / "fixed" / "atlas.png", ramp())
    write_label(tmp_path / "fixed_seg" / "atlas_seg.png", ids())
    for number, ending in enumerate((".png", ".nii.gz", ".npy", ".npz"), start=1):
        write_image(tmp_path / "moving" / f"t{number}{ending}", ramp(shift=number))
    for number, ending in enumerate((".png", ".nii.gz"), start=1):
        write_image(tmp_path / "validation_moving" / f"v{number}{ending}", ramp(shift=10 + number))
        write_label(tmp_path / "validation_moving_seg" / f"v{number}_seg.npy", ids())
    return tmp_path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that the loaders decoded, in their order."""
    names: list[str] = []
    for reader in ("read_image", "read_label"):
        original = getattr(loaders, reader)

        def spied(path: Path, *, original: Callable[..., Any] = original, **options: object) -> object:
            names.append(path.name)
            return original(path, **options)

        monkeypatch.setattr(loaders, reader, spied)
    return names
