"""An evaluation against numbers computed by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from regstudio.config import TrainConfig
from regstudio.data.layout import Case
from regstudio.data.loaders import ImageLoader, LabelLoader
from regstudio.data.writing import write_image, write_label
from regstudio.errors import DataError
from regstudio.inference.evaluate import CaseResult, evaluate, summarise, to_text
from regstudio.inference.registrar import Registrar
from regstudio.metrics import dice, ncc
from regstudio.networks.checkpoint import Checkpoint
from regstudio.training.setup import build, check_data
from regstudio.training.validation import mean_metrics, validate_pair
from tests.inference.conftest import shifted


def image_metrics(folds: int, before: float, after: float) -> dict[str, float]:
    """Metrics of an image of 1000 pixels."""
    return {"njd": folds, "njd_percent": folds / 10, "ncc_before": before, "ncc": after}


DICE_A = {"dice_before": 0.5, "dice_before_1": 0.4, "dice_before_-2": 0.6, "dice": 0.8, "dice_1": 0.7, "dice_-2": 0.9}
DICE_B = {"dice_before": 0.7, "dice_before_1": 0.7, "dice": 0.6, "dice_1": 0.6}
RESULTS = [
    CaseResult(id="a", metrics=DICE_A | image_metrics(0, 0.2, 0.4), seconds=0.1),
    CaseResult(id="b", metrics=DICE_B | image_metrics(6, 0.4, 0.4), seconds=0.2),
    CaseResult(id="c", metrics=image_metrics(3, 0.3, 0.4), seconds=0.3),
]


def test_a_summary_by_hand() -> None:
    summary = summarise(RESULTS)
    assert summary["mean"] == pytest.approx(
        {"dice_before": 0.6, "dice": 0.7, "njd": 3, "njd_percent": 0.3, "ncc_before": 0.3, "ncc": 0.4, "seconds": 0.2}
    )
    root = 2**0.5 / 10  # the sample standard deviation of two numbers 0.2 apart
    assert summary["std"] == pytest.approx(
        {"dice_before": root, "dice": root, "njd": 3, "njd_percent": 0.3, "ncc_before": 0.1, "ncc": 0, "seconds": 0.1}
    )
    assert list(summary["labels"]) == ["-2", "1"]
    assert summary["labels"]["1"] == pytest.approx(
        {"before": 0.55, "before_std": 0.3 / 2**0.5, "after": 0.65, "after_std": 0.1 / 2**0.5}
    )
    assert summary["labels"]["-2"] == {"before": 0.6, "before_std": None, "after": 0.9, "after_std": None}
    per_label = {"-2": {"before": 0.6, "after": 0.9}, "1": {"before": 0.4, "after": 0.7}}
    own = {"id": "a", "dice_before": 0.5, "dice": 0.8, "per_label": per_label, "seconds": 0.1}
    assert summary["cases"][0] == own | image_metrics(0, 0.2, 0.4)
    assert summary["cases"][2]["dice"] is None
    assert summary["cases"][2]["per_label"] == {}


@pytest.mark.parametrize("results", [RESULTS, RESULTS[:1], RESULTS[2:], []])
def test_a_summary_is_json_without_nan(results: list[CaseResult]) -> None:
    summary = summarise(results)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_a_summary_reads_well() -> None:
    assert to_text(summarise(RESULTS)).splitlines() == [
        "3 cases: mean ± sample standard deviation",
        "",
        "                   before              after  change",
        "Dice        0.600 ± 0.141  ->  0.700 ± 0.141  +0.100",
        "  label -2          0.600  ->          0.900  +0.300",
        "  label 1   0.550 ± 0.212  ->  0.650 ± 0.071  +0.100",
        "NCC         0.300 ± 0.100  ->  0.400 ± 0.000  +0.100",
        "",
        "Folded (NJD)  0.300 ± 0.300 % of the pixels",
        "Time a case   0.200 ± 0.100 s (network and warping)",
        "",
        "Lowest Dice  before      after  folded",
        "  b           0.700  ->  0.600  0.60 %",
        "  a           0.500  ->  0.800  0.00 %",
    ]


def test_cases_without_labels_say_so() -> None:
    text = to_text(summarise(RESULTS[2:]))
    assert "No Dice: the atlas or the cases have no labels to score." in text
    assert "Lowest" not in text
    assert to_text(summarise([])) == "0 cases: there is nothing to evaluate."


def write_cases(folder: Path, image: np.ndarray, label: np.ndarray) -> tuple[Case, list[Case]]:
    write_image(folder / "atlas.npy", shifted(image))
    write_label(folder / "atlas_seg.png", shifted(label))
    cases = []
    for number, name in enumerate(("a", "b")):
        write_image(folder / f"{name}.npy", image)
        write_label(folder / f"{name}_seg.npy", np.where(label == 300, 300 * number, label))
        cases.append(Case(id=name, image=folder / f"{name}.npy", label=folder / f"{name}_seg.npy"))
    return Case(id="atlas", image=folder / "atlas.npy", label=folder / "atlas_seg.png"), cases


@pytest.mark.parametrize("dtype", [np.int64, np.float32])
def test_the_mean_dice_is_that_of_a_validation(
    dtype: type, tmp_path: Path, shift: Registrar, image: np.ndarray, label: np.ndarray
) -> None:
    atlas, cases = write_cases(tmp_path, image, label)
    summary = summarise(evaluate(shift, cases, atlas, ImageLoader(), LabelLoader(dtype=dtype)))
    # Case a lacks label 300, which then counts 0.
    assert [case["dice"] for case in summary["cases"]] == [0.5, 1]
    expected = dice(shifted(label), np.where(label == 300, 0, label)).mean, dice(shifted(label), label).mean
    assert [case["dice_before"] for case in summary["cases"]] == list(expected)
    assert summary["mean"]["dice"] == 0.75
    assert summary["labels"]["300"]["after"] == 0.5
    assert summary["mean"]["ncc"] == pytest.approx(ncc(shifted(image), shifted(image)), abs=1e-5)
    assert 0 < summary["mean"]["seconds"] < 5


def test_it_agrees_with_the_validation_of_a_training(quick_config: Callable[..., TrainConfig]) -> None:
    config = quick_config()
    parts = build(config, check_data(config).index)
    for head in parts.model.heads:
        torch.nn.init.normal_(head.weight, std=0.3)
    expected = mean_metrics(validate_pair(parts, case) for case in parts.validation)
    network = {"encoder_channels": 2, "decoder_channels": 4}
    registrar = Registrar(Checkpoint(weights=parts.model.state_dict(), network=network), device="cpu")
    results = evaluate(registrar, parts.validation, parts.atlas, parts.image_loader, parts.label_loader)
    summary = summarise(results)
    for name in ("dice_before", "dice", "njd", "njd_percent"):
        assert summary["mean"][name] == pytest.approx(expected[name], abs=1e-12)
    assert {label: of["after"] for label, of in summary["labels"].items()} == pytest.approx(
        {name.removeprefix("dice_"): value for name, value in expected.items() if name[5:].isdecimal()}
    )
    assert summary["mean"]["njd"] > 0


def test_cases_without_labels_are_evaluated(tmp_path: Path, shift: Registrar, image: np.ndarray) -> None:
    write_image(tmp_path / "a.npy", image)
    case = Case(id="a", image=tmp_path / "a.npy")
    (result,) = evaluate(shift, [case], case)
    assert set(result.metrics) == {"njd", "njd_percent", "ncc_before", "ncc"}


def test_a_bad_case_is_never_left_out_silently(
    tmp_path: Path, shift: Registrar, image: np.ndarray, label: np.ndarray
) -> None:
    atlas, cases = write_cases(tmp_path, image, label)
    cases[1].image.write_bytes(b"")
    with pytest.raises(DataError, match=r"b\.npy: is empty"):
        list(evaluate(shift, cases, atlas))
