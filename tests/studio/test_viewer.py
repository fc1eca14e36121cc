import json
import shutil
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from regstudio.config import TrainConfig
from regstudio.data.writing import write_image
from regstudio.errors import CheckpointError, ConfigError, DataError, RunError
from regstudio.runs.run import Run
from regstudio.studio.caches import LRUCache, NetworkCache
from regstudio.studio.studio import Studio
from regstudio.studio.view_zip import write_view_zip
from regstudio.studio.viewer import Viewer

Config = Callable[..., TrainConfig]


@pytest.fixture
def viewing(studio: Studio, one_run: Path) -> Viewer:
    shutil.copytree(one_run, studio.runs_dir / "first")
    return Viewer(studio)


def view_of(viewing: Viewer, case: str | None = None) -> dict[str, object]:
    pair = viewing.chosen(viewing.config("first"), case)
    return viewing.view(pair, [viewing.network("first", "best")]).payload()


def test_it_lists_runs_checkpoints_and_cases(viewing: Viewer) -> None:
    assert viewing.runs() == ["first"]
    assert viewing.checkpoints("first") == ["best", "last", "2", "1"]
    cases = viewing.cases(viewing.config("first"))
    assert [case.partition("/")[0] for case in cases] == ["validation"] * 2 + ["training"] * 4


def test_a_view_has_the_warped_image_and_dice(viewing: Viewer) -> None:
    payload = view_of(viewing)
    (result,) = payload["results"]  # type: ignore[misc]
    assert payload["name"] == "phantom_05"
    assert result["title"] == "first, best"
    assert {"dice_before", "dice", "dice_1", "njd", "ncc"} <= result["metrics"].keys()


def test_two_checkpoints_of_one_case_are_shown_together(viewing: Viewer) -> None:
    networks = [viewing.network("first", "1"), viewing.other("first/2")]
    view = viewing.view(viewing.chosen(viewing.config("first")), networks)
    assert [result["title"] for result in view.payload()["results"]] == ["first, epoch 1", "first, epoch 2"]


def test_what_is_not_there_is_refused_by_name(viewing: Viewer) -> None:
    with pytest.raises(RunError, match="no checkpoint '9'"):
        viewing.network("first", "9")
    with pytest.raises(RunError, match="not the name of a run"):
        viewing.network("../first", "best")
    with pytest.raises(RunError, match="not the name"):
        viewing.other("best")
    with pytest.raises(DataError, match="no such case"):
        viewing.chosen(viewing.config("first"), "validation/../../secret")


def test_a_checkpoint_file_must_lie_below_the_roots(viewing: Viewer, tmp_path: Path) -> None:
    path = tmp_path / "runs" / "first" / "checkpoints" / "best_model.pt"
    assert viewing.network_at(str(path)).path == path
    with pytest.raises(ConfigError, match="may not be opened"):
        viewing.network_at("/etc/passwd")


def test_a_link_out_of_the_roots_is_refused(viewing: Viewer, studio: Studio, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write_image(outside / "secret.png", np.zeros((48, 48)))
    shown = studio.shared(["first"])
    config = viewing.config("first")
    link = config.layout.data_base_dir / "moving" / "zz.png"
    link.symlink_to(outside / "secret.png")
    try:
        with pytest.raises(DataError, match="outside the run's data"):
            Viewer(shown).chosen(config, "training/zz")
    finally:
        link.unlink()


def test_a_read_only_studio_shows_its_runs_and_no_others(viewing: Viewer, studio: Studio) -> None:
    shutil.copytree(studio.runs_dir / "first", studio.runs_dir / "other")
    shared = Viewer(studio.shared(["first"]))
    assert shared.runs() == ["first"]
    assert view_of(shared)["name"] == "phantom_05"
    with pytest.raises(RunError):
        shared.network("other", "best")


def test_own_images_are_registered_to_the_atlas_if_there_is_no_other(viewing: Viewer, tmp_path: Path) -> None:
    moving = tmp_path / "own.png"
    write_image(moving, np.random.default_rng(0).random((48, 48)))
    pair = viewing.own_images(viewing.config("first"), {"moving": moving})
    assert viewing.view(pair, [viewing.network("first")]).payload()["name"] == "own"
    with pytest.raises(DataError, match="no moving image"):
        viewing.own_images(viewing.config("first"), {})


def test_own_images_of_another_size_are_resampled_only_if_asked(viewing: Viewer, tmp_path: Path) -> None:
    moving = tmp_path / "own.png"
    write_image(moving, np.random.default_rng(0).random((60, 64)))
    config, networks = viewing.config("first"), [viewing.network("first")]
    with pytest.raises(DataError, match="its size is 60 x 64 pixels"):
        viewing.view(viewing.own_images(config, {"moving": moving}), networks)
    view = viewing.view(viewing.own_images(config, {"moving": moving}, resize=True), networks)
    assert view.payload()["height"] == 48


def test_an_image_too_large_to_wait_for_is_refused(
    viewing: Viewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regstudio.studio.viewer.MAX_PIXELS", 1000)
    with pytest.raises(DataError, match="too many to register"):
        viewing.view(viewing.chosen(viewing.config("first")), [viewing.network("first")])


def test_the_zip_holds_figure_warped_image_flow_label_and_metrics(viewing: Viewer, tmp_path: Path) -> None:
    view = viewing.view(viewing.chosen(viewing.config("first")), [viewing.network("first", "best")])
    bundle = write_view_zip(view, tmp_path / "zips")
    with zipfile.ZipFile(bundle) as archive:
        stems = {name.removeprefix("phantom_05_").partition(".")[0] for name in archive.namelist()}
        metrics = json.loads(archive.read("phantom_05_metrics.json"))["metrics"]
    assert stems == {"figure", "warped", "flow", "displacement", "warped_seg", "metrics"}
    assert metrics["dice"] == pytest.approx(view.registrations[0][1].metrics["dice"])


def test_the_zip_of_two_networks_has_a_folder_for_each(viewing: Viewer, tmp_path: Path) -> None:
    networks = [viewing.network("first", "best"), viewing.network("first", "1")]
    bundle = write_view_zip(viewing.view(viewing.chosen(viewing.config("first")), networks), tmp_path)
    with zipfile.ZipFile(bundle) as archive:
        assert {name.partition("/")[0] for name in archive.namelist()} == {"first_best", "first_epoch_1"}


def test_a_network_is_loaded_once_for_all_threads_and_anew_when_it_changes(viewing: Viewer) -> None:
    path, registrars = viewing.network("first", "best").path, NetworkCache(most=1)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(registrars.get(path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(id, found))) == 1
    path.write_bytes(viewing.network("first", "last").path.read_bytes())
    assert registrars.get(path) is not found[0]
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        registrars.get(path.with_name("gone.pt"))


def test_a_run_without_a_checkpoint_says_when_there_will_be_one(studio: Studio, quick_config: Config) -> None:
    run = Run(studio.runs_dir / "empty")
    run.write_config(quick_config())
    assert Viewer(studio).runs() == []
    with pytest.raises(RunError, match="end of the first epoch"):
        Viewer(studio).network("empty")


def test_a_drawing_is_made_once_and_anew_when_a_file_changes(viewing: Viewer, studio: Studio) -> None:
    network, pair = viewing.network("first", "best"), viewing.chosen(viewing.config("first"))
    drawing = viewing.drawing(pair, [network])
    assert viewing.drawing(pair, [viewing.network("first", "best")]) is drawing
    network.path.write_bytes(viewing.network("first", "last").path.read_bytes())
    assert viewing.drawing(pair, [network]) is not drawing


def test_refining_is_another_drawing_and_tells_its_gain(viewing: Viewer) -> None:
    networks, pair = [viewing.network("first")], viewing.chosen(viewing.config("first"))
    plain, refined = viewing.drawing(pair, networks), viewing.drawing(pair, networks, 3)
    assert viewing.drawing(pair, networks, 3) is refined
    before, after = plain["results"][0]["metrics"], refined["results"][0]["metrics"]
    assert "refine_seconds" not in before
    assert after["refine_seconds"] > 0
    assert after["ncc_unrefined"] == pytest.approx(before["ncc"])
    assert after["dice_unrefined"] == pytest.approx(before["dice"])
    assert after["ncc"] != before["ncc"]


def test_what_was_used_last_is_kept() -> None:
    kept: LRUCache[str] = LRUCache(3, len)
    made = []

    def get(name: str) -> str:
        return kept.get(name, lambda: made.append(name) or name)

    for name in ("a", "bb", "a", "c", "a", "bb"):
        get(name)
    assert made == ["a", "bb", "c", "bb"]
    assert get("longer than three") == get("longer than three")
    assert made[4:] == ["longer than three"]


def test_what_could_not_be_made_is_tried_again() -> None:
    kept: LRUCache[int] = LRUCache(3)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 // 0)
    assert kept.get("a", lambda: 1) == 1
