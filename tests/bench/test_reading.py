"""The measures of reading say what they measure; how fast it is, they are not asked here."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regstudio.bench.reading import ENDINGS, reading_speeds, waiting_share


def test_every_format_is_measured_in_all_ways(tmp_path: Path, reads: list[str]) -> None:
    speeds = list(reading_speeds(tmp_path, size=32, images=4, batch_size=2))
    assert [speed.ending for speed in speeds] == list(ENDINGS)
    for speed in speeds:
        assert min(speed.decoded, speed.from_memory, speed.from_disk) > 0
        decoded = [name for name in reads if name == f"1{speed.ending}"]
        # Of its eleven passes, three without a cache, one that fills the memory, one or two that fill the disk.
        assert 5 <= len(decoded) <= 6


def test_waiting_is_what_the_steps_do_not_take() -> None:
    seconds = 0.0

    def passes(more: float) -> None:
        nonlocal seconds
        seconds += more

    class Loader:
        def epoch(self, number: int) -> Iterator[Any]:
            for _ in range(number):
                passes(1)
                yield {}

    assert waiting_share(Loader(), lambda batch: passes(3), epoch=5, clock=lambda: seconds) == 0.25
