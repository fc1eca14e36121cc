"""The demo data set: reproducible, small, and true to the flows that it claims."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from regstudio.data.phantom import FLOW_STEP, LABEL_NAMES, make_demo
from regstudio.data.pictures.formats import read_image, read_label, stem
from regstudio.errors import ConfigError, DataError
from regstudio.metrics import dice, njd

COMMITTED = Path(__file__).parents[2] / "data"
CASES = [f"phantom_{number:02d}" for number in range(1, 31)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    make_demo(folder)
    return folder


def files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def decoded(path: Path) -> np.ndarray:
    if path.parent.name == "true_flow":
        with np.load(path) as arrays:
            return arrays["flow"]
    return (read_label if path.parent.name.endswith("_seg") else read_image)(path).array


def only(folder: Path, name: str) -> Path:
    (path,) = (path for path in folder.iterdir() if stem(path) == name)
    return path


def test_same_seed_same_bytes_and_another_seed_another_brain(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        make_demo(tmp_path / name, seed=seed, size=48, train=3, validation=1)
    a, b, c = ({path: (folder / path).read_bytes() for path in files(folder)} for folder in sorted(tmp_path.iterdir()))
    assert a == b
    assert a.keys() == c.keys()
    assert all(a[path] != c[path] for path in a)


@pytest.mark.slow
def test_the_committed_data_set_is_what_make_demo_writes(demo: Path) -> None:
    assert [path for path in files(COMMITTED) if not path.name.startswith(".")] == files(demo)
    for path in files(demo):  # decoded, since another zlib may pack the same pixels into other bytes
        fresh, committed = decoded(demo / path).astype(float), decoded(COMMITTED / path).astype(float)
        # Another platform's last bit of a sine may tip a pixel over an edge once in a while.
        assert np.mean(fresh != committed) < 1e-3, path
    assert sum((COMMITTED / path).stat().st_size for path in files(demo)) < 2e6


@pytest.mark.slow
def test_layout_and_formats(demo: Path) -> None:
    folders = {path.name: len(list(path.iterdir())) for path in demo.iterdir()}
    assert folders == {
        "fixed": 1, "fixed_seg": 1, "moving": 24, "moving_seg": 24, "validation_moving": 6, "validation_moving_seg": 6,
        "true_flow": 30,
    }  # fmt: skip
    for folder in ("moving", "moving_seg", "validation_moving", "validation_moving_seg"):
        assert {path.name.partition(".")[2] for path in (demo / folder).iterdir()} == {"png", "nii.gz", "npy", "npz"}


@pytest.mark.parametrize("folder", ["fixed", "moving", "validation_moving"])
def test_images_are_8_bit_and_labelled_in_full(folder: str) -> None:
    for path in (COMMITTED / folder).iterdir():
        image, label = read_image(path).array, read_label(only(COMMITTED / f"{folder}_seg", f"{stem(path)}_seg")).array
        assert image.shape == label.shape == (128, 128)
        assert image.dtype == np.uint8
        assert set(np.unique(label)) == {0, *LABEL_NAMES}
        assert image[label == 3].mean() > image[label == 2].mean() + 20 > image[label == 4].mean() + 60


def test_true_flows_warp_each_case_onto_the_atlas_without_folds() -> None:
    atlas = read_label(COMMITTED / "fixed_seg/atlas_seg.png").array
    ids = np.arange(6)
    before = {}
    for name in CASES:
        seg = "moving_seg" if int(name[-2:]) <= 24 else "validation_moving_seg"
        label = read_label(only(COMMITTED / seg, f"{name}_seg")).array
        flow = decoded(COMMITTED / "true_flow" / f"{name}.npz").astype(float)
        assert njd(flow).count == 0
        assert (flow % FLOW_STEP == 0).all()
        points = np.indices(atlas.shape) + flow
        nearest = ndimage.map_coordinates(label, points, order=0)
        linear = np.argmax([ndimage.map_coordinates((label == k) * 1.0, points, order=1) for k in ids], axis=0)
        assert dice(atlas, nearest).mean > 0.93  # what rounding to whole pixels leaves of thin structures
        assert dice(atlas, linear).mean > 0.95
        before[name] = dice(atlas, label).mean
    assert 0.60 < np.mean([before[name] for name in CASES[24:]]) < 0.72
    assert max(before.values()) < 0.85


def test_the_true_flow_explains_the_image_too() -> None:
    atlas = read_image(COMMITTED / "fixed/atlas.png").array.astype(float)
    moving = read_image(COMMITTED / "moving/phantom_01.png").array.astype(float)
    points = np.indices(atlas.shape) + decoded(COMMITTED / "true_flow/phantom_01.npz")
    warped = ndimage.map_coordinates(moving, points, order=1)
    before, after = (np.corrcoef(atlas.ravel(), image.ravel())[0, 1] for image in (moving, warped))
    assert before < 0.9
    assert after > 0.95  # the contrast differs by design


def test_the_smallest_demo_has_every_label(tmp_path: Path) -> None:
    make_demo(tmp_path, size=32, train=1, validation=0)
    for path in (tmp_path / "moving_seg/phantom_01_seg.png", tmp_path / "fixed_seg/atlas_seg.png"):
        assert set(np.unique(read_label(path).array)) == {0, *LABEL_NAMES}


def test_someone_elses_files_are_left_alone(tmp_path: Path) -> None:
    make_small = {"size": 32, "train": 1, "validation": 0}
    atlas = tmp_path / "fixed/atlas.png"
    atlas.parent.mkdir()
    atlas.write_text("mine")
    with pytest.raises(DataError, match=r"atlas\.png is not part of the demo .* Name an empty or new folder"):
        make_demo(tmp_path, **make_small)
    assert files(tmp_path) == [Path("fixed/atlas.png")]
    atlas.unlink()

    make_demo(tmp_path, **make_small)
    make_demo(tmp_path, **make_small)  # its own files it may replace
    mine = tmp_path / "notes.txt"
    mine.write_text("mine")
    with pytest.raises(DataError, match=r"notes\.txt is not part of the demo"):
        make_demo(tmp_path, **make_small)
    make_demo(tmp_path, **make_small, overwrite=True)
    assert mine.read_text() == "mine"
    with pytest.raises(DataError, match=r"notes\.txt is not part of the demo"):
        make_demo(mine, **make_small, overwrite=True)


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"size": 31}, {"train": 0}, {"validation": -1}])
def test_numbers_out_of_bounds_are_named(tmp_path: Path, wrong: dict[str, int]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ConfigError, match=f"{name} {value}"):
        make_demo(tmp_path, **wrong)
    assert files(tmp_path) == []
