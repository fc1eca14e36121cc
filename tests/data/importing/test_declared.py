"""Files that the user says are labels or images, whatever they are called."""

from pathlib import Path

from click.testing import CliRunner

from regstudio.cli.importing import import_command
from regstudio.data.importing.declared import Declared, declared
from regstudio.data.importing.labels import pair_labels
from regstudio.data.importing.scans import Scan
from regstudio.data.pictures.writing import write_image
from tests.pictures import ramp

SOURCE = Path("source")


def scans(*paths: str) -> list[Scan]:
    return [
        Scan(paths=(SOURCE / f"{path}.png",), folders=Path(path).parts[:-1], name=Path(path).name) for path in paths
    ]


def paired(paths: list[str], *changes: tuple[str, str]) -> dict[str, str | None]:
    """Return the images and their labels by where they lie, once `changes` were said of files."""
    found = scans(*paths)
    said = declared(found, [(f"{path}.png", kind) for path, kind in changes], SOURCE)
    names = dict(zip(found, paths, strict=True))
    return {names[image]: names[label] if label else None for image, label in pair_labels(found, said)[0]}


def test_one_named_label_makes_labels_of_all_that_are_named_alike() -> None:
    paths = ["p1", "p1_lungs", "p2", "p2_lungs", "p3", "of_lungs"]
    assert paired(paths)["p1_lungs"] is None
    assert paired(paths, ("p2_lungs", "label")) == {"p1": "p1_lungs", "p2": "p2_lungs", "p3": None, "of_lungs": None}


def test_a_folder_of_labels_is_named_by_one_of_them() -> None:
    paths = ["ct/p1", "ct/p2", "lungs/p1", "lungs/p2", "lungs/more"]
    assert paired(paths, ("lungs/p1", "label")) == {"ct/p1": "lungs/p1", "ct/p2": "lungs/p2", "lungs/more": None}


def test_numbers_are_other_images_and_no_labels() -> None:
    found = scans("p1", "p10", "p11")
    assert declared(found, [("p10.png", "label")], SOURCE).labels == {found[1]: None}


def test_labels_by_name_are_images_if_the_user_says_so_and_the_last_word_counts() -> None:
    paths = ["p1", "p1_mask", "p2", "p2_mask"]
    assert paired(paths) == {"p1": "p1_mask", "p2": "p2_mask"}
    assert paired(paths, ("p1_mask", "image")) == dict.fromkeys(paths)
    assert paired(paths, ("p1_mask", "image"), ("p2_mask", "label")) == {"p1": "p1_mask", "p2": "p2_mask"}
    assert paired(["labels/a", "labels/b", "c"], ("labels/a", "image")) == dict.fromkeys(["labels/a", "labels/b", "c"])


def test_what_is_said_of_no_file_or_of_roles_changes_nothing() -> None:
    assert declared(scans("a", "b"), [("c.png", "label"), ("a.png", "train")], SOURCE) == Declared()


def test_the_command_line_says_it_too(tmp_path: Path) -> None:
    for name in ("p1", "p1_lungs", "p2", "p2_lungs"):
        write_image(tmp_path / "scans" / f"{name}.png", ramp())
    words = [str(tmp_path / "scans"), "--out", str(tmp_path / "new"), "--dry-run", "--role"]
    said = CliRunner().invoke(import_command, [*words, "p1_lungs.png=label"])
    assert "2 pictures of 2 subjects, 2 with labels" in said.output
    assert "is not NAME=ROLE" in CliRunner().invoke(import_command, [*words, "p1=king"]).output
