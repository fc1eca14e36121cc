import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from regstudio.errors import ConfigError
from regstudio.studio import training_control
from regstudio.studio.studio import MAX_TABS, Studio
from tests.training.whole_training import QUICK


def test_a_second_tab_never_changes_the_data_of_the_first(studio: Studio, demo: Path, tmp_path: Path) -> None:
    other = shutil.copytree(demo, tmp_path / "other")
    first, second = studio.workspace("first"), studio.workspace("second")
    report = first.report()
    second.choose_data(str(other), {"image_key": "x"})
    second.change_settings({"epochs": 3})
    assert first.known_report is report
    assert first.config.layout.data_base_dir == demo
    assert (first.config.optimisation.epochs, first.config.reading.image_key) == (100, "img")
    assert studio.workspace("first") is first
    assert studio.workspace("third").config == first.config == studio.workspace().config


def test_a_training_takes_the_data_of_its_tab(studio: Studio, demo: Path, tmp_path: Path) -> None:
    other = shutil.copytree(demo, tmp_path / "other")
    studio.workspace("second").choose_data(str(other), {})
    small = {"epochs": 1, **QUICK}
    run = training_control.start(studio, small, studio.workspace("second"))
    assert studio.job.join(60)
    assert run.config().layout.data_base_dir == other
    assert studio.workspace("first").config.optimisation.epochs == 100


@pytest.mark.parametrize("name", ["", "../x", "a" * 65, 3, ["a"], {}, "a b", "a\n"])
def test_only_names_of_tabs_have_a_workspace(studio: Studio, name: object) -> None:
    with pytest.raises(ConfigError, match="Reload"):
        studio.workspace(name)


def test_workspaces_of_tabs_long_closed_are_forgotten(studio: Studio) -> None:
    first = studio.workspace("first")
    for number in range(MAX_TABS):
        studio.workspace(str(number))
    assert studio.workspace("first") is not first


def test_the_data_are_opened_once_for_all_who_ask(studio: Studio) -> None:
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: studio.workspace().report(), range(4)))
    assert all(report is reports[0] for report in reports)
    studio.workspace().change_settings({"lr": 2e-4, "num_workers": 1})
    assert studio.workspace().known_report is reports[0]


def test_choosing_other_data_gives_up_those_being_opened(demo: Path, tmp_path: Path) -> None:
    other = shutil.copytree(demo, tmp_path / "other")

    class OtherDataMeanwhile(Studio):
        """Chooses other data once two files of the first are opened."""

        def check(self, config, progress):
            def watched(jobs):
                for place, job in enumerate(progress(jobs)):
                    if config.layout.data_base_dir == demo and place == 2:
                        assert self.workspace().opened == (2, 7)
                        self.workspace().change_settings({"data_base_dir": other})
                    yield job

            return super().check(config, watched)

    studio = OtherDataMeanwhile(runs_dir=tmp_path / "runs", roots=(tmp_path,), demo_dir=demo, data_base_dir=demo)
    assert studio.workspace().report().index.root == other
    assert studio.workspace().opened is None
