"""Masks of a data folder: which image they belong to, and what is loaded of them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from regstudio.data.checking.check import check
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.loading.working_grid import GridRule
from regstudio.data.pairs.dataset import RegistrationDataset, load_validation_pair
from regstudio.data.pairs.masks import MaskLoader
from regstudio.data.pairs.pair import pair_of_tensors
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.errors import DataError
from tests.pictures import index, ramp

LEFT = np.zeros((40, 56), np.uint8)
LEFT[:, :20] = 255


@pytest.fixture
def masked(root: Path) -> Path:
    """Masks of the atlas, of one image to train on, and of one to validate on."""
    for folder, name in (("fixed", "atlas_mask"), ("moving", "t2"), ("validation_moving", "v1_mask")):
        write_label(root / f"{folder}_mask" / f"{name}.png", LEFT)
    return root


def test_a_mask_is_found_by_the_name_of_its_image(masked: Path) -> None:
    found = index(masked)
    assert found.atlas is not None
    assert found.atlas.mask == masked / "fixed_mask" / "atlas_mask.png"
    assert [case.mask for case in found.train] == [None, masked / "moving_mask" / "t2.png", None, None]
    assert [case.mask for case in found.validation] == [masked / "validation_moving_mask" / "v1_mask.png", None]
    assert set(found.files) >= {case.mask for case in found.validation if case.mask}
    assert not found.problems


def test_masks_of_no_image_are_said_and_folders_of_labels_hold_none(masked: Path) -> None:
    write_label(masked / "moving_mask" / "t9_mask.png", LEFT)
    (problem,) = index(masked).warnings
    assert (problem.path.name, problem.what) == ("t9_mask.png", "there is no image to this mask")
    assert not any(case.mask for case in index(masked, train_moving_seg_subdir="moving_mask").train)
    assert sum("mask" in problem.what for problem in index(masked, file_pattern="t1*").problems) == 1


def test_fixed_images_of_pairs_have_masks(tmp_path: Path) -> None:
    for name in ("p1", "p2"):
        for folder in ("fixed", "moving"):
            write_image(tmp_path / folder / f"{name}.png", ramp())
    write_label(tmp_path / "fixed_mask" / "p2_mask.png", LEFT)
    assert [case.fixed and case.fixed.mask for case in index(tmp_path).train] == [
        None,
        tmp_path / "fixed_mask" / "p2_mask.png",
    ]


def test_items_have_masks_of_ones_where_all_counts(masked: Path) -> None:
    found = index(masked)
    dataset = RegistrationDataset(found.train, atlas=found.atlas, masks=MaskLoader(labels=LabelLoader()))
    for number, expected in enumerate((1, LEFT > 0, 1, 1)):
        item = dataset[number]
        assert item["moving_mask"].dtype == torch.float32
        np.testing.assert_array_equal(item["moving_mask"][0], np.broadcast_to(expected, LEFT.shape))
        np.testing.assert_array_equal(item["fixed_mask"][0], LEFT > 0)
    plain = RegistrationDataset(found.train, atlas=found.atlas)[1]
    assert "moving_mask" not in plain


def test_the_dark_background_does_not_count_if_that_is_asked_for(root: Path) -> None:
    write_image(root / "moving" / "t1.png", np.pad(0.2 + 0.8 * ramp(20, 36), 10))
    case = index(root).train[0]
    image = ImageLoader()(case.image)
    mask = MaskLoader(labels=LabelLoader(), outside=True)(case, image)
    assert mask is not None
    np.testing.assert_array_equal(mask[0], np.pad(np.ones((20, 36)), 10))
    assert MaskLoader(labels=LabelLoader())(case, image) is None


def test_validation_pairs_have_masks_on_their_grid(masked: Path) -> None:
    found = index(masked)
    assert found.atlas is not None
    grid = GridRule(working_size="32x32", fit="stretch").grid((40, 56), None)
    loaders = ImageLoader(grid=grid), LabelLoader(grid=grid)
    pair = pair_of_tensors(
        load_validation_pair(found.validation[0], found.atlas, *loaders, MaskLoader(labels=loaders[1]))
    )
    assert pair.moving_mask is not None
    assert pair.fixed_mask is not None
    assert set(np.unique(pair.moving_mask)) == {0, 1}
    assert pair.moving_mask[:, :11].all()
    assert not pair.moving_mask[:, 12:].any()


def test_a_mask_of_another_size_is_refused(masked: Path) -> None:
    write_label(masked / "moving_mask" / "t2.png", LEFT[:30])
    found = index(masked)
    dataset = RegistrationDataset(found.train, atlas=found.atlas, masks=MaskLoader(labels=LabelLoader()))
    with pytest.raises(DataError, match=r"t2\.png.*30 x 56"):
        dataset[1]


def test_a_check_counts_masks_and_leaves_out_those_that_cannot_be_used(masked: Path) -> None:
    write_label(masked / "moving_mask" / "t1.png", LEFT[:30])
    write_label(masked / "moving_mask" / "t3.png", 0 * LEFT)
    (masked / "moving_mask" / "t4.png").write_bytes(b"no picture")
    (masked / "fixed_mask" / "atlas_mask.png").write_bytes(b"no picture")
    report = check(index(masked))
    assert [report.sets[name].masks for name in ("atlas", "training", "validation")] == [1, 4, 1]
    assert "masks" in report.to_text()
    found = {problem.path.name: problem.what for problem in report.index.warnings}
    assert found.keys() == {"atlas_mask.png", "t1.png", "t3.png", "t4.png"}
    assert found["t1.png"] == "is 30 x 56 pixels, unlike its image with 40 x 56"
    assert "0 everywhere" in found["t3.png"]
    assert report.can_train
    assert [case.mask and case.mask.name for case in report.index.train] == [None, "t2.png", None, None]
    assert report.index.atlas is not None
    assert report.index.atlas.mask is None
