"""A start by hand: its map, what is refused, and where it is kept."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regstudio.config import build_config
from regstudio.errors import ConfigError, DataError
from regstudio.studio.correcting import add_to_training, corrected_view, read_placed
from regstudio.studio.hand_start import HandStart, read_start, start_path, write_start
from regstudio.studio.prefetcher import Prefetcher
from regstudio.studio.studio import Studio
from regstudio.studio.view_zip import write_view_zip
from regstudio.studio.viewer import Viewer
from regstudio.studio.viewer_session import Choice, ViewerSession

SIZE = (40, 60)
CENTRE = np.array([19.5, 29.5])


def laid(start: HandStart, places: list[list[float]], aspect: float = 1.0) -> np.ndarray:
    """Where the places of the moving image are seen on the fixed one."""
    matrix = start.matrix(SIZE, aspect)
    return np.linalg.solve(matrix[:, :2], (np.array(places) - matrix[:, 2]).T).T


def test_the_map_flips_scales_turns_and_shifts_in_that_order() -> None:
    right_of_it, below_it = CENTRE + np.array([0, 10]), CENTRE + np.array([10, 0])
    for start, where in (
        (HandStart(down=3, right=-4), ([3, 6], [13, -4])),
        (HandStart(turn=90), ([10, 0], [0, -10])),  # clockwise: what was right of the centre is below it
        (HandStart(scale=2), ([0, 20], [20, 0])),
        (HandStart(flipped=True), ([0, -10], [10, 0])),
        (HandStart(flipped=True, turn=90, scale=0.5, down=1), ([-4, 0], [1, -5])),
    ):
        np.testing.assert_allclose(laid(start, [right_of_it, below_it]) - CENTRE, where, atol=1e-9)
    # Where pixels are twice as high as wide, ten columns are as long as five rows.
    wide = laid(HandStart(turn=90), [right_of_it, below_it], 2.0) - CENTRE
    np.testing.assert_allclose(wide, [[5, 0], [0, -20]], atol=1e-9)


def test_shifts_are_kept_on_grids_of_another_size() -> None:
    start = HandStart(down=2, right=3, turn=10, grid=(20, 30))
    assert start.on(SIZE) == HandStart(down=4, right=6, turn=10, grid=SIZE)
    np.testing.assert_allclose(start.matrix(SIZE, 1), HandStart(down=4, right=6, turn=10).matrix(SIZE, 1))


def test_what_is_no_start_is_refused(tmp_path: Path) -> None:
    assert read_start(None).is_identity
    for value in ("x", {"turn": "1"}, {"turn": float("nan")}, {"scale": 0}, {"flipped": 1}, {"grid": [0, 5]}):
        with pytest.raises(ConfigError, match="start by hand cannot be used"):
            read_start(value)
    with pytest.raises(DataError, match="beside the fixed one"):
        HandStart(right=59).matrix(SIZE, 1)


@pytest.fixture
def session(studio: Studio) -> ViewerSession:
    return ViewerSession(Viewer(studio), Prefetcher())


def test_a_start_is_kept_with_the_result_and_with_the_pair(
    session: ViewerSession, studio: Studio, tmp_path: Path
) -> None:
    choice = Choice(run="no training", checkpoint="none", case="validation/phantom_05")
    start = HandStart(turn=5, right=2.0)
    view = session.view(choice, start)
    title, _ = view.registrations[0]
    assert title == "not registered, laid by hand"
    assert view.payload()["start"] == {"down": 0, "right": 2, "turn": 5, "scale": 1, "flipped": False, "grid": (48, 48)}
    assert session.view(choice).payload()["start"] is None
    steered = corrected_view(view, read_placed([[20.0, 22.0, 23.0, 22.0]]))
    assert steered.registrations[0][1].metrics["tre"] < 1
    with zipfile.ZipFile(write_view_zip(steered, tmp_path / "view.zip")) as archive:
        record = json.loads(archive.read("phantom_05_metrics.json"))
    assert (record["start"]["turn"], record["start"]["grid"]) == (5, [48, 48])
    folder = add_to_training(studio, view, "laid")  # without any landmark
    data = build_config({"data_base_dir": folder})
    assert not studio.index(data).errors
    viewer = session.viewer
    assert viewer.chosen(data, viewer.cases(data)[0]).start == replace(start, grid=(48, 48))
    kept = start_path(folder / "moving" / "phantom_05.png")
    write_start(kept, HandStart(scale=2))
    assert viewer.chosen(data, viewer.cases(data)[0]).start == HandStart(scale=2)
    kept.write_text('{"scale": "large"}')
    with pytest.raises(DataError, match=r"phantom_05\.json: cannot be used as a start by hand \(scale"):
        viewer.chosen(data, viewer.cases(data)[0])
    add_to_training(studio, replace(steered, chosen=replace(steered.chosen, start=HandStart())), "laid")
    assert not kept.exists()
