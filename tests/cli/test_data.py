import json
import shutil
from pathlib import Path

from click.testing import CliRunner, Result

from regstudio.cli import main


def regstudio(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_check_of_good_data(demo: Path) -> None:
    result = regstudio("check", "--data_base_dir", demo)
    assert result.exit_code == 0
    assert "Ready to train" in result.stdout


def test_check_as_json(demo: Path) -> None:
    result = regstudio("check", "--data-base-dir", demo, "--json")
    report = json.loads(result.stdout)
    assert report["can_train"] is True
    assert report["training"]["images"] == 4
    assert report["validation"]["sizes"] == {"48 x 48": 2}


def test_check_of_data_that_cannot_be_trained_on(demo: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(demo, data)
    for path in (data / "fixed").iterdir():
        path.write_bytes(b"no picture")
    result = regstudio("check", "--data_base_dir", data)
    assert result.exit_code == 1
    assert "Errors (1)" in result.stdout
    assert "atlas" in result.stdout


def test_make_demo_can_be_trained_on(tmp_path: Path) -> None:
    made = regstudio("make-demo", "--out", tmp_path / "demo", "--size", 48, "--train", 2, "--validation", 1)
    assert made.exit_code == 0
    assert f"regstudio train --data_base_dir {tmp_path / 'demo'}" in made.stdout
    assert regstudio("check", "--data_base_dir", tmp_path / "demo").exit_code == 0


def test_make_demo_spares_files_that_are_not_its_own(tmp_path: Path) -> None:
    mine = tmp_path / "fixed" / "atlas.png"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    result = regstudio("make-demo", "--out", tmp_path, "--size", 48, "--train", 2, "--validation", 1)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert mine.read_bytes() == b"mine"
