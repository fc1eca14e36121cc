import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from regstudio.data.folders.layout import Case
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.pairs.batches import TrainingLoader
from regstudio.data.pairs.dataset import RegistrationDataset, load_validation_pair
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.errors import DataError
from tests.pictures import HEIGHT, WIDTH, ids, index, ramp, stretched, with_labels

SHAPE = (1, HEIGHT, WIDTH)


def test_items_in_atlas_mode_are_atlas_and_case(cases: tuple[Case, ...], atlas: Case) -> None:
    dataset = RegistrationDataset(cases, atlas=atlas)
    assert len(dataset) == 4
    for i, case in enumerate(cases):
        item = dataset[i]
        assert item.keys() == {"fixed_image", "moving_image"}
        assert item["fixed_image"].shape == item["moving_image"].shape == SHAPE
        assert item["fixed_image"].dtype == item["moving_image"].dtype == torch.float32
        np.testing.assert_array_equal(item["fixed_image"], ImageLoader()(atlas.image))
        np.testing.assert_array_equal(item["moving_image"], ImageLoader()(case.image))
    with pytest.raises(IndexError):
        dataset[4]


def test_the_atlas_is_loaded_once(cases: tuple[Case, ...], atlas: Case) -> None:
    dataset = RegistrationDataset(cases, atlas=atlas)
    atlas.image.unlink()
    assert len(list(dataset)) == 4


def test_items_have_labels_if_asked_for(root: Path, cases: tuple[Case, ...], atlas: Case) -> None:
    dataset = RegistrationDataset(with_labels(root, cases), atlas=atlas, label_loader=LabelLoader(dtype=np.float32))
    item = dataset[2]
    assert item.keys() == {"fixed_image", "moving_image", "fixed_label", "moving_label"}
    assert item["moving_label"].dtype == torch.float32
    np.testing.assert_array_equal(item["fixed_label"][0], ids())
    with pytest.raises(DataError, match=r"t1\.png: has no label, though labels are asked for\. Add it, or train"):
        RegistrationDataset(cases, atlas=atlas, label_loader=LabelLoader())[0]


def test_a_missing_label_is_minus_one_if_some_may_be_missing(root: Path, cases: tuple[Case, ...], atlas: Case) -> None:
    partly = [with_labels(root, cases)[0], *cases[1:]]
    dataset = RegistrationDataset(partly, atlas=atlas, label_loader=LabelLoader(), partly_labelled=True)
    np.testing.assert_array_equal(dataset[0]["moving_label"][0], ids())
    assert (dataset[1]["moving_label"] == -1).all()
    assert dataset[1]["moving_label"].shape == SHAPE
    batches = list(TrainingLoader(dataset, batch_size=2, seed=0).epoch(0))
    assert [batch["moving_label"].dtype for batch in batches] == [torch.int64] * 2
    assert sum((batch["moving_label"] != -1).any().item() for batch in batches) == 1


def test_a_label_of_another_size_is_refused_by_its_own_name(root: Path, cases: tuple[Case, ...], atlas: Case) -> None:
    labelled = with_labels(root, cases)
    write_label(labelled[0].label, ids(WIDTH, HEIGHT))
    dataset = RegistrationDataset(labelled, atlas=atlas, label_loader=LabelLoader(), partly_labelled=True)
    with pytest.raises(DataError, match=r"t1_seg\.png: its size is 56 x 40 pixels"):
        dataset[0]


def test_aligned_images_come_with_their_maps(cases: tuple[Case, ...], atlas: Case) -> None:
    aligned: dict[Case, np.ndarray] = {}
    dataset = RegistrationDataset(cases, atlas=atlas, aligned=aligned)
    for number, case in enumerate(cases):  # filled after the dataset was made
        aligned[case] = np.array([[1, 0, number], [0, 1, -number]], float)
    for number in range(4):
        matrix = dataset[number]["affine"]
        assert matrix.dtype == torch.float32
        np.testing.assert_array_equal(matrix, aligned[cases[number]])
    batch = next(TrainingLoader(dataset, batch_size=3, seed=0).epoch(0))
    assert batch["affine"].shape == (3, 2, 3)
    for matrix, image in zip(batch["affine"], batch["moving_image"], strict=True):
        np.testing.assert_array_equal(image, dataset[int(matrix[0, 2])]["moving_image"])


def test_items_in_pair_mode_are_all_ordered_pairs(cases: tuple[Case, ...]) -> None:
    dataset = RegistrationDataset(cases, mode="pair")
    images = [ImageLoader()(case.image) for case in cases]

    def which(image: torch.Tensor) -> int:
        return next(i for i, known in enumerate(images) if np.array_equal(known, image))

    pairs = [(which(item["fixed_image"]), which(item["moving_image"])) for item in dataset]
    assert sorted(pairs) == list(itertools.permutations(range(4), 2))


@pytest.mark.parametrize("mode", ["atlas", "pair"])
def test_each_case_is_moving_once_an_epoch(cases: tuple[Case, ...], atlas: Case, mode: str) -> None:
    dataset = RegistrationDataset(cases, atlas=atlas, mode=mode)
    orders = {tuple(dataset.epoch_order(np.random.default_rng(seed)).tolist()) for seed in range(20)}
    assert len(orders) > 5
    for order in orders:
        assert sorted(i if mode == "atlas" else i // 3 for i in order) == [0, 1, 2, 3]
        assert max(order) < len(dataset)
    if mode == "pair":
        assert set().union(*orders) == set(range(12))


def test_too_few_cases_or_no_atlas_are_errors(cases: tuple[Case, ...], atlas: Case) -> None:
    for arguments, expected in (
        ({"cases": cases}, "There is no atlas to register to. Give one, or use mode 'pair'."),
        ({"cases": (), "atlas": atlas}, "Mode 'atlas' needs more images than 0. Add some."),
        ({"cases": cases[:1], "mode": "pair"}, "Mode 'pair' needs more images than 1. Add some."),
    ):
        with pytest.raises(DataError) as caught:
            RegistrationDataset(**arguments)
        assert str(caught.value) == expected


def test_another_size_is_refused_and_the_file_named(root: Path, cases: tuple[Case, ...], atlas: Case) -> None:
    write_image(cases[1].image, ramp(WIDTH, HEIGHT))
    for mode, reference in (("atlas", "atlas.png"), ("pair", "t1.png")):
        with pytest.raises(DataError) as caught:
            list(RegistrationDataset(cases, atlas=atlas, mode=mode))
        assert str(caught.value) == (
            f"{cases[1].image}: its size is 56 x 40 pixels, but that of {reference} is 40 x 56. "
            "Resize it, or give the loaders a grid."
        )
    resized = RegistrationDataset(cases, atlas=atlas, image_loader=ImageLoader(grid=stretched((HEIGHT, WIDTH))))
    assert {item["moving_image"].shape for item in resized} == {SHAPE}


def test_an_atlas_that_is_too_small_is_refused(cases: tuple[Case, ...], atlas: Case) -> None:
    write_image(atlas.image, ramp(31, 56))
    with pytest.raises(DataError, match=r"atlas\.png: is smaller than 32 x 32 pixels\. Save it in a higher resolution"):
        RegistrationDataset(cases, atlas=atlas)


def test_validation_pairs_have_labels_if_both_have_one(root: Path, atlas: Case) -> None:
    case = index(root).validation[0]
    pair = load_validation_pair(case, atlas, ImageLoader(), LabelLoader())
    assert pair["id"] == "v1"
    assert pair["fixed_image"].shape == pair["moving_label"].shape == SHAPE
    assert pair["fixed_label"].dtype == torch.int64
    np.testing.assert_array_equal(pair["moving_image"], ImageLoader()(case.image))
    bare = {"id", "fixed_image", "moving_image"}
    assert load_validation_pair(case, atlas, ImageLoader()).keys() == bare
    assert load_validation_pair(replace(case, label=None), atlas, ImageLoader(), LabelLoader()).keys() == bare
    assert load_validation_pair(case, replace(atlas, label=None), ImageLoader(), LabelLoader()).keys() == bare
    write_label(case.label, ids(WIDTH, HEIGHT))
    with pytest.raises(DataError, match=r"v1_seg\.npy: its size is 56 x 40 pixels, but that of atlas\.png is 40 x 56"):
        load_validation_pair(case, atlas, ImageLoader(), LabelLoader())
