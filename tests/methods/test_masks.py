"""Every method that can leaves out what a mask covers: here a bright plate that hides part of one image."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from regstudio.data.pairs.pair import Pair, pair_of_arrays
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.methods.affine import affine_flow, affine_matrix
from regstudio.methods.affine_cache import cached_affine
from regstudio.methods.masks import counted
from regstudio.methods.named import named_method
from regstudio.methods.network import Refine, load_method
from regstudio.methods.similarity_choice import choose_similarity
from regstudio.registering.two_images import register
from tests.known_flows import constant_flow

SHIFT = (2, -3)  # moving(p + SHIFT) = fixed(p)
HEIGHT, WIDTH = 72, 80


def behind_a_plate() -> Pair:
    """An image, and itself shifted, an eighth of it behind a plate that would be matched with a bright region."""
    noise = gaussian_filter(np.random.default_rng(2).standard_normal((HEIGHT + 12, WIDTH + 12)), 4)
    fixed, moving = (noise[6 - dy : 6 - dy + HEIGHT, 6 - dx : 6 - dx + WIDTH] for dy, dx in ((0, 0), SHIFT))
    fixed, moving = (0.2 + 0.6 * (image - noise.min()) / np.ptp(noise) for image in (fixed, moving))
    plate = np.zeros((HEIGHT, WIDTH), bool)
    plate[24:56, 30:54] = True
    moving[plate] = 1
    fixed[0, 0] = moving[0, 0] = 0  # both in the same range
    fixed[0, 1] = 1
    return pair_of_arrays(fixed, moving, moving_mask=~plate, fixed_mask=np.ones_like(plate))


@pytest.fixture(scope="module")
def pair() -> Pair:
    return behind_a_plate()


def error(flow: np.ndarray) -> float:
    """Mean distance from the true flow, in pixels, away from the border."""
    return float(np.linalg.norm(flow - np.reshape(SHIFT, (2, 1, 1)), axis=0)[8:-8, 8:-8].mean())


def test_the_affine_search_takes_masks(pair: Pair, tmp_path: Path) -> None:
    masks = pair.fixed_mask, pair.moving_mask
    found = affine_matrix(pair.fixed, pair.moving, masks)
    assert error(affine_flow(found, (HEIGHT, WIDTH))) < 0.3
    asked: list[object] = []

    def search(*images: object) -> object:
        from regstudio.methods.affine import Affine

        asked.append(images)
        return Affine(np.eye(2, 3) * len(asked))

    for masking in ((None, None), masks, masks, (None, masks[1])):
        cached_affine(pair.fixed, pair.moving, tmp_path, search=search, masks=masking)
    assert [len(images) for images in asked] == [2, 3, 3]  # each with an entry of its own


@pytest.mark.parametrize(
    ("name", "largest"), [pytest.param("general", 1.0, marks=pytest.mark.slow), ("optimiser", 0.2)]
)
def test_methods_of_our_own_take_masks(name: str, largest: float, pair: Pair) -> None:
    """Without masks these two are off by 1.46 and 1.40 pixels."""
    assert error(named_method(name)(pair).flow) < largest


@pytest.mark.parametrize(("refine", "largest"), [(30, 0.3), ("auto", 1.1)])
def test_refinements_take_masks(refine: Refine, largest: float, pair: Pair) -> None:
    """Without masks these are off by 0.83 and 1.36 pixels."""
    method = load_method(constant_flow(0, 0, transform="svf"), device="cpu", refine=refine)
    assert error(method(pair).flow) < largest


def test_the_similarity_is_chosen_by_what_counts() -> None:
    random = np.random.default_rng(1)
    image = gaussian_filter(random.random((64, 64)), 2)
    other = gaussian_filter(random.random((64, 64)), 2)
    mask = np.zeros((64, 64))
    mask[:, :24] = 1
    fixed, half, where = (
        torch.from_numpy((part - part.min()) / np.ptp(part)).float()[None, None]
        for part in (image, np.where(mask > 0, image, other), mask)
    )
    assert choose_similarity(fixed, half) == ["mind"]
    assert choose_similarity(fixed, half, mask=where) == ["ncc"]


def test_both_images_count_where_both_masks_do() -> None:
    flow = torch.zeros(1, 2, 8, 9)
    flow[:, 1] = 2
    fixed, moving = torch.ones(2, 1, 1, 8, 9)
    fixed[..., :3, :], moving[..., :4] = 0, 0
    found = counted((fixed, moving), flow)
    assert found is not None
    expected = torch.zeros(8, 9)
    expected[3:, 2:] = 1
    torch.testing.assert_close(found[0, 0], expected)
    assert counted((None, None), flow) is None
    assert counted((fixed, None), flow) is fixed


@pytest.mark.parametrize("of", ["arrays", "files"])
def test_two_images_are_registered_with_masks(of: str, pair: Pair, tmp_path: Path) -> None:
    images, masks = (pair.fixed, pair.moving), (pair.fixed_mask, pair.moving_mask)

    def written(array: np.ndarray, name: str, write: Callable[..., object]) -> Path:
        write(tmp_path / name, array)
        return tmp_path / name

    if of == "files":
        images = tuple(written(image, f"{n}.npy", write_image) for n, image in enumerate(images))  # type: ignore[assignment]
        masks = tuple(written(mask.astype(np.uint8), f"m{n}.npy", write_label) for n, mask in enumerate(masks))  # type: ignore[union-attr,assignment]
    method = load_method(constant_flow(*SHIFT), device="cpu")
    found = register(method, *images, fixed_mask=masks[0], moving_mask=masks[1])
    np.testing.assert_array_equal(found.pair.moving_mask, pair.moving_mask)
    assert found.metrics["ncc"] > 0.95
    assert register(method, *images).metrics["ncc"] < 0.9
