import threading

import pytest

from regstudio.errors import ConfigError, RunError
from regstudio.ui.app import first_of, now
from regstudio.ui.studio import Studio


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
    assert now(studio) == "Nothing is training."
    assert studio.known_job is None


def test_the_header_names_the_run(studio, quick_config):
    run = studio.job.start(quick_config(runs_dir=studio.runs_dir), studio.report().index)
    assert studio.job.join(60)
    assert now(studio) == f"{run.path.name}: finished"


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
