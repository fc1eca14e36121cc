"""The settings that say how files are read, and what of them is compared."""

from typing import Literal

from pydantic import Field, field_validator

from regstudio.config.section import RESUMABLE, Section

MIN_WORKING, MAX_WORKING = 32, 4096  # pixels along a side of the working grid


class ReadingSection(Section):
    """How the files are read."""

    image_key: str = Field("img", min_length=1, description="key of the image in .npz files")
    label_key: str = Field("label", min_length=1, description="key of the label in .npz files")
    slice_axis: int | None = Field(
        None, ge=0, le=2, description="axis of the slices in 3-D files: x, y, z in NIfTI, else z, y, x"
    )
    slice_index: int | None = Field(None, ge=0, description="index of that slice")
    working_size: str = Field(
        "auto",
        pattern=r"^(auto|own|[1-9]\d*|[1-9]\d*x[1-9]\d*)$",
        description="pixels that pairs are registered on: N along the longer side, HxW, or own: the fixed image's; "
        "auto: own up to 512, else 256; results have full size",
    )
    fit: Literal["pad", "stretch"] = Field(
        "pad", description="images of another shape: pad: whole and undistorted, with 0 around; stretch: distorted"
    )
    resize_to_atlas: bool = Field(False, description="the same as --fit stretch, as version 0.1 called it")
    grey: str = Field(
        "luminance",
        pattern=r"^(luminance|hematoxylin|eosin|saturation|channel:\d)$",
        description="what of a colour image is registered: luminance, hematoxylin, eosin, saturation, or channel:N",
    )
    background: Literal["auto", "black", "white"] = Field(
        "auto", description="white: images are turned over, so that their background is 0; auto: where it is bright"
    )
    mask_outside: Literal["none", "auto"] = Field(
        "none", description="auto: the dark background around what an image shows does not count, where it has no mask"
    )
    normalise: Literal["minmax", "percentile"] = Field(
        "minmax", description="what becomes 0 and 1: minmax: the extremes; percentile: the 0.5 and 99.5 percentiles"
    )
    cache_gb: float = Field(
        2.0, ge=0, description="memory for decoded images, in gigabytes", json_schema_extra=RESUMABLE
    )
    disk_cache_gb: float = Field(
        20.0,
        ge=0,
        description="disk, in your cache folder, for decoded images that cache_gb has no room for, in gigabytes",
        json_schema_extra=RESUMABLE,
    )
    num_workers: int = Field(
        0, ge=0, le=64, description="processes that read ahead; 0 reads in the trainer", json_schema_extra=RESUMABLE
    )

    @field_validator("working_size")
    @classmethod
    def _check_working_size(cls, value: str) -> str:
        sides = [int(side) for side in value.split("x")] if value not in ("auto", "own") else []
        if any(not MIN_WORKING <= side <= MAX_WORKING for side in sides):
            raise ValueError(f"each side must have {MIN_WORKING} to {MAX_WORKING} pixels")
        return value
