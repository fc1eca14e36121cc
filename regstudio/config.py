"""Every knob, declared once: its default, bounds and help become the flag, the form field and the run's record."""

import difflib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from regstudio.errors import ConfigError

# Marks the knobs that a run may change when it is resumed without ceasing to be the same run.
RESUMABLE: dict[str, Any] = {"resumable": True}


class Section(BaseModel):
    """A group of knobs; it validates itself and knows no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)


class LayoutSection(Section):
    """Where the images and labels lie."""

    data_base_dir: Path = Field(
        Path("./data/"), description="folder that holds all the folders below", json_schema_extra=RESUMABLE
    )
    fixed_subdir: str = Field("fixed", description="folder of the atlas")
    atlas_name: str = Field("atlas.png", description="file name of the atlas")
    fixed_seg_subdir: str = Field("fixed_seg", description="folder of the atlas label")
    atlas_seg_name: str = Field("atlas_seg.png", description="file name of the atlas label")
    train_moving_subdir: str = Field("moving", description="folder of the images to train on")
    train_moving_seg_subdir: str = Field("moving_seg", description="folder of their labels, where there are any")
    valid_moving_subdir: str = Field("validation_moving", description="folder of the images to validate on")
    valid_moving_seg_subdir: str = Field("validation_moving_seg", description="folder of their labels, NAME_seg.*")
    file_pattern: str = Field("*", min_length=1, description="only moving images whose name matches this pattern")


class ReadingSection(Section):
    """How the files are read."""

    image_key: str = Field("img", min_length=1, description="key of the image in .npz files")
    label_key: str = Field("label", min_length=1, description="key of the label in .npz files")
    slice_axis: int | None = Field(None, ge=0, le=2, description="axis along which a slice of 3-D files is taken")
    slice_index: int | None = Field(None, ge=0, description="index of that slice")
    resize_to_atlas: bool = Field(False, description="resample images and labels of another size to the atlas's")
    cache_gb: float = Field(
        2.0, ge=0, description="memory for decoded images, in gigabytes", json_schema_extra=RESUMABLE
    )
    num_workers: int = Field(
        0, ge=0, le=64, description="processes that read ahead; 0 reads in the trainer", json_schema_extra=RESUMABLE
    )


class NetworkSection(Section):
    """The network's widths."""

    encoder_channels: int = Field(8, ge=1, le=256, description="channels of the encoder at full size")
    decoder_channels: int = Field(16, ge=4, le=512, description="channels of the decoder at full size")
    gradient_checkpointing: bool = Field(
        False, description="compute activations twice to save memory", json_schema_extra=RESUMABLE
    )


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("must be odd, so that the window has a centre")
    return value


class LossSection(Section):
    """What is minimised: ncc_weight * NCC + grad_weight * Grad."""

    ncc_weight: float = Field(1.0, ge=0, description="weight of the image similarity")
    grad_weight: float = Field(1.0, ge=0, description="weight of the flow's smoothness")
    ncc_win: Annotated[int, AfterValidator(_odd)] = Field(9, ge=3, description="window of the NCC, in pixels")
    grad_penalty: Literal["l1", "l2"] = Field("l2", description="norm of the flow's gradient")


class OptimisationSection(Section):
    """How long, how fast and where."""

    epochs: int = Field(100, ge=1, description="number of the last epoch", json_schema_extra=RESUMABLE)
    initial_epoch: int = Field(0, ge=0, description="number of epochs counted as already done")
    steps_per_epoch: int | None = Field(None, ge=1, description="most steps an epoch takes; all images if not given")
    batch_size: int = Field(1, ge=1, description="images in a step")
    lr: float = Field(1e-4, gt=0, description="learning rate of Adam")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the first weights and of the order of the images")
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda|cuda:\d+)$",
        description="auto, cpu, cuda or cuda:N; auto takes CUDA where it is",
        json_schema_extra=RESUMABLE,
    )
    load_model: Path | None = Field(None, description="checkpoint or plain state_dict to start from")


class ValidationSection(Section):
    """When the network is measured on the validation images."""

    run_validation: bool | None = Field(None, description="validate; if not given, when there are labels")
    validation_freq: int = Field(1, ge=1, description="epochs from one validation to the next")


class RunSection(Section):
    """Where the results go."""

    runs_dir: Path = Field(Path("./runs"), description="folder of all runs")
    run_name: str | None = Field(
        None,
        pattern=r"^[^/\\:*?\"<>|.][^/\\:*?\"<>|]*$",
        description="name of the run's folder, no slashes; date and time if not given",
    )
    save_minutes: float = Field(
        10.0, gt=0, description="minutes between safety copies within an epoch", json_schema_extra=RESUMABLE
    )


class TrainConfig(Section):
    """All knobs of a training, in sections. Names are unique over the sections."""

    layout: LayoutSection = LayoutSection()
    reading: ReadingSection = ReadingSection()
    network: NetworkSection = NetworkSection()
    loss: LossSection = LossSection()
    optimisation: OptimisationSection = OptimisationSection()
    validation: ValidationSection = ValidationSection()
    run: RunSection = RunSection()


@dataclass(frozen=True, kw_only=True)
class Knob:
    """One knob as a flag or a form shows it; `type` is bool, int, float, str or Path."""

    name: str
    section: str
    type: type
    default: Any
    help: str
    choices: tuple[str, ...]
    optional: bool
    bounds: str
    resumable: bool


def knobs(*sections: str) -> Iterator[Knob]:
    """Yield every knob of the named sections, or of all, in the order they are declared."""
    for section, section_info in TrainConfig.model_fields.items():
        if sections and section not in sections:
            continue
        for name, info in section_info.default.__class__.model_fields.items():
            kind, choices, optional = _kind(info.annotation)
            yield Knob(
                name=name,
                section=section,
                type=kind,
                default=info.default,
                help=info.description or "",
                choices=choices,
                optional=optional,
                bounds=_bounds(info.metadata),
                resumable=info.json_schema_extra == RESUMABLE,
            )


def build_config(values: Mapping[str, Any], base: TrainConfig | None = None) -> TrainConfig:
    """Return `base` (or the defaults) with `values`, flat by knob name, put in.

    Raises ConfigError for an unknown name, with the nearest known one, and for a value out of bounds.
    """
    section_of = {knob.name: knob.section for knob in knobs()}
    nested = (base or TrainConfig()).model_dump()
    for name, value in values.items():
        if name not in section_of:
            raise ConfigError(unknown_name(name, section_of))
        nested[section_of[name]][name] = value
    return _validated(nested)


def read_config(record: Mapping[str, Any]) -> TrainConfig:
    """Return the TrainConfig that was recorded as `record` (model_dump); raises ConfigError as `build_config` does."""
    return _validated(record)


def unknown_name(name: str, known: Mapping[str, Any]) -> str:
    """Say that `name` is no knob, and which known one is nearest."""
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)
    return f"{name}: there is no such setting. Did you mean {nearest[0]}?"


def _validated(nested: Mapping[str, Any]) -> TrainConfig:
    try:
        return TrainConfig.model_validate(nested)
    except ValidationError as error:
        problems = (_problem(details["loc"], details["type"], details) for details in error.errors())
        raise ConfigError("\n".join(problems)) from None


def _problem(location: tuple[int | str, ...], kind: str, details: Mapping[str, Any]) -> str:
    name = str(location[-1]) if len(location) < 2 else str(location[1])
    if kind == "extra_forbidden":
        known = {knob.name: knob for knob in knobs()} if len(location) > 1 else TrainConfig.model_fields
        return unknown_name(name, known)
    what = details["msg"].removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        what = "it should be: " + next(knob.help for knob in knobs() if knob.name == name)
    return f"{name} is {details['input']!s}: {what[0].lower()}{what[1:]}."


def _kind(annotation: Any) -> tuple[type, tuple[str, ...], bool]:
    """Return (plain type, choices, whether None is a value) of a field's annotation."""
    optional = False
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        annotation, optional = members[0], True
    if get_origin(annotation) is Literal:
        return str, get_args(annotation), optional
    return annotation, (), optional


def _bounds(metadata: list[Any]) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    return ", ".join(
        f"{sign} {getattr(item, name)}" for item in metadata for name, sign in signs.items() if hasattr(item, name)
    )
