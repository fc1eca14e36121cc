"""File names in any encoding and either Unicode form."""

import os
import sys
import unicodedata
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from regstudio.cli import main
from regstudio.data.checking.check import check
from regstudio.data.landmarks.files import find_landmarks
from regstudio.data.pictures.formats import read_image, stem
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.errors import DataError
from regstudio.networks.checkpoint import save_checkpoint
from tests.known_flows import constant_flow
from tests.pictures import ids, index, ramp

NFC, NFD = (unicodedata.normalize(form, "Gehör") for form in ("NFC", "NFD"))
LATIN_1 = os.fsdecode("Gehör".encode("latin-1"))
SHOWN = "Geh\\xf6r"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize(("image", "label"), [(NFC, NFD), (NFD, NFC)])
def test_both_unicode_forms_are_one_name(root: Path, image: str, label: str) -> None:
    write_image(root / "validation_moving" / f"{image}.png", ramp(shift=9))
    write_label(root / "validation_moving_seg" / f"{label}_seg.png", ids())
    (root / "validation_moving" / f"{label}_points.csv").write_text("y,x\n1,2\n")
    found = index(root)
    assert found.problems == ()
    case = next(case for case in found.validation if case.id == NFC)
    assert case.label == root / "validation_moving_seg" / f"{label}_seg.png"
    assert find_landmarks(case.image) == root / "validation_moving" / f"{label}_points.csv"
    assert stem(f"{NFD}.nii.gz") == NFC
    assert [case.id for case in index(root, file_pattern=f"{label}*").validation] == [NFC]


def test_files_whose_names_are_not_utf_8_are_left_out(root: Path) -> None:
    (root / "moving" / "t1.png").rename(root / "moving" / f"{LATIN_1}.png")
    report = check(index(root))
    assert report.can_train
    assert [str(problem) for problem in report.index.problems] == [
        f"{root}/moving/{SHOWN}.png: its name is not UTF-8. Rename it."
    ]
    assert f"moving/{SHOWN}.png: its name is not UTF-8 (left out). Rename it." in report.to_text()
    report.to_text().encode()


def test_a_file_of_such_a_name_is_refused_in_words_that_can_be_printed(tmp_path: Path) -> None:
    write_image(tmp_path / "a.npy", ramp())
    path = (tmp_path / "a.npy").rename(tmp_path / f"{LATIN_1}.npy")
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert str(caught.value) == f"{tmp_path}/{SHOWN}.npy: its name is not UTF-8. Rename it."


def test_check_train_and_register_end_in_a_message(root: Path, tmp_path: Path) -> None:
    bad = tmp_path / LATIN_1
    bad.mkdir()
    (root / "moving" / "t1.png").rename(root / "moving" / f"{LATIN_1}.png")
    assert SHOWN in run("check", "--data_base_dir", root).output
    for command in ("check", "train"):
        result = run(command, "--data_base_dir", bad)
        assert result.exit_code == 1
        assert "its name is not UTF-8" in result.output
    assert run("train", "--data_base_dir", root, "--runs_dir", bad).exit_code == 1
    save_checkpoint(tmp_path / "net.pt", constant_flow(0, 0))
    files = ("--checkpoint", tmp_path / "net.pt", "--fixed", root / "fixed" / "atlas.png", "--device", "cpu")
    result = run("register", *files, "--moving", root / "moving", "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert f"{SHOWN}.png: its name is not UTF-8" in result.output
    result = run("register", *files, "--moving", root / "moving" / f"{LATIN_1}.png", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert f"{SHOWN}.png: its name is not UTF-8. Rename it." in result.output


@pytest.mark.parametrize("name", ["in/nope", "./nope"])
def test_a_folder_that_is_not_there_is_named_as_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("check", "--data_base_dir", name)
    assert result.exit_code == 1
    assert (
        f"  {Path(name)}: there is no such folder. Name the folder of your data with --data_base_dir." in result.output
    )
