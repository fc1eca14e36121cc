"""Hostile files given to the commands: one message, exit code 1, no traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from regstudio.cli import main
from regstudio.data.pictures.writing import write_image
from regstudio.networks.checkpoint import save_checkpoint
from tests.hostile import headers
from tests.known_flows import constant_flow
from tests.pictures import ramp

FILES: dict[str, Callable[[Path], Path]] = {
    "dimensions.nrrd": headers.nrrd_of_many_dimensions,
    "header_alone.nrrd": headers.nrrd_header_alone,
    "elsewhere.nrrd": lambda path: headers.nrrd(path, "data file: /etc/hostname"),
    "channels.mha": headers.metaimage_of_many_channels,
    "elsewhere.mha": lambda path: headers.metaimage(path, "", end="ElementDataFile = /etc/hostname"),
    "header_alone.nii": lambda path: headers.nifti(path, (30_000, 30_000)),
    "dimensions.nii": lambda path: headers.nifti(path, (2,) * 7, pixels=bytes(128)),
    "loop.tif": headers.tiff_with_a_loop,
}


def run(*arguments: object) -> str:
    """The output of a command that must fail in words."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture(params=FILES)
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return FILES[request.param](tmp_path / request.param)


def test_check_and_train_name_a_hostile_atlas(root: Path, hostile: Path) -> None:
    (root / "fixed" / "atlas.png").unlink()
    atlas = hostile.rename(root / "fixed" / hostile.name)
    for command in ("check", "train"):
        assert atlas.name in run(command, "--data_base_dir", root, "--atlas_name", atlas.name)


def test_register_and_apply_name_a_hostile_image(tmp_path: Path, hostile: Path) -> None:
    write_image(tmp_path / "fixed.png", ramp())
    save_checkpoint(tmp_path / "net.pt", constant_flow(0, 0))
    common = ("--checkpoint", tmp_path / "net.pt", "--out", tmp_path / "out", "--device", "cpu")
    for fixed, moving in ((tmp_path / "fixed.png", hostile), (hostile, tmp_path / "fixed.png")):
        assert hostile.name in run("register", *common, "--fixed", fixed, "--moving", moving)
    flow = ("--flow", hostile, "--image", tmp_path / "fixed.png", "--out", tmp_path / "out")
    assert hostile.name in run("apply", *flow)
