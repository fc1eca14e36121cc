"""What is kept of decoded pictures: in memory, and in a folder that all runs share."""

import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regstudio.data import disk_cache, loaders
from regstudio.data.cache import Cache
from regstudio.data.disk_cache import DiskCache
from regstudio.data.loaders import ImageLoader, LabelLoader
from regstudio.data.writing import write_image, write_label
from regstudio.errors import DataError
from tests.pictures import HEIGHT, WIDTH, ids, ramp

ENTRY = HEIGHT * WIDTH + 148  # bytes: the pixels, the header of .npy, the checksum
ENDINGS = (".png", ".tif", ".npy", ".npz", ".nii.gz", ".mha")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "decoded"


def on_disk(folder: Path, gigabytes: float = 1) -> ImageLoader:
    """A loader as of a new run, whose memory is full from its first picture on."""
    cache = Cache(0, DiskCache(folder, gigabytes))
    cache._full = True
    return ImageLoader(cache=cache)


def bytes_of(number: int) -> np.ndarray:
    return (ramp(shift=number) * 255).astype(np.uint8)


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_file_memory_and_disk_give_the_same(tmp_path: Path, folder: Path, ending: str, dtype: type) -> None:
    image, label = tmp_path / f"a{ending}", tmp_path / f"a_seg{ending}"
    write_image(image, bytes_of(0) if dtype == np.uint8 or ending == ".png" else ramp().astype(dtype))
    write_label(label, ids())
    disk = on_disk(folder).cache
    for load, path in ((ImageLoader, image), (LabelLoader, label)):
        expected = load()(path)
        for cache in (Cache(1), disk, disk, on_disk(folder).cache):
            for _ in range(2):
                found = load(cache=cache)(path)
                np.testing.assert_array_equal(found, expected)
                assert found.dtype == expected.dtype
                found += 1  # what is done to the result must not reach the cache
    assert len(entries(folder)) == 2


def test_what_does_not_fit_in_memory_is_decoded_once_for_all_runs(
    tmp_path: Path, folder: Path, reads: list[str]
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        write_image(path, bytes_of(number))
    for expected in (["0.png", "1.png", "2.png", "2.png", "3.png", "4.png"], ["0.png", "1.png", "2.png"]):
        load = ImageLoader(cache=Cache(2.5 * HEIGHT * WIDTH / 1e9, DiskCache(folder, 1)))
        for _ in range(3):
            for path in paths:
                load(path)
        # The first that did not fit is decoded once more: only then is the memory known to be full.
        assert sorted(reads) == expected
        reads.clear()


@pytest.mark.parametrize("make", [lambda folder: ImageLoader(cache=Cache(1)), on_disk])
def test_a_changed_file_is_read_anew(tmp_path: Path, folder: Path, make: Callable[[Path], ImageLoader]) -> None:
    path, load = tmp_path / "a.npy", make(folder)
    for number in range(3):
        write_image(path, bytes_of(number))
        for _ in range(2):
            np.testing.assert_array_equal(load(path), ImageLoader()(path))
    path.unlink()
    with pytest.raises(DataError, match="there is no such file"):
        load(path)


def test_a_changed_file_of_the_same_size_and_time_is_known_by_its_content(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "a.npy"
    for number in range(2):
        np.save(path, bytes_of(number))
        os.utime(path, (1, 1))
        np.testing.assert_array_equal(on_disk(folder)(path), ImageLoader()(path))


def test_a_file_that_changes_while_it_is_read_leaves_no_entry(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, original = tmp_path / "a.npy", loaders.read_image
    write_image(path, bytes_of(0))

    def replaced(path: Path, **options: Any) -> Any:
        write_image(path, bytes_of(1))
        return original(path, **options)

    monkeypatch.setattr(loaders, "read_image", replaced)
    on_disk(folder)(path)
    monkeypatch.undo()
    assert entries(folder) == []
    write_image(path, bytes_of(0))
    np.testing.assert_array_equal(on_disk(folder)(path), ImageLoader()(path))


def test_a_renamed_file_is_known_again(tmp_path: Path, folder: Path, reads: list[str]) -> None:
    write_image(tmp_path / "a.png", bytes_of(0))
    on_disk(folder)(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    on_disk(folder)(tmp_path / "b.png")
    assert reads == ["a.png"]


def test_what_is_read_otherwise_is_another_entry(tmp_path: Path, folder: Path) -> None:
    np.savez(tmp_path / "a.npz", img=ids(), label=ids() + 1)
    cache = on_disk(folder).cache
    assert ImageLoader(size=(64, 32), cache=cache)(tmp_path / "a.npz").shape == (1, 64, 32)
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
def test_a_damaged_entry_is_made_anew(tmp_path: Path, folder: Path, damage: str) -> None:
    write_image(tmp_path / "a.png", bytes_of(0))
    on_disk(folder)(tmp_path / "a.png")
    (entry,) = entries(folder)
    whole = entry.read_bytes()
    entry.write_bytes(damages()[damage](whole))
    np.testing.assert_array_equal(on_disk(folder)(tmp_path / "a.png"), ImageLoader()(tmp_path / "a.png"))
    assert entry.read_bytes() == whole


def test_an_entry_that_goes_while_a_run_uses_it_is_made_anew(tmp_path: Path, folder: Path) -> None:
    write_image(tmp_path / "a.png", bytes_of(0))
    load = on_disk(folder)
    load(tmp_path / "a.png")
    entries(folder)[0].unlink()
    np.testing.assert_array_equal(load(tmp_path / "a.png"), ImageLoader()(tmp_path / "a.png"))
    assert len(entries(folder)) == 1


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", bytes_of(0))
    (tmp_path / "file").write_text("")
    load = on_disk(tmp_path / "file" / "decoded")
    for _ in range(3):
        np.testing.assert_array_equal(load(tmp_path / "a.png"), ImageLoader()(tmp_path / "a.png"))


def test_a_folder_that_is_read_only_is_read(
    tmp_path: Path, folder: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        write_image(tmp_path / f"{number}.png", bytes_of(number))
    on_disk(folder)(tmp_path / "0.png")

    def refused(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "read-only")

    for module, name in ((os, "utime"), (disk_cache, "atomic_path")):
        monkeypatch.setattr(module, name, refused)
    load = on_disk(folder)
    for number in (0, 1, 0, 1):
        np.testing.assert_array_equal(load(tmp_path / f"{number}.png")[0].min(), 0)
    assert reads == ["0.png", "1.png", "1.png"]


def test_a_disk_without_room_is_left_alone(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_cache, "MIN_FREE_BYTES", 1e30)
    write_image(tmp_path / "a.png", bytes_of(0))
    on_disk(folder)(tmp_path / "a.png")
    assert entries(folder) == []


def test_the_folder_keeps_to_its_budget_and_to_what_this_run_uses(tmp_path: Path, folder: Path) -> None:
    load = on_disk(folder, 3.5 * ENTRY / 1e9)
    for number in range(6):
        write_image(tmp_path / f"{number}.png", bytes_of(number))
    for _ in range(2):
        for number in range(6):
            load(tmp_path / f"{number}.png")
        assert sum(path.stat().st_size for path in entries(folder)) == 3 * ENTRY


def test_what_was_not_used_the_longest_goes_first(tmp_path: Path, folder: Path, reads: list[str]) -> None:
    for number in range(5):
        write_image(tmp_path / f"{number}.png", bytes_of(number))
    for number in range(3):
        on_disk(folder)(tmp_path / f"{number}.png")
        (new,) = {path for path in entries(folder) if path.stat().st_mtime > 1000}
        os.utime(new, (number, number))
    load = on_disk(folder, 3.5 * ENTRY / 1e9)
    for number in (0, 3, 4):  # 0 is used again, so 1 and 2 go
        load(tmp_path / f"{number}.png")
    reads.clear()
    again = on_disk(folder, 3.5 * ENTRY / 1e9)
    for number in (0, 3, 4):
        again(tmp_path / f"{number}.png")
    assert reads == []
    assert len(entries(folder)) == 3


def test_a_copy_for_another_process_shares_the_folder(tmp_path: Path, folder: Path, reads: list[str]) -> None:
    write_image(tmp_path / "a.png", bytes_of(0))
    load = on_disk(folder)
    load(tmp_path / "a.png")
    copy = pickle.loads(pickle.dumps(load.cache))  # noqa: S301  its own pickle
    copy._full = True
    ImageLoader(cache=copy)(tmp_path / "a.png")
    assert reads == ["a.png"]


def test_many_threads_at_once(tmp_path: Path, folder: Path) -> None:
    for number in range(8):
        write_image(tmp_path / f"{number}.npy", bytes_of(number))
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
