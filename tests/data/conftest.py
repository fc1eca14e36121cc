from pathlib import Path

import pytest

from regstudio.data.folders.layout import Case
from tests.pictures import index


@pytest.fixture
def atlas(root: Path) -> Case:
    return Case(id="atlas", image=root / "fixed" / "atlas.png", label=root / "fixed_seg" / "atlas_seg.png")


@pytest.fixture
def cases(root: Path) -> tuple[Case, ...]:
    return index(root).train
