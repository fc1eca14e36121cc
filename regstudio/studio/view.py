"""A case that someone looks at: the case, what registers it, and what came of it."""

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from regstudio.data.folders.label_names import read_label_names
from regstudio.data.folders.layout import Case
from regstudio.data.landmarks.files import find_landmarks
from regstudio.data.pairs.reader import PairReader
from regstudio.drawing.canvas_payload import Shown, to_payload
from regstudio.drawing.comparison import comparison
from regstudio.methods.network import Refine
from regstudio.studio.caches import stamp
from regstudio.studio.hand_start import NO_START, HandStart
from regstudio.transforms.registration import Registration


@dataclass(frozen=True, kw_only=True)
class Registrar:
    """What registers the case: a checkpoint or, without a `path`, one of methods.NAMES; `title` is for the reader."""

    title: str
    path: Path | None = None
    name: str = ""
    refine: Refine = 0  # of a checkpoint, where the page asks for none

    @property
    def key(self) -> Hashable:
        """What changes when its results do."""
        return (self.title, stamp(self.path) if self.path else self.name, self.refine)


@dataclass(frozen=True, kw_only=True)
class ChosenCase:
    """A case to look at, and what reads it with its fixed image."""

    case: Case
    reader: PairReader
    label_file: Path | None = None  # names of its labels
    start: HandStart = NO_START


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A case, registered by one or more methods; the first is the one that is downloaded first."""

    chosen: ChosenCase
    registrations: tuple[tuple[str, Registration], ...]  # each with its method's title

    def payload(self) -> dict[str, Any]:
        """Return what the canvas draws."""
        names = read_label_names(self.chosen.label_file) if self.chosen.label_file else {}
        pair = self.registrations[0][1].pair
        start = self.chosen.start.on(pair.fixed.shape)
        own: dict[str, Any] = {
            "start": None if start.is_identity else asdict(start),
            "file_step": list(pair.places[0].step),
        }
        if self.chosen.case.fixed is not None:  # else it is the atlas
            own["fixed_name"] = self.chosen.case.fixed.id
        return own | to_payload(
            [
                Shown(title=title, case=comparison(registration), metrics=registration.metrics)
                for title, registration in self.registrations
            ],
            {number: (label.name, label.colour) for number, label in names.items()},
        )


def drawing_key(chosen: ChosenCase, registrars: Sequence[Registrar], refine: int = 0) -> Hashable:
    """Return what changes when the drawing of a case does."""
    fixed, case, reader = chosen.reader.fixed, chosen.case, chosen.reader
    points = (one.points or find_landmarks(one.image) for one in (fixed, case))
    files = (fixed.image, fixed.label, fixed.mask, case.image, case.label, case.mask, chosen.label_file, *points)
    return (
        case.id,
        tuple(registrar.key for registrar in registrars),
        tuple(stamp(path) for path in files if path is not None),
        repr((reader.image_loader, reader.label_loader, reader.rule, reader.mask_outside)),
        refine,
        chosen.start,
    )
