"""What a data folder is asked for, and what was found in it, by name alone."""

import fnmatch
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regstudio.data.folders.case_files import Case
from regstudio.data.folders.partners import Pooling, partnered
from regstudio.data.problems import Problem


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Names of the folders and files of a data set; each is a setting of the same name."""

    data_base_dir: Path
    fixed_subdir: str
    atlas_name: str
    fixed_seg_subdir: str
    atlas_seg_name: str
    train_moving_subdir: str
    train_moving_seg_subdir: str
    valid_moving_subdir: str
    valid_moving_seg_subdir: str
    file_pattern: str
    pair_by: Literal["name", "prefix", "csv"] | None = None
    pairs_file: str = "pairs.csv"
    validation_share: float = 0.0
    split_seed: int = 0
    pairing: Literal["atlas", "pairs", "subject", "all"] | None = None
    leave_out: str = ""

    @property
    def pooling(self) -> Pooling | None:
        """How images are paired with each other; None where each has a fixed image, or the atlas."""
        return self.pairing if self.pairing in ("subject", "all") else None

    @property
    def table(self) -> Path | None:
        """The table of pairs to read; None where there is none, and none is asked for."""
        path = self.data_base_dir / self.pairs_file
        if self.pairing == "atlas":
            return None
        return path if self.pair_by == "csv" or (self.pair_by is None and os.path.lexists(path)) else None

    def leaves_out(self, case: Case) -> bool:
        """Whether a case is one of those to leave out."""
        path = case.image
        inside = path.relative_to(self.data_base_dir) if path.is_relative_to(self.data_base_dir) else path
        return bool({path.name, inside.as_posix()} & {name.strip() for name in self.leave_out.split(",")})

    def wants(self, name: str) -> bool:
        """Whether the name of a moving image matches the pattern."""
        pattern = fnmatch.translate(unicodedata.normalize("NFC", self.file_pattern))
        return re.match(pattern, unicodedata.normalize("NFC", name)) is not None


@dataclass(frozen=True, kw_only=True)
class DataIndex:
    """The cases of a data folder in natural order, and every problem found in it; `table` is that of its pairs.

    Where training images are paired with each other, `pooling` says how, and they have no fixed image.
    """

    root: Path
    atlas: Case | None
    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    problems: tuple[Problem, ...]
    table: Path | None = None
    pooling: Pooling | None = None

    @property
    def files(self) -> Iterator[Path]:
        """Every file that was found, fixed images of pairs included."""
        sides = dict.fromkeys(case for case in (self.atlas, *self.train, *self.validation) if case)
        sides |= dict.fromkeys(case.fixed for case in sides if case.fixed)
        yield from ((self.table,) if self.table else ())
        yield from (path for case in sides for path in (case.image, case.label, case.points, case.mask) if path)

    @property
    def reference(self) -> Case | None:
        """The picture that all others are read like: the atlas, the first fixed image of pairs, or simply the first."""
        fixed = next((case.fixed for case in (*self.validation, *self.train) if case.fixed), None)
        return self.atlas or fixed or (self.train[0] if self.pooling and self.train else None)

    @property
    def shown(self) -> tuple[Case, ...]:
        """The cases to look at, those for validation first, each with a fixed image or for the atlas."""
        return self.validation + (partnered(self.train, self.pooling) if self.pooling else self.train)

    @property
    def evaluated(self) -> tuple[Case, ...]:
        """The cases that methods are measured on: those for validation, or all pairs where none are set apart."""
        return self.validation or (() if self.atlas else self.shown)

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that prevent training."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems that do not prevent training."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")
