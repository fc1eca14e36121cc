"""A case whose files were opened by a check: what was found in them, and what is wrong."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from regstudio.data.folders.layout import Case
from regstudio.data.geometry import Facing, Geometry
from regstudio.data.loading.working_grid import Placement, WorkingGrid, same_shape
from regstudio.data.problems import Mend, Problem, Severity

Role = Literal["atlas", "fixed", "training", "validation"]
EXPORT_UPRIGHT = "Look at both, and export it again the right way round."


@dataclass(kw_only=True)
class CheckedCase:
    """A case whose files were opened; `usable` is the case without its unusable files."""

    case: Case
    role: Role
    usable: Case | None
    problems: list[Problem] = field(default_factory=list)
    size: tuple[int, ...] | None = None
    geometry: Geometry | None = None  # as it is stored
    grid: WorkingGrid | None = None
    place: Placement | None = None  # on that grid
    facing: Facing | None = None
    small: npt.NDArray[np.float64] | None = None
    sampled: npt.NDArray[np.float32] | None = None
    likeness: npt.NDArray[np.float64] | None = None  # to the atlas, in each of the eight ways to turn it
    explained: npt.NDArray[np.float64] | None = None  # of the image by the label, in each of them
    digest: bytes = b""
    pixels: Counter[int] = field(default_factory=Counter)
    palette: npt.NDArray[np.uint8] | None = None

    def mend_of_size(self, size: tuple[int, ...]) -> Mend:
        """Return what can be done about a label or mask of this size, where the image has another."""
        own = self.size
        return "resize" if own is not None and len(own) == len(size) == 2 and same_shape(size, own) else ""

    @property
    def title(self) -> str:
        """What a fixed image is called to those that are compared with it."""
        return "the atlas" if self.role == "atlas" else "its fixed image"

    def add(
        self, severity: Severity, path: Path, what: str, remedy: str, *, left_out: bool = False, mend: Mend = ""
    ) -> None:
        """Add a problem of a file."""
        self.problems.append(
            Problem(severity=severity, path=path, what=what, remedy=remedy, left_out=left_out, mend=mend)
        )

    def mark_unusable(self, path: Path, what: str, remedy: str, mend: Mend = "") -> None:
        """Add a problem, and leave the file out; without the atlas, nothing can be trained."""
        is_atlas = self.role == "atlas"
        self.add("error" if is_atlas else "warning", path, what, remedy, left_out=not is_atlas, mend=mend)
        if path == self.case.image or self.role == "validation":
            self.usable = None
        elif self.usable is not None:
            self.usable = replace(self.usable, label=None)
