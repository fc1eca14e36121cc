"""Images that are paired with each other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from regstudio.config import build_config
from regstudio.data.folders.layout import Case
from regstudio.data.folders.partners import pair_groups, partnered
from regstudio.data.pairs.dataset import RegistrationDataset
from regstudio.data.pictures.writing import write_image
from regstudio.errors import ConfigError
from tests.data.folders.test_splitting import touch
from tests.pictures import index, ramp


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Frames of two subjects, of which one has a fixed image of the name of a moving one, and one of a third."""
    return touch(
        tmp_path, "fixed/p1_0.png", "fixed/p9.png", "moving/p1_0.png", "moving/p1_1.png", "moving/p2_0.png",
        "moving/p2_1.png", "moving/p3_0.png",
    )  # fmt: skip


def ids(cases: Sequence[Case]) -> list[str]:
    return [case.id for case in cases]


def test_a_series_pairs_the_images_of_a_subject(tmp_path: Path) -> None:
    touch(tmp_path, *(f"moving/p{n}_{frame}.png" for n, frame in ((1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (3, 0))))
    found = index(tmp_path, pairing="subject")
    assert not found.errors
    assert found.atlas is None
    assert ids(found.train) == ["p1_0", "p1_1", "p1_2", "p2_0", "p2_1"]
    assert [problem.what for problem in found.warnings] == ["is the only image of p3"]
    assert pair_groups(found.train, "subject") == [[0, 1, 2], [3, 4]]
    assert ids(found.shown) == ["p1_1_to_p1_0", "p1_2_to_p1_0", "p2_1_to_p2_0"]


def test_fixed_images_are_frames_as_well_and_names_stay_apart(series: Path) -> None:
    found = index(series, pairing="all", pair_by="name")
    assert ids(found.train) == ["fixed_p1_0", "moving_p1_0"]
    assert {case.subject for case in found.train} == {"p1"}
    assert ids(index(series, pairing="subject", pair_by="prefix").train) == ["fixed_p1_0", "moving_p1_0"]


def test_any_goes_with_any(tmp_path: Path) -> None:
    touch(
        tmp_path, "moving/a.png", "moving/b.png", "moving/c.png", "validation_moving/d.png", "validation_moving/e.png"
    )
    found = index(tmp_path, pairing="all")
    assert ids(found.validation) == ["d_to_e", "e_to_d"]
    assert pair_groups(found.train, "all") == [[0, 1, 2]]
    assert ids(partnered(found.train, "all")) == ["a_to_b", "b_to_c", "c_to_a"]


@pytest.mark.parametrize("pairing", ["atlas", "pairs"])
def test_what_is_said_goes_before_what_there_is(tmp_path: Path, pairing: str) -> None:
    touch(tmp_path, "fixed/atlas.png", "fixed/p1.png", "moving/p1.png")
    (tmp_path / "pairs.csv").touch()
    found = index(tmp_path, pairing=pairing, pair_by=None if pairing == "atlas" else "name")
    assert (found.atlas is not None) is (pairing == "atlas")
    assert not found.errors
    assert ids(found.train) == ["p1"]


def test_pairs_that_are_asked_for_must_be_there(tmp_path: Path) -> None:
    touch(tmp_path, "fixed/atlas.png", "moving/p1.png")
    assert "holds no fixed image for any moving one" in [p.what for p in index(tmp_path, pairing="pairs").errors]


def test_partners_are_drawn_from_the_own_group_and_are_all_drawn(tmp_path: Path) -> None:
    for number in range(5):
        write_image(tmp_path / f"{number}.png", ramp(32, 32, shift=float(number)))
    cases = [Case(id=str(number), image=tmp_path / f"{number}.png") for number in range(5)]
    dataset = RegistrationDataset(cases, mode="pair", groups=[[0, 3, 4], [1, 2]])
    random, drawn = np.random.default_rng(0), set()
    for _ in range(30):
        order = dataset.epoch_order(random)
        pairs = [(item // 4, item % 4 + (item % 4 >= item // 4)) for item in order.tolist()]
        assert sorted(moving for moving, _ in pairs) == [0, 1, 2, 3, 4]
        drawn |= set(pairs)
    assert drawn == {(0, 3), (0, 4), (3, 0), (3, 4), (4, 0), (4, 3), (1, 2), (2, 1)}


def test_pairs_that_change_have_no_affine_maps() -> None:
    with pytest.raises(ConfigError, match="none has an affine map of its own"):
        build_config({"pairing": "all", "affine": "auto"})
