"""Registering one file or a folder of files, good and bad."""

from pathlib import Path

import numpy as np
import pytest
import torch

from regstudio.data.folders.layout import Case
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.pictures.formats import read_image, read_label
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.errors import DataError
from regstudio.methods.network import NetworkMethod, load_method
from regstudio.networks.checkpoint import Checkpoint
from regstudio.networks.corrmlp import CorrMLP
from regstudio.registering.batch import find_moving, register_files
from regstudio.registering.two_images import register
from tests.known_flows import shifted
from tests.pictures import stretched
from tests.registering.batches import fixed_case, reader, table

FLOW_FILES = ("flow.npy", "flow.json", "displacement.nii.gz")


def test_a_folder_is_registered_file_by_file(folder: Path, shift: NetworkMethod, label: np.ndarray) -> None:
    cases, problems = find_moving(folder / "moving", folder / "seg")
    assert [case.id for case in cases] == ["a2", "a10", "b"]
    assert [str(problem).split(": ")[1] for problem in problems] == [
        f"has no label in {folder / 'seg'}. Name it b_seg, to see a Dice."
    ]
    out, results = folder / "out", []
    for result in register_files(shift, reader(fixed_case(folder)), cases, out):
        assert all(path.is_file() for path in result.written)
        results.append(result)
    assert {path.name for path in out.iterdir()} == {
        *("a2_warped.nii.gz", "a2_warped_seg.nii.gz", "b_warped.npy", "a10_warped.png", "a10_warped_seg.npy"),
        *(f"{name}_{end}" for name in ("a2", "a10", "b") for end in FLOW_FILES),
        "metrics.csv",
    }
    np.testing.assert_array_equal(read_label(out / "a10_warped_seg.npy").array, shifted(label))
    rows = table(out)
    assert [row["id"] for row in rows] == ["a2", "a10", "b"]
    assert [float(row["dice"] or 2) for row in rows] == [1, 1, 2]
    assert float(rows[0]["dice_300"]) == 1
    assert all(float(row["seconds"]) > 0 and row["njd"] == "0" and not row["error"] for row in rows)
    assert results[0].metrics["dice_before"] == pytest.approx((72 / 120 + 30 / 64) / 2)


def test_labels_among_the_images_are_found(folder: Path, image: np.ndarray, label: np.ndarray) -> None:
    write_label(folder / "moving" / "b_seg.nii", label)
    cases, problems = find_moving(folder / "moving")
    assert [case.label and case.label.name for case in cases] == [None, None, "b_seg.nii"]
    assert not problems


def test_a_bad_file_among_many_is_reported_and_the_rest_go_on(folder: Path, shift: NetworkMethod) -> None:
    (folder / "moving" / "a3.png").write_bytes(b"no picture")
    write_image(folder / "moving" / "c.png", np.random.default_rng(0).random((50, 50)))
    results = list(register_files(shift, reader(fixed_case(folder)), find_moving(folder / "moving")[0], folder / "out"))
    errors = {result.case.id: result.error for result in results}
    assert "a3.png: cannot be read as .png" in errors.pop("a3")
    assert "c.png: its size is 50 x 50 pixels, but that of fixed.png is 40 x 36" in errors.pop("c")
    assert errors == {"a2": None, "a10": None, "b": None}
    rows = {row["id"]: row for row in table(folder / "out")}
    assert "cannot be read" in rows["a3"]["error"]
    assert rows["a3"]["ncc"] == ""


def test_a_single_file_raises_and_writes_nothing(folder: Path, shift: NetworkMethod) -> None:
    (folder / "bad.png").write_bytes(b"no picture")
    cases, _ = find_moving(folder / "bad.png")
    with pytest.raises(DataError, match=r"bad\.png: cannot be read"):
        list(register_files(shift, reader(fixed_case(folder)), cases, folder / "out"))
    assert not list((folder / "out").iterdir())


def test_a_single_file_may_lie_beside_its_results(folder: Path, shift: NetworkMethod) -> None:
    cases, _ = find_moving(folder / "moving" / "a10.png", folder / "seg")
    (result,) = register_files(shift, reader(fixed_case(folder)), cases, folder / "moving")
    assert result.metrics["dice"] == 1
    assert (folder / "moving" / "a10_metrics.csv").is_file()
    again = list(register_files(shift, reader(fixed_case(folder)), cases, folder / "moving"))
    assert again[0].written == result.written


def test_a_bad_fixed_image_or_label_raises(folder: Path, shift: NetworkMethod, image: np.ndarray) -> None:
    cases, _ = find_moving(folder / "moving")
    with pytest.raises(DataError, match=r"none\.png: there is no such file"):
        next(register_files(shift, reader(Case(id="x", image=folder / "none.png")), cases, folder / "out"))
    write_image(folder / "small.png", image[:20])
    with pytest.raises(DataError, match=r"small\.png: is 20 x 36 pixels, and less than 32 is too few"):
        next(register_files(shift, reader(Case(id="x", image=folder / "small.png")), cases, folder / "out"))
    write_label(folder / "other_seg.png", np.zeros((40, 40), int))
    fixed = Case(id="x", image=folder / "fixed.png", label=folder / "other_seg.png")
    with pytest.raises(DataError, match=r"other_seg\.png: is 40 x 40 pixels, unlike its image with 40 x 36"):
        next(register_files(shift, reader(fixed), cases, folder / "out"))


def test_out_must_be_writable_and_hold_no_inputs(folder: Path, shift: NetworkMethod) -> None:
    cases, _ = find_moving(folder / "moving")
    for out in (folder / "moving", folder / "moving" / ".." / "moving", folder):
        with pytest.raises(DataError, match="holds files to read"):
            next(register_files(shift, reader(fixed_case(folder)), cases, out))
    with pytest.raises(DataError, match=r"fixed\.png/out: cannot be written to .* Choose another --out"):
        next(register_files(shift, reader(fixed_case(folder)), cases, folder / "fixed.png" / "out"))


def test_loaders_with_a_size_take_images_and_labels_of_any_size(
    folder: Path, identity: NetworkMethod, image: np.ndarray, label: np.ndarray
) -> None:
    big, big_label = np.kron(image, np.ones((2, 2))), np.kron(label, np.ones((2, 2), int))
    write_image(folder / "big.npy", 100 * big)
    write_label(folder / "big_seg.png", big_label)
    write_image(folder / "fixed.png", image)
    write_label(folder / "fixed_seg.png", label)
    cases, _ = find_moving(folder / "big.npy", folder / "big_seg.png")
    loaders = {
        "image_loader": ImageLoader(grid=stretched(image.shape)),
        "label_loader": LabelLoader(grid=stretched(image.shape)),
    }
    (result,) = register_files(identity, reader(fixed_case(folder), **loaders), cases, folder / "out")
    np.testing.assert_allclose(read_image(folder / "out" / "big_warped.npy").array, 100 * image, atol=1e-4)
    np.testing.assert_array_equal(read_label(folder / "out" / "big_warped_seg.png").array, label)
    assert result.metrics["dice"] == result.metrics["dice_before"] == 1


def test_loaders_say_how_files_are_read(
    folder: Path, shift: NetworkMethod, image: np.ndarray, label: np.ndarray
) -> None:
    np.savez(folder / "moving.npz", pixels=np.stack([np.zeros_like(image), image]))
    np.savez(folder / "moving_seg.npz", ids=np.stack([label, label]))
    cases, _ = find_moving(folder / "moving.npz", folder / "moving_seg.npz")
    images = ImageLoader(key="pixels", slice_axis=0, slice_index=1)
    labels = LabelLoader(key="ids", slice_axis=0, slice_index=1, dtype=np.float32)
    (result,) = register_files(
        shift, reader(fixed_case(folder), image_loader=images, label_loader=labels), cases, folder / "out"
    )
    assert result.metrics["dice"] == 1
    assert np.load(folder / "out" / "moving_warped.npz").files == ["pixels"]


def test_interrupted_work_leaves_its_metrics(folder: Path, shift: NetworkMethod, image: np.ndarray) -> None:
    names = [f"c{number}" for number in range(9)]
    for name in names:
        write_image(folder / "more" / f"{name}.npy", image)
    out = folder / "out"
    work = register_files(shift, reader(fixed_case(folder)), find_moving(folder / "more")[0], out)
    next(work)
    work.close()
    done = [row["id"] for row in table(out)]
    assert done == names[: len(done)]
    assert 1 <= len(done) < len(names)
    assert [name for name in names if (out / f"{name}_displacement.nii.gz").exists()] == done


@pytest.mark.parametrize("threads", [1, 3])
def test_several_at_once_give_what_one_by_one_gives(folder: Path, image: np.ndarray, threads: int) -> None:
    model, before = CorrMLP(), torch.get_num_threads()
    for head in model.heads:
        torch.nn.init.normal_(head.weight, std=0.05)
    method = load_method(Checkpoint(weights=model.state_dict(), network={}), "cpu")
    for number in range(5):
        write_image(folder / "more" / f"c{number}.npy", np.roll(image, number, axis=1))
    fixed, cases = fixed_case(folder), find_moving(folder / "more")[0]
    torch.set_num_threads(threads)
    try:
        results = list(register_files(method, reader(fixed), cases, folder / "out"))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert [result.case for result in results] == list(cases)
    for result in results:
        assert np.ptp(np.load(folder / "out" / f"{result.case.id}_flow.npy")) > 0.1
        alone = register(method, read_image(fixed.image).array, read_image(result.case.image).array)
        np.testing.assert_allclose(np.load(folder / "out" / f"{result.case.id}_flow.npy"), alone.flow, atol=1e-4)
        assert result.metrics["ncc"] == pytest.approx(alone.metrics["ncc"], abs=1e-4)


def test_what_cannot_be_found_is_named(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: holds no image to register\. Supported are \.png"):
        find_moving(folder / "empty")
    with pytest.raises(DataError, match=r"fixed_seg\.png: is no folder, but the moving images are in one"):
        find_moving(folder / "moving", folder / "fixed_seg.png")
    with pytest.raises(DataError, match=r"seg: holds no labels named b_seg"):
        find_moving(folder / "moving" / "b.npy", folder / "seg")
