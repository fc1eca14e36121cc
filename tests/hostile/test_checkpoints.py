"""Checkpoints from outside: each is either read as it is, or refused by one message that names the file."""

import io
import random
import resource
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from regstudio.config import TrainConfig, read_network
from regstudio.errors import CheckpointError, ConfigError, RegStudioError
from regstudio.networks.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from regstudio.networks.checkpoint_file import digest
from regstudio.schema import SchemaError
from regstudio.training.saved_state import load_optimizer, saved_training
from tests.hostile.mutations import mutated, replaced

MEGABYTES = 64  # more than the small network needs, by far less than a hostile file asks for


@pytest.fixture(scope="module")
def optimizer() -> torch.optim.Adam:
    """Of a single parameter."""
    parameter = torch.nn.Parameter(torch.ones(2, 3))
    adam = torch.optim.Adam([parameter], lr=1e-4, fused=True)
    parameter.grad = torch.ones_like(parameter)
    adam.step()
    return adam


@pytest.fixture(scope="module")
def content(optimizer: torch.optim.Adam) -> dict[str, Any]:
    """What a last.pt holds, but of weights and moments only a few: those of a network take long to read so often."""
    state = {"epoch": 1, "step": 2, "sums": {"loss": 0.5}, "seconds": 1.5, "best_dice": 0.25}
    return {
        "weights": {"heads.0.bias": torch.zeros(2), "heads.0.weight": torch.ones(2, 4, 3, 3)},
        "network": {"network": "corrmlp", "transform": "displacement", "encoder_channels": 2, "decoder_channels": 4},
        "epoch": 1,
        "metrics": {"dice": 0.25},
        "config": TrainConfig().model_dump(mode="json"),
        "training": {"state": state, "cases": "a", "steps_per_epoch": 3, "optimizer": optimizer.state_dict()},
        "axes": "itk",
    }


def write(path: Path, content: dict[Any, Any]) -> Path:
    """Write a checkpoint as if these were its true values: with its checksum, or as the format without one."""
    head: dict[str, Any] = {"regstudio_checkpoint": 1}
    with suppress(SchemaError):
        head = {"regstudio_checkpoint": 2, "sha256": digest(content, 2**30)}
    torch.save({**head, **content}, path)
    return path


def use(path: Path, optimizer: torch.optim.Adam) -> None:
    """Do with a checkpoint all that is ever done."""
    checkpoint = load_checkpoint(path)
    read_network(checkpoint.network)
    assert checkpoint.affine in ("none", "auto")
    assert checkpoint.normalise == "minmax"
    dict(checkpoint.loss)
    saved = saved_training(checkpoint, path)
    assert saved.state.rescaled(5, saved.steps_per_epoch or 5).epoch >= 0
    load_optimizer(optimizer, saved.optimizer, path)


def outcome(path: Path, optimizer: torch.optim.Adam) -> str:
    """Return "" for a checkpoint that can be used, and else the message; any other error is raised."""
    try:
        use(path, optimizer)
    except ConfigError as error:  # of the network, to which the checkpoint adds its name
        return str(error)
    except RegStudioError as error:
        assert str(path) in str(error)
        assert len(str(error)) < 2000
        str(error).encode()
        return str(error)
    return ""


FIELDS: list[tuple[Any, ...]] = [
    *((name,) for name in ("weights", "network", "epoch", "metrics", "config", "training", "axes")),
    ("weights", "heads.0.bias"),
    *(("network", name) for name in ("network", "transform", "encoder_channels", "decoder_channels")),
    ("metrics", "dice"),
    *(("config", section) for section in ("loss", "alignment", "optimisation")),
    *(("config", "loss", name) for name in ("ncc_win", "ncc_weight")),
    ("config", "alignment", "affine"),
    ("config", "reading", "normalise"),
    *(("training", name) for name in ("state", "cases", "steps_per_epoch", "optimizer")),
    *(("training", "state", name) for name in ("epoch", "step", "sums", "seconds", "best_dice")),
    ("training", "state", "sums", "loss"),
    ("training", "optimizer", "state"),
    ("training", "optimizer", "state", 0),
    *(("training", "optimizer", "state", 0, name) for name in ("step", "exp_avg", "exp_avg_sq")),
]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: ".".join(map(str, field)))
def test_any_field_may_hold_anything(
    content: dict[str, Any], optimizer: torch.optim.Adam, tmp_path: Path, field: tuple[Any, ...]
) -> None:
    assert outcome(write(tmp_path / "good.pt", content), optimizer) == ""
    for name, record in mutated(content, [field]):
        path = write(tmp_path / "odd.pt", record)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        message = outcome(path, optimizer)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024, name
        harmless = {"metrics", "cases", "sums", "seconds", "steps_per_epoch", "epoch", "step", "best_dice", "axes"}
        if not message:  # missing, or a value that the field may well have
            may_lack = field[0] in ("config", "metrics", "training", "network") or field[-1] in harmless
            may_lack = may_lack or name == "weights.heads.0.bias: missing"  # which a network would miss
            assert may_lack or name.endswith("state: nothing"), name


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"encoder_channels": 5000}, "encoder_channels is 5000: input should be less than or equal to 256"),
        ({"encoder_channels": 256, "decoder_channels": 512}, "is missing"),
        ({"decoder_channels": -4}, "greater than or equal to 4"),
        ({"encoder_channels": None}, "encoder_channels is None"),
    ],
)
def test_widths_of_gigabytes_take_no_memory(
    content: dict[str, Any], tmp_path: Path, network: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "wide.pt", {**content, "network": network})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=rf"wide\.pt: .*{message}"):
        load_checkpoint(path).model(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024


@pytest.mark.parametrize("width", [20_000, 0])
def test_a_state_dict_of_impossible_widths_is_refused(content: dict[str, Any], tmp_path: Path, width: int) -> None:
    weights = {**content["weights"], "encoder.levels.0.0.bias": torch.zeros(width)}
    torch.save(weights, tmp_path / "plain.pt")
    with pytest.raises(CheckpointError, match=rf"plain\.pt: .*encoder_channels is {width}"):
        load_checkpoint(tmp_path / "plain.pt").model(tmp_path / "plain.pt")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(2, 10**12),
        torch.zeros(2, dtype=torch.int64),
        torch.zeros(2, dtype=torch.complex64),
        torch.tensor([float("nan"), 0.0]),
        torch.tensor([float("inf"), 0.0], dtype=torch.float64),
        torch.zeros(2, dtype=torch.float64) + 1e300,
        torch.zeros(2).to_sparse(),
        torch.zeros(2, device="meta"),
    ],
    ids=[
        "expanded",
        "integers",
        "complex",
        "nan",
        "infinite",
        "beyond float32",
        "sparse",
        "meta",
    ],
)
def test_odd_tensors_are_refused(
    content: dict[str, Any], optimizer: torch.optim.Adam, tmp_path: Path, tensor: torch.Tensor
) -> None:
    moment = ("training", "optimizer", "state", 0, "exp_avg")
    for place in (("weights", "heads.0.bias"), moment):
        assert outcome(write(tmp_path / "odd.pt", replaced(content, place, tensor)), optimizer)
    torch.save(replaced(content["weights"], ("heads.0.bias",), tensor), tmp_path / "plain.pt")
    with pytest.raises(CheckpointError, match=r"plain\.pt"):
        load_checkpoint(tmp_path / "plain.pt").model(tmp_path / "plain.pt")


def test_nan_weights_are_named(content: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "nan.pt", replaced(content, ("weights", "heads.0.bias"), torch.full((2,), torch.nan)))
    with pytest.raises(CheckpointError, match=r"nan\.pt: .*heads\.0\.bias.*not finite"):
        load_checkpoint(path)


def test_moments_of_another_shape_are_a_message(content: dict[str, Any], optimizer: torch.optim.Adam) -> None:
    saved = content["training"]["optimizer"]
    for name in ("exp_avg", "exp_avg_sq", "step"):
        for tensor in (torch.zeros(1), torch.zeros(7, 7), torch.full(saved["state"][0][name].shape, -torch.inf)):
            odd = replaced(saved, ("state", 0, name), tensor)
            with pytest.raises(CheckpointError, match=rf"last\.pt: its optimizer .*{name} of parameter 0"):
                load_optimizer(optimizer, odd, "last.pt")
    with pytest.raises(CheckpointError, match="another network"):
        load_optimizer(optimizer, {"state": {10_000: saved["state"][0]}}, "last.pt")


def test_any_changed_byte_is_noticed(content: dict[str, Any], tmp_path: Path) -> None:
    """Or changes nothing: paddings and dates of the archive are not read."""
    checkpoint = Checkpoint(**content)
    save_checkpoint(tmp_path / "good.pt", checkpoint)
    good, wanted = (tmp_path / "good.pt").read_bytes(), digest(content)
    rng = random.Random(0)
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        weights = good.index(archive.read(next(name for name in archive.namelist() if name.endswith("/data/1"))))
    places = [weights, *(rng.randrange(len(good)) for _ in range(300))]
    refused = 0
    for place in places:
        changed = bytearray(good)
        changed[place] ^= 1 << rng.randrange(8)
        (tmp_path / "changed.pt").write_bytes(changed)
        try:
            loaded = load_checkpoint(tmp_path / "changed.pt")
        except CheckpointError as error:
            assert "changed.pt" in str(error)
            refused += 1
        else:
            assert place != weights
            assert digest({name: getattr(loaded, name) for name in content}) == wanted
    assert refused > 100


def test_a_changed_byte_of_a_file_without_a_checksum_is_noticed_too(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save({"regstudio_checkpoint": 1, **content}, tmp_path / "old.pt")
    load_checkpoint(tmp_path / "old.pt")
    changed = bytearray((tmp_path / "old.pt").read_bytes())
    changed[changed.index(content["weights"]["heads.0.weight"].numpy().tobytes())] ^= 1
    (tmp_path / "old.pt").write_bytes(changed)
    with pytest.raises(CheckpointError, match=r"old\.pt: .*changed since it was written"):
        load_checkpoint(tmp_path / "old.pt")


def test_packed_archives_are_refused(content: dict[str, Any], tmp_path: Path) -> None:
    """What is packed may be by far larger than the file."""
    write(tmp_path / "good.pt", content)
    packed = zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "good.pt") as archive, packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    with pytest.raises(CheckpointError, match=r"packed\.pt: .*larger than itself"):
        load_checkpoint(tmp_path / "packed.pt")


def test_a_damaged_checkpoint_names_the_newest_whole_one(content: dict[str, Any], tmp_path: Path) -> None:
    for epoch in (2, 10, 11):
        write(tmp_path / f"epoch_{epoch:03d}.pt", content)
    good = (tmp_path / "epoch_011.pt").read_bytes()
    for name in ("epoch_011.pt", "last.pt"):
        (tmp_path / name).write_bytes(good[: len(good) // 2])
    with pytest.raises(
        CheckpointError, match=r"last\.pt: .*it is cut off.*Take .*epoch_010\.pt, which is whole"
    ) as caught:
        load_checkpoint(tmp_path / "last.pt")
    assert "zip" not in str(caught.value)
