from dataclasses import replace
from pathlib import Path

import pytest
import torch

from regstudio.errors import CheckpointError
from regstudio.networks.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from regstudio.networks.corrmlp import CorrMLP


@pytest.fixture
def checkpoint() -> Checkpoint:
    model = CorrMLP(2, 4)
    return Checkpoint(
        weights=model.state_dict(),
        network={"encoder_channels": 2, "decoder_channels": 4},
        epoch=3,
        metrics={"dice": 0.5},
        config={"loss": {"ncc_win": 9}},
    )


def test_comes_back_as_it_was(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", checkpoint)
    loaded = load_checkpoint(tmp_path / "a.pt")
    assert (loaded.network, loaded.epoch, loaded.metrics, loaded.config) == (
        checkpoint.network,
        checkpoint.epoch,
        checkpoint.metrics,
        checkpoint.config,
    )
    weights = loaded.model().state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in checkpoint.weights.items())


def test_holds_nothing_but_plain_values(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", checkpoint)
    assert isinstance(torch.load(tmp_path / "a.pt", weights_only=True), dict)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_plain_state_dict_tells_its_own_widths(checkpoint: Checkpoint, tmp_path: Path, prefix: str) -> None:
    torch.save({prefix + name: tensor for name, tensor in checkpoint.weights.items()}, tmp_path / "plain.pt")
    loaded = load_checkpoint(tmp_path / "plain.pt")
    assert loaded.network == {"encoder_channels": 2, "decoder_channels": 4}
    loaded.model()


def test_a_write_that_fails_leaves_the_old_file(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, checkpoint)
    before = path.read_bytes()

    def fail(content: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(path, checkpoint)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["a.pt"]


class Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("owned"),))


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weights": Malicious()}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=r"bad\.pt: cannot be read as a checkpoint of plain tensors"):
        load_checkpoint(tmp_path / "bad.pt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list"),
        ({"a": 1}, "neither a RegStudio checkpoint nor a plain state_dict"),
        ({"regstudio_checkpoint": 99}, "has format 99.*Install a newer RegStudio"),
        ({"regstudio_checkpoint": 1, "weights": {}}, "is damaged"),
    ],
)
def test_other_contents_are_named(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=rf"other\.pt: .*{message}"):
        load_checkpoint(tmp_path / "other.pt")


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04"])
def test_what_is_no_checkpoint_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "junk.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"junk\.pt: cannot be read as a checkpoint"):
        load_checkpoint(tmp_path / "junk.pt")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no such checkpoint"):
        load_checkpoint(tmp_path / "nowhere.pt")


def test_weights_that_do_not_fit_name_the_layers(checkpoint: Checkpoint) -> None:
    weights = dict(checkpoint.weights)
    weights["heads.0.bias"] = torch.zeros(3)
    weights["extra"] = weights.pop("heads.1.bias")
    spoilt = Checkpoint(weights=weights, network=checkpoint.network)
    with pytest.raises(CheckpointError) as caught:
        spoilt.model()
    for words in (
        "heads.0.bias is (3,), the network has (2,)",
        "extra is not in the network",
        "heads.1.bias is missing",
    ):
        assert words in str(caught.value)


def test_a_state_dict_of_another_network(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "linear.pt")
    with pytest.raises(CheckpointError, match=r"and \d+ more"):
        load_checkpoint(tmp_path / "linear.pt").model()


def test_checkpoints_from_before_there_were_other_networks_load(checkpoint: Checkpoint) -> None:
    """Their description is the widths alone: a CorrMLP that predicts displacements, without alignment."""
    model = checkpoint.model()
    assert isinstance(model, CorrMLP)
    assert model.transform == "displacement"
    assert checkpoint.affine == "none"
    assert dict(checkpoint.loss) == {"ncc_win": 9}


def test_the_alignment_is_that_of_the_configuration(checkpoint: Checkpoint) -> None:
    aligned = replace(checkpoint, config={"alignment": {"affine": "auto"}})
    assert aligned.affine == "auto"
    assert replace(checkpoint, config={}).affine == "none"
    assert not replace(checkpoint, config={}).loss


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"network": "transmorph"}, "transmorph"),
        ({"transform": "rigid"}, "rigid"),
        ({"depth": 3}, "depth"),
    ],
)
def test_networks_that_this_version_does_not_know(
    checkpoint: Checkpoint, network: dict[str, object], message: str
) -> None:
    unknown = replace(checkpoint, network={**checkpoint.network, **network})
    with pytest.raises(CheckpointError, match=rf"new\.pt: describes no network that this version knows.*{message}"):
        unknown.model("new.pt")


def test_weights_of_another_network_say_how_to_mend_it(checkpoint: Checkpoint) -> None:
    other = replace(checkpoint, network={"network": "voxelmorph"})
    with pytest.raises(CheckpointError, match=r"more\. Set network, encoder_channels and decoder_channels"):
        other.model()


def test_the_network_that_comes_along_is_found_by_its_name() -> None:
    checkpoint = load_checkpoint("general")
    model = checkpoint.model()
    assert model.transform == "svf"
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert checkpoint.training == {}


def test_how_a_network_looks_at_images_is_part_of_it(checkpoint: Checkpoint, tmp_path: Path) -> None:
    sees = {"transform": "svf", "network_side": 64, "passes": 2}
    save_checkpoint(tmp_path / "c.pt", replace(checkpoint, network={**checkpoint.network, **sees}))
    model = load_checkpoint(tmp_path / "c.pt").model()
    assert (model.network_side, model.passes) == (64, 2)
    assert (checkpoint.model().network_side, checkpoint.model().passes) == (None, 1)


def test_passes_without_room_for_them_are_refused(checkpoint: Checkpoint) -> None:
    narrow = replace(checkpoint, network={**checkpoint.network, "transform": "svf", "network_side": 64, "passes": 3})
    with pytest.raises(CheckpointError, match="3 passes need a --network_side of at least 128 pixels"):
        narrow.model()
