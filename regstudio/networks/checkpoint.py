"""Checkpoints that describe themselves: plain numbers, strings and tensors, never pickled objects."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from regstudio.errors import CheckpointError
from regstudio.files import atomic_path
from regstudio.networks.base import RegistrationNetwork
from regstudio.networks.build import build_network

FORMAT_VERSION = 1
LISTED_LAYERS = 6


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trained network as it lies on the disk.

    `network` holds the arguments of `build_network`, `config` the TrainConfig as plain values (empty for a plain
    state_dict), `metrics` what was measured at `epoch`, `training` what is needed to go on training from here (empty
    where nothing is). `axes` is the rule by which NIfTI files became the arrays that it was trained on: "itk", or
    "nibabel" in a file of version 0.1, which does not say.
    """

    weights: Mapping[str, Tensor]
    network: Mapping[str, Any]
    epoch: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    axes: Literal["itk", "nibabel"] = "itk"

    def model(self, source: Path | str = "the checkpoint") -> RegistrationNetwork:
        """Return the network with these weights, on the CPU; raises CheckpointError, naming `source`, for a misfit."""
        try:
            model = build_network(**self.network)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{source}: describes no network that this version knows ({error}).") from None
        load_weights(model, self, source)
        return model

    @property
    def affine(self) -> str:
        """How images are aligned before this network sees them: "auto" or "none"."""
        return str(self.config.get("alignment", {}).get("affine", "none"))

    @property
    def normalise(self) -> Literal["minmax", "percentile"]:
        """How images were scaled to [0, 1] before this network saw them."""
        return "percentile" if self.config.get("reading", {}).get("normalise") == "percentile" else "minmax"

    @property
    def loss(self) -> Mapping[str, Any]:
        """The settings of the loss that this network was trained with; empty where nothing is known of it."""
        loss: Mapping[str, Any] = self.config.get("loss", {})
        return loss


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path`, atomically."""
    content = {item.name: getattr(checkpoint, item.name) for item in fields(checkpoint)}
    with atomic_path(path) as temporary:
        torch.save({"regstudio_checkpoint": FORMAT_VERSION, **content}, temporary)


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint of ours, or a plain state_dict of CorrMLP, onto the CPU.

    Only builtins and tensors are read (weights_only). Raises CheckpointError, which names the file, where it is
    missing, is something else, or was written by a newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such checkpoint. Checkpoints lie in RUN/checkpoints/.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes from anywhere make the reader fail in any way
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{path}: cannot be read as a checkpoint of plain tensors ({reason}). "
            "Give a .pt file that RegStudio wrote, or a state_dict saved by torch.save."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a checkpoint or a state_dict.")
    version = content.pop("regstudio_checkpoint", None)
    if version is None:
        return _from_state_dict(path, content)
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: has format {version}; this version reads format {FORMAT_VERSION}. Install a newer RegStudio."
        )
    try:
        return Checkpoint(**{"axes": "nibabel", **content})
    except TypeError as error:
        raise CheckpointError(f"{path}: is damaged or was changed by hand ({error}).") from None


def load_weights(model: RegistrationNetwork, checkpoint: Checkpoint, source: Path | str) -> None:
    """Put the checkpoint's weights into `model`; raises CheckpointError, which names the layers that do not fit."""
    wanted, given = model.state_dict(), checkpoint.weights
    problems = [
        *(f"{name} is missing" for name in wanted.keys() - given.keys()),
        *(f"{name} is not in the network" for name in given.keys() - wanted.keys()),
        *(
            f"{name} is {tuple(given[name].shape)}, the network has {tuple(wanted[name].shape)}"
            for name in wanted.keys() & given.keys()
            if wanted[name].shape != given[name].shape
        ),
    ]
    if problems:
        listed = "; ".join(sorted(problems)[:LISTED_LAYERS])
        more = f"; and {len(problems) - LISTED_LAYERS} more" if len(problems) > LISTED_LAYERS else ""
        raise CheckpointError(
            f"{source}: its weights do not fit the network: {listed}{more}. "
            "Set network, encoder_channels and decoder_channels to those it was trained with."
        )
    model.load_state_dict(given)


def _from_state_dict(path: Path, content: Mapping[str, Any]) -> Checkpoint:
    # DataParallel puts "module." before every name.
    weights = {str(name).removeprefix("module."): tensor for name, tensor in content.items()}
    if not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise CheckpointError(f"{path}: is neither a RegStudio checkpoint nor a plain state_dict of tensors.")
    if any(name.startswith("unet.") for name in weights):
        return Checkpoint(weights=weights, network={"network": "voxelmorph"})
    network = {"encoder_channels": "encoder.levels.0.0.bias", "decoder_channels": "step_blocks.0.conv.bias"}
    known = {argument: len(weights[name]) for argument, name in network.items() if name in weights}
    return Checkpoint(weights=weights, network=known)
