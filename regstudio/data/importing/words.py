"""Words by which people name files and folders of images, labels and landmarks."""

import re
from collections.abc import Sequence

_LABEL = (
    r"(?:segs?|segm|segmentations?|labels?|labelmaps?|masks?|gts?|ground[_-]?truths?|annotations?|annos?|contours?)"
)
_IMAGE = r"(?:images?|imgs?|scans?|volumes?|vols?|raw|data|pictures?)"
_SETS = r"(?:train(?:ing)?|val(?:id|idation)?|test(?:ing)?|moving|fixed)"
_POINTS = r"(?:points?|pts?|landmarks?|lms?|lmks?|fiducials?|markups?|keypoints?)"
IMAGE_FOLDER = re.compile(rf"^(?:{_IMAGE}(?:tr|ts)?|{_SETS}|(?:{_SETS}[_\-. ])?(?:{_SETS}|{_IMAGE}))$", re.IGNORECASE)
IMAGE_WORDS = re.compile(rf"^{_IMAGE}[_\-. ]|[_\-. ]{_IMAGE}$|_0000$", re.IGNORECASE)


class Words:
    """Words for a kind of file, of which one ends or begins its name, or that of a folder above it."""

    def __init__(self, words: str, what: str) -> None:
        self.what = what
        self._ends = re.compile(rf"^(?P<base>.*?)(?:^|[_\-. ]){words}(?:tr|ts)?$", re.IGNORECASE)
        self._begins = re.compile(rf"^{words}[_\-. ](?P<base>.+)$", re.IGNORECASE)

    def base(self, name: str) -> str | None:
        """Return a name without the word; None for one that has none."""
        found = self._ends.match(name) or self._begins.match(name)
        return None if found is None else found["base"]

    def of_folder(self, folder: str) -> str:
        """Return a folder's name without the word at its end, or as it is."""
        found = self._ends.match(folder)
        return folder if found is None else found["base"]

    def names(self, name: str, folders: Sequence[str]) -> bool:
        """Whether the name of a file, or of a folder above it, has such a word."""
        return self.base(name) is not None or any(self._ends.match(folder) for folder in folders)


LABELS, POINTS = Words(_LABEL, "label"), Words(_POINTS, "file of landmarks")
