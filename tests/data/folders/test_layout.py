import os
from pathlib import Path

import pytest

from regstudio.data.folders.layout import DataIndex
from regstudio.data.pictures.formats import EXTENSIONS
from tests.pictures import index

FORMATS = ", ".join(EXTENSIONS)


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def messages(found: DataIndex, severity: str) -> list[str]:
    """The problems of one severity as the user reads them, without the folder."""
    return [str(p).removeprefix(f"{found.root}/") for p in found.problems if p.severity == severity]


MINIMAL = ("fixed/atlas.png", "moving/a.png")
COMPLETE = (*MINIMAL, "fixed_seg/atlas_seg.png", "validation_moving/v.png", "validation_moving_seg/v_seg.nii.gz")


def test_a_faultless_folder(root: Path) -> None:
    found = index(root)
    assert found.problems == found.errors == found.warnings == ()
    assert found.atlas is not None
    assert (found.atlas.id, found.atlas.label) == ("atlas", root / "fixed_seg" / "atlas_seg.png")
    assert [case.id for case in found.train] == ["t1", "t2", "t3", "t4"]
    assert [case.label for case in found.train] == [None] * 4
    assert [(case.image.name, case.label and case.label.name) for case in found.validation] == [
        ("v1.png", "v1_seg.npy"),
        ("v2.nii.gz", "v2_seg.npy"),
    ]


def test_names_are_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "fixed/atlas.png", *(f"moving/{n}.png" for n in ("s10", "s9", "S1", "s1b", "2", "x")))
    assert [case.id for case in index(tmp_path).train] == ["2", "S1", "s1b", "s9", "s10", "x"]


def test_labels_pair_across_formats_and_dots(tmp_path: Path) -> None:
    touch(tmp_path, *COMPLETE, "moving/a.b.nii.gz", "moving_seg/a.b_seg.PNG", "moving_seg/a_seg.npy")
    assert [(case.id, case.label.name) for case in index(tmp_path).train] == [
        ("a.b", "a.b_seg.PNG"),
        ("a", "a_seg.npy"),
    ]


def test_thousands_of_files_are_listed_by_name_without_reading_them(tmp_path: Path) -> None:
    touch(tmp_path, *COMPLETE, *(f"moving/{n}.nii.gz" for n in range(5000)))  # all are empty, which no reader accepts
    found = index(tmp_path)
    assert len(found.train) == 5001
    assert found.problems == ()


def test_names_can_all_be_changed(tmp_path: Path) -> None:
    touch(tmp_path, "f/t.tif", "fs/t_lab.png", "m/a.png", "ms/a_seg.png", "v/b.png", "vs/b_seg.png", "m/a.jpg")
    found = index(
        tmp_path,
        fixed_subdir="f",
        atlas_name="t.tif",
        fixed_seg_subdir="fs",
        atlas_seg_name="t_lab.png",
        train_moving_subdir="m",
        train_moving_seg_subdir="ms",
        valid_moving_subdir="v",
        valid_moving_seg_subdir="vs",
        file_pattern="*.png",
    )
    assert messages(found, "note") == [
        "m: 1 of 2 images do not match the pattern '*.png'. Change --file_pattern to use them."
    ]
    assert found.errors == found.warnings == ()
    assert found.train[0].label == tmp_path / "ms" / "a_seg.png"
    assert found.atlas.label == tmp_path / "fs" / "t_lab.png"


def test_images_and_labels_may_share_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "fixed/atlas.png", "fixed/atlas_seg.png", "moving/a.png", "moving/a_seg.png", "moving/b.png")
    found = index(tmp_path, fixed_seg_subdir="fixed", train_moving_seg_subdir="moving")
    assert found.errors == found.warnings == ()
    assert found.atlas.label == tmp_path / "fixed" / "atlas_seg.png"
    assert [(case.id, case.label and case.label.name) for case in found.train] == [("a", "a_seg.png"), ("b", None)]


def test_labels_beside_images_have_any_common_ending(tmp_path: Path) -> None:
    names = ("a", "a_mask", "a_seg", "b", "b_label", "c", "c_gt", "d", "mask")
    touch(tmp_path, "fixed/atlas.png", *(f"moving/{name}.png" for name in names))
    found = index(tmp_path, train_moving_seg_subdir="moving")
    labels = [(case.id, case.label and case.label.stem) for case in found.train]
    assert labels == [("a", "a_seg"), ("b", "b_label"), ("c", "c_gt"), ("d", None), ("mask", None)]
    taken = "moving/a_mask.png: the image a has a label a_seg, which is taken. Remove the one that is not wanted."
    assert taken in messages(found, "note")


def test_hidden_files_are_ignored_and_other_files_are_reported(tmp_path: Path) -> None:
    touch(tmp_path, *COMPLETE, "moving/.DS_Store", "moving/Thumbs.db", "moving/notes.txt", "moving/sub/b.png")
    (tmp_path / "moving" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    found = index(tmp_path)
    assert [case.id for case in found.train] == ["a"]
    assert messages(found, "warning") == [
        "moving/gone.png: is no file (a broken link?). Put the file there.",
        f"moving/notes.txt: this format is not supported. Supported are {FORMATS}.",
    ]
    assert all(problem.left_out for problem in found.warnings)
    assert messages(found, "note") == ["moving/sub: folders within this folder are not looked into. Move its files up."]


def test_a_missing_base_folder_is_an_error(tmp_path: Path) -> None:
    found = index(tmp_path / "none")
    assert messages(found, "error") == [
        f"{tmp_path}/none: there is no such folder. Name the folder of your data with --data_base_dir."
    ]
    assert (found.atlas, found.train, found.validation) == (None, (), ())


def test_missing_folders_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "training/a.png", "targets/atlas.png")
    found = index(tmp_path)
    assert messages(found, "error") == [
        "fixed: there is no such folder. Put the atlas there, or change --fixed_subdir.",
        f"moving: there is no such folder; {tmp_path} holds targets, training. "
        "Put the training images there, or change --train_moving_subdir.",
    ]
    assert messages(found, "note") == [
        "validation_moving: there is no such folder, so nothing is validated. "
        "Put images (and their labels) there, or set some apart with --validation_share 0.2, to see how well unseen "
        "images are registered."
    ]


def test_empty_folders_are_named(tmp_path: Path) -> None:
    for name in ("fixed", "fixed_seg", "moving", "moving_seg", "validation_moving", "validation_moving_seg"):
        (tmp_path / name).mkdir()
    found = index(tmp_path)
    assert messages(found, "error") == [
        "fixed: holds no image to use as the atlas. Put it there as atlas.png.",
        f"moving: holds no image to train on. Supported are {FORMATS}.",
    ]
    labels = "is empty. Put the labels there, each named like its image with _seg added."
    assert messages(found, "warning") == [
        f"moving_seg: {labels}",
        f"validation_moving_seg: {labels}",
        "validation_moving: holds no image to validate on. Put some there, or remove the folder.",
    ]
    touch(tmp_path, "fixed/atlas.png")
    assert "fixed_seg: is empty. Put the atlas's label there as atlas_seg.png." in messages(index(tmp_path), "warning")


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, *MINIMAL)
    found = index(tmp_path, file_pattern="*.nii")
    assert messages(found, "error") == ["moving: no image matches the pattern '*.nii'. Change --file_pattern."]


def test_folders_without_permission_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, *COMPLETE)
    scandir = os.scandir

    def forbidden(path: Path) -> object:
        if Path(path).name in ("moving", "validation_moving"):
            raise PermissionError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    found = index(tmp_path)
    denied = "may not be read (permission denied). Change its permissions."
    assert messages(found, "error") == [f"moving: {denied}", f"validation_moving: {denied}"]
    assert messages(found, "note") == []
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert messages(index(tmp_path), "error") == [f"{tmp_path}: {denied}"]


def test_the_only_image_in_fixed_is_the_atlas(tmp_path: Path) -> None:
    touch(tmp_path, "fixed/template.nii.gz", "fixed_seg/template_seg.npy", "fixed_seg/other_seg.npy", "moving/a.png")
    found = index(tmp_path)
    assert (found.atlas.id, found.atlas.label) == ("template", tmp_path / "fixed_seg" / "template_seg.npy")
    assert messages(found, "note")[:2] == [
        "fixed/atlas.png: is not there; template.nii.gz is taken instead. Name another with --atlas_name.",
        "fixed_seg/atlas_seg.png: is not there; template_seg.npy is taken instead. Name another with --atlas_seg_name.",
    ]
    assert found.errors == ()


def test_several_possible_atlases_are_an_error(tmp_path: Path) -> None:
    touch(tmp_path, *(f"fixed/{n}.png" for n in range(7)), "moving/a.png")
    assert messages(index(tmp_path), "error") == [
        "fixed/atlas.png: is not there, but several others are: 0.png, 1.png, 2.png, 3.png, 4.png and 2 more. "
        "Name one with --atlas_name."
    ]
    touch(tmp_path, "fixed/atlas.png", "fixed_seg/a.png", "fixed_seg/b.png")
    assert messages(index(tmp_path), "error") == [
        "fixed_seg/atlas_seg.png: is not there, but several others are: a.png, b.png. Name one with --atlas_seg_name."
    ]


def test_labels_without_a_matching_image_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, *COMPLETE, "validation_moving/w.png", "validation_moving_seg/x_seg.png")
    touch(tmp_path, "validation_moving_seg/w.png", "validation_moving/y.png")
    touch(tmp_path, "validation_moving_seg/y_seg.png", "validation_moving_seg/y_seg.npy")
    found = index(tmp_path)
    assert [case.id for case in found.validation] == ["v"]
    lacks = "has no label, unlike other validation images. Add a label of the same name with _seg at its end."
    assert messages(found, "warning") == [
        "validation_moving_seg/w.png: its name does not end in _seg. "
        "Name it like its image with _seg added, as in NAME_seg.png for NAME.png.",
        "validation_moving_seg/x_seg.png: there is no image to this label. Add it, or remove this.",
        "validation_moving_seg/y_seg.npy: the image y has several labels: y_seg.npy, y_seg.png. Keep one of them.",
        f"validation_moving/w.png: {lacks}",
        f"validation_moving/y.png: {lacks}",
    ]
    assert all(problem.left_out for problem in found.warnings)


def test_labels_among_images_and_duplicate_names_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, *MINIMAL, "moving/a_seg.png", "moving/a.npy", "moving/lonely_seg.png")
    found = index(tmp_path)
    assert [case.image.name for case in found.train] == ["a.npy", "lonely_seg.png"]
    assert messages(found, "warning") == [
        f"moving/a_seg.png: looks like a label among images. Move it to {tmp_path}/moving_seg.",
        "moving/a.png: has the same name as a.npy, which is taken. Rename it, if it is another picture.",
    ]


def test_validation_without_any_label_keeps_all_images(tmp_path: Path) -> None:
    touch(tmp_path, *MINIMAL, "validation_moving/v.png", "validation_moving/w.png")
    found = index(tmp_path)
    assert [(case.id, case.label) for case in found.validation] == [("v", None), ("w", None)]
    assert found.warnings == ()
    touch(tmp_path, "fixed_seg/atlas_seg.png")
    assert messages(index(tmp_path), "note") == [
        "validation_moving_seg: the validation images have no labels, so there will be no Dice. "
        "Put the labels there as NAME_seg, to see a Dice."
    ]


def test_validation_labels_without_an_atlas_label_give_a_warning(tmp_path: Path) -> None:
    touch(tmp_path, *COMPLETE)
    (tmp_path / "fixed_seg" / "atlas_seg.png").unlink()
    (tmp_path / "fixed_seg").rmdir()
    assert messages(index(tmp_path), "warning") == [
        "fixed_seg: the atlas has no label, so there will be no Dice. Put the atlas's label there as atlas_seg.png."
    ]


def test_the_same_name_in_both_sets_gives_a_warning(tmp_path: Path) -> None:
    touch(tmp_path, *MINIMAL, "validation_moving/a.npy", "validation_moving/b.npy")
    found = index(tmp_path)
    assert messages(found, "warning") == [
        "validation_moving: 1 of 2 images bear the name of a training image: a.npy. If they are the same pictures, "
        "take them out of one of the two sets, or the Dice will be too good."
    ]
    assert [case.id for case in found.validation] == ["a", "b"]
