"""What an import can be told; apart, since the command line shows it without loading what reads images."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How an import goes; `atlas` names a picture of it, "" lets one be proposed.

    `changes` are roles that were chosen for pictures by name: "train" or "validation", which its whole subject then
    has, or "out", which leaves the picture out; or for files by their path in the source: "label" or "image", which
    all files named alike then are.
    """

    slices: str = "middle"
    axis: str = "auto"
    atlas: str = ""
    validation_share: float = 0.2
    split_seed: int = 0
    link: bool = False
    image_key: str = "img"
    label_key: str = "label"
    changes: tuple[tuple[str, str], ...] = ()


ROLES = ("train", "validation", "out", "label", "image")
