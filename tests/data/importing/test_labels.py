from pathlib import Path

import pytest

from regstudio.data.importing.labels import label_base, pair_labels, patient_folders
from regstudio.data.importing.scans import Scan


def scan(path: str) -> Scan:
    parts = Path(path).parts
    return Scan(paths=(Path(path),), folders=parts[:-1], name=parts[-1])


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("p01", "p01_seg"),
        ("p01", "p01_label"),
        ("p01", "p01-mask"),
        ("p01", "p01-gt"),
        ("p01", "p01_GroundTruth"),
        ("p01.v2", "p01.v2.seg"),
        ("p01", "seg_p01"),
        ("image_01", "label_01"),
        ("p01_image", "p01_mask"),
        ("p01", "labels/p01"),
        ("images/p01", "masks/p01_mask"),
        ("imagesTr/heart_01_0000", "labelsTr/heart_01"),
        ("moving/p01", "moving_seg/p01_seg"),
        ("train/images/p01", "train/labels/p01"),
        ("p01/t1", "p01/t1_seg"),
        ("p01/image", "p01/label"),
        ("p01/scan", "p01/segmentation"),
        ("p01/images/a", "p01/labels/a"),
    ],
)
def test_common_ways_of_naming_a_label_are_understood(image: str, label: str) -> None:
    others = [scan("p99"), scan("p99_seg"), scan("q/other"), scan("p01/more/x")]
    pairs, problems = pair_labels([scan(image), scan(label), *others])
    assert dict(pairs)[scan(image)] == scan(label)
    assert dict(pairs)[scan("p99")] == scan("p99_seg")
    assert problems == []


def test_images_of_one_name_in_two_folders_keep_their_own_labels() -> None:
    found = [scan(f"{who}/{name}") for who in ("a", "b") for name in ("1", "1_seg")]
    assert pair_labels(found)[0] == [(scan("a/1"), scan("a/1_seg")), (scan("b/1"), scan("b/1_seg"))]


def test_a_label_without_an_image_and_a_second_one_are_named() -> None:
    pairs, problems = pair_labels([scan("a"), scan("a_seg"), scan("a_mask"), scan("b_seg")])
    assert pairs == [(scan("a"), scan("a_seg"))]
    assert [(problem.path.name, problem.what) for problem in problems] == [
        ("a_mask", "its image has the label a_seg"),
        ("b_seg", "no image has its name"),
    ]


def test_where_all_are_called_masks_they_are_images() -> None:
    assert pair_labels([scan("mask_1"), scan("mask_2")]) == ([(scan("mask_1"), None), (scan("mask_2"), None)], [])


def test_words_within_a_name_say_nothing() -> None:
    assert [label_base(name) for name in ("segment_01", "p01", "maskless", "legs")] == [None] * 4
    assert patient_folders(("imagesTr", "p01", "labels", "validation_moving", "T1")) == ("p01", "T1")
