"""New files of landmarks, read again as other programs' are."""

from pathlib import Path

import numpy as np
import pytest

from regstudio.data.landmarks.files import read_landmarks
from regstudio.data.landmarks.landmarks import Family
from regstudio.data.landmarks.placed import FAMILIES, FAMILY_TITLES, write_placed

PLACES = np.array([[3.25, 7.5], [10.0, 0.125]])
NAMES = ("1", "2")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("affine", [None, np.diag([0.5, -2.0, 1.0, 1.0])], ids=["no geometry", "mm"])
def test_each_form_is_read_as_it_was_placed(family: Family, affine: np.ndarray | None, tmp_path: Path) -> None:
    path = write_placed(tmp_path, "case", family, PLACES, NAMES, affine=affine, fixed=PLACES + 1)
    found = read_landmarks(path, "moving")
    assert path.name == f"case_points{FAMILIES[family]}"
    assert (found.family, found.names) == (family, ("", "") if family == "elastix" else NAMES)
    np.testing.assert_allclose(found.on(affine).places, PLACES, atol=1e-4)
    if family == "bigwarp":
        np.testing.assert_allclose(read_landmarks(path, "fixed").places, PLACES + 1, atol=1e-4)


def test_every_form_has_a_title() -> None:
    assert FAMILY_TITLES.keys() == FAMILIES.keys()
