"""From a source to a data folder: what is planned, what is written, and that the source stays as it is."""

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from regstudio.data.importing.execute import write_plan
from regstudio.data.importing.options import ImportOptions
from regstudio.data.importing.plan import ImportPlan, plan_import
from regstudio.data.importing.scans import find_scans
from regstudio.data.landmarks.files import find_landmarks
from regstudio.data.pictures.formats import read_image, read_label
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.errors import ConfigError, DataError
from tests.data.importing.conftest import AFFINE, volume
from tests.hostile import headers
from tests.pictures import ids, index, ramp


def plan(source: Path, **options: Any) -> ImportPlan:
    return plan_import(find_scans(source), source, ImportOptions(**options), lambda items: items[0])


def held(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Five patients with two pictures each in one folder, most with labels, of several formats."""
    source = tmp_path / "flat"
    for patient in range(1, 6):
        for visit, ending in (("a", ".png"), ("b", ".npy")):
            write_image(source / f"p{patient}_{visit}{ending}", ramp(shift=3 * patient))
            if patient != 3:
                write_label(source / f"p{patient}_{visit}-gt.png", ids())
    (source / "notes.txt").write_text("hello")
    return source


def test_a_flat_folder_becomes_the_documented_layout_and_stays_as_it_is(flat: Path, tmp_path: Path) -> None:
    before = held(flat)
    done = write_plan(plan(flat, validation_share=0.4), tmp_path / "out")
    assert held(flat) == before
    found = index(done.folder)
    assert not found.errors
    assert not found.warnings
    assert found.atlas is not None
    assert found.atlas.label is not None
    sides = [{case.id.partition("_")[0] for case in side} for side in (found.train, found.validation)]
    assert not sides[0] & sides[1]
    assert len(sides[1]) == 2
    assert (len(found.train), len(found.validation)) == (5, 4)
    assert all(case.label for case in found.validation)
    record = json.loads((done.folder / "import.json").read_text())
    assert (record["atlas"], len(record["pictures"])) == ("p1_a", 10)
    assert record["pictures"][0]["image"] == "fixed/atlas.png"
    assert "1 files are no images (1 .txt)" in record["left_out"][0]["reason"]


def test_the_split_follows_the_seed_and_keeps_the_subject_of_the_atlas_in_training(flat: Path) -> None:
    splits = {plan(flat, split_seed=seed).validation for seed in range(8)}
    assert len(splits) > 1
    assert plan(flat, split_seed=3) == plan(flat, split_seed=3)
    assert not any("p1" in split or "p3" in split for split in splits)  # p3 has no labels to measure by
    assert plan(flat, validation_share=0).validation == frozenset()


def test_another_atlas_is_chosen_by_its_name_or_its_file(flat: Path) -> None:
    for name in ("p4_b", "p4_b.npy", str(flat / "p4_b.npy")):
        chosen = plan(flat, atlas=name)
        assert chosen.atlas.name == "p4_b"
        assert chosen.atlas.subject not in chosen.validation
    assert plan(flat).with_atlas("p2_a").rows()[0][:3] == ["atlas", "p2_a", "p2"]
    with pytest.raises(ConfigError, match="is called 'none'"):
        plan(flat, atlas="none")


def test_files_are_linked_where_that_is_wanted(flat: Path, tmp_path: Path) -> None:
    done = write_plan(plan(flat, link=True), tmp_path / "out")
    link = done.folder / "fixed" / "atlas.png"
    assert link.is_symlink()
    assert link.resolve() == flat / "p1_a.png"


def test_a_folder_for_each_patient_with_volumes_gives_slices_that_lie_in_the_volume(
    volumes: Path, tmp_path: Path
) -> None:
    done = write_plan(plan(volumes, slices="largest-label"), tmp_path / "out")
    found = index(done.folder)
    assert {case.id for case in (*found.train, *found.validation)} == {"patient02_t1_4", "patient03_t1_4"}
    assert all(case.label for case in (*found.train, *found.validation))
    picture = read_image(done.folder / "fixed" / "atlas.nii.gz")
    np.testing.assert_array_equal(picture.array, volume(1)[..., 4].T)
    assert picture.spacing == pytest.approx((0.9, 0.8))
    image = nib.load(done.folder / "fixed" / "atlas.nii.gz")
    np.testing.assert_allclose(image.affine[:3, 3], (AFFINE @ (0, 0, 4, 1))[:3])


def test_all_slices_of_a_patient_stay_on_one_side(volumes: Path, tmp_path: Path) -> None:
    found = index(write_plan(plan(volumes, slices="all", axis="axial"), tmp_path / "out").folder)
    sides = [{case.id.partition("_")[0] for case in side} for side in (found.train, found.validation)]
    assert [len(found.train), len(found.validation)] == [11, 6]
    assert not sides[0] & sides[1]


def test_blank_slices_and_labels_of_another_size_are_left_out_and_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number in (1, 2):
        whole = volume(number)
        whole[..., 5] = 0
        source.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(whole, AFFINE), source / f"v{number}.nii")
    nib.save(nib.Nifti1Image(np.zeros((36, 40, 5), np.uint8), AFFINE), source / "v1_seg.nii")
    done = write_plan(plan(source, slices="all", validation_share=0), tmp_path / "out")
    assert done.pictures == 10
    assert [problem.what for problem in done.problems] == [
        "has 36 x 40 x 5 where its image has 36 x 40 x 6",
        "its slice 5 holds one single value",
        "its slice 5 holds one single value",
    ]


def test_an_archive_of_arrays_may_hold_the_label_too_under_any_keys(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in (1, 2, 3):
        stack = np.stack([ramp(shift=number + z) for z in range(5)])
        np.savez(source / f"{number}.npz", vol=stack, mask=np.stack([ids()] * 5).astype(np.uint8))
    done = write_plan(plan(source, image_key="vol", label_key="mask"), tmp_path / "out")
    case = index(done.folder).validation[0]
    assert case.label is not None
    np.testing.assert_array_equal(read_label(case.label).array, ids())
    assert read_image(case.image).array.shape == ids().shape


def test_names_that_meet_stay_apart(tmp_path: Path) -> None:
    for name in ("a/1.png", "A/1.png", "images/a_1.png"):
        write_image(tmp_path / "source" / name, ramp())
    names = [item.name.lower() for item in plan(tmp_path / "source").items]
    assert len(set(names)) == 3


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("bad.nrrd", headers.nrrd_of_many_dimensions),
        ("bad.mha", headers.metaimage_of_many_channels),
        ("bad.nii", lambda path: headers.nifti(path, (30_000, 30_000))),
        ("bad.tif", headers.tiff_with_a_loop),
        ("bad.npz", lambda path: path.write_bytes(b"PK\x03\x04 no zip")),
        ("bad.dcm", lambda path: path.write_bytes(bytes(128) + b"DICM" + b"\xff" * 64)),
    ],
)
def test_a_hostile_file_is_left_out_with_its_name(flat: Path, tmp_path: Path, name: str, write: Any) -> None:
    write(flat / name)
    done = write_plan(plan(flat), tmp_path / "out")
    (problem,) = [problem for problem in done.problems if problem.severity == "warning"]
    assert problem.path.name == name
    assert problem.left_out


def test_what_cannot_be_imported_is_one_message_and_leaves_nothing(flat: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    write_image(taken / "a.png", ramp())
    (tmp_path / "empty").mkdir()
    for source, out, what in (
        (flat, taken, "is there already"),
        (flat, flat / "out", "lies in the folder that is imported"),
        (tmp_path / "none", tmp_path / "out", "there is no such folder or file"),
        (tmp_path / "empty", tmp_path / "out", "holds no image"),
        (taken, tmp_path / "out", "one picture of it can be used"),
    ):
        with pytest.raises(DataError, match=what):
            write_plan(plan(source), out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "flat", "taken"]


def test_the_atlas_must_be_readable_and_nothing_is_left_where_it_is_not(flat: Path, tmp_path: Path) -> None:
    (flat / "p1_a.png").write_bytes(b"\x89PNG broken")
    made = plan(flat)  # pictures of two axes are not opened before they are copied
    write_plan(made, tmp_path / "copied")
    shutil.rmtree(tmp_path / "copied")
    (flat / "p1_a.png").unlink()
    with pytest.raises(OSError, match="p1_a"):
        write_plan(made, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["flat"]


def test_landmarks_come_along_by_suffix_folder_or_name(flat: Path, tmp_path: Path) -> None:
    """Each ends beside its picture, in the family that it was in; the atlas's, too."""
    tables = {
        "p1_a_landmarks.csv": "y,x\n3,4\n",  # of the atlas
        "landmarks/p2_a.csv": ",X,Y\n1,4.5,3\n",
        "p2_b.csv": "y,x\n5,6\n",
        "p4_a.pts": "index\n1\n7 8\n",
        "p5_a_points.csv": "no table",
        "p9_points.csv": "y,x\n1,1\n",
        "prices.csv": "a,b\n1,2\n",
    }
    (flat / "landmarks").mkdir()
    for name, text in tables.items():
        (flat / name).write_text(text)
    planned = plan(flat)
    done = write_plan(planned, tmp_path / "out")
    found = index(done.folder)
    assert found.atlas is not None
    held_points = {case.id: find_landmarks(case.image) for case in (found.atlas, *found.train, *found.validation)}
    by_text = {name: path.read_text() for name, path in held_points.items() if path}
    assert by_text == {
        "atlas": tables["p1_a_landmarks.csv"],
        "p2_a": tables["landmarks/p2_a.csv"],
        "p2_b": tables["p2_b.csv"],
        "p4_a": tables["p4_a.pts"],
    }
    assert "and 4 with landmarks" in planned.summary()
    record = json.loads((done.folder / "import.json").read_text())
    (own,) = (picture for picture in record["pictures"] if picture["name"] == "p2_a")
    assert (own["points_from"], own["points_was"]) == (["landmarks/p2_a.csv"], "copied")
    left_out = {entry["file"]: entry["reason"] for entry in record["left_out"]}
    assert "no image has its name" in left_out["p9_points.csv"]
    assert "p5_a_points.csv" in left_out
    assert any("2 files are no images" in reason and "1 .csv" in reason for reason in left_out.values())
