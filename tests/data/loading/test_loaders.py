import pickle
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it
from scipy import ndimage

from regstudio.data.loading.cache import Cache
from regstudio.data.loading.loaders import DataWarning, ImageLoader, LabelLoader, normalised, rescale
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.errors import DataError
from tests.pictures import HEIGHT, WIDTH, ids, ramp, stretched


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64, ">i2"])
def test_images_are_normalised_each_by_itself(tmp_path: Path, dtype: object) -> None:
    array = (ramp() * 250).round().astype(dtype)
    np.save(tmp_path / "a.npy", array + array.dtype.type(3))
    image = ImageLoader()(tmp_path / "a.npy")
    assert (image.dtype, image.shape) == (np.float32, (1, HEIGHT, WIDTH))
    assert (image.min(), image.max()) == (0, 1)
    np.testing.assert_allclose(image[0], array.astype(float) / 250, atol=1e-6)


def test_large_offsets_keep_their_detail(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ramp() + 1e8)
    np.testing.assert_allclose(ImageLoader()(tmp_path / "a.npy")[0], ramp(), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_percentiles_become_0_and_1(tmp_path: Path, dtype: type) -> None:
    array = (ramp(160, 200) * 250).astype(dtype)
    array[5, 5], array[9, 9] = array.max() + 5, array.min()
    if dtype is not np.uint8:
        array[5, 5] = 30000
    np.save(tmp_path / "a.npy", array)
    image = ImageLoader(normalise="percentile")(tmp_path / "a.npy")[0]
    low, high = np.percentile(array, (0.5, 99.5))
    np.testing.assert_allclose(image, np.clip((array - low) / (high - low), 0, 1), atol=0.01)
    assert (image.min(), image.max()) == (0, 1)
    cached = ImageLoader(normalise="percentile", cache=Cache(1))
    for _ in range(2):
        np.testing.assert_array_equal(cached(tmp_path / "a.npy")[0], image)


def test_percentiles_of_an_image_that_was_scaled_or_clipped_before_are_the_same(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(64, 64))
    array[3, 4] = 1e4
    once = normalised(array, "percentile")
    np.testing.assert_allclose(normalised(rescale(array), "percentile"), once, atol=1e-3)
    np.testing.assert_array_equal(normalised(once, "percentile"), once)
    np.testing.assert_allclose(normalised(3 - 2 * array, "percentile"), 1 - once, atol=1e-6)


@pytest.mark.parametrize("array", [np.eye(64) * 7, np.full((64, 64), 3), np.eye(64) > 0])
def test_without_a_range_between_the_percentiles_the_extremes_are_taken(array: np.ndarray) -> None:
    array = array.astype(array.dtype)
    array[1:] = array[1:] * (np.arange(1, 64)[:, None] == 3)
    np.testing.assert_array_equal(normalised(array, "percentile"), rescale(array))


@pytest.mark.parametrize("value", [0, 7, 0.5])
def test_constant_images_become_zeros_with_a_warning(tmp_path: Path, value: float) -> None:
    np.save(tmp_path / "a.npy", np.full((HEIGHT, WIDTH), value))
    with pytest.warns(DataWarning) as caught:
        image = ImageLoader()(str(tmp_path / "a.npy"))
    assert str(caught[0].message) == f"{tmp_path / 'a.npy'}: every pixel has the same value. It is read as zeros."
    assert not image.any()


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32])
def test_labels_keep_their_ids_in_the_wanted_type(tmp_path: Path, dtype: type) -> None:
    write_label(tmp_path / "a.nii.gz", ids())
    label = LabelLoader(dtype=dtype)(tmp_path / "a.nii.gz")
    assert (label.dtype, label.shape) == (dtype, (1, HEIGHT, WIDTH))
    np.testing.assert_array_equal(label[0], ids())


def test_keys_and_slices_select_the_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", scan=np.stack([ids(), ids() * 2]), seg=np.stack([ids(), ids() + 1]))
    image = ImageLoader(key="scan", slice_axis=0, slice_index=1)(tmp_path / "a.npz")
    np.testing.assert_allclose(image[0], ids() / 7, atol=1e-6)
    label = LabelLoader(key="seg", slice_axis=0, slice_index=1)(tmp_path / "a.npz")
    np.testing.assert_array_equal(label[0], ids() + 1)


@pytest.mark.parametrize("size", [(20, 28), (40, 32), (16, 56)])
def test_reduced_pixels_are_means_over_their_areas(tmp_path: Path, size: tuple[int, int]) -> None:
    write_image(tmp_path / "a.npy", ramp())
    fine = ramp().astype(np.float32).repeat(size[0], axis=0).repeat(size[1], axis=1)
    means = fine.reshape(size[0], HEIGHT, size[1], WIDTH).mean(axis=(1, 3))
    image = ImageLoader(grid=stretched(size))(tmp_path / "a.npy")[0]
    np.testing.assert_allclose(image, rescale(means), atol=1e-6)


@pytest.mark.parametrize("size", [(80, 112), (64, 90), (40, 90)])
def test_resampling_keeps_the_edges_of_the_picture(tmp_path: Path, size: tuple[int, int]) -> None:
    """Against ITK's resampling onto a grid with the same outer edges."""
    write_image(tmp_path / "a.npy", ramp())
    write_label(tmp_path / "b.npy", ids())
    steps = np.array((HEIGHT, WIDTH)) / size

    def resampled(array: np.ndarray, interpolator: int) -> np.ndarray:
        image = sitk.GetImageFromArray(array)
        spacing, origin = steps[::-1].tolist(), ((steps[::-1] - 1) / 2).tolist()
        arguments = (size[::-1], sitk.Transform(2, sitk.sitkIdentity), interpolator, origin, spacing)
        return sitk.GetArrayFromImage(sitk.Resample(image, *arguments))

    expected = resampled(ramp(), sitk.sitkLinear)
    inside = (slice(1, -1), slice(1, -1))  # beyond the centres of the outer pixels, ITK's linear is another one
    image = ImageLoader(grid=stretched(size))(tmp_path / "a.npy")[0]
    assert image.shape == size
    rows, columns = ((np.arange(n) + 0.5) * step - 0.5 for n, step in zip(size, steps, strict=True))
    grid = np.meshgrid(rows, columns, indexing="ij")
    by_scipy = ndimage.map_coordinates(ramp().astype(np.float32), grid, order=1, mode="nearest")
    lowest, highest = by_scipy.min(), by_scipy.max()
    np.testing.assert_allclose(image, (by_scipy - lowest) / (highest - lowest), atol=1e-5)
    np.testing.assert_allclose(image[inside], ((expected - lowest) / (highest - lowest))[inside], atol=1e-5)
    assert (image.min(), image.max()) == (0, 1)
    label = LabelLoader(grid=stretched(size))(tmp_path / "b.npy")[0]
    # Where a new centre lies exactly between two old ones, either neighbour is the nearest.
    between = np.isin(np.mod(grid[0], 1).round(6), 0.5) | np.isin(np.mod(grid[1], 1).round(6), 0.5)
    wrong = label != resampled(ids().astype(np.uint8), sitk.sitkNearestNeighbor)
    assert not (wrong & ~between).any()
    assert set(np.unique(label)) <= {0, 1, 2, 7}


def test_pictures_of_the_wanted_size_are_not_resampled(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", ramp())
    same = ImageLoader(grid=stretched((HEIGHT, WIDTH)))(tmp_path / "a.png")
    np.testing.assert_array_equal(same, ImageLoader()(tmp_path / "a.png"))


def test_errors_name_the_file(tmp_path: Path) -> None:
    for loader in (ImageLoader(), LabelLoader(), ImageLoader(cache=Cache(1))):
        with pytest.raises(DataError, match=r"none\.png: there is no such file\. Check the name\."):
            loader(tmp_path / "none.png")


@pytest.mark.parametrize("ending", [".png", ".npy"])
def test_a_cached_file_is_read_once_and_gives_the_same(tmp_path: Path, reads: list[str], ending: str) -> None:
    write_image(tmp_path / f"a{ending}", ramp())
    cached, plain = ImageLoader(cache=Cache(1)), ImageLoader()
    first = cached(tmp_path / f"a{ending}")
    first += 1  # a change of the result must not reach the cache
    np.testing.assert_array_equal(cached(str(tmp_path / f"a{ending}")), plain(tmp_path / f"a{ending}"))
    assert reads == [f"a{ending}"] * 2


def test_loaders_with_other_options_do_not_share_cache_entries(tmp_path: Path, reads: list[str]) -> None:
    np.savez(tmp_path / "a.npz", img=ids(), label=ids() + 1)
    cache = Cache(1)
    shapes = [
        ImageLoader(grid=stretched(size), cache=cache)(tmp_path / "a.npz").shape for size in (None, (64, 32), None)
    ]
    assert shapes == [(1, HEIGHT, WIDTH), (1, 64, 32), (1, HEIGHT, WIDTH)]
    np.testing.assert_array_equal(LabelLoader(cache=cache)(tmp_path / "a.npz")[0], ids() + 1)
    assert len(reads) == 3


def test_a_full_cache_evicts_nothing(tmp_path: Path, reads: list[str]) -> None:
    for name in "abc":
        write_image(tmp_path / f"{name}.png", (ramp() * 255).astype(np.uint8))
    load = ImageLoader(cache=Cache(2.5 * HEIGHT * WIDTH / 1e9))
    for _ in range(3):
        for name in "abc":
            load(tmp_path / f"{name}.png")
    assert reads == ["a.png", "b.png", "c.png", "c.png", "c.png"]


def test_without_a_budget_nothing_is_cached(tmp_path: Path, reads: list[str]) -> None:
    write_image(tmp_path / "a.png", ramp())
    load = ImageLoader(cache=Cache(0))
    assert [load(tmp_path / "a.png").shape for _ in range(2)] == [(1, HEIGHT, WIDTH)] * 2
    assert len(reads) == 2


def test_cached_arrays_are_not_pickled(tmp_path: Path) -> None:
    write_image(tmp_path / "a.npy", ramp(1000, 1000))
    load = ImageLoader(cache=Cache(1))
    load(tmp_path / "a.npy")
    assert len(pickle.dumps(load)) < 1000
    assert pickle.loads(pickle.dumps(load)) == load  # noqa: S301  its own pickle
