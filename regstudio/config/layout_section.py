"""The settings that say where the images lie, which belong together, and which are set apart to validate on."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from regstudio.config.section import RESUMABLE, Section


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
    leave_out: str = Field(
        "", description="moving images that are not used, by their file names or paths in data_base_dir, with commas"
    )
    pair_by: Literal["name", "prefix", "csv"] | None = Field(
        None,
        description="the fixed image of each moving one: name: of its name; prefix: of the name that its own begins "
        "with, p01.png for p01_es.png; csv: as pairs_file says; if not given, whichever there is, else the atlas",
    )
    pairing: Literal["atlas", "pairs", "subject", "all"] | None = Field(
        None,
        description="what is registered to what: atlas, pairs, subject: any image of a subject to any other, as in a "
        "time series; all: any to any; if not given, pairs where there are some, else the atlas",
    )
    pairs_file: str = Field("pairs.csv", min_length=1, description="table of pairs, in or from data_base_dir")
    validation_share: float = Field(
        0.0, ge=0, le=0.9, description="share of the subjects to validate on, where no folder of images is for that"
    )
    split_seed: int = Field(0, ge=0, lt=2**63, description="seed of that choice")
