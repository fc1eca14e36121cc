"""Previews in run folders from outside: drawn, or one line that says why not."""

from collections.abc import Callable

import numpy as np
import pytest

from regstudio.config import TrainConfig
from regstudio.data.codecs.npy import write_arrays
from regstudio.drawing.preview import draw
from regstudio.runs.run import Run, create_run
from regstudio.studio.live_feed import Feed
from regstudio.studio.studio import Studio


@pytest.fixture
def run(studio: Studio, quick_config: Callable[..., TrainConfig]) -> Run:
    return create_run(quick_config(run_name="odd", runs_dir=studio.runs_dir))


PAIR = {"fixed": np.zeros((40, 36), np.uint8), "moving": np.zeros((40, 36), np.uint8)}
RESULT = {"warped": np.zeros((40, 36), np.uint8), "flow": np.zeros((2, 40, 36), np.float16)}


@pytest.mark.parametrize(
    "change",
    [
        {"fixed": np.zeros((0, 36), np.uint8)},
        {"fixed": np.zeros(40, np.uint8)},
        {"moving": np.zeros((36, 40), np.uint8)},
        {"warped": np.zeros((40, 36), np.float32)},
        {"warped": np.zeros((40, 36, 3), np.uint8)},
        {"flow": np.zeros((40, 36), np.float16)},
        {"flow": np.full((2, 40, 36), np.nan)},
        {"flow": np.full((2, 40, 36), 1e300)},
        {"flow": np.zeros((2, 40, 36), np.complex64)},
        {"warped_label": np.zeros((40, 36), np.uint8)},
        {"warped": np.zeros((2**14, 2**13 + 1), np.uint8)},
        {"fixed": np.zeros((3000, 3000), np.uint8)},
    ],
    ids=lambda change: " ".join(f"{name} {array.dtype} {array.shape}" for name, array in change.items()),
)
def test_odd_previews_are_a_message(studio: Studio, run: Run, change: dict[str, np.ndarray]) -> None:
    run.pair_path.parent.mkdir()
    write_arrays(run.pair_path, PAIR | {name: array for name, array in change.items() if name in PAIR})
    write_arrays(run.preview_path(1), RESULT | {name: array for name, array in change.items() if name not in PAIR})
    answer = Feed(studio).preview({"run": "odd", "epoch": 1})
    assert "previews" in answer["error"]


def test_a_preview_is_drawn(studio: Studio, run: Run) -> None:
    run.pair_path.parent.mkdir()
    write_arrays(run.pair_path, PAIR)
    write_arrays(run.preview_path(1), RESULT)
    assert Feed(studio).preview({"run": "odd", "epoch": 1})["pictures"].keys() == {"before", "after", "grid"}


@pytest.mark.parametrize("aspect", [1e9, 1e-9, np.inf, np.nan])
def test_pixels_of_any_aspect_make_no_huge_picture(aspect: float) -> None:
    pictures = draw(PAIR | RESULT, aspect)
    assert sum(map(len, pictures.values())) < 1_000_000
