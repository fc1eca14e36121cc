"""Landmarks that a person places: they steer the registration, and are kept with it."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from regstudio.config import build_config
from regstudio.errors import ConfigError, DataError
from regstudio.studio.correcting import add_to_training, corrected_view, family_of, read_placed
from regstudio.studio.studio import Studio
from regstudio.studio.view import View
from regstudio.studio.view_zip import write_view_zip
from regstudio.studio.viewer import Viewer
from regstudio.training.setup import pair_reader

PLACED = [[20.0, 22.0, 23.0, 22.0], [30.0, 18.0, 30.0, 21.5]]


@pytest.fixture
def view(studio: Studio) -> View:
    viewer = Viewer(studio)
    config = studio.workspace().config
    return viewer.view(viewer.chosen(config, "validation/phantom_05"), [viewer.other("no training/none")])


def test_placed_landmarks_steer_the_first_method(view: View, tmp_path: Path) -> None:
    steered = corrected_view(view, read_placed(PLACED))
    title, registration = steered.registrations[0]
    assert title == "not registered, corrected"
    assert registration.metrics["tre"] < 0.5 < 3 < registration.metrics["tre_before"]
    payload = steered.payload()
    assert payload["points"] == PLACED
    assert corrected_view(view, read_placed([])) is view
    with zipfile.ZipFile(write_view_zip(steered, tmp_path / "view.zip", family_of("elastix"))) as archive:
        assert {"phantom_05_points.txt", "atlas_points.txt", "phantom_05_flow.npy"} <= set(archive.namelist())
        assert archive.read("phantom_05_points.txt").decode().splitlines()[-1].split()[:2] == ["21.5", "30"]


def test_a_pair_with_its_landmarks_is_added_to_data_to_train_on(view: View, studio: Studio) -> None:
    with pytest.raises(DataError, match="no landmarks"):
        add_to_training(studio, view, "mended")
    steered = corrected_view(view, read_placed(PLACED))
    folder = add_to_training(studio, steered, "mended")
    add_to_training(studio, steered, "mended")  # again: the same pair, whose landmarks are replaced
    index = studio.index(build_config({"data_base_dir": folder}))
    (case,) = index.train
    fixed = case.fixed or index.atlas
    assert fixed is not None and fixed.label is not None and case.label is not None
    read = pair_reader(build_config({}).reading, fixed, with_points=True)(case)
    assert read.fixed_points is not None and read.moving_points is not None
    np.testing.assert_allclose(np.concatenate((read.fixed_points, read.moving_points), axis=1), PLACED, atol=1e-3)
    image = next((folder / "moving").iterdir())
    shutil.copy(next((folder / "fixed").iterdir()), image)
    with pytest.raises(DataError, match="another image of that name"):
        add_to_training(studio, steered, "mended")


def test_what_is_no_landmark_is_refused(view: View) -> None:
    for value in (None, "x", [[1, 2, 3]], [[1, 2, 3, float("nan")]], [["1", 2, 3, 4]], [[1.0] * 4] * 501):
        with pytest.raises(ConfigError, match="landmarks cannot be used"):
            read_placed(value)
    with pytest.raises(DataError, match="outside its image"):
        corrected_view(view, read_placed([[1, 1, 1, 48]]))
    with pytest.raises(ConfigError, match="no files of landmarks"):
        family_of("doc")
