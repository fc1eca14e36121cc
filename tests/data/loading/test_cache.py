"""The caches of decoded pictures: in memory, and on disk for all runs."""

import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from regstudio.data.loading import disk_cache
from regstudio.data.loading.cache import Cache
from regstudio.data.loading.disk_cache import DiskCache, file_state
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.pictures.formats import read_image
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.errors import DataError
from tests.pictures import HEIGHT, WIDTH, ids, ramp, stretched

ENTRY_BYTES = HEIGHT * WIDTH + 148  # pixels, header of .npy, checksum
EXTENSIONS = (".png", ".tif", ".npy", ".npz", ".nii.gz", ".mha")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "decoded"


def on_disk(folder: Path, gigabytes: float = 1) -> ImageLoader:
    """A new run's loader, which caches on disk only."""
    return ImageLoader(cache=Cache(0, DiskCache(folder, gigabytes)))


def picture(number: int) -> np.ndarray:
    return (ramp(shift=number) * 255).astype(np.uint8)


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("ending", EXTENSIONS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_file_memory_cache_and_disk_cache_give_the_same_array(
    tmp_path: Path, folder: Path, ending: str, dtype: type
) -> None:
    image, label = tmp_path / f"a{ending}", tmp_path / f"a_seg{ending}"
    write_image(image, picture(0) if dtype == np.uint8 or ending == ".png" else ramp().astype(dtype))
    write_label(label, ids())
    disk = on_disk(folder).cache
    for load, path in ((ImageLoader, image), (LabelLoader, label)):
        expected = load()(path)
        for cache in (Cache(1), disk, disk, on_disk(folder).cache):
            for _ in range(2):
                cached = load(cache=cache)(path)
                np.testing.assert_array_equal(cached, expected)
                assert cached.dtype == expected.dtype
                cached += 1  # a change of the result must not reach the cache
    assert len(entries(folder)) == 2


def test_what_does_not_fit_in_memory_is_on_disk_for_all_runs(tmp_path: Path, folder: Path, reads: list[str]) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        write_image(path, picture(number))
    for expected in (["0.png", "1.png", "2.png", "2.png", "3.png", "4.png"], ["0.png", "1.png", "2.png"]):
        load = ImageLoader(cache=Cache(2.5 * HEIGHT * WIDTH / 1e9, DiskCache(folder, 1)))
        for _ in range(3):
            for path in paths:
                load(path)
        # The first that does not fit is decoded twice: only then is the memory known to be full.
        assert sorted(reads) == expected
        reads.clear()


@pytest.mark.parametrize("make", [lambda folder: ImageLoader(cache=Cache(1)), on_disk])
def test_a_changed_file_is_a_miss(tmp_path: Path, folder: Path, make: Callable[[Path], ImageLoader]) -> None:
    path, load = tmp_path / "a.npy", make(folder)
    for number in range(3):
        write_image(path, picture(number))
        for _ in range(2):
            np.testing.assert_array_equal(load(path), ImageLoader()(path))
    path.unlink()
    with pytest.raises(DataError, match="there is no such file"):
        load(path)


def test_a_changed_file_of_the_same_size_and_time_is_a_miss_on_disk(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "a.npy"
    for number in range(2):
        np.save(path, picture(number))
        os.utime(path, (1, 1))
        np.testing.assert_array_equal(on_disk(folder)(path), ImageLoader()(path))


def test_a_file_that_changes_while_it_is_read_leaves_no_entry(tmp_path: Path, folder: Path) -> None:
    path, cache = tmp_path / "a.npy", DiskCache(folder, 1)
    write_image(path, picture(0))

    def replace_and_load(path: Path) -> np.ndarray:
        write_image(path, picture(1))
        return read_image(path).array

    np.testing.assert_array_equal(cache.get("reader", path, file_state(path), replace_and_load), picture(1))
    assert entries(folder) == []
    write_image(path, picture(0))
    np.testing.assert_array_equal(on_disk(folder)(path), ImageLoader()(path))


def test_a_renamed_file_is_a_hit(tmp_path: Path, folder: Path, reads: list[str]) -> None:
    write_image(tmp_path / "a.png", picture(0))
    on_disk(folder)(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    on_disk(folder)(tmp_path / "b.png")
    assert reads == ["a.png"]


def test_other_options_of_reading_are_other_entries(tmp_path: Path, folder: Path) -> None:
    np.savez(tmp_path / "a.npz", img=ids(), label=ids() + 1)
    cache = on_disk(folder).cache
    assert ImageLoader(grid=stretched((64, 32)), cache=cache)(tmp_path / "a.npz").shape == (1, 64, 32)
    assert ImageLoader(cache=cache)(tmp_path / "a.npz").shape == (1, HEIGHT, WIDTH)
    np.testing.assert_array_equal(LabelLoader(cache=cache)(tmp_path / "a.npz")[0], ids() + 1)
    np.testing.assert_array_equal(LabelLoader(key="img", cache=cache)(tmp_path / "a.npz")[0], ids())


def damages() -> dict[str, Callable[[bytes], bytes]]:
    return {
        "empty": lambda content: b"",
        "half": lambda content: content[: len(content) // 2],
        "zeros": lambda content: bytes(len(content)),
        "one bit": lambda content: content[:1000] + bytes([content[1000] ^ 1]) + content[1001:],
        "longer": lambda content: content + b"x",
        "text": lambda content: b"not an array",
    }


@pytest.mark.parametrize("damage", damages())
def test_a_damaged_entry_is_written_again(tmp_path: Path, folder: Path, damage: str) -> None:
    write_image(tmp_path / "a.png", picture(0))
    on_disk(folder)(tmp_path / "a.png")
    (entry,) = entries(folder)
    whole = entry.read_bytes()
    entry.write_bytes(damages()[damage](whole))
    np.testing.assert_array_equal(on_disk(folder)(tmp_path / "a.png"), ImageLoader()(tmp_path / "a.png"))
    assert entry.read_bytes() == whole


def test_an_entry_that_is_removed_during_a_run_is_written_again(tmp_path: Path, folder: Path) -> None:
    write_image(tmp_path / "a.png", picture(0))
    load = on_disk(folder)
    load(tmp_path / "a.png")
    entries(folder)[0].unlink()
    np.testing.assert_array_equal(load(tmp_path / "a.png"), ImageLoader()(tmp_path / "a.png"))
    assert len(entries(folder)) == 1


def test_a_folder_that_cannot_be_made_disables_the_disk_cache(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", picture(0))
    (tmp_path / "file").write_text("")
    load = on_disk(tmp_path / "file" / "decoded")
    for _ in range(3):
        np.testing.assert_array_equal(load(tmp_path / "a.png"), ImageLoader()(tmp_path / "a.png"))


def test_a_read_only_folder_is_still_read(
    tmp_path: Path, folder: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        write_image(tmp_path / f"{number}.png", picture(number))
    on_disk(folder)(tmp_path / "0.png")

    def refused(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "read-only")

    for module, name in ((os, "utime"), (disk_cache, "atomic_path")):
        monkeypatch.setattr(module, name, refused)
    load = on_disk(folder)
    for number in (0, 1, 0, 1):
        np.testing.assert_array_equal(load(tmp_path / f"{number}.png")[0].min(), 0)
    assert reads == ["0.png", "1.png", "1.png"]


def test_nothing_is_written_to_a_disk_with_too_little_free_space(tmp_path: Path, folder: Path) -> None:
    write_image(tmp_path / "a.png", picture(0))
    ImageLoader(cache=Cache(0, DiskCache(folder, 1, min_free_bytes=1e30)))(tmp_path / "a.png")
    assert entries(folder) == []


def test_a_full_cache_evicts_nothing_that_this_run_uses(tmp_path: Path, folder: Path) -> None:
    load = on_disk(folder, 3.5 * ENTRY_BYTES / 1e9)
    for number in range(6):
        write_image(tmp_path / f"{number}.png", picture(number))
    for _ in range(2):
        for number in range(6):
            load(tmp_path / f"{number}.png")
        assert sum(path.stat().st_size for path in entries(folder)) == 3 * ENTRY_BYTES


def test_the_least_recently_used_entry_is_evicted_first(tmp_path: Path, folder: Path, reads: list[str]) -> None:
    for number in range(5):
        write_image(tmp_path / f"{number}.png", picture(number))
    for number in range(3):
        on_disk(folder)(tmp_path / f"{number}.png")
        (new,) = {path for path in entries(folder) if path.stat().st_mtime > 1000}
        os.utime(new, (number, number))
    load = on_disk(folder, 3.5 * ENTRY_BYTES / 1e9)
    for number in (0, 3, 4):  # 0 is used again, so 1 and 2 are evicted
        load(tmp_path / f"{number}.png")
    reads.clear()
    again = on_disk(folder, 3.5 * ENTRY_BYTES / 1e9)
    for number in (0, 3, 4):
        again(tmp_path / f"{number}.png")
    assert reads == []
    assert len(entries(folder)) == 3


def test_a_copy_for_another_process_shares_the_folder(tmp_path: Path, folder: Path, reads: list[str]) -> None:
    write_image(tmp_path / "a.png", picture(0))
    load = on_disk(folder)
    load(tmp_path / "a.png")
    copy = pickle.loads(pickle.dumps(load.cache))  # noqa: S301  its own pickle
    ImageLoader(cache=copy)(tmp_path / "a.png")
    assert reads == ["a.png"]


def test_many_threads_get_the_right_arrays(tmp_path: Path, folder: Path) -> None:
    for number in range(8):
        write_image(tmp_path / f"{number}.npy", picture(number))
    expected = [ImageLoader()(tmp_path / f"{number}.npy") for number in range(8)]
    load = ImageLoader(cache=Cache(2.5 * HEIGHT * WIDTH / 1e9, DiskCache(folder, 1)))
    wrong: list[int] = []

    def work() -> None:
        for _ in range(5):
            wrong.extend(n for n in range(8) if not np.array_equal(load(tmp_path / f"{n}.npy"), expected[n]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert wrong == []
