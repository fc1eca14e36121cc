"""Every setting, declared once: its default, bounds and help become the flag, the form field and the run's record."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from regstudio.config.layout_section import LayoutSection
from regstudio.config.reading_section import ReadingSection
from regstudio.config.section import RESUMABLE, Section

GENERAL = "general"  # as load_model, where no file has that name: the network that RegStudio brings along
MAX_NAME_BYTES = 200  # of a run; file systems take 255, and backups and archives add to them


def is_general(checkpoint: Path) -> bool:
    """Whether a checkpoint's name stands for the network that RegStudio brings along."""
    return str(checkpoint) == GENERAL and not checkpoint.exists()


class AlignmentSection(Section):
    """What is done before the network sees a pair."""

    affine: Literal["none", "auto", "wide"] = Field(
        "none",
        description="auto: align each moving image to the atlas by an affine map first; wide: also turned, mirrored",
    )


class NetworkSection(Section):
    """What predicts the flow."""

    network: Literal["corrmlp", "voxelmorph"] = Field("corrmlp", description="architecture of the network")
    transform: Literal["displacement", "svf"] = Field(
        "displacement", description="svf: a velocity field, whose flow has an inverse and practically no folds"
    )
    encoder_channels: int = Field(8, ge=1, le=256, description="channels of CorrMLP's encoder at full size")
    decoder_channels: int = Field(16, ge=4, le=512, description="channels of CorrMLP's decoder at full size")
    gradient_checkpointing: bool = Field(
        False, description="compute CorrMLP's activations twice to save memory", json_schema_extra=RESUMABLE
    )
    network_side: int | None = Field(
        None,
        ge=32,
        le=4096,
        multiple_of=8,
        description="shorter side, in pixels, of what the network is shown of the working grid; all of it if not given",
    )
    passes: int = Field(1, ge=1, le=4, description="looks at a pair, coarse to fine; needs svf and a network_side")

    @model_validator(mode="after")
    def _check_passes(self) -> Self:
        if self.passes > 1 and self.transform != "svf":
            raise ValueError("passes: only velocity fields can be added up; give --transform svf, or --passes 1")
        if self.passes > 1 and (self.network_side or 0) < 32 * 2 ** (self.passes - 1):
            needed = 32 * 2 ** (self.passes - 1)
            raise ValueError(f"passes: {self.passes} passes need a --network_side of at least {needed} pixels")
        return self


def _check_odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("must be odd, so that the window has a centre")
    return value


class LossSection(Section):
    """What is minimised: the sum of all terms, each times its weight; a weight of 0 leaves its term out."""

    ncc_weight: float = Field(1.0, ge=0, description="weight of the local cross-correlation of the images")
    ncc_win: Annotated[int, AfterValidator(_check_odd)] = Field(
        9, ge=3, le=999, description="window of the NCC, in pixels"
    )
    ncc_scales: int = Field(
        1,
        ge=1,
        le=4,
        description="scales at which the NCC is taken, each half the size; 3 sees detail and organs alike",
    )
    global_ncc_weight: float = Field(0.0, ge=0, description="weight of the images' correlation as a whole")
    mse_weight: float = Field(0.0, ge=0, description="weight of the mean squared difference of the images")
    mi_weight: float = Field(0.0, ge=0, description="weight of the images' mutual information, for other modalities")
    mind_weight: float = Field(
        0.0, ge=0, description="weight of the difference of MIND descriptors, for other modalities; 10 is usual"
    )
    dice_weight: float = Field(0.0, ge=0, description="weight of the labels' overlap, where training images have some")
    landmark_weight: float = Field(
        0.0, ge=0, description="weight of the landmarks' mean distance in pixels, where training pairs have some"
    )
    grad_weight: float = Field(1.0, ge=0, description="weight of the flow's smoothness")
    grad_penalty: Literal["l1", "l2"] = Field("l2", description="norm of the flow's gradient")
    fold_weight: float = Field(0.0, ge=0, description="weight of the penalty on folds; 10 leaves practically none")
    teacher_weight: float = Field(0.0, ge=0, description="weight of staying near what load_model predicts; try 0.1")

    @model_validator(mode="after")
    def _check_similarity(self) -> Self:
        terms = ("ncc", "global_ncc", "mse", "mi", "mind", "dice", "landmark")
        if not any(getattr(self, f"{term}_weight") for term in terms):
            raise ValueError("no term compares the images: give one of the similarities a weight, --ncc_weight 1")
        return self


class AugmentationSection(Section):
    """How training images are varied, anew in each step."""

    augment_affine: float = Field(
        0.0, ge=0, le=5, description="random affine maps of the moving image; 1: up to 3 % shift, 10 % scale and shear"
    )
    augment_smooth: float = Field(
        0.0, ge=0, le=5, description="random smooth deformations of the moving image; 1: by 2 % of its size"
    )
    augment_intensity: float = Field(
        0.0, ge=0, le=5, description="random contrast of the moving image; 1: gamma from 0.67 to 1.5"
    )
    both_directions: bool = Field(False, description="in half of the steps, register the atlas to the image")


class OptimisationSection(Section):
    """How long, how fast and where."""

    epochs: int = Field(100, ge=1, description="number of the last epoch", json_schema_extra=RESUMABLE)
    initial_epoch: int = Field(0, ge=0, description="number of epochs counted as already done")
    steps_per_epoch: int | None = Field(None, ge=1, description="most steps an epoch takes; all images if not given")
    total_steps: int | None = Field(
        None, ge=1, description="steps of all epochs together, however many images there are; replaces steps_per_epoch"
    )
    batch_size: int = Field(1, ge=1, description="images in a step, of each process where there are several")
    lr: float = Field(1e-4, gt=0, description="learning rate of Adam")
    lr_schedule: Literal["constant", "cosine"] = Field(
        "constant", description="cosine: the learning rate falls to a fiftieth over the epochs"
    )
    cosine_epochs: int | None = Field(
        None, ge=1, description="epochs in which that cosine falls, and after which it stays; all if not given"
    )
    warmup_steps: int = Field(0, ge=0, description="steps in which the learning rate rises to its value")
    ema: float = Field(
        0.0, ge=0, lt=1, description="decay of the running mean of the weights, which is then saved; 0 is without"
    )
    start_scale: int = Field(
        1, ge=1, le=8, description="train coarse to fine: first on images this many times smaller, a power of 2"
    )
    coarse_share: float = Field(
        0.8, ge=0, le=1, description="share of the steps on smaller images, where start_scale is above 1"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the first weights and of the order of the images")
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda|cuda:\d+)$",
        description="auto, cpu, cuda or cuda:N; auto takes CUDA where it is",
        json_schema_extra=RESUMABLE,
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="what the network computes in; bfloat16 is faster on a GPU"
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="most CPU threads that the training takes; all cores if not given",
        json_schema_extra=RESUMABLE,
    )
    load_model: Path | None = Field(
        None,
        description="checkpoint or state_dict to start from; general: the one that comes along; none: random weights",
    )

    @field_validator("load_model")
    @classmethod
    def _none_by_name(cls, value: Path | None) -> Path | None:
        return None if str(value) == "none" and not Path("none").exists() else value

    @field_validator("start_scale")
    @classmethod
    def _check_power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("must be 1, 2, 4 or 8")
        return value


class ValidationSection(Section):
    """When the network is measured on the validation images."""

    run_validation: bool | None = Field(None, description="validate; if not given, where there are images for it")
    validation_freq: int = Field(1, ge=1, description="epochs from one validation to the next")
    compare: bool = Field(
        True,
        description="look at a few pairs before; at the end, say so where the method without training does better",
        json_schema_extra=RESUMABLE,
    )


class RunSection(Section):
    """Where the results go."""

    runs_dir: Path = Field(Path("./runs"), description="folder of all runs")
    run_name: str | None = Field(
        None,
        pattern=r"^[^/\\:*?\"<>|.\x00-\x1f\x7f][^/\\:*?\"<>|\x00-\x1f\x7f]*$",
        description="name of the run's folder, no slashes; date and time if not given",
    )
    save_minutes: float = Field(
        10.0, gt=0, description="minutes between safety copies within an epoch", json_schema_extra=RESUMABLE
    )
    keep_checkpoints: str = Field(
        "all",
        pattern=r"^(all|best|[1-9][0-9]{0,8})$",
        description="checkpoints of epochs to keep: all, the newest N, or best: none beside best_model.pt and last.pt",
        json_schema_extra=RESUMABLE,
    )

    @field_validator("run_name")
    @classmethod
    def _check_length(cls, value: str | None) -> str | None:
        if value is not None and len(value.encode(errors="replace")) > MAX_NAME_BYTES:
            raise ValueError(f"is longer than {MAX_NAME_BYTES} bytes, which not every file system takes; shorten it")
        return value


class TrainConfig(Section):
    """All settings of a training, in sections. Names are unique over the sections."""

    layout: LayoutSection = LayoutSection()
    reading: ReadingSection = ReadingSection()
    alignment: AlignmentSection = AlignmentSection()
    network: NetworkSection = NetworkSection()
    loss: LossSection = LossSection()
    augmentation: AugmentationSection = AugmentationSection()
    optimisation: OptimisationSection = OptimisationSection()
    validation: ValidationSection = ValidationSection()
    run: RunSection = RunSection()

    @model_validator(mode="after")
    def _check_pairing(self) -> Self:
        if self.layout.pairing in ("subject", "all") and self.alignment.affine != "none":
            raise ValueError(
                f"pairing: where images are paired anew in each epoch ({self.layout.pairing}), none has an affine map "
                "of its own; give --affine none, or augment by --augment_affine 1"
            )
        return self

    @model_validator(mode="after")
    def _check_scales(self) -> Self:
        if self.network.network_side and self.optimisation.start_scale > 1:
            raise ValueError(
                "start_scale: a network with a network_side goes from coarse to fine by its passes; "
                "give --start_scale 1, or leave the network_side out"
            )
        return self
