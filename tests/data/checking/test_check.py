"""The check of a data set: what it counts, what it leaves out, what it warns of."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regstudio.data.checking.check import ReadOptions, check
from regstudio.data.loading.working_grid import GridRule
from regstudio.data.pictures.writing import write_image, write_label
from tests.data.checking.reported import messages, names
from tests.pictures import ids, index, ramp, save_palette

FULL = (["t1", "t2", "t3", "t4"], ["v1", "v2"])
DAMAGED = "cannot be read as .png; it is damaged, or not what its name says. Copy or export it again."


def test_the_report_of_a_faultless_folder(root: Path) -> None:
    found = index(root)
    report = check(found)
    assert report.can_train
    assert report.index == found
    as_dict = json.loads(json.dumps(report.to_dict()))
    pixels = {str(i): int((ids() == i).sum()) for i in (0, 1, 2, 7)}
    assert as_dict == {
        "data_base_dir": str(root),
        "can_train": True,
        "atlas": {
            "image": str(root / "fixed" / "atlas.png"),
            "label": str(root / "fixed_seg" / "atlas_seg.png"),
            "images": 1,
            "usable": 1,
            "labels": 1,
            "sizes": {"40 x 56": 1},
            "formats": {".png": 1},
            "label_formats": {".png": 1},
            "label_pixels": pixels,
            "masks": 0,
        },
        "training": {
            "images": 4,
            "usable": 4,
            "labels": 0,
            "sizes": {"40 x 56": 4},
            "formats": {".png": 1, ".nii.gz": 1, ".npy": 1, ".npz": 1},
            "label_formats": {},
            "label_pixels": {},
            "masks": 0,
        },
        "validation": {
            "images": 2,
            "usable": 2,
            "labels": 2,
            "sizes": {"40 x 56": 2},
            "formats": {".png": 1, ".nii.gz": 1},
            "label_formats": {".npy": 2},
            "label_pixels": {i: 2 * count for i, count in pixels.items()},
            "masks": 0,
        },
        "problems": [],
    }
    assert report.to_text() == (
        f"{root}: Ready to train.\n\n"
        "              images  usable  labels  sizes    formats\n"
        "  atlas            1       1       1  40 x 56  .png\n"
        "  training         4       4       0  40 x 56  .nii.gz, .npy, .npz, .png\n"
        "  validation       2       2       2  40 x 56  .nii.gz, .npy, .png\n\n"
        "  label  atlas pixels  validation pixels\n"
        + "".join(f"  {i:5}  {n:>12,}  {2 * n:>17,}\n" for i, n in pixels.items())
    )


def test_progress_sees_every_case(root: Path) -> None:
    seen = []

    def progress(jobs):
        assert len(jobs) == 7
        for job in jobs:
            seen.append(job)
            yield job

    assert check(index(root), progress=progress).can_train
    assert len(seen) == 7


def test_unreadable_files_are_left_out(root: Path) -> None:
    for name in ("moving/t1.png", "validation_moving/v1.png"):
        (root / name).write_bytes(b"no picture")
    report = check(index(root))
    assert report.can_train
    assert names(report) == (["t2", "t3", "t4"], ["v2"])
    assert messages(report, "warning") == [f"moving/t1.png: {DAMAGED}", f"validation_moving/v1.png: {DAMAGED}"]
    assert all(problem.left_out for problem in report.index.problems)
    assert (report.sets["training"].images, report.sets["training"].usable) == (4, 3)


def test_unreadable_labels_are_left_out(root: Path) -> None:
    for name in ("moving_seg/t2_seg.png", "validation_moving_seg/v2_seg.npy"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"no picture")
    write_label(root / "moving_seg" / "t1_seg.png", ids())
    report = check(index(root))
    assert names(report) == (FULL[0], ["v1"])
    assert [case.label and case.label.name for case in report.index.train] == ["t1_seg.png", None, None, None]
    assert [problem.path.name for problem in report.index.warnings] == ["t2_seg.png", "v2_seg.npy"]


@pytest.mark.parametrize("name", ["fixed/atlas.png", "fixed_seg/atlas_seg.png"])
def test_an_unreadable_atlas_stops_the_training(root: Path, name: str) -> None:
    (root / name).write_bytes(b"no picture")
    report = check(index(root))
    assert not report.can_train
    assert messages(report, "error") == [f"{name}: {DAMAGED}"]
    assert report.index.warnings == ()
    assert report.to_text().startswith(f"{root}: Cannot train before the errors below are mended.\n")


def test_what_is_done_with_sizes_unlike_the_atlas_is_said(root: Path) -> None:
    write_image(root / "moving" / "t1.png", ramp(56, 40))
    write_image(root / "validation_moving" / "v1.png", ramp(48, 64))
    write_label(root / "validation_moving_seg" / "v1_seg.npy", ids(48, 64))
    report = check(index(root))
    assert (report.can_train, names(report)) == (True, FULL)
    remedy = "Results have the fixed image's full size; --working_size and --fit change the grid."
    what = "differs from the atlas in size or shape: it is brought onto the grid of 40 x 56 pixels,"
    assert messages(report, "note") == [
        f"moving/t1.png: {what} whole, with 0 around it. {remedy}",
        f"validation_moving/v1.png: {what} whole, with 0 around it. {remedy}",
    ]
    assert report.sets["training"].sizes == {"40 x 56": 3, "56 x 40": 1}
    stretched = check(index(root), ReadOptions(rule=GridRule(working_size="48", fit="stretch")))
    on_grid = what.replace("40 x 56", "34 x 48")
    assert messages(stretched, "note") == [
        f"fixed/atlas.png: is registered on a grid of 34 x 48 pixels. {remedy}",
        f"moving/t1.png: {on_grid} filling it. {remedy}",
        f"validation_moving/v1.png: {on_grid} filling it. {remedy}",
    ]


def test_pictures_that_are_too_small_are_errors(root: Path) -> None:
    write_image(root / "moving" / "t1.png", ramp(31, 56))
    for reading in (ReadOptions(), ReadOptions(rule=GridRule(fit="stretch"))):
        assert messages(check(index(root), reading), "error") == [
            "moving/t1.png: is 31 x 56 pixels, and less than 32 is too few. "
            "Save it in a higher resolution, or remove it."
        ]


def test_a_label_of_another_size_than_its_image_is_reported(root: Path) -> None:
    write_label(root / "validation_moving_seg" / "v1_seg.npy", ids(56, 40))
    expected = [
        "validation_moving_seg/v1_seg.npy: is 56 x 40 pixels, unlike its image with 40 x 56. "
        "Export it again from the image."
    ]
    report = check(index(root))
    assert (report.can_train, messages(report, "warning")) == (True, expected)
    assert names(report) == (FULL[0], ["v2"])


def test_label_ids_on_one_side_only_are_warnings(root: Path) -> None:
    write_label(root / "validation_moving_seg" / "v1_seg.npy", ids(values=(0, 1, 4, 9)))
    write_label(root / "validation_moving_seg" / "v2_seg.npy", ids(values=(0, 1, 4, 2)))
    report = check(index(root))
    assert report.can_train
    assert names(report) == FULL
    remedy = "Give them to the atlas; they are left out of the Dice."
    assert messages(report, "warning") == [
        f"validation_moving_seg/v1_seg.npy: has label ids that the atlas lacks: 4, 9. {remedy}",
        f"validation_moving_seg/v2_seg.npy: has label ids that the atlas lacks: 4. {remedy}",
        "fixed_seg/atlas_seg.png: has label ids that no validation label has: 7. "
        "Use the same ids everywhere; these are left out of the Dice.",
    ]
    assert not any(problem.left_out for problem in report.index.problems)


def test_one_bright_pixel_is_a_warning_unless_percentiles_are_taken(root: Path) -> None:
    bright = (ramp(shift=1) * 1000).astype(np.uint16)
    bright[2, 2] = 60000
    Image.fromarray(bright).save(root / "moving" / "t1.png")
    assert messages(check(index(root)), "warning") == [
        "moving/t1.png: all but one in a hundred of its pixels lie within 1.5% of its range of values. "
        "Use --normalise percentile, or take the bright or dark spots out."
    ]
    report = check(index(root), ReadOptions(normalise="percentile"))
    assert report.index.problems == ()
    assert names(report) == FULL


def test_a_dark_ground_is_no_warning(root: Path) -> None:
    dark = ramp(shift=1)
    dark[:, 1:] = 0  # the percentiles are the same
    write_image(root / "moving" / "t1.png", dark)
    assert check(index(root)).index.problems == ()


def test_palettes_that_give_the_same_ids_other_colours_are_a_warning(root: Path) -> None:
    red, green, blue = [255, 0, 0], [0, 255, 0], [0, 0, 255]
    labels = ids(values=(0, 1, 2, 3))
    save_palette(root / "fixed_seg" / "atlas_seg.png", labels, [0, 0, 0, *red, *green, *blue])
    for number, colours in ((1, [*red, *blue, *green]), (2, [*red, *green, *blue])):
        (root / "validation_moving_seg" / f"v{number}_seg.npy").unlink()
        save_palette(root / "validation_moving_seg" / f"v{number}_seg.png", labels, [0, 0, 0, *colours])
    report = check(index(root))
    assert messages(report, "warning") == [
        "validation_moving_seg/v1_seg.png: its palette gives other colours than the atlas's to the label ids 2, 3. "
        "Make sure that the ids mean the same: only ids are compared, never colours."
    ]
    assert names(report) == FULL


def test_constant_images_are_left_out(root: Path) -> None:
    write_image(root / "moving" / "t1.png", np.full((40, 56), 0.5))
    report = check(index(root))
    assert messages(report, "warning") == ["moving/t1.png: every pixel has the same value. Export it again."]
    assert names(report) == (["t2", "t3", "t4"], FULL[1])
    write_image(root / "fixed" / "atlas.png", np.zeros((40, 56)))
    assert messages(check(index(root)), "error") == [
        "fixed/atlas.png: every pixel has the same value. Export it again."
    ]


def test_a_set_without_a_usable_image_is_reported(root: Path) -> None:
    for folder in ("moving", "validation_moving"):
        for path in (root / folder).iterdir():
            path.write_bytes(b"no picture")
    report = check(index(root))
    assert names(report) == ([], [])
    assert messages(report, "error") == [
        "moving: none of its images can be used to train on. Mend what the warnings say."
    ]
    assert messages(report, "warning")[-1] == (
        "validation_moving: none of its images can be used, so nothing will be validated. "
        "Mend what the other warnings say."
    )


def test_the_same_picture_in_both_sets_is_a_warning(root: Path) -> None:
    write_image(root / "validation_moving" / "v1.png", (ramp(shift=3) * 200 + 17).astype(np.float32) / 255)
    write_image(root / "moving" / "t3.nii.gz", (ramp(shift=3) * 200 + 17).astype(np.float32) / 255)
    (root / "moving" / "t3.npy").unlink()
    write_image(root / "validation_moving" / "v1.nii.gz", (ramp(shift=3) * 200 + 17).astype(np.float32) / 255)
    (root / "validation_moving" / "v1.png").unlink()
    report = check(index(root))
    assert messages(report, "warning") == [
        "validation_moving/v1.nii.gz: shows the same picture as the training image t3.nii.gz. "
        "Remove one of the two, or the Dice will be too good."
    ]
    assert names(report) == FULL


def test_jpeg_labels_get_a_note(root: Path) -> None:
    (root / "validation_moving_seg" / "v1_seg.npy").unlink()
    Image.fromarray(ids().astype(np.uint8)).save(root / "validation_moving_seg" / "v1_seg.jpg", quality=100)
    notes = messages(check(index(root)), "note")
    assert notes == ["validation_moving_seg/v1_seg.jpg: JPEG changes label ids. Save labels as PNG."]


def test_reading_options_reach_the_readers(root: Path) -> None:
    np.savez(root / "moving" / "t4.npz", picture=np.stack([ramp(shift=9), ramp(shift=4)]))
    report = check(index(root), ReadOptions(image_key="picture", slice_axis=0, slice_index=1))
    assert report.index.problems == ()
    assert "t4.npz" in messages(check(index(root)), "warning")[0]


def test_a_problem_of_many_files_is_reported_once(root: Path) -> None:
    for number in range(300):
        (root / "moving" / f"bad{number}.png").write_bytes(b"no picture")
    text = check(index(root)).to_text()
    assert text.endswith(
        "Warnings (300)\n"
        "  300 files: cannot be read as .png; it is damaged, or not what its name says (left out). "
        "Copy or export it again.\n"
        "      moving/bad0.png\n      moving/bad1.png\n      moving/bad2.png\n      moving/bad3.png\n"
        "      moving/bad4.png\n      and 295 more\n"
    )


def test_many_kinds_of_problem_and_sizes_are_shortened(root: Path) -> None:
    for number in range(30):
        write_image(root / "moving" / f"odd{number}.npy", ramp(50 + number, 31))
    text = check(index(root)).to_text()
    assert "  moving/odd19.npy: is 69 x 31 pixels, and less than 32 is too few." in text
    assert "odd20.npy" not in text
    assert text.endswith("  and 10 more kinds of problem\n")
    assert "40 x 56 (4), 50 x 31 (1), 51 x 31 (1) and 28 more" in text


def test_without_an_atlas_the_rest_is_checked(root: Path) -> None:
    (root / "fixed" / "atlas.png").unlink()
    (root / "moving" / "t1.png").write_bytes(b"no picture")
    report = check(index(root))
    assert messages(report, "error") == ["fixed: holds no image to use as the atlas. Put it there as atlas.png."]
    assert messages(report, "warning") == [f"moving/t1.png: {DAMAGED}"]
    assert report.to_dict()["atlas"]["image"] is None
