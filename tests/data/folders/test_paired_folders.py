"""A folder in which each moving image has a fixed image of its own, of the same name."""

from pathlib import Path

import numpy as np
import pytest

from regstudio.data.checking.check import check
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.loading.working_grid import GridRule
from regstudio.data.pairs.dataset import RegistrationDataset
from regstudio.data.pairs.reader import PairReader
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.errors import DataError
from tests.pictures import ids, index, ramp


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Three pairs whose fixed images differ, labelled; p2 has another size."""
    for number, height in enumerate((40, 48, 40), 1):
        write_image(tmp_path / "fixed" / f"p{number}.png", ramp(height, shift=5.0 * number))
        write_image(tmp_path / "moving" / f"p{number}.png", ramp(height, shift=5.0 * number + 3))
        for folder in ("fixed", "moving"):
            write_label(tmp_path / f"{folder}_seg" / f"p{number}_seg.png", ids(height))
    return tmp_path


def reader(folder: Path, **loaders: object) -> PairReader:
    reference = index(folder).reference
    assert reference is not None
    return PairReader(fixed=reference, image_loader=ImageLoader(), label_loader=LabelLoader())


def test_each_moving_image_belongs_to_the_fixed_one_of_its_name(pairs: Path) -> None:
    found = index(pairs)
    assert found.atlas is None
    assert not found.errors
    assert [(case.id, case.fixed.image, case.fixed.label) for case in found.train if case.fixed] == [
        (f"p{n}", pairs / "fixed" / f"p{n}.png", pairs / "fixed_seg" / f"p{n}_seg.png") for n in (1, 2, 3)
    ]
    assert found.evaluated == found.train
    assert found.reference == found.train[0].fixed


def test_pairs_set_apart_are_what_methods_are_measured_on(pairs: Path) -> None:
    (pairs / "validation_moving").mkdir()
    (pairs / "moving" / "p3.png").rename(pairs / "validation_moving" / "p3.png")
    assert [case.id for case in index(pairs).evaluated] == ["p3"]


def test_a_moving_image_without_a_fixed_one_is_left_out(pairs: Path) -> None:
    write_image(pairs / "moving" / "q.png", ramp())
    found = index(pairs)
    assert [case.id for case in found.train] == ["p1", "p2", "p3"]
    assert [str(problem) for problem in found.warnings] == [
        f"{pairs}/moving/q.png: has no fixed image of the same name. "
        "Put it into the folder of the fixed images, or remove this one."
    ]


def test_a_named_atlas_is_an_atlas_whatever_lies_beside_it(pairs: Path) -> None:
    found = index(pairs, atlas_name="p2.png")
    assert found.atlas is not None
    assert found.atlas.id == "p2"
    assert [case.fixed for case in found.train] == [None] * 3


def test_a_folder_is_no_set_of_pairs_with_itself(pairs: Path) -> None:
    (error,) = index(pairs, fixed_subdir="moving", fixed_seg_subdir="moving_seg").errors
    assert "Name one with --atlas_name" in error.remedy


def test_each_pair_is_read_with_its_own_fixed_image(pairs: Path) -> None:
    cases = index(pairs).train
    for number, pair in enumerate(map(reader(pairs), cases), 1):
        height = (40, 48, 40)[number - 1]
        np.testing.assert_allclose(pair.fixed, ramp(height, shift=5.0 * number), atol=1 / 255)
        np.testing.assert_array_equal(pair.fixed_label, ids(height))
        assert pair.moving.shape == pair.fixed.shape


def test_a_moving_image_is_resampled_to_its_own_fixed_image(pairs: Path) -> None:
    write_image(pairs / "moving" / "p2.png", ramp(96, 112))
    (pairs / "moving_seg" / "p2_seg.png").unlink()
    case, reference = index(pairs).train[1], index(pairs).reference
    assert reference is not None
    rule = GridRule(working_size="own", fit="stretch")
    resizing = PairReader(fixed=reference, image_loader=ImageLoader(), label_loader=LabelLoader(), rule=rule)
    assert resizing(case).moving.shape == resizing(case).fixed.shape == (48, 56)
    with pytest.raises(DataError, match=r"96 x 112 pixels, but that of p2\.png is 48 x 56"):
        reader(pairs)(case)


def test_check_opens_the_fixed_images_and_compares_each_pair(pairs: Path) -> None:
    write_image(pairs / "fixed" / "p1.png", np.zeros((40, 56)))
    write_image(pairs / "moving" / "p3.png", ramp(48))
    report = check(index(pairs))
    assert report.sets["fixed"].images == 3
    assert [case.id for case in report.index.train] == ["p2", "p3"]
    said = [str(problem).removeprefix(f"{pairs}/") for problem in report.index.problems]
    assert "fixed/p1.png: every pixel has the same value. Export it again." in said
    assert "moving/p1.png: its fixed image cannot be used. Mend that one." in said
    assert any("moving/p3.png: differs from its fixed image in size or shape" in line for line in said)


def test_items_to_train_on_have_their_own_fixed_image(pairs: Path) -> None:
    cases = tuple(case for case in index(pairs).train if case.id != "p2")
    dataset = RegistrationDataset(cases, label_loader=LabelLoader())
    assert not dataset.has_atlas
    for number, item in zip((1, 3), dataset, strict=True):
        np.testing.assert_allclose(item["fixed_image"][0], ramp(shift=5.0 * number), atol=1 / 255)
        np.testing.assert_array_equal(item["fixed_label"][0], ids())
