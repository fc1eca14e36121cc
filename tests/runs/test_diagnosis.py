"""Each rule of the diagnosis on a record that was made for it, and none on a good one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from regstudio.config import TrainConfig, build_config
from regstudio.runs.diagnosis import diagnose, findings_beside
from regstudio.runs.events import EpochDone, PairsExamined, RunFinished, TrainEvent
from regstudio.runs.run import create_run

END = RunFinished(reason="finished", message="Training Finished")


def config(**values: Any) -> TrainConfig:
    return build_config({"epochs": 10, **values})


def curve(scores: Sequence[float], *, name: str = "dice", before: float = 0.6, **more: Any) -> list[TrainEvent]:
    """Epochs with these scores, while the loss falls."""
    metrics = {"njd_percent": 0.0, "sdlogj": 0.08, f"{name}_before": before, **more}
    return [
        EpochDone(epoch=number, epochs=10, seconds=1, losses={"loss": 1 / number}, metrics={**metrics, name: score})
        for number, score in enumerate(scores, 1)
    ]


GOOD = curve([0.7, 0.75, 0.78, 0.8])


def kinds(events: Sequence[TrainEvent], seconds_left: float | None = None, **values: Any) -> list[str]:
    return [finding.kind for finding in diagnose(config(**values), events, seconds_left)]


def test_a_good_training_gives_no_finding() -> None:
    images = PairsExamined(pairs=4, other_kinds=0, shift=0.05)  # as radiographs have it
    assert kinds([images, *GOOD, END], seconds_left=60) == []
    assert kinds([]) == []


@pytest.mark.parametrize(
    ("name", "before", "scores"),
    [
        ("dice", 0.6, [0.6, 0.605, 0.602]),
        ("tre", 10.0, [10.0, 9.9, 9.95]),
        ("similarity", 0.3, [0.3, 0.301, 0.3]),
    ],
)
def test_nothing_is_learned_where_the_score_is_where_it_began(name: str, before: float, scores: list[float]) -> None:
    events = curve(scores, name=name, before=before)
    (found,) = diagnose(config(lr=1e-4), events)
    assert found.kind == "nothing learned"
    assert "after 3 epochs" in found.seen
    assert "--lr 0.001" in found.remedy
    assert "--lr" not in diagnose(config(lr=1e-3), events)[0].remedy  # it is high already
    assert kinds(events[:2]) == []  # too early to tell
    assert kinds(events, epochs=100) == []
    assert kinds([*events[:1], END]) == ["nothing learned"]


@pytest.mark.parametrize(("name", "before", "scores"), [("dice", 0.6, [0.5, 0.55, 0.52]), ("tre", 10.0, [12, 11, 13])])
def test_a_network_that_makes_it_worse_is_told(name: str, before: float, scores: list[float]) -> None:
    (found,) = diagnose(config(), curve(scores, name=name, before=before))
    assert found.kind == "worse"


def test_overfitting_is_a_falling_validation_under_a_falling_loss() -> None:
    events = curve([0.7, 0.8, 0.79, 0.77])
    (found,) = diagnose(config(), events)
    assert found.kind == "overfitting"
    assert "since epoch 2 the Dice of the validation images went from 0.800 to 0.770" in found.seen
    assert "that of epoch 2" in found.remedy
    assert kinds(curve([0.7, 0.8, 0.797, 0.796])) == []  # less than counts
    assert kinds(curve([0.7, 0.75, 0.8, 0.77])) == []  # one epoch is chance


def test_a_loss_at_another_image_size_says_nothing_about_overfitting() -> None:
    coarse = [EpochDone(**{**vars(event), "scale": 2}) for event in curve([0.7, 0.8])]
    assert kinds([*coarse, *curve([0.7, 0.8, 0.79, 0.77])[2:]]) == []


@pytest.mark.parametrize(
    ("more", "said"), [({"njd_percent": 3.0}, "3.0 % of the pixels fold"), ({"sdlogj": 0.4}, "SDlogJ 0.40")]
)
def test_folds_and_rough_fields_are_over_warping(more: dict[str, float], said: str) -> None:
    (found,) = diagnose(config(grad_weight=0.5), curve([0.7], **more))
    assert found.kind == "over-warped"
    assert said in found.seen
    assert "--grad_weight 1" in found.remedy
    assert "svf" in found.remedy
    assert "svf" not in diagnose(config(transform="svf"), curve([0.7], **more))[0].remedy


def test_images_that_lie_askew_are_told_unless_they_are_aligned_first() -> None:
    events = [PairsExamined(pairs=4, other_kinds=0, shift=0.2)]
    (found,) = diagnose(config(), events)
    assert (found.kind, found.remedy) == ("askew", "Align them before: --affine auto.")
    assert "20 %" in found.seen
    assert kinds(events, affine="auto") == []
    assert "--augment_affine" in diagnose(config(pairing="all"), events)[0].remedy


def test_images_of_different_kinds_are_told_unless_the_loss_can_compare_them() -> None:
    events = [PairsExamined(pairs=4, other_kinds=3, shift=0.2)]  # the shift of one pair counts for nothing
    assert kinds(events) == ["other kinds"]
    assert kinds(events, mind_weight=10, ncc_weight=0, affine="auto") == []


def test_a_training_of_many_hours_is_told_while_it_trains() -> None:
    (found,) = diagnose(config(), GOOD, seconds_left=10 * 3600)
    assert found.kind == "slow"
    assert "10 hours" in found.seen
    assert kinds(GOOD) == []


def test_the_findings_are_those_of_the_run_that_a_checkpoint_lies_in(tmp_path: Path) -> None:
    run = create_run(config(runs_dir=tmp_path / "runs"))
    for event in curve([0.6, 0.6, 0.6]):
        run.append(event)
    assert [finding.kind for finding in findings_beside(run.best_path)] == ["nothing learned"]
    assert findings_beside(tmp_path / "elsewhere" / "a" / "best_model.pt") == []
    run.config_path.write_text("{")
    assert findings_beside(run.best_path) == []
