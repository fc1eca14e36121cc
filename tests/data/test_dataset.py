import itertools
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from regstudio.data.batches import EpochSampler, TrainingLoader
from regstudio.data.cache import Cache
from regstudio.data.dataset import RegistrationDataset, load_validation_pair
from regstudio.data.layout import Case
from regstudio.data.loaders import ImageLoader, LabelLoader
from regstudio.data.writing import write_image, write_label
from regstudio.errors import DataError
from tests.pictures import HEIGHT, WIDTH, ids, index, ramp

SHAPE = (1, HEIGHT, WIDTH)


@pytest.fixture
def atlas(root: Path) -> Case:
    return Case(id="atlas", image=root / "fixed" / "atlas.png", label=root / "fixed_seg" / "atlas_seg.png")


@pytest.fixture
def cases(root: Path) -> tuple[Case, ...]:
    return index(root).train


def labelled(root: Path, cases: tuple[Case, ...]) -> list[Case]:
    for case in cases:
        write_label(root / "moving_seg" / f"{case.id}_seg.png", ids())
    return [replace(case, label=root / "moving_seg" / f"{case.id}_seg.png") for case in cases]


def test_atlas_items(cases: tuple[Case, ...], atlas: Case) -> None:
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


def test_items_with_labels(root: Path, cases: tuple[Case, ...], atlas: Case) -> None:
    dataset = RegistrationDataset(labelled(root, cases), atlas=atlas, label_loader=LabelLoader(dtype=np.float32))
    item = dataset[2]
    assert item.keys() == {"fixed_image", "moving_image", "fixed_label", "moving_label"}
    assert item["moving_label"].dtype == torch.float32
    np.testing.assert_array_equal(item["fixed_label"][0], ids())
    with pytest.raises(DataError, match=r"t1\.png: has no label, though labels are asked for\. Add it, or train"):
        RegistrationDataset(cases, atlas=atlas, label_loader=LabelLoader())[0]


def test_what_lacks_a_label_may_have_none_of_any_id(root: Path, cases: tuple[Case, ...], atlas: Case) -> None:
    some = [labelled(root, cases)[0], *cases[1:]]
    dataset = RegistrationDataset(some, atlas=atlas, label_loader=LabelLoader(), partly_labelled=True)
    np.testing.assert_array_equal(dataset[0]["moving_label"][0], ids())
    assert (dataset[1]["moving_label"] == -1).all()
    assert dataset[1]["moving_label"].shape == SHAPE
    batches = list(TrainingLoader(dataset, batch_size=2, seed=0).epoch(0))
    assert [batch["moving_label"].dtype for batch in batches] == [torch.int64] * 2
    assert sum((batch["moving_label"] != -1).any().item() for batch in batches) == 1


def test_a_label_of_another_size_is_refused_by_its_own_name(root: Path, cases: tuple[Case, ...], atlas: Case) -> None:
    some = labelled(root, cases)
    write_label(some[0].label, ids(WIDTH, HEIGHT))
    dataset = RegistrationDataset(some, atlas=atlas, label_loader=LabelLoader(), partly_labelled=True)
    with pytest.raises(DataError, match=r"t1_seg\.png: its size is 56 x 40 pixels"):
        dataset[0]


def test_aligned_images_come_with_their_maps(cases: tuple[Case, ...], atlas: Case) -> None:
    aligned: dict[Path, np.ndarray] = {}
    dataset = RegistrationDataset(cases, atlas=atlas, aligned=aligned)
    for number, case in enumerate(cases):  # once it is made
        aligned[case.image] = np.array([[1, 0, number], [0, 1, -number]], float)
    for number in range(4):
        matrix = dataset[number]["affine"]
        assert matrix.dtype == torch.float32
        np.testing.assert_array_equal(matrix, aligned[cases[number].image])
    batch = next(TrainingLoader(dataset, batch_size=3, seed=0).epoch(0))
    assert batch["affine"].shape == (3, 2, 3)
    for matrix, image in zip(batch["affine"], batch["moving_image"], strict=True):
        np.testing.assert_array_equal(image, dataset[int(matrix[0, 2])]["moving_image"])


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_an_epoch_of_a_given_number_of_steps(cases: tuple[Case, ...], atlas: Case, steps: int) -> None:
    """As many batches as asked for, each pass over the cases in an order of its own, and resumed exactly."""
    dataset = RegistrationDataset(cases, atlas=atlas)
    loader = TrainingLoader(dataset, batch_size=2, seed=0, steps=steps)
    whole = epoch(loader, 0)
    assert len(loader) == len(whole) == steps
    images = np.concatenate(whole)
    for start in range(0, len(images) - 3, 4):
        assert len({image.tobytes() for image in images[start : start + 4]}) == 4
    rest = epoch(TrainingLoader(dataset, batch_size=2, seed=0, steps=steps), 0, skip=steps - 1)
    np.testing.assert_array_equal(rest, whole[steps - 1 :])


def test_pair_items_are_all_ordered_pairs(cases: tuple[Case, ...]) -> None:
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


def test_what_is_needed_to_make_pairs(cases: tuple[Case, ...], atlas: Case) -> None:
    for arguments, expected in (
        ({"cases": cases}, "There is no atlas to register to. Give one, or use mode 'pair'."),
        ({"cases": (), "atlas": atlas}, "Mode 'atlas' needs more images than 0. Add some."),
        ({"cases": cases[:1], "mode": "pair"}, "Mode 'pair' needs more images than 1. Add some."),
    ):
        with pytest.raises(DataError) as caught:
            RegistrationDataset(**arguments)
        assert str(caught.value) == expected


def test_other_sizes_are_refused_by_name(root: Path, cases: tuple[Case, ...], atlas: Case) -> None:
    write_image(cases[1].image, ramp(WIDTH, HEIGHT))
    for mode, reference in (("atlas", "atlas.png"), ("pair", "t1.png")):
        with pytest.raises(DataError) as caught:
            list(RegistrationDataset(cases, atlas=atlas, mode=mode))
        assert str(caught.value) == (
            f"{cases[1].image}: its size is 56 x 40 pixels, but that of {reference} is 40 x 56. "
            "Resize it, or let --resize_to_atlas do so."
        )
    resized = RegistrationDataset(cases, atlas=atlas, image_loader=ImageLoader(size=(HEIGHT, WIDTH)))
    assert {item["moving_image"].shape for item in resized} == {SHAPE}


def test_an_atlas_that_is_too_small(cases: tuple[Case, ...], atlas: Case) -> None:
    write_image(atlas.image, ramp(31, 56))
    with pytest.raises(DataError, match=r"atlas\.png: is smaller than 32 x 32 pixels\. Save it in a higher resolution"):
        RegistrationDataset(cases, atlas=atlas)


def test_validation_pairs(root: Path, atlas: Case) -> None:
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


def test_an_epochs_order_depends_on_seed_and_epoch_alone(cases: tuple[Case, ...], atlas: Case) -> None:
    dataset = RegistrationDataset(cases * 10, atlas=atlas)
    sampler = EpochSampler(dataset, seed=3)
    orders = []
    for epoch in range(3):
        sampler.start(epoch)
        assert len(sampler) == 40
        orders.append(list(sampler))
        torch.rand(5)
        np.random.default_rng().random(5)
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    other = EpochSampler(dataset, seed=3)
    other.start(1, skip=7)
    assert list(other) == orders[1][7:]
    assert len(other) == 33
    assert list(EpochSampler(dataset, seed=4)) != orders[0]


def test_batches(root: Path, cases: tuple[Case, ...], atlas: Case) -> None:
    dataset = RegistrationDataset(labelled(root, cases)[:3], atlas=atlas, label_loader=LabelLoader())
    loader = TrainingLoader(dataset, batch_size=2, seed=0)
    batches = list(loader.epoch(0))
    assert len(loader) == len(batches) == 1  # the third image is dropped
    assert batches[0]["moving_image"].shape == batches[0]["moving_label"].shape == (2, *SHAPE)
    assert batches[0]["fixed_image"].shape == batches[0]["fixed_label"].shape == (1, *SHAPE)
    pairs = TrainingLoader(RegistrationDataset(cases, mode="pair"), batch_size=2, seed=0)
    assert [batch["fixed_image"].shape for batch in pairs.epoch(0)] == [(2, *SHAPE)] * 2


def test_fewer_images_than_a_batch(cases: tuple[Case, ...], atlas: Case) -> None:
    with pytest.raises(DataError) as caught:
        TrainingLoader(RegistrationDataset(cases, atlas=atlas), batch_size=5, seed=0)
    assert str(caught.value) == "There are 4 images for batches of 5. Lower --batch_size, or add images."


def epoch(loader: TrainingLoader, number: int, **options: int) -> list[np.ndarray]:
    return [batch["moving_image"].numpy() for batch in loader.epoch(number, **options)]


@pytest.mark.parametrize("mode", ["atlas", "pair"])
def test_an_epoch_resumed_in_its_middle_goes_on_exactly(cases: tuple[Case, ...], atlas: Case, mode: str) -> None:
    dataset = RegistrationDataset(cases * 2, atlas=atlas, mode=mode)
    whole = epoch(TrainingLoader(dataset, batch_size=2, seed=5), 1)
    assert len(whole) == 4
    for skip in range(5):
        rest = epoch(TrainingLoader(dataset, batch_size=2, seed=5), 1, skip=skip)
        np.testing.assert_array_equal(rest, whole[skip:])


def test_skipped_images_are_not_loaded(cases: tuple[Case, ...], atlas: Case) -> None:
    loader = TrainingLoader(RegistrationDataset(cases, atlas=atlas), batch_size=1, seed=0)
    first = loader._sampler._dataset.epoch_order(np.random.default_rng([0, 0]))[0]
    cases[first].image.unlink()
    assert len(epoch(loader, 0, skip=1)) == 3


def test_an_error_comes_at_the_batch_that_needs_the_file(cases: tuple[Case, ...], atlas: Case) -> None:
    loader = TrainingLoader(RegistrationDataset(cases, atlas=atlas), batch_size=1, seed=0)
    order = loader._sampler._dataset.epoch_order(np.random.default_rng([0, 0]))
    cases[order[2]].image.unlink()
    batches = loader.epoch(0)
    assert [len(next(batches)["moving_image"]) for _ in range(2)] == [1, 1]
    with pytest.raises(DataError, match=cases[order[2]].image.name):
        next(batches)


def test_an_epoch_left_early_leaves_no_threads(cases: tuple[Case, ...], atlas: Case) -> None:
    loader = TrainingLoader(RegistrationDataset(cases * 10, atlas=atlas), batch_size=1, seed=0)
    before = threading.active_count()
    batches = loader.epoch(0)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before


def test_one_thread_reads_what_was_read_before(
    cases: tuple[Case, ...], atlas: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    loader = TrainingLoader(RegistrationDataset(cases * 2, atlas=atlas), batch_size=1, seed=0)
    threads = []
    for number, skip in ((0, 5), (1, 0), (2, 0)):  # the first is no whole pass
        before = threading.active_count()
        for place, _ in enumerate(loader.epoch(number, skip=skip)):
            threads += [threading.active_count() - before] * (place == 0)
    assert threads[0] > 1
    assert threads[1:] == [3, 1]


def test_the_global_random_state_is_left_alone(cases: tuple[Case, ...], atlas: Case) -> None:
    loader = TrainingLoader(RegistrationDataset(cases, atlas=atlas), batch_size=1, seed=0)
    before = torch.get_rng_state()
    epoch(loader, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_loading_processes_started_from_a_thread(cases: tuple[Case, ...], atlas: Case) -> None:
    """The same batches as without them, an epoch left early, and an error told as it is."""
    dataset = RegistrationDataset(cases, atlas=atlas, image_loader=ImageLoader(cache=Cache(0.1)))
    plain = TrainingLoader(dataset, batch_size=2, seed=0)
    results: list[object] = []

    def train() -> None:
        loader = TrainingLoader(dataset, batch_size=2, seed=0, num_workers=1)
        next(iter(loader.epoch(0)))
        results.append(epoch(loader, 1))
        results.append(epoch(loader, 2, skip=1))
        broken = replace(cases[0], image=cases[0].image.with_name("gone.png"))
        try:
            epoch(TrainingLoader(RegistrationDataset([broken], atlas=atlas), batch_size=1, seed=0, num_workers=1), 0)
        except DataError as error:
            results.append(str(error))

    expected = [epoch(plain, 1), epoch(plain, 2, skip=1)]
    thread = threading.Thread(target=train)
    thread.start()
    thread.join(timeout=60)
    np.testing.assert_array_equal(results[0], expected[0])
    np.testing.assert_array_equal(results[1], expected[1])
    assert results[2] == f"{cases[0].image.with_name('gone.png')}: there is no such file. Check the name."
