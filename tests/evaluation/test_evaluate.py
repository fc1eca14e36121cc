"""Evaluations against what is known of the flow, a training's own validation, and by hand."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from regstudio.config import TrainConfig
from regstudio.data.folders.layout import Case
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.pairs.pair import Pair
from regstudio.data.pairs.reader import PairReader
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.errors import DataError
from regstudio.evaluation.evaluate import (
    Evaluation,
    collect,
    compare,
    data_provenance,
    evaluate,
)
from regstudio.evaluation.scores import CaseScores
from regstudio.methods.method import Unregistered, WarmedUp
from regstudio.methods.network import NetworkMethod, checkpoint_name, load_method
from regstudio.metrics import ncc
from regstudio.networks.build import build_network
from regstudio.networks.checkpoint import Checkpoint, save_checkpoint
from regstudio.training.setup import build, check_data
from regstudio.training.validation import mean_metrics, validate_case
from regstudio.transforms.transform import Transform
from tests.known_flows import shifted


def write_cases(folder: Path, image: np.ndarray, label: np.ndarray) -> tuple[PairReader, list[Case]]:
    write_image(folder / "atlas.npy", shifted(image))
    write_label(folder / "atlas_seg.png", shifted(label))
    cases = []
    for number, name in enumerate(("a", "b")):
        write_image(folder / f"{name}.npy", image)
        write_label(folder / f"{name}_seg.npy", np.where(label == 300, 300 * number, label))
        cases.append(Case(id=name, image=folder / f"{name}.npy", label=folder / f"{name}_seg.npy"))
    atlas = Case(id="atlas", image=folder / "atlas.npy", label=folder / "atlas_seg.png")
    return PairReader(fixed=atlas, image_loader=ImageLoader(), label_loader=LabelLoader()), cases


class Known:
    """A method of its own that knows the answer."""

    name = "known"
    provenance: Mapping[str, str] = {"version": "1.2"}

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, pair: Pair) -> Transform:
        self.calls += 1
        flow = np.stack([np.full(pair.fixed.shape, 2.0), np.full(pair.fixed.shape, -3.0)])
        return Transform(flow=flow, seconds=0.5, inverse_flow=-flow)


def scores(name: str, unit: str = "pixels", **values: float) -> CaseScores:
    return CaseScores(id=name, unit=unit, values=values, labels={})


def test_a_network_on_files(tmp_path: Path, shift: NetworkMethod, image: np.ndarray, label: np.ndarray) -> None:
    read, cases = write_cases(tmp_path, image, label)
    results = list(evaluate(shift, cases, read))
    evaluation = collect(shift, results)
    # Case a lacks label 300, which is left out of it.
    assert evaluation.values("dice") == [1, 1]
    assert evaluation.values("dice", 300) == [None, 1]
    assert evaluation.describe("dice_before", 300).count == 1
    assert [case.left_out for case in evaluation.cases] == [(300,), ()]
    assert evaluation.labels == (1, 300)
    assert evaluation.values("ncc") == pytest.approx([ncc(shifted(image), shifted(image))] * 2, abs=1e-5)
    assert 0 < evaluation.describe("seconds").mean < 5
    np.testing.assert_allclose(results[0].registration.warped, shifted(image), atol=1e-6)
    np.testing.assert_array_equal(results[1].registration.warped_label, shifted(label))


def test_it_agrees_with_the_validation_of_a_training(quick_config: Callable[..., TrainConfig]) -> None:
    arguments = {"network": "corrmlp", "encoder_channels": 2, "decoder_channels": 4}
    config = quick_config(**arguments)
    parts = build(config, check_data(config).index)
    model = parts.learner.averaged
    for head in model.heads:
        torch.nn.init.normal_(head.weight, std=0.3)
    expected = mean_metrics(validate_case(parts, case) for case in parts.validation)
    method = load_method(Checkpoint(weights=model.state_dict(), network=arguments), device="cpu")
    read = PairReader(fixed=parts.reference, image_loader=parts.image_loader, label_loader=parts.label_loader)
    evaluation = collect(method, evaluate(method, parts.validation, read))
    for name in ("dice_before", "dice", "njd", "njd_percent"):
        assert evaluation.describe(name).mean == pytest.approx(expected[name], abs=1e-12)
    assert {label: evaluation.describe("dice", label).mean for label in evaluation.labels} == pytest.approx(
        {int(name.removeprefix("dice_")): value for name, value in expected.items() if name[5:].isdecimal()}
    )
    assert evaluation.describe("njd_one_sided").mean >= evaluation.describe("njd").mean > 0


def test_the_first_pair_is_timed_at_its_second_run(image: np.ndarray) -> None:
    known = Known()
    method, pair = WarmedUp(known), Pair(id="a", fixed=image, moving=image)
    method(pair)
    assert known.calls == 2
    method(pair)
    assert known.calls == 3
    assert (method.name, method.provenance) == ("known", {"version": "1.2"})


def test_any_method_can_be_measured(tmp_path: Path, image: np.ndarray, label: np.ndarray) -> None:
    read, cases = write_cases(tmp_path, image, label)

    best = collect(Known(), evaluate(Known(), cases, read), {"root": "here"})
    none = collect(Unregistered(), evaluate(Unregistered(), cases, read))
    assert best.describe("inverse_error").mean == pytest.approx(0)
    assert none.values("dice") == none.values("dice_before") == best.values("dice_before")
    assert best.provenance["method"] == {"name": "known", "version": "1.2"}
    assert best.provenance["data"] == {"root": "here"}
    assert "Learn2Reg" in best.provenance["conventions"]["labels"]
    assert best.provenance["regstudio"]


def test_two_methods_are_compared_on_the_cases_they_share() -> None:
    first = Evaluation(method="first", cases=tuple(scores(str(n), dice=0.5, ncc=0.1) for n in range(8)))
    second = Evaluation(method="second", cases=tuple(scores(str(n), dice=0.6 + n / 100) for n in range(2, 10)))
    tests = compare(first, second)
    assert list(tests) == ["dice"]
    assert tests["dice"].count == 6
    assert tests["dice"].p == pytest.approx(2 / 2**6)  # all six of one sign
    assert tests["dice"].median_difference == pytest.approx(0.145)


def test_what_cannot_be_compared() -> None:
    first = Evaluation(method="first", cases=(scores("a", dice=0.5),))
    with pytest.raises(DataError, match="first and second have no case in common"):
        compare(first, Evaluation(method="second", cases=(scores("b", dice=0.5),)))
    with pytest.raises(DataError, match="first is measured in pixels and second in mm"):
        compare(first, Evaluation(method="second", cases=(scores("a", unit="mm", dice=0.5),)))


def test_where_it_comes_from(quick_config: Callable[..., TrainConfig], tmp_path: Path) -> None:
    config = quick_config(seed=7)
    path = tmp_path / "brains" / "checkpoints" / "best_model.pt"
    network = {"encoder_channels": 2, "decoder_channels": 4}
    weights = build_network(**network).state_dict()
    save_checkpoint(path, Checkpoint(weights=weights, network=network, epoch=3, config=config.model_dump(mode="json")))
    method = load_method(path, "cpu")
    found = method.provenance
    assert found["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found["seed"], found["epoch"], found["network"]) == (7, 3, network)
    assert found["config"]["optimisation"]["seed"] == 7
    assert found["device"] == "cpu"
    assert method.name == checkpoint_name(path) == "brains/best_model"
    assert checkpoint_name(tmp_path / "mine.pt") == "mine"
    index = check_data(config).index
    split = data_provenance(index)
    assert split["validation"] == [case.id for case in index.validation]
    assert len(split["train"]) == 4


def test_cases_without_labels_are_evaluated(tmp_path: Path, shift: NetworkMethod, image: np.ndarray) -> None:
    write_image(tmp_path / "a.npy", image)
    case = Case(id="a", image=tmp_path / "a.npy")
    read = PairReader(fixed=case, image_loader=ImageLoader(), label_loader=LabelLoader())
    (result,) = evaluate(shift, [case], read)
    assert {"njd", "njd_percent", "ncc_before", "ncc", "seconds"} <= result.scores.values.keys()
    assert "dice" not in result.scores.values


def test_a_bad_case_is_never_left_out_silently(
    tmp_path: Path, shift: NetworkMethod, image: np.ndarray, label: np.ndarray
) -> None:
    read, cases = write_cases(tmp_path, image, label)
    cases[1].image.write_bytes(b"")
    with pytest.raises(DataError, match=r"b\.npy: is empty"):
        list(evaluate(shift, cases, read))
