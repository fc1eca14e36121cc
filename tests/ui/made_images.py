"""Small images that are made as people have them: radiographs in one folder, series of hearts, stained sections."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regstudio.data.phantom import make_demo
from regstudio.data.pictures.formats import read_image, read_label

# What is dark, middling and bright in the phantom becomes paper, eosin and haematoxylin; or paper, buffer and brown.
STAINS = {
    "haematoxylin": ((246, 240, 245), (226, 150, 190), (70, 40, 120)),
    "brown": ((248, 246, 240), (196, 206, 226), (110, 62, 24)),
}


def phantoms(folder: Path, *, count: int, size: int) -> list[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Return the atlas and then `count` phantoms of (size, size), each with its label; files are made in `folder`."""
    make_demo(folder, size=size, train=count, validation=0)
    images = [folder / "fixed" / "atlas.png", *sorted((folder / "moving").iterdir())]
    labels = [folder / "fixed_seg" / "atlas_seg.png", *sorted((folder / "moving_seg").iterdir())]
    return [
        (np.asarray(read_image(image).grey).astype(np.uint8), np.asarray(read_label(label).array))
        for image, label in zip(images, labels, strict=True)
    ]


def make_radiographs(folder: Path, scratch: Path, *, count: int, new: int, size: int) -> None:
    """Write radiographs and their masks side by side into one folder, and `new` ones into another, NAME_new."""
    for number, (image, label) in enumerate(phantoms(scratch, count=count + new, size=size)):
        into = folder if number <= count else folder.with_name(f"{folder.name}_new")
        _write(into / f"patient{number:02d}.png", image)
        _write(into / f"patient{number:02d}_mask.png", label.astype(np.uint8))


def make_cine(folder: Path, scratch: Path, *, frames: int, size: int, people: Sequence[str] = ("anna", "ben")) -> None:
    """Write the frames of some hearts, and a table that pairs each with the first of its own."""
    made = phantoms(scratch, count=frames * len(people) - 1, size=size)
    lines = []
    for number, (image, label) in enumerate(made):
        name, frame = people[number // frames], number % frames
        _write(folder / f"{name}_frame{frame}.png", image)
        _write(folder / f"{name}_frame{frame}_seg.png", label.astype(np.uint8))
        if frame:
            paths = [f"{name}_frame{each}{ending}.png" for ending in ("", "_seg") for each in (0, frame)]
            lines.append([*paths, "validation" if name == people[-1] else "train", name])
    with (folder / "pairs.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["fixed", "moving", "fixed_label", "moving_label", "split", "subject"])
        table.writerows(lines)


def make_sections(folder: Path, scratch: Path, *, size: int) -> tuple[Path, Path]:
    """Write two neighbouring sections in two stains; return the paths of the fixed and the moving one."""
    paths = []
    for (image, _), (name, colours) in zip(phantoms(scratch, count=1, size=size), STAINS.items(), strict=True):
        levels, table = np.linspace(0, 255, len(colours)), np.array(colours)
        stained = np.stack([np.interp(image, levels, table[:, channel]) for channel in range(3)], axis=-1)
        _write(folder / f"{name}.png", stained.astype(np.uint8))
        paths.append(folder / f"{name}.png")
    return paths[0], paths[1]


def _write(path: Path, array: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
