"""Weights that other programs saved: found in any wrapping, or refused by one message that names the file."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from regstudio.errors import CheckpointError
from regstudio.networks.checkpoint import load_checkpoint
from regstudio.networks.corrmlp import CorrMLP
from tests.hostile.mutations import ODD_VALUES


@pytest.fixture(scope="module")
def network_weights() -> dict[str, torch.Tensor]:
    return dict(CorrMLP(2, 4).state_dict())


def test_more_tensors_than_any_network_has_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "many.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_001):
            archive.writestr(f"many/data/{number}", b"")
    with pytest.raises(CheckpointError, match=r"many\.pt: .*it holds 20,001 parts, more than any network"):
        load_checkpoint(path)


def test_the_format_of_old_torch_is_named(network_weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(network_weights, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"old\.pt: .*format of torch before 1\.6: load it and save it again"):
        load_checkpoint(tmp_path / "old.pt")


def test_a_long_name_of_a_layer_is_cut_off(network_weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(network_weights | {"k" * 10**6: torch.zeros(1)}, tmp_path / "long.pt")
    with pytest.raises(CheckpointError, match=r"kkk is not in the network") as caught:
        load_checkpoint(tmp_path / "long.pt").model()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("odd", ODD_VALUES.values(), ids=ODD_VALUES)
def test_what_is_no_dict_of_tensors_is_refused(odd: object, tmp_path: Path) -> None:
    for number, value in enumerate((odd, {"state_dict": odd}, {"model": {"a": odd}}, {1: torch.zeros(1)})):
        torch.save(value, tmp_path / f"{number}.pt")
        with pytest.raises(CheckpointError, match=rf"{number}\.pt: "):
            load_checkpoint(tmp_path / f"{number}.pt")


def test_a_list_that_holds_itself_many_times_is_refused_at_once(tmp_path: Path) -> None:
    value: list[Any] = [1, 2]
    for _ in range(60):
        value = [value, value]
    torch.save({"regstudio_checkpoint": 1, "weights": value}, tmp_path / "many.pt")
    with pytest.raises(CheckpointError, match=r"many\.pt: .*too"):
        load_checkpoint(tmp_path / "many.pt")


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda weights: {f"_orig_mod.{name}": tensor for name, tensor in weights.items()},
        lambda weights: {f"module._orig_mod.{name}": tensor for name, tensor in weights.items()},
        lambda weights: {"state_dict": weights},
        lambda weights: {"model": weights, "epoch": 3},
        lambda weights: {"state_dict": {f"model.{name}": tensor for name, tensor in weights.items()}, "lr": 1e-3},
        lambda weights: {
            "n_averaged": torch.tensor(3),
            **{f"module.{name}": tensor for name, tensor in weights.items()},
        },
    ],
    ids=["compiled", "compiled and parallel", "state_dict", "model", "Lightning", "averaged"],
)
def test_weights_in_any_wrapping_are_found(
    network_weights: dict[str, torch.Tensor], tmp_path: Path, wrapped: Any
) -> None:
    torch.save(wrapped(network_weights), tmp_path / "wrapped.pt")
    loaded = load_checkpoint(tmp_path / "wrapped.pt").model().state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in network_weights.items())
