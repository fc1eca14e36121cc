"""Which label, or file of landmarks, belongs to which image, by any common naming: NAME_seg, mask-NAME, labels/NAME.

A name is that of a label where it ends or begins with a word for one, or where a folder above it does. What is left of
it, without the words for images and labels, is what it shares with its image.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from regstudio.data.importing.declared import Declared
from regstudio.data.importing.scans import Scan
from regstudio.data.importing.words import IMAGE_FOLDER, IMAGE_WORDS, LABELS, POINTS, Words
from regstudio.data.problems import Problem

Key = tuple[tuple[str, ...], str]


def label_base(name: str) -> str | None:
    """Return a label's name without the word that says so; None for a name that says no such thing.

    >>> label_base("p01_gt"), label_base("mask-p01"), label_base("p01")
    ('p01', 'p01', None)
    """
    return LABELS.base(name)


def patient_folders(folders: Sequence[str]) -> tuple[str, ...]:
    """Return the folders above a file that say whom it shows, without those for images, labels, points and sets."""
    bases = (POINTS.of_folder(LABELS.of_folder(folder)) for folder in folders)
    return tuple(base for base in bases if base and not IMAGE_FOLDER.match(base))


def pair_labels(
    scans: Iterable[Scan], said: Declared | None = None
) -> tuple[list[tuple[Scan, Scan | None]], list[Problem]]:
    """Return the images, each with its label if there is one, and a problem for every label that is not used.

    What the user `said` of files counts more than their names.
    """
    said = said or Declared()
    images: list[Scan] = []
    labels: list[Scan] = []
    for scan in scans:
        (labels if said.is_label(scan) else images).append(scan)
    if not images:  # names such as mask_01 alone are those of images
        return [(scan, None) for scan in labels], []
    known = {image: label for label, image in said.labels.items() if image is not None and not said.is_label(image)}
    rest = [label for label in labels if label not in known.values()]
    found, problems = owned(images, rest, LABELS, known)
    return [(image, found.get(image)) for image in images], problems


def owned(
    images: Sequence[Scan], others: Sequence[Scan], words: Words, known: Mapping[Scan, Scan] | None = None
) -> tuple[dict[Scan, Scan], list[Problem]]:
    """Return which of the others, labels or files of points, each image has, and a problem for those of none.

    Some may be `known` before.
    """
    by_key: dict[Key, list[Scan]] = defaultdict(list)
    by_folder: dict[tuple[str, ...], list[Scan]] = defaultdict(list)
    for image in images:
        for key in dict.fromkeys(_image_keys(image)):
            by_key[key].append(image)
        for folders in dict.fromkeys((image.folders, patient_folders(image.folders))):
            by_folder[folders].append(image)
    found: dict[Scan, Scan] = dict(known or {})
    problems = []
    for label in others:
        owner = next((by_key[key][0] for key in _keys(label, words) if len(by_key.get(key, ())) == 1), None)
        if owner is None and not words.base(label.name):  # "label.nii.gz" beside the one image of a patient
            alone = by_folder.get(label.folders) or by_folder.get(patient_folders(label.folders), [])
            owner = alone[0] if len(alone) == 1 else None
        if owner is None or owner in found:
            what = (
                "no image has its name" if owner is None else f"its image has the {words.what} {found[owner].path.name}"
            )
            remedy = f"Name it like its image, with {'_seg' if words is LABELS else '_points'} added."
            problems.append(Problem(severity="warning", path=label.path, what=what, remedy=remedy, left_out=True))
        else:
            found[owner] = label
    return found, problems


def _image_keys(scan: Scan) -> list[Key]:
    names = dict.fromkeys((scan.name, _bare(scan.name)))
    places = (scan.folders, patient_folders(scan.folders))
    return [(folders, name.lower()) for folders in places for name in names]


def _keys(scan: Scan, words: Words) -> list[Key]:
    """Return the keys of the image that it may belong to, the most exact first."""
    base = words.base(scan.name)
    names = dict.fromkeys(name for name in (scan.name, base, _bare(base or scan.name)) if name)
    strict = tuple(folder for folder in map(words.of_folder, scan.folders) if folder)
    places = dict.fromkeys((scan.folders, strict, patient_folders(scan.folders)))
    return [(folders, name.lower()) for folders in places for name in names]


def _bare(name: str) -> str:
    return IMAGE_WORDS.sub("", name) or name
