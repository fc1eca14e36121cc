"""Where pictures of any size and pixel shape lie on the working grid, and what is seen of them there."""

from pathlib import Path

import numpy as np
import pytest

from regstudio.data.loading.loaders import ImageLoader, LabelLoader, rescale
from regstudio.data.loading.working_grid import GridRule, WorkingGrid, nearest, padded, resampled, spanning
from regstudio.data.pictures.writing import write_image, write_label
from tests.pictures import ids, ramp


@pytest.mark.parametrize(
    ("working_size", "size", "spacing", "expected"),
    [
        ("auto", (300, 512), None, (300, 512)),
        ("auto", (300, 512), (2.0, 1.0), (300, 512)),
        ("auto", (787, 1164), None, (173, 256)),
        ("own", (787, 1164), None, (787, 1164)),
        ("128", (200, 100), None, (128, 64)),
        ("128", (100, 200), (2.0, 1.0), (128, 128)),  # 200 x 200 mm
        ("100x160", (787, 1164), None, (100, 160)),
        ("256", (6000, 40), None, (256, 32)),  # no side is too short for a network
    ],
)
def test_the_grid_follows_from_the_fixed_image(
    working_size: str, size: tuple[int, int], spacing: tuple[float, float] | None, expected: tuple[int, int]
) -> None:
    assert GridRule(working_size=working_size).grid(size, spacing).size == expected


def test_a_picture_is_whole_and_keeps_its_shape_in_mm() -> None:
    grid = GridRule(working_size="100x100").grid((200, 200), None)
    place = grid.place((50, 100), (2.0, 1.0))  # 100 x 100 mm
    assert place.step == (0.5, 1.0)
    assert place.covered == (slice(0, 100), slice(0, 100))
    place = grid.place((50, 100), (1.0, 1.0))  # 50 x 100 mm
    assert place.step == (1.0, 1.0)
    assert place.covered == (slice(25, 75), slice(0, 100))
    np.testing.assert_array_equal(place.to_picture(np.array([[25.0, 0.0], [74.0, 99.0]])), [[0, 0], [49, 99]])
    np.testing.assert_array_equal(place.to_grid(np.array([[0.0, 99.0]])), [[25, 99]])
    assert WorkingGrid(size=(100, 100), fit="stretch").place((50, 100), (1.0, 1.0)).step == (0.5, 1.0)


def test_the_fixed_image_fills_its_own_grid_and_equal_pictures_stay_as_they_are() -> None:
    place = GridRule(working_size="256").grid((787, 1164), None).place((787, 1164))
    whole = spanning((787, 1164), (173, 256))
    np.testing.assert_allclose((place.step, place.start), (whole.step, whole.start))
    own = GridRule().grid((40, 56), (2.5, 0.7))
    assert own.place((40, 56), (2.5, 0.7)).is_identity
    assert own.place((40, 56)).is_identity  # a file that knows no spacing is taken for the like of the fixed one


@pytest.mark.parametrize("size", [(37, 100), (200, 90), (61, 61)])
def test_what_is_linear_in_the_picture_is_so_on_the_grid(size: tuple[int, int]) -> None:
    """Means over areas leave a plane where it is, within an eighth of a pixel, wherever the picture is placed."""
    place = WorkingGrid(size=(64, 80)).place(size)
    rows, columns = np.indices(size)
    seen = padded(resampled(3.0 * rows - 2.0 * columns + 7, place), place, np.nan)
    indices = np.argwhere(np.isfinite(seen))
    inner = (np.abs(place.to_picture(indices) - (np.array(size) - 1) / 2) < np.array(size) / 2 - 4).all(axis=1)
    y, x = place.to_picture(indices[inner]).T
    np.testing.assert_allclose(seen[tuple(indices[inner].T)], 3 * y - 2 * x + 7, atol=5 / 8)
    assert inner.sum() > 1000


def test_fine_stripes_become_grey_and_not_other_stripes() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (300, 500))
    seen = resampled(stripes, spanning(stripes.shape, (30, 90)))
    assert np.abs(seen - 127.5).max() < 13


def test_labels_lie_as_their_images_do_and_colours_are_reduced_alike(tmp_path: Path) -> None:
    grid = WorkingGrid(size=(40, 40))
    write_image(tmp_path / "a.npy", np.repeat(np.repeat(ids(20, 40), 2, 0), 2, 1).astype(float))
    write_label(tmp_path / "a_seg.npy", np.repeat(np.repeat(ids(20, 40), 2, 0), 2, 1))
    image = ImageLoader(grid=grid)(tmp_path / "a.npy")[0]
    label = LabelLoader(grid=grid)(tmp_path / "a_seg.npy", tmp_path / "a.npy")[0]
    np.testing.assert_allclose(image, label / 7, atol=1e-6)
    np.testing.assert_array_equal(label[10:30], ids(20, 40))
    assert not label[:10].any()
    assert not label[30:].any()
    colours = np.stack([ramp(60, 80), 1 - ramp(60, 80), ramp(60, 80) ** 2], axis=-1)
    place = grid.place((60, 80))
    one_by_one = np.stack([resampled(colours[..., c], place) for c in range(3)], axis=-1)
    np.testing.assert_allclose(resampled(colours, place), one_by_one)


def test_beyond_a_bright_picture_there_is_0(tmp_path: Path) -> None:
    write_image(tmp_path / "a.npy", 100 + ramp(32, 64))
    image = ImageLoader(grid=WorkingGrid(size=(64, 64)))(tmp_path / "a.npy")[0]
    np.testing.assert_allclose(image[16:48], rescale(100 + ramp(32, 64)), atol=1e-5)
    assert not image[:16].any()
    assert (nearest(ids(), spanning(ids().shape, ids().shape)) == ids()).all()
