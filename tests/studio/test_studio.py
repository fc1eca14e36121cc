import shutil
import threading

import pytest

from regstudio.config import build_config
from regstudio.errors import ConfigError, DataError, RunError
from regstudio.runs.run import Run
from regstudio.studio import training_control
from regstudio.studio.studio import Studio
from regstudio.studio.training_control import headline
from regstudio.ui.app import first_of


def test_all_threads_get_the_same_job(studio):
    jobs = []
    threads = [threading.Thread(target=lambda: jobs.append(studio.job)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(jobs)) == 1
    assert studio.known_job is jobs[0]


def test_asking_what_runs_makes_no_job(studio):
    assert headline(studio) == "Nothing is training."
    assert studio.known_job is None


def test_the_header_names_the_run(studio, quick_config):
    run = studio.job.start(quick_config(runs_dir=studio.runs_dir), studio.workspace().report().index)
    assert studio.job.join(60)
    assert headline(studio) == f"{run.path.name}: finished"


@pytest.mark.parametrize("path", ["/etc/passwd", "..", "~nobody/x", "/"])
def test_paths_outside_the_roots_are_refused(studio, path):
    with pytest.raises(ConfigError):
        studio.allowed(path)


def test_links_out_of_the_roots_are_refused(studio, tmp_path, tmp_path_factory):
    (tmp_path / "link").symlink_to(tmp_path_factory.mktemp("outside"))
    with pytest.raises(ConfigError, match="may not be opened"):
        studio.allowed(str(tmp_path / "link"))


def test_paths_below_a_root_are_allowed(studio, tmp_path):
    assert studio.allowed(f" {tmp_path}/new/folder ") == tmp_path.resolve() / "new" / "folder"


@pytest.mark.parametrize("name", ["", ".", "..", "../demo", "/etc", "none", "a\0b"])
def test_names_that_are_no_runs_are_refused(studio, name):
    with pytest.raises(RunError):
        studio.run(name)


def test_the_demo_data_may_always_be_read(tmp_path, demo):
    studio = Studio(runs_dir=tmp_path / "runs", roots=(), demo_dir=demo, data_base_dir=tmp_path)
    assert studio.allowed(str(demo)) == demo.resolve()


def test_the_viewer_needs_a_selected_run():
    with pytest.raises(Exception, match="Select a run first"):
        first_of([])


@pytest.fixture
def linked(demo, tmp_path, tmp_path_factory):
    """A data folder in which one image is a link out of the roots."""
    data = shutil.copytree(demo, tmp_path / "linked")
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    shutil.copy(demo / "fixed" / "atlas.png", outside)
    (data / "moving" / "link.png").symlink_to(outside)
    return data


@pytest.mark.parametrize("folder", [False, True])
def test_images_that_link_out_of_the_roots_are_not_opened(studio, linked, folder):
    if folder:
        (linked / "moving" / "link.png").unlink()
        outside = (linked / "moving").rename(linked.parents[1] / f"{linked.parent.name} outside")
        (linked / "moving").symlink_to(outside)
    config = build_config({"data_base_dir": linked}, studio.workspace().config)
    report = studio.check(config)
    assert not report.can_train
    assert not (report.index.atlas or report.index.train or report.index.validation)
    assert "which the page may not read" in report.index.errors[0].what
    assert "--root" in report.index.errors[0].remedy


def test_a_fixed_image_or_table_that_links_out_of_the_roots_is_not_opened_either(studio, linked):
    (linked / "fixed" / "atlas.png").rename(linked / "fixed" / "link.png")
    outside = (linked / "moving" / "link.png").readlink()
    shutil.copy(outside, linked / "fixed" / "other.png")
    (linked / "fixed" / "link.png").unlink()
    (linked / "fixed" / "link.png").symlink_to(outside)
    (linked / "moving" / "link.png").unlink()
    shutil.copy(outside, linked / "moving" / "link.png")
    for settings in ({}, {"pairs_file": str(outside), "pair_by": "csv"}):
        config = build_config({"data_base_dir": linked, **settings}, studio.workspace().config)
        (error,) = studio.check(config).index.errors
        assert f"leads to {outside}, which the page may not read" in error.what


def test_links_within_the_roots_are_followed(studio, demo, tmp_path):
    data = shutil.copytree(demo, tmp_path / "linked")
    (data / "moving" / "link.png").symlink_to(demo / "fixed" / "atlas.png")
    studio.workspace().change_settings({"data_base_dir": data})
    assert len(studio.workspace().report().index.train) == 5


def test_one_more_root_is_one_more_place_to_read(studio, linked):
    outside = (linked / "moving" / "link.png").resolve().parent
    more = Studio(
        runs_dir=studio.runs_dir, roots=(*studio.roots, outside), demo_dir=studio.demo_dir, data_base_dir=linked
    )
    assert more.workspace().report().can_train


def test_a_run_whose_data_link_out_of_the_roots_does_not_go_on(studio, linked, quick_config):
    run = Run(studio.runs_dir / "run")
    run.last_path.parent.mkdir(parents=True)
    run.last_path.touch()
    run.write_config(quick_config(data_base_dir=linked))
    with pytest.raises(DataError, match="may not read"):
        training_control.resume(studio, "run")
