"""Training on pairs, each image with a fixed one of its own."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from regstudio.config import TrainConfig, build_config
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.runs.events import EpochDone, PairValidated
from regstudio.runs.run import resumed_config
from regstudio.training.trainer import train
from tests.pictures import ids, ramp
from tests.training.whole_training import index_of, run_of, steps

Configs = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two moving images of each of three subjects, and their fixed images, all labelled."""
    folder = tmp_path_factory.mktemp("visits")
    for subject in range(3):
        write_image(folder / "fixed" / f"p{subject}.png", ramp(32, 40, shift=9.0 * subject))
        write_label(folder / "fixed_seg" / f"p{subject}_seg.png", ids(32, 40))
        for visit in "ab":
            write_image(folder / "moving" / f"p{subject}_{visit}.png", ramp(32, 40, shift=9.0 * subject + 3))
            write_label(folder / "moving_seg" / f"p{subject}_{visit}_seg.png", ids(32, 40)[::-1].copy())
    return folder


@pytest.mark.slow
def test_pairs_are_trained_on_split_by_subject_and_gone_on_with(quick_config: Configs, visits: Path) -> None:
    settings = {"data_base_dir": visits, "validation_share": 0.3, "dice_weight": 0.5, "both_directions": True}
    config = quick_config(epochs=1, **settings)
    events = list(train(config, index_of(config)))
    run = run_of(events)
    longer = resumed_config(run, {"epochs": 2})
    again = list(train(longer, index_of(longer), run=run))
    assert [step[:2] for step in steps(events) + steps(again)] == [(e, s) for e in (1, 2) for s in (1, 2, 3, 4)]
    validated = [event.case for event in events if isinstance(event, PairValidated)]
    assert len({name[:2] for name in validated}) == 1
    assert len(validated) == 2
    epoch = next(event for event in events if isinstance(event, EpochDone))
    assert 0 < epoch.metrics["dice_before"] < 1
    rows = [line.split(",") for line in run.split_path.read_text().splitlines()[1:]]
    assert {row[-1] for row in rows if row[-2] == "validation"} == {validated[0][:2]}
    assert len(rows) == 6
    record = json.loads(run.config_path.read_text())
    assert record["layout"]["validation_share"] == 0.3
    same = build_config({"pairs_file": str(run.split_path), "pair_by": "csv", "validation_share": 0.0}, config)
    assert [case.image for case in index_of(same).validation] == [case.image for case in index_of(config).validation]


@pytest.mark.slow
@pytest.mark.parametrize("pairing", ["subject", "all"])
def test_images_are_paired_with_each_other(quick_config: Configs, visits: Path, pairing: str) -> None:
    config = quick_config(data_base_dir=visits, pairing=pairing, validation_share=0.3, epochs=1, dice_weight=0.5)
    events = list(train(config, index_of(config)))
    assert len(steps(events)) == 6  # two subjects with three images each, the fixed ones included
    validated = [event.case for event in events if isinstance(event, PairValidated)]
    subject = validated[0][:2]
    first, *others = [subject, f"{subject}_a", f"{subject}_b"]
    chain = [(first, others[0]), (others[0], others[1]), (others[1], first)]
    pairs = [(other, first) for other in others] if pairing == "subject" else chain
    assert validated == [f"{moving}_to_{fixed}" for moving, fixed in pairs]
    epoch = next(event for event in events if isinstance(event, EpochDone))
    assert epoch.best_by == "dice"
    assert epoch.losses["dice_loss"] != 0


@pytest.mark.usefixtures("own_cache")
@pytest.mark.slow
def test_an_image_in_two_pairs_is_aligned_to_each(quick_config: Configs, visits: Path, tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text("fixed,moving\nfixed/p0.png,moving/p0_a.png\nfixed/p1.png,moving/p0_a.png\n")
    config = quick_config(data_base_dir=visits, pairs_file=str(table), affine="auto", epochs=1)
    index = index_of(config)
    assert [case.id for case in index.train] == ["p0_a_to_p0", "p0_a_to_p1"]
    assert len(steps(list(train(config, index)))) == 2
