import shutil
from pathlib import Path
from typing import Any

import pytest

from regstudio.studio.prefetcher import Prefetcher
from regstudio.studio.studio import Studio
from regstudio.studio.viewer import ChosenCase, View, Viewer
from regstudio.studio.viewer_session import Choice, ViewerSession


class CountingViewer(Viewer):
    """Remembers the names of the cases that it registered."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        self.registered: list[str] = []

    def view(self, chosen: ChosenCase, *args: Any, **kwargs: Any) -> View:
        self.registered.append(chosen.case.id)
        return super().view(chosen, *args, **kwargs)


@pytest.fixture
def viewer(studio: Studio, one_run: Path) -> CountingViewer:
    shutil.copytree(one_run, studio.runs_dir / "first")
    return CountingViewer(studio)


@pytest.fixture
def prefetcher() -> Prefetcher:
    return Prefetcher()


def test_the_neighbours_of_a_case_are_prefetched_the_next_one_first(
    viewer: CountingViewer, prefetcher: Prefetcher
) -> None:
    session = ViewerSession(viewer, prefetcher)
    session.open(Choice("first", "best", "validation/phantom_05"))
    prefetcher.join()
    assert viewer.registered == ["phantom_05", "phantom_06", "phantom_04"]
    for name in ("validation/phantom_06", "training/phantom_04"):
        opened = session.open(Choice("first", "best", name))
        assert opened.drawing is not None
        assert opened.drawing["name"] == name.partition("/")[2]
    prefetcher.join()
    assert viewer.registered.count("phantom_06") == viewer.registered.count("phantom_04") == 1


def test_the_first_case_is_ready_after_warming_up(viewer: CountingViewer, prefetcher: Prefetcher) -> None:
    session = ViewerSession(viewer, prefetcher)
    session.warm_up()
    prefetcher.join()
    opened = session.open(session.lists(Choice()).choice)
    prefetcher.join()
    assert opened.case == "validation/phantom_05"
    assert viewer.registered.count("phantom_05") == 1


def test_warming_up_without_a_run_registers_nothing(studio: Studio, prefetcher: Prefetcher) -> None:
    viewer = CountingViewer(studio)
    ViewerSession(viewer, prefetcher).warm_up()
    prefetcher.join()
    assert viewer.registered == []


def test_without_a_run_the_cases_are_those_of_the_browser_tab(studio: Studio, demo: Path, tmp_path: Path) -> None:
    (tmp_path / "own" / "fixed").mkdir(parents=True)
    (tmp_path / "own" / "moving").mkdir()
    shutil.copy(demo / "fixed" / "atlas.png", tmp_path / "own" / "fixed")
    shutil.copy(demo / "fixed" / "atlas.png", tmp_path / "own" / "moving" / "mine.png")
    studio.workspace("tab").change_settings({"data_base_dir": tmp_path / "own"})
    session = ViewerSession(Viewer(studio), Prefetcher())
    assert session.lists(Choice(run="no training", tab="tab")).cases == ["training/mine"]
    assert session.lists(Choice(run="no training", tab="other")).cases[0] == "validation/phantom_05"


def test_refined_cases_are_not_prefetched(viewer: CountingViewer, prefetcher: Prefetcher) -> None:
    ViewerSession(viewer, prefetcher).open(Choice("first", "best", "validation/phantom_05", refine=1))
    prefetcher.join()
    assert viewer.registered == ["phantom_05"]


def test_a_prefetch_that_fails_does_not_stop_the_next(prefetcher: Prefetcher) -> None:
    done = []
    prefetcher.submit([lambda: 1 // 0, lambda: done.append("next")], pause=0)
    prefetcher.join()
    assert done == ["next"]
