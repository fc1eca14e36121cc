"""Registering a folder once more: what is complete and unchanged is kept."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from regstudio.data.loading.loaders import ImageLoader
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.methods.network import NetworkMethod, load_method
from regstudio.registering.batch import find_moving, register_files
from tests.known_flows import constant_flow
from tests.registering.batches import fixed_case, reader, table


def registered(
    folder: Path, method: NetworkMethod, *, slice_index: int | None = None, **options: Any
) -> dict[str, bool]:
    """Register the folder and say which cases were kept from an earlier call."""
    cases, _ = find_moving(folder / "moving", folder / "seg")
    read = reader(fixed_case(folder), image_loader=ImageLoader(slice_index=slice_index))
    options = {"recipe": "one", **options}
    return {result.case.id: result.reused for result in register_files(method, read, cases, folder / "out", **options)}


def test_what_is_complete_and_unchanged_is_kept(folder: Path, shift: NetworkMethod, image: np.ndarray) -> None:
    assert registered(folder, shift) == {"a2": False, "a10": False, "b": False}
    first = table(folder / "out")
    times = {path.name: path.stat().st_mtime_ns for path in (folder / "out").glob("*_*")}
    assert registered(folder, shift) == {"a2": True, "a10": True, "b": True}
    assert table(folder / "out") == first
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "out").glob("*_*")} == times
    assert registered(folder, shift, overwrite=True) == {"a2": False, "a10": False, "b": False}

    (folder / "out" / "a2_flow.npy").unlink()
    (folder / "out" / "b_flow.npy").write_bytes(b"half")
    assert registered(folder, shift) == {"a2": False, "a10": True, "b": False}
    write_image(folder / "moving" / "b.npy", image[::-1])
    assert registered(folder, shift) == {"a2": True, "a10": True, "b": False}
    write_label(folder / "seg" / "a10_seg.npy", np.zeros(image.shape, int))
    assert registered(folder, shift) == {"a2": True, "a10": False, "b": True}


def test_another_network_fixed_image_or_reading_is_another_job(
    folder: Path, shift: NetworkMethod, image: np.ndarray
) -> None:
    all_new = {"a2": False, "a10": False, "b": False}
    registered(folder, shift)
    assert registered(folder, load_method(constant_flow(0, 0), "cpu"), recipe="two") == all_new
    np.testing.assert_array_equal(np.load(folder / "out" / "b_flow.npy"), 0)
    write_image(folder / "fixed.png", image)
    assert registered(folder, shift, recipe="two") == all_new
    assert registered(folder, shift, recipe="two", slice_index=1) == all_new


def test_a_job_that_was_cut_off_goes_on(folder: Path, shift: NetworkMethod) -> None:
    registered(folder, shift)
    journal = folder / "out" / "registered.jsonl"
    lines = journal.read_text().splitlines()
    assert len(lines) == 3
    journal.write_text("\n".join(lines[:2]) + "\n" + lines[2][:40])  # as a crash may leave it
    cut_off = json.loads(lines[2])["id"]  # the one that was done last
    (folder / "out" / "metrics.csv").unlink()
    assert registered(folder, shift) == {name: name != cut_off for name in ("a2", "a10", "b")}
    assert [row["id"] for row in table(folder / "out")] == ["a2", "a10", "b"]
    assert len(journal.read_text().splitlines()) == 3


def test_a_journal_from_before_there_was_a_quality_is_still_good(folder: Path, shift: NetworkMethod) -> None:
    registered(folder, shift)
    journal = folder / "out" / "registered.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert all(0 < line["metrics"].pop("quality") <= 1 for line in lines)
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert registered(folder, shift) == {"a2": True, "a10": True, "b": True}
    assert "quality" not in table(folder / "out")[0]


def test_what_failed_is_tried_again(folder: Path, shift: NetworkMethod, image: np.ndarray) -> None:
    (folder / "moving" / "b.npy").write_bytes(b"no array")
    registered(folder, shift)
    assert "cannot be read" in table(folder / "out")[2]["error"]
    write_image(folder / "moving" / "b.npy", image)
    assert registered(folder, shift) == {"a2": True, "a10": True, "b": False}
    assert not table(folder / "out")[2]["error"]


def test_without_a_recipe_nothing_is_kept(folder: Path, shift: NetworkMethod) -> None:
    for _ in range(2):
        assert not any(registered(folder, shift, recipe=None).values())
    assert not (folder / "out" / "registered.jsonl").exists()
