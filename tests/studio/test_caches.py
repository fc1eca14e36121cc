import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from regstudio.studio.caches import LRUCache


def test_the_values_used_last_are_kept() -> None:
    cache: LRUCache[str] = LRUCache(3, len)
    made = []

    def get(name: str) -> str:
        return cache.get(name, lambda: made.append(name) or name)

    for name in ("a", "bb", "a", "c", "a", "bb"):
        get(name)
    assert made == ["a", "bb", "c", "bb"]
    assert get("longer than three") == get("longer than three")
    assert made[4:] == ["longer than three"]


def test_a_value_that_could_not_be_made_is_tried_again() -> None:
    cache: LRUCache[int] = LRUCache(3)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: 1 // 0)
    assert cache.get("a", lambda: 1) == 1


def test_a_value_is_made_once_while_other_threads_wait_for_it() -> None:
    cache: LRUCache[object] = LRUCache(3)
    made = []

    def slowly() -> object:
        time.sleep(0.1)
        made.append(object())
        return made[-1]

    with ThreadPoolExecutor(4) as pool:
        values = list(pool.map(lambda _: cache.get("a", slowly), range(4)))
    assert values == made * 4


def test_making_one_value_does_not_delay_another() -> None:
    cache: LRUCache[str] = LRUCache(3)
    release = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(cache.get, "slow", lambda: str(release.wait(30)))
        assert cache.get("quick", lambda: "quick") == "quick"
        assert not slow.done()
        release.set()
        assert slow.result() == "True"


def test_a_file_is_loaded_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    cache: LRUCache[str] = LRUCache(1)
    path = tmp_path / "file"
    path.write_text("old")
    assert cache.get_file(path, Path.read_text) == "old"
    unchanged = path.stat()
    path.write_text("new")
    os.utime(path, ns=(unchanged.st_atime_ns, unchanged.st_mtime_ns))  # looks as before
    assert cache.get_file(path, Path.read_text) == "old"
    path.write_text("newer")
    assert cache.get_file(path, Path.read_text) == "newer"
    with pytest.raises(FileNotFoundError):
        cache.get_file(tmp_path / "gone", Path.read_text)
