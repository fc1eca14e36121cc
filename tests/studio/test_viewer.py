import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from regstudio.config import TrainConfig, build_config
from regstudio.data.loading.loaders import rescale
from regstudio.data.pictures.writing import write_image
from regstudio.errors import ConfigError, DataError, RunError
from regstudio.runs.run import Run
from regstudio.studio.studio import Studio
from regstudio.studio.view_zip import write_view_zip
from regstudio.studio.viewer import Viewer

Config = Callable[..., TrainConfig]


@pytest.fixture
def viewer(studio: Studio, one_run: Path) -> Viewer:
    shutil.copytree(one_run, studio.runs_dir / "first")
    return Viewer(studio)


def view_of(viewer: Viewer, case: str | None = None) -> dict[str, object]:
    pair = viewer.chosen(viewer.config("first"), case)
    return viewer.view(pair, [viewer.registrar("first", "best")]).payload()


def test_it_lists_runs_checkpoints_and_cases(viewer: Viewer) -> None:
    assert viewer.runs() == ["first", "no training"]
    assert viewer.checkpoints("first") == ["best", "last", "2", "1"]
    cases = viewer.cases(viewer.config("first"))
    assert [case.partition("/")[0] for case in cases] == ["validation"] * 2 + ["training"] * 4


def test_a_view_has_the_warped_image_and_dice(viewer: Viewer) -> None:
    payload = view_of(viewer)
    (result,) = payload["results"]  # type: ignore[misc]
    assert payload["name"] == "phantom_05"
    assert result["title"] == "first, best"
    assert {"dice_before", "dice", "dice_1", "njd", "ncc"} <= result["metrics"].keys()


def test_labels_have_the_names_of_the_data_folder(viewer: Viewer, demo: Path, tmp_path: Path) -> None:
    shutil.copytree(demo, tmp_path / "own")
    (tmp_path / "own" / "labels.csv").write_text("id,name,colour\n2,ventricle,#123456\n")
    config = build_config({"data_base_dir": tmp_path / "own"})
    payload = viewer.view(viewer.chosen(config), [viewer.other("no training/none")]).payload()
    named = dict(zip(payload["ids"], zip(payload["names"], payload["colours"], strict=True), strict=True))
    assert named[2] == ("ventricle", "#123456")
    assert named[1][0] == "label 1"


def test_two_checkpoints_of_one_case_are_shown_together(viewer: Viewer) -> None:
    networks = [viewer.registrar("first", "1"), viewer.other("first/2")]
    view = viewer.view(viewer.chosen(viewer.config("first")), networks)
    assert [result["title"] for result in view.payload()["results"]] == ["first, epoch 1", "first, epoch 2"]


def test_methods_without_training_stand_beside_checkpoints(viewer: Viewer) -> None:
    assert {"general", "optimiser", "affine", "none"} <= set(viewer.checkpoints("no training"))
    assert "no training/optimiser" in viewer.others("first")
    registrars = [viewer.registrar("first"), viewer.other("no training/none")]
    first, second = viewer.view(viewer.chosen(viewer.config("first")), registrars).payload()["results"]
    assert (first["title"], second["title"]) == ("first, best", "not registered")
    assert second["metrics"]["dice"] == second["metrics"]["dice_before"]
    assert second["metrics"]["ncc"] != first["metrics"]["ncc"]


def test_two_images_are_registered_where_nothing_was_trained(studio: Studio, tmp_path: Path) -> None:
    image = gaussian_filter(np.random.default_rng(0).random((64, 64)), 3)
    files = {name: tmp_path / f"{name}.png" for name in ("fixed", "moving")}
    for by, file in enumerate(files.values()):
        write_image(file, rescale(np.roll(image, 3 * by, axis=1)))
    viewer = Viewer(studio)
    (run,) = viewer.runs()
    chosen = viewer.own_images(viewer.config(run), dict(files))
    view = viewer.view(chosen, [viewer.registrar(run)])
    assert view.registrations[0][0] == "general network + optimiser"
    metrics = view.registrations[0][1].metrics
    assert metrics["ncc"] > metrics["ncc_before"] + 0.3


def test_what_is_not_there_is_refused_by_name(viewer: Viewer) -> None:
    with pytest.raises(RunError, match="no checkpoint '9'"):
        viewer.registrar("first", "9")
    with pytest.raises(RunError, match="not the name of a run"):
        viewer.registrar("../first", "best")
    with pytest.raises(RunError, match="not the name"):
        viewer.other("best")
    with pytest.raises(RunError, match="no method 'magic'"):
        viewer.other("no training/magic")
    with pytest.raises(DataError, match="no such case"):
        viewer.chosen(viewer.config("first"), "validation/../../secret")


def test_a_checkpoint_file_must_lie_below_the_roots(viewer: Viewer, tmp_path: Path) -> None:
    path = tmp_path / "runs" / "first" / "checkpoints" / "best_model.pt"
    assert viewer.registrar_at(str(path)).path == path
    with pytest.raises(ConfigError, match="may not be opened"):
        viewer.registrar_at("/etc/passwd")


def test_a_link_out_of_the_roots_is_refused(viewer: Viewer, studio: Studio, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write_image(outside / "secret.png", np.zeros((48, 48)))
    shown = studio.shared(["first"])
    config = viewer.config("first")
    link = config.layout.data_base_dir / "moving" / "zz.png"
    link.symlink_to(outside / "secret.png")
    try:
        with pytest.raises(DataError, match="outside the run's data"):
            Viewer(shown).chosen(config, "training/zz")
    finally:
        link.unlink()


def test_a_read_only_studio_shows_its_runs_and_no_others(viewer: Viewer, studio: Studio) -> None:
    shutil.copytree(studio.runs_dir / "first", studio.runs_dir / "other")
    shared = Viewer(studio.shared(["first"]))
    assert shared.runs() == ["first"]
    assert view_of(shared)["name"] == "phantom_05"
    with pytest.raises(RunError):
        shared.registrar("other", "best")
    with pytest.raises(RunError):
        shared.registrar("no training", "general")


def test_own_images_are_registered_to_the_atlas_if_there_is_no_other(viewer: Viewer, tmp_path: Path) -> None:
    moving = tmp_path / "own.png"
    write_image(moving, np.random.default_rng(0).random((48, 48)))
    pair = viewer.own_images(viewer.config("first"), {"moving": moving})
    assert viewer.view(pair, [viewer.registrar("first")]).payload()["name"] == "own"
    with pytest.raises(DataError, match="no moving image"):
        viewer.own_images(viewer.config("first"), {})


def test_own_images_of_another_size_are_padded_or_stretched_onto_the_grid(viewer: Viewer, tmp_path: Path) -> None:
    moving = tmp_path / "own.png"
    write_image(moving, np.random.default_rng(0).random((60, 64)))
    config, networks = viewer.config("first"), [viewer.registrar("first")]
    for resize, border in ((False, 0), (True, 1)):
        view = viewer.view(viewer.own_images(config, {"moving": moving}, resize=resize), networks)
        assert view.payload()["height"] == 48
        assert view.registrations[0][1].pair.moving[0].any() == border


def test_an_image_too_large_to_wait_for_is_refused(viewer: Viewer, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    write_image(large, np.arange(2049**2, dtype=np.uint8).reshape(2049, 2049))
    own_size = build_config({"working_size": "own"}, viewer.config("first"))
    pair = viewer.own_images(own_size, {"moving": large, "fixed": large})
    with pytest.raises(DataError, match="too many to register"):
        viewer.view(pair, [viewer.registrar("first")])


def test_the_zip_holds_figure_warped_image_flow_label_and_metrics(viewer: Viewer, tmp_path: Path) -> None:
    view = viewer.view(viewer.chosen(viewer.config("first")), [viewer.registrar("first", "best")])
    bundle = write_view_zip(view, tmp_path / "zips" / "v.zip")
    with zipfile.ZipFile(bundle) as archive:
        stems = {name.removeprefix("phantom_05_").partition(".")[0] for name in archive.namelist()}
        metrics = json.loads(archive.read("phantom_05_metrics.json"))["metrics"]
    assert stems == {"figure", "warped", "flow", "displacement", "warped_seg", "metrics"}
    assert metrics["dice"] == pytest.approx(view.registrations[0][1].metrics["dice"])


def test_the_zip_of_two_networks_has_a_folder_for_each(viewer: Viewer, tmp_path: Path) -> None:
    networks = [viewer.registrar("first", "best"), viewer.registrar("first", "1")]
    bundle = write_view_zip(viewer.view(viewer.chosen(viewer.config("first")), networks), tmp_path / "v.zip")
    with zipfile.ZipFile(bundle) as archive:
        assert {name.partition("/")[0] for name in archive.namelist()} == {"first_best", "first_epoch_1"}


def test_a_run_without_a_checkpoint_says_when_there_will_be_one(studio: Studio, quick_config: Config) -> None:
    run = Run(studio.runs_dir / "empty")
    run.write_config(quick_config())
    assert Viewer(studio).runs() == ["no training"]
    with pytest.raises(RunError, match="end of the first epoch"):
        Viewer(studio).registrar("empty")


def test_a_drawing_is_made_once_and_anew_when_a_file_changes(viewer: Viewer, studio: Studio) -> None:
    network, pair = viewer.registrar("first", "best"), viewer.chosen(viewer.config("first"))
    drawing = viewer.drawing(pair, [network])
    assert viewer.drawing(pair, [viewer.registrar("first", "best")]) is drawing
    network.path.write_bytes(viewer.registrar("first", "last").path.read_bytes())
    assert viewer.drawing(pair, [network]) is not drawing


def test_refining_is_another_drawing_and_tells_its_gain(viewer: Viewer) -> None:
    networks, pair = [viewer.registrar("first")], viewer.chosen(viewer.config("first"))
    plain, refined = viewer.drawing(pair, networks), viewer.drawing(pair, networks, 3)
    assert viewer.drawing(pair, networks, 3) is refined
    before, after = plain["results"][0]["metrics"], refined["results"][0]["metrics"]
    assert "refine_seconds" not in before
    assert after["refine_seconds"] > 0
    assert after["ncc_unrefined"] == pytest.approx(before["ncc"])
    assert after["dice_unrefined"] == pytest.approx(before["dice"])
    assert after["ncc"] != before["ncc"]
