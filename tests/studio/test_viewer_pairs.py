"""The Viewer on a folder of pairs, with masks."""

from pathlib import Path

import numpy as np
import pytest

from regstudio.config import build_config
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.studio.studio import Studio
from regstudio.studio.view import drawing_key
from regstudio.studio.viewer import Viewer
from tests.pictures import ramp


@pytest.fixture
def pairs(studio: Studio, tmp_path: Path) -> Path:
    """Two pairs of other sizes, below one of the studio's roots; the second one's moving image has a mask."""
    folder = studio.roots[0] / "pairs"
    for number, height in enumerate((32, 48), 1):
        write_image(folder / "fixed" / f"p{number}.png", ramp(height, 40, shift=20 * number))
        write_image(folder / "moving" / f"p{number}_late.png", ramp(height, 40, shift=3))
    mask = np.zeros((48, 40), np.uint8)
    mask[:, :15] = 1
    write_label(folder / "moving_mask" / "p2_late_mask.png", mask)
    return folder


def test_each_image_is_shown_with_its_own_fixed_one_and_its_mask(studio: Studio, pairs: Path) -> None:
    viewer, config = Viewer(studio), build_config({"data_base_dir": pairs})
    assert viewer.cases(config) == ["training/p1_late", "training/p2_late"]
    registrars = [viewer.registrar("no training", "none")]
    chosen = [viewer.chosen(config, name) for name in viewer.cases(config)]
    views = [viewer.view(one, registrars) for one in chosen]
    first, second = (view.payload() for view in views)
    assert (first["height"], second["height"]) == (32, 48)
    assert (first["fixed_name"], second["fixed_name"]) == ("p1", "p2")
    assert first["moving_mask"] is first["results"][0]["warped_mask"] is second["fixed_mask"] is None
    assert second["moving_mask"] == second["results"][0]["warped_mask"] is not None
    key = drawing_key(chosen[1], registrars)
    write_label(pairs / "moving_mask" / "p2_late_mask.png", np.ones((48, 40), np.uint8))
    assert drawing_key(viewer.chosen(config, "training/p2_late"), registrars) != key
