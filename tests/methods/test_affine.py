import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng
from scipy import ndimage

from regstudio.data.pairs.pair import Pair
from regstudio.data.phantom import make_demo
from regstudio.data.pictures.formats import read_image
from regstudio.data.problems import FileError
from regstudio.files import cache_folder
from regstudio.methods.affine import Affine, affine_flow, affine_matrix, register_affine
from regstudio.methods.affine_cache import affine_matrices, cached_affine
from regstudio.methods.alignment import AffineMethod, Aligner
from regstudio.metrics import inverse_consistency

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> tuple[Array, Array]:
    """The demo's atlas, 128x128 in [0, 1], and its foreground."""
    folder = tmp_path_factory.mktemp("phantom")
    make_demo(folder, train=1, validation=0)
    image = read_image(folder / "fixed" / "atlas.png").array / np.float32(255)
    return image, read_image(folder / "fixed_seg" / "atlas_seg.png").array > 0


def about_centre(size: tuple[int, ...], linear: Any, shift: tuple[float, float] = (0, 0)) -> Array:
    centre = (np.array(size) - 1) / 2
    return np.column_stack((linear, centre + shift - np.asarray(linear) @ centre))


def turned(degrees: float) -> Array:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s], [s, c]])


def moving_of(fixed: Array, matrix: Array) -> Array:
    """The image that `matrix` pulls back to the fixed one: moving(M p) = fixed(p)."""
    inverse = np.linalg.inv(np.vstack((matrix, [0, 0, 1])))
    return ndimage.affine_transform(fixed, inverse[:2, :2], inverse[:2, 2], order=1)


def error(found: Array, true: Array, where: Array) -> float:
    """Mean distance in pixels of where two matrices send the points of a mask."""
    difference = affine_flow(found, where.shape) - affine_flow(true, where.shape)
    return float(np.hypot(*difference)[where].mean())


CHANGES = {
    "rotation": (turned(10), (0, 0)),
    "rotation the other way": (turned(-10), (0, 0)),
    "scales": ([[0.9, 0], [0, 1.1]], (0, 0)),
    "shift": (np.eye(2), (12, -12)),
    "shear": ([[1, 0.15], [0, 1]], (0, 0)),
    "all": (turned(8) @ [[1.1, 0.05], [0, 1.08]], (-8, 6)),
    "large shift": (np.eye(2), (30, 0)),
    "large rotation": (turned(25), (0, 0)),
}


@pytest.mark.parametrize(
    ("change", "contrast"),
    [
        *((change, "inverted") for change in CHANGES),
        *(("all", contrast) for contrast in ("same", "darker gamma")),
        *(
            pytest.param(change, contrast, marks=pytest.mark.slow)
            for change in CHANGES
            for contrast in ("same", "darker gamma")
            if change != "all"
        ),
    ],
)
def test_a_known_map_is_found(phantom: tuple[Array, Array], change: str, contrast: str) -> None:
    fixed, foreground = phantom
    true = about_centre(fixed.shape, *CHANGES[change])
    moving = moving_of(fixed, true)
    moving = {"same": moving, "darker gamma": 0.5 * np.sqrt(moving), "inverted": 1 - moving}[contrast]
    found = register_affine(fixed, moving)
    assert found.reason is None
    assert error(found.matrix, true, foreground) < 0.5


@pytest.mark.parametrize("shape", [(128, 80), (56, 128), (33, 47)])
def test_images_need_not_be_square(phantom: tuple[Array, Array], shape: tuple[int, int]) -> None:
    fixed = ndimage.zoom(phantom[0], np.array(shape) / 128, order=1)
    true = about_centre(shape, turned(6) @ np.diag([1.05, 0.95]), (2, -3))
    assert error(affine_matrix(fixed, moving_of(fixed, true)), true, fixed > 0.1) < 0.5


def test_equal_images_stay_where_they_are(phantom: tuple[Array, Array]) -> None:
    fixed, foreground = phantom
    noisy = fixed + default_rng(0).normal(0, 0.02, fixed.shape).astype(np.float32)
    assert error(affine_matrix(fixed, fixed), np.eye(2, 3), foreground) < 0.1
    assert error(affine_matrix(fixed, noisy), np.eye(2, 3), foreground) < 0.1


def test_constant_images_have_the_identity_and_its_reason(phantom: tuple[Array, Array]) -> None:
    flat = np.zeros_like(phantom[0])
    for fixed, moving, name in ((flat, phantom[0], "fixed"), (phantom[0], flat, "moving")):
        found = register_affine(fixed, moving)
        np.testing.assert_array_equal(found.matrix, np.eye(2, 3))
        assert found.reason == f"every pixel of the {name} image has the same value"


def test_nothing_in_common_does_no_harm(phantom: tuple[Array, Array]) -> None:
    noise = default_rng(0).random(phantom[0].shape).astype(np.float32)
    matrix, _ = register_affine(phantom[0], noise)
    assert np.isfinite(matrix).all()
    assert 0.1 < np.linalg.det(matrix[:, :2]) < 10


def test_the_affine_map_alone_is_a_method(phantom: tuple[Array, Array]) -> None:
    fixed, foreground = phantom
    true = about_centre(fixed.shape, turned(10), (3, -4))
    transform = AffineMethod()(Pair(id="phantom", fixed=fixed, moving=moving_of(fixed, true).astype(np.float32)))
    known = affine_flow(true, fixed.shape)
    error = np.hypot(*(transform.flow - known))[foreground].mean()
    assert error < 0.3 * np.hypot(*known)[foreground].mean()  # as near as the general network comes
    np.testing.assert_array_equal(transform.flow, transform.affine_flow)
    assert transform.inverse_flow is not None
    assert inverse_consistency(transform.flow, transform.inverse_flow) < 0.02


def test_an_affine_flow_is_the_map_less_the_point() -> None:
    matrix = np.array([[1.5, 0.25, 2], [-0.5, 1, -3]])
    flow = affine_flow(matrix, (4, 6))
    assert flow.shape == (2, 4, 6)
    for y, x in ((0, 0), (3, 5), (1, 4)):
        np.testing.assert_allclose(flow[:, y, x], matrix @ (y, x, 1) - (y, x), atol=1e-6)


@pytest.mark.slow
def test_the_number_of_threads_changes_no_digit(phantom: tuple[Array, Array]) -> None:
    sitk = pytest.importorskip("SimpleITK")
    moving = moving_of(phantom[0], about_centre(phantom[0].shape, turned(7)))
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    found = []
    try:
        for threads in (1, 2, 5):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            found.append(affine_matrix(phantom[0], moving))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


class CountedSearch:
    """Answers each moving image with a shift by its first pixel, and counts the images that it was asked about."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, fixed: Array, moving: Array) -> Affine:
        self.calls += 1
        return Affine(np.array([[1, 0, moving.flat[0] / 3], [0, 1, 0.1]]), None)


@pytest.fixture
def search() -> CountedSearch:
    return CountedSearch()


def picture(value: float) -> Array:
    return np.full((8, 9), value, np.float32)


def test_a_pair_is_registered_once(tmp_path: Path, search: CountedSearch) -> None:
    first = cached_affine(picture(0), picture(1), tmp_path, search=search)
    again = cached_affine(picture(0), picture(1), tmp_path, search=search)
    assert search.calls == 1
    np.testing.assert_array_equal(first.matrix, again.matrix)
    for fixed, moving in ((2, 1), (0, 2), (1, 0)):
        cached_affine(picture(fixed), picture(moving), tmp_path, search=search)
    cached_affine(picture(0).T, picture(1).T, tmp_path, search=search)  # the same bytes in another shape
    assert search.calls == 5


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", "null", '{"matrix": 3, "reason": null}', '{"matrix": [[1, 0, NaN], [0, 1, 0]], "reason": null}'],
)
def test_a_damaged_cache_entry_is_replaced(tmp_path: Path, search: CountedSearch, damage: str) -> None:
    whole = cached_affine(picture(0), picture(1), tmp_path, search=search)
    (entry,) = tmp_path.iterdir()
    entry.write_text(damage)
    np.testing.assert_array_equal(cached_affine(picture(0), picture(1), tmp_path, search=search).matrix, whole.matrix)
    assert search.calls == 2
    assert json.loads(entry.read_text())["matrix"] == whole.matrix.tolist()


def test_another_version_of_the_search_ignores_cached_results(tmp_path: Path, search: CountedSearch) -> None:
    cached_affine(picture(0), picture(1), tmp_path, search=search)
    cached_affine(picture(0), picture(1), tmp_path, search=search, version="another")
    assert search.calls == 2


def test_a_cache_folder_that_cannot_be_written_is_ignored(tmp_path: Path, search: CountedSearch) -> None:
    (tmp_path / "file").write_text("")
    assert cached_affine(picture(0), picture(1), tmp_path / "file", search=search).matrix.shape == (2, 3)


def test_the_cache_lies_in_the_users_cache_folder(own_cache: Path, search: CountedSearch) -> None:
    cached_affine(picture(0), picture(1), search=search)
    assert cache_folder("affine") == own_cache / "regstudio" / "affine"
    assert len(list(cache_folder("affine").iterdir())) == 1


@pytest.mark.slow
def test_in_parallel_as_one_after_the_other(phantom: tuple[Array, Array], tmp_path: Path) -> None:
    fixed = phantom[0][::2, ::2]
    images = {Path(f"{k}.png"): moving_of(fixed, about_centre(fixed.shape, turned(k))) for k in (-4, -2, 2, 4)}
    one, three = (
        dict(affine_matrices(fixed, list(images), images.__getitem__, cache=tmp_path / str(workers), workers=workers))
        for workers in (1, 3)
    )
    assert list(one) == list(three) == list(images)
    for path in images:
        np.testing.assert_allclose(one[path].matrix, three[path].matrix, rtol=0, atol=1e-4)
    # A batch differs from its pairs alone in the last digits.
    np.testing.assert_allclose(one[path].matrix, Aligner()(fixed, images[path]).matrix, rtol=0, atol=1e-4)


def test_a_file_that_cannot_be_read_has_its_error_as_the_result(tmp_path: Path, search: CountedSearch) -> None:
    paths = [Path("a.png"), Path("broken.png"), Path("c.png")]

    def load(path: Path) -> Array:
        if path.stem == "broken":
            raise FileError(path, "is broken", "Mend it.")
        return picture(1)[None]

    found = dict(affine_matrices(picture(0), paths, load, cache=tmp_path, workers=2, search=search))
    assert list(found) == paths
    assert isinstance(found[paths[1]], FileError)
    np.testing.assert_array_equal(found[paths[0]].matrix, found[paths[2]].matrix)


def test_an_interruption_starts_no_more(tmp_path: Path, search: CountedSearch) -> None:
    paths = [Path(f"{number}.png") for number in range(200)]

    found = affine_matrices(
        picture(0), paths, lambda path: picture(float(path.stem)), cache=tmp_path, workers=2, search=search
    )
    for _ in range(3):
        next(found)
    found.close()
    done = search.calls
    time.sleep(0.05)
    assert search.calls == done < 20


def test_it_works_from_a_background_thread(tmp_path: Path, search: CountedSearch) -> None:
    found: dict[Path, Any] = {}

    def work() -> None:
        found.update(
            affine_matrices(picture(0), [Path("a.png")], lambda path: picture(1), cache=tmp_path, search=search)
        )

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert list(found) == [Path("a.png")]
