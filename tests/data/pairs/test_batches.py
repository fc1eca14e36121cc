import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from regstudio.data.folders.layout import Case
from regstudio.data.loading.cache import Cache
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.pairs.batches import EpochSampler, TrainingLoader
from regstudio.data.pairs.dataset import RegistrationDataset
from regstudio.distributed import Group
from regstudio.errors import DataError
from tests.pictures import HEIGHT, WIDTH, with_labels

SHAPE = (1, HEIGHT, WIDTH)


def epoch(loader: TrainingLoader, number: int, **options: int) -> list[np.ndarray]:
    return [batch["moving_image"].numpy() for batch in loader.epoch(number, **options)]


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_an_epoch_has_the_given_number_of_steps(cases: tuple[Case, ...], atlas: Case, steps: int) -> None:
    """Each pass over the cases has its own order, and a resume is exact."""
    dataset = RegistrationDataset(cases, atlas=atlas)
    loader = TrainingLoader(dataset, batch_size=2, seed=0, steps=steps)
    whole = epoch(loader, 0)
    assert len(loader) == len(whole) == steps
    images = np.concatenate(whole)
    for start in range(0, len(images) - 3, 4):
        assert len({image.tobytes() for image in images[start : start + 4]}) == 4
    rest = epoch(TrainingLoader(dataset, batch_size=2, seed=0, steps=steps), 0, skip=steps - 1)
    np.testing.assert_array_equal(rest, whole[steps - 1 :])


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone(cases: tuple[Case, ...], atlas: Case) -> None:
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


def test_the_shapes_of_batches(root: Path, cases: tuple[Case, ...], atlas: Case) -> None:
    dataset = RegistrationDataset(with_labels(root, cases)[:3], atlas=atlas, label_loader=LabelLoader())
    loader = TrainingLoader(dataset, batch_size=2, seed=0)
    batches = list(loader.epoch(0))
    assert len(loader) == len(batches) == 1  # the third image is dropped
    assert batches[0]["moving_image"].shape == batches[0]["moving_label"].shape == (2, *SHAPE)
    assert batches[0]["fixed_image"].shape == batches[0]["fixed_label"].shape == (1, *SHAPE)
    pairs = TrainingLoader(RegistrationDataset(cases, mode="pair"), batch_size=2, seed=0)
    assert [batch["fixed_image"].shape for batch in pairs.epoch(0)] == [(2, *SHAPE)] * 2


def test_fewer_images_than_a_batch_are_an_error(cases: tuple[Case, ...], atlas: Case) -> None:
    with pytest.raises(DataError) as caught:
        TrainingLoader(RegistrationDataset(cases, atlas=atlas), batch_size=5, seed=0)
    assert str(caught.value) == "There are 4 images for batches of 5. Lower --batch_size, or add images."


@pytest.mark.parametrize("mode", ["atlas", "pair"])
def test_an_epoch_resumed_in_its_middle_gives_the_same_batches(cases: tuple[Case, ...], atlas: Case, mode: str) -> None:
    dataset = RegistrationDataset(cases * 2, atlas=atlas, mode=mode)
    whole = epoch(TrainingLoader(dataset, batch_size=2, seed=5), 1)
    assert len(whole) == 4
    for skip in range(5):
        rest = epoch(TrainingLoader(dataset, batch_size=2, seed=5), 1, skip=skip)
        np.testing.assert_array_equal(rest, whole[skip:])


def test_skipped_images_are_not_loaded(cases: tuple[Case, ...], atlas: Case) -> None:
    dataset = RegistrationDataset(cases, atlas=atlas)
    loader = TrainingLoader(dataset, batch_size=1, seed=0)
    first = next(iter(EpochSampler(dataset, seed=0)))
    cases[first].image.unlink()
    assert len(epoch(loader, 0, skip=1)) == 3


def test_an_error_comes_at_the_batch_that_needs_the_file(cases: tuple[Case, ...], atlas: Case) -> None:
    dataset = RegistrationDataset(cases, atlas=atlas)
    loader = TrainingLoader(dataset, batch_size=1, seed=0)
    order = list(EpochSampler(dataset, seed=0))
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


class ThreeCores(Group):
    cores = 3


def test_one_thread_prefetches_after_the_first_pass(cases: tuple[Case, ...], atlas: Case) -> None:
    loader = TrainingLoader(RegistrationDataset(cases * 2, atlas=atlas), batch_size=1, seed=0, group=ThreeCores())
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


@pytest.mark.slow
def test_loading_processes_give_the_same_batches_and_errors(cases: tuple[Case, ...], atlas: Case) -> None:
    """Started from a thread, and after an epoch that was left early."""
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
