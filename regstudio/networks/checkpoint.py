"""Checkpoints that describe themselves: plain numbers, strings and tensors, never pickled objects."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, Field, Strict, TypeAdapter
from torch import Tensor

from regstudio.config import READING_OF_0_1, is_general, read_config, read_network
from regstudio.errors import CheckpointError, ConfigError
from regstudio.files import asset, atomic_path
from regstudio.networks.base import RegistrationNetwork
from regstudio.networks.build import build_network
from regstudio.networks.checkpoint_file import check_weights, digest, plain_weights, read_content, whole_archive
from regstudio.schema import Count, Name, SchemaError, shortened, validate

FORMAT_VERSION = 2  # 1, of version 0.1, has no checksum
LISTED_LAYERS = 6
QUALITY_THRESHOLD = "quality_threshold"  # among the metrics: the quality that most of the bad results do not exceed
REFINE_GAIN = "refine_gain"  # among the metrics: what `--refine auto` brings, in Dice or in pixels
READING_OF_NETWORKS = ("working_size", "fit", "resize_to_atlas", "grey", "background", "mask_outside")
REGISTERING = ("reading", "alignment", "network", "loss")  # the settings that matter to who registers


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trained network as it lies on the disk.

    `network` holds the arguments of `build_network`, `config` the TrainConfig as plain values (empty for a plain
    state_dict), `metrics` what was measured at `epoch`, `training` what is needed to go on training from here (empty
    where nothing is). `axes` is the rule by which NIfTI files became the arrays that it was trained on: "itk", or
    "nibabel" in a file of version 0.1, which does not say.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    weights: Annotated[Mapping[Name, Tensor], Field(min_length=1)]
    network: Mapping[Name, Any]
    epoch: Count = 0
    metrics: Mapping[Name, Annotated[float, Strict()]] = field(default_factory=dict)
    config: Mapping[Name, Any] = field(default_factory=dict)
    training: Mapping[Name, Any] = field(default_factory=dict)
    axes: Literal["itk", "nibabel"] = "itk"

    def model(self, source: Path | str = "the checkpoint") -> RegistrationNetwork:
        """Return the network with these weights, on the CPU; raises CheckpointError, naming `source`, for a misfit."""
        try:
            arguments = read_network(self.network)
        except ConfigError as error:
            raise CheckpointError(f"{source}: describes no network that this version knows. {error}") from None
        with torch.device("meta"):  # takes no memory, whatever widths the file claims, until the weights fit
            model = build_network(**arguments)
        check_fit(model, self.weights, source)
        model = model.to_empty(device="cpu")
        model.load_state_dict(self.weights)
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
    def reading(self) -> dict[str, Any]:
        """The settings by which images were brought onto the working grid, and became grey, before this network.

        Version 0.1 knew of neither: its networks saw images as they are.
        """
        recorded = {**READING_OF_0_1, **self.config.get("reading", {})}
        if self.network.get("network_side"):  # sees every image at that size, whatever its own
            recorded = {**recorded, "working_size": self.config.get("reading", {}).get("working_size", "auto")}
        return {name: recorded[name] for name in READING_OF_NETWORKS if name in recorded}

    @property
    def refining_pays(self) -> bool:
        """Whether `--refine auto` makes this network's results better, or nothing is known of that."""
        return self.metrics.get(REFINE_GAIN, 0.0) >= 0

    @property
    def loss(self) -> Mapping[str, Any]:
        """The settings of the loss that this network was trained with; empty where nothing is known of it."""
        loss: Mapping[str, Any] = self.config.get("loss", {})
        return loss


_CHECKPOINT = TypeAdapter(Checkpoint)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` and a checksum to `path`, atomically."""
    content = {item.name: getattr(checkpoint, item.name) for item in fields(checkpoint)}
    with atomic_path(path) as temporary:
        torch.save({"regstudio_checkpoint": FORMAT_VERSION, "sha256": digest(content), **content}, temporary)


def save_weights(path: Path, checkpoint: Checkpoint) -> None:
    """Write what registers, in half precision: a third of the size, and nothing of where it was trained."""
    halved = {name: tensor.half() for name, tensor in checkpoint.weights.items()}
    config = {name: checkpoint.config[name] for name in REGISTERING if name in checkpoint.config}
    save_checkpoint(path, replace(checkpoint, weights=halved, config=config, training={}))


def general_path() -> Path:
    """Return the file of the general network, which RegStudio brings along."""
    return asset("weights/general.pt")


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint of ours, or the state_dict of a CorrMLP or VoxelMorph, onto the CPU.

    "general", where no file has that name, is the network that RegStudio brings along.

    Only builtins and tensors are read (weights_only). Raises CheckpointError, which names the file, where it is
    missing, damaged, something else, or was written by a newer version.
    """
    path = Path(path)
    if is_general(path):
        path = general_path()
    try:
        if not path.is_file():
            raise CheckpointError(f"{path}: there is no such checkpoint. Checkpoints lie in RUN/checkpoints/.")
        return _checked(path)
    except (SchemaError, OSError) as error:
        instead = _whole_one_beside(path)
        raise CheckpointError(
            f"{path}: cannot be read as a checkpoint of plain tensors: {error}. "
            + (
                f"Take {instead}, which is whole: --load_model starts a new run from it."
                if instead
                else "Give a .pt file that RegStudio wrote, or a state_dict saved by torch.save."
            )
        ) from None


def _checked(path: Path) -> Checkpoint:
    size = path.stat().st_size
    content = read_content(path)
    version = content.pop("regstudio_checkpoint", None)
    if version is None:
        digest(content, size)  # raises SchemaError for other than plain values
        return _of_state_dict(plain_weights(content))
    if version not in (1, FORMAT_VERSION):
        raise CheckpointError(
            f"{path}: has format {shortened(version)}; this version reads format {FORMAT_VERSION}. "
            "Install a newer RegStudio."
        )
    written = content.pop("sha256", None)
    found = digest(content, size)
    if found != written if version == FORMAT_VERSION else not whole_archive(path):
        raise SchemaError("its content has changed since it was written")
    try:
        checkpoint = validate({"axes": "nibabel", **content}, _CHECKPOINT)
        if checkpoint.config:
            read_config(checkpoint.config)
    except (SchemaError, ConfigError) as error:
        raise SchemaError(f"it is damaged or was changed by hand ({error})") from None
    check_weights(checkpoint.weights)
    return checkpoint


def _whole_one_beside(path: Path) -> Path | None:
    """Return the newest checkpoint of an epoch that can be read in place of a damaged one."""
    epochs = {int(name): found for found in path.parent.glob("epoch_*.pt") if (name := found.stem[6:]).isdecimal()}
    for _, found in sorted(epochs.items(), reverse=True)[:LISTED_LAYERS]:
        if found != path and not found.is_symlink():
            try:
                _checked(found)
            except (SchemaError, CheckpointError, OSError):
                continue
            return found
    return None


def load_weights(model: RegistrationNetwork, weights: Mapping[str, Tensor], source: Path | str) -> None:
    """Put weights into `model`; raises CheckpointError, which names the layers that do not fit."""
    check_fit(model, weights, source)
    model.load_state_dict(weights)


def check_fit(model: RegistrationNetwork, given: Mapping[str, Tensor], source: Path | str) -> None:
    """Raise CheckpointError, naming `source` and the layers, unless the weights are those of `model`."""
    wanted = model.state_dict()
    problems = [
        *(f"{name} is missing" for name in wanted.keys() - given.keys()),
        *(f"{name:.100} is not in the network" for name in given.keys() - wanted.keys()),
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
            "Set network, encoder_channels and decoder_channels to those it was trained with, or start from random "
            "weights with --load_model none."
        )


def _of_state_dict(weights: Mapping[str, Tensor]) -> Checkpoint:
    check_weights(weights)
    if any(name.startswith("unet.") for name in weights):
        return Checkpoint(weights=weights, network={"network": "voxelmorph"})
    network = {"encoder_channels": "encoder.levels.0.0.bias", "decoder_channels": "step_blocks.0.conv.bias"}
    known = {argument: weights[name].numel() for argument, name in network.items() if name in weights}
    return Checkpoint(weights=weights, network=known)
