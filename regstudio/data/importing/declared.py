"""Files that the user says are labels, or images, whatever their names say. One is named, and all like it follow."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from regstudio.data.importing.scans import Scan
from regstudio.data.importing.words import LABELS
from regstudio.data.problems import shown_path

KINDS = ("label", "image")


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What was said of scans: which are labels, each with its image where that is clear, and which are images."""

    labels: Mapping[Scan, Scan | None] = field(default_factory=dict)
    images: frozenset[Scan] = frozenset()

    def is_label(self, scan: Scan) -> bool:
        """Return whether a scan is a label: as was said, else by its name."""
        return scan in self.labels or (scan not in self.images and LABELS.names(scan.name, scan.folders))


def declared(scans: Sequence[Scan], changes: Iterable[tuple[str, str]], source: Path) -> Declared:
    """Return what `changes` say of files, as pairs (path below the source, kind); a later one wins."""
    by_path = {shown_path(scan.path, source): scan for scan in scans}
    labels: dict[Scan, Scan | None] = {}
    images: set[Scan] = set()
    for path, kind in changes:
        if kind not in KINDS or (named := by_path.get(path)) is None:
            continue
        if kind == "label":
            found = _labels_like(named, scans)
            images -= found.keys()
            labels |= found
        else:
            alike = {*_images_like(named, scans), *(_labels_like(named, scans) if named in labels else ())}
            images |= alike
            labels = {label: image for label, image in labels.items() if label not in alike}
    return Declared(labels=labels, images=frozenset(images))


def _labels_like(label: Scan, scans: Sequence[Scan]) -> dict[Scan, Scan | None]:
    """Return the label with its image, and all that are named after an image in the same way: lungs/p1, p1_lungs."""
    elsewhere = [scan for scan in scans if scan.name == label.name and scan.folders != label.folders]
    if elsewhere:
        other = {scan.name: scan for scan in scans if scan.folders == elsewhere[0].folders}
        return {scan: other[scan.name] for scan in scans if scan.folders == label.folders and scan.name in other}
    beside = {(scan.folders, scan.name): scan for scan in scans}
    names = [name for folders, name in beside if folders == label.folders and name != label.name]
    after = max((name for name in names if label.name.startswith(name)), key=len, default="")
    if after and not label.name[len(after)].isdigit():  # p1 and p10 are two images
        ending = label.name[len(after) :]
        return {
            scan: beside[scan.folders, scan.name.removesuffix(ending)]
            for scan in scans
            if scan.name.endswith(ending) and (scan.folders, scan.name.removesuffix(ending)) in beside
        }
    return {label: None}


def _images_like(image: Scan, scans: Sequence[Scan]) -> set[Scan]:
    """Return the image, and all whose names have the same word for labels at their end."""
    base = LABELS.base(image.name)
    if base is None:
        by_folder = LABELS.names(image.name, image.folders)
        return {scan for scan in scans if by_folder and scan.folders == image.folders} | {image}
    ending = image.name[len(base) :] if image.name.startswith(base) else ""
    return {scan for scan in scans if ending and scan.name.endswith(ending)} | {image}
