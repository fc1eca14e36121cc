"""Images set apart to validate on, and pairs whose names only begin alike; only names matter."""

from pathlib import Path

import pytest

from regstudio.data.folders.layout import Case
from regstudio.data.folders.splitting import split_by_subject, subject_of
from tests.pictures import index


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return root


def cases(subjects: int, each: int = 1) -> list[Case]:
    names = [f"p{subject:02}_{image}" for subject in range(subjects) for image in range(each)]
    return [Case(id=name, image=Path(name)) for name in names]


@pytest.mark.parametrize(
    ("name", "subject"), [("p01_es", "p01"), ("patient001_frame02", "patient001"), ("anna", "anna"), ("7", "7")]
)
def test_the_subject_is_the_name_up_to_its_first_number(name: str, subject: str) -> None:
    assert subject_of(Case(id=name, image=Path(name))) == subject
    assert subject_of(Case(id=name, image=Path(name), subject="other")) == "other"


def test_no_subject_is_on_both_sides_and_the_share_is_met() -> None:
    train, apart = split_by_subject(cases(20, each=3), 0.2, seed=0)
    assert (len(train), len(apart)) == (48, 12)
    assert not {subject_of(case) for case in train} & {subject_of(case) for case in apart}


def test_the_split_depends_on_the_seed_and_not_on_the_order() -> None:
    some = cases(20)
    splits = [{case.id for case in split_by_subject(some, 0.2, seed)[1]} for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]
    assert {case.id for case in split_by_subject(some[::-1], 0.2, 0)[1]} == splits[0]


@pytest.mark.parametrize(("subjects", "share", "apart"), [(1, 0.5, 0), (2, 0.1, 1), (3, 0.9, 2)])
def test_both_sides_get_a_subject_where_there_are_two(subjects: int, share: float, apart: int) -> None:
    assert len(split_by_subject(cases(subjects), share, 0)[1]) == apart


def test_a_share_of_a_folder_is_set_apart_and_that_is_said(tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(5)]
    touch(tmp_path, *(f"{folder}/{name}.png" for folder in ("fixed", "moving") for name in names))
    found = index(tmp_path, validation_share=0.4)
    assert (len(found.train), len(found.validation)) == (3, 2)
    assert all(case.fixed and case.fixed.id == case.id for case in (*found.train, *found.validation))
    assert [problem.what for problem in found.problems] == [
        "3 images of 3 subjects are trained on, and 2 images of 2 are set apart to validate on"
    ]


def test_images_of_one_subject_cannot_be_set_apart(tmp_path: Path) -> None:
    touch(tmp_path, "fixed/atlas.png", "moving/p1_a.png", "moving/p1_b.png")
    found = index(tmp_path, validation_share=0.5)
    assert (len(found.train), len(found.validation)) == (2, 0)
    assert found.warnings[0].what.startswith("all images seem to show one subject, p1")


def test_a_folder_to_validate_on_goes_before_a_share(tmp_path: Path) -> None:
    touch(tmp_path, "fixed/atlas.png", "moving/p1.png", "moving/p2.png", "validation_moving/v1.png")
    found = index(tmp_path, validation_share=0.5)
    assert (len(found.train), len(found.validation)) == (2, 1)


def test_several_moving_images_may_belong_to_one_whose_name_theirs_begin_with(tmp_path: Path) -> None:
    touch(tmp_path, "fixed/p1.png", "fixed/p1_b.png", "moving/p1_es.png", "moving/p1_b_es.png", "moving/p10.png")
    found = index(tmp_path)
    assert {case.id: case.fixed and case.fixed.id for case in found.train} == {"p1_es": "p1", "p1_b_es": "p1_b"}
    assert [problem.what for problem in found.warnings] == ["has no fixed image whose name its own begins with"]
    assert index(tmp_path, pair_by="name").errors[0].what == "holds no image of a pair to train on"


def test_one_fixed_image_is_a_set_of_pairs_if_that_is_said(tmp_path: Path) -> None:
    touch(tmp_path, "fixed/p1.png", "moving/p1_a.png", "moving/p2_a.png")
    assert index(tmp_path).atlas is not None
    assert [case.id for case in index(tmp_path, pair_by="prefix").train] == ["p1_a"]
