import errno
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  # as it is known
import tifffile
import torch
from PIL import Image

from regstudio import temporary
from regstudio.data.pictures.writing import write_image
from regstudio.errors import DiskFullError, RegStudioError
from regstudio.files import append, atomic_path, is_full, system_message, temporary_folder, write_text
from tests.small_disk import largest_file

PIXELS = np.random.default_rng(0).integers(0, 255, (600, 600)).astype(np.uint8)
LIMIT = 100_000


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", PIXELS.tobytes())


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.pt", lambda path: torch.save({"weights": torch.rand(300, 300)}, path)),
        ("a.npy", lambda path: np.save(path, PIXELS)),
        ("a.npz", lambda path: np.savez(path, a=PIXELS)),
        ("a.png", lambda path: Image.fromarray(PIXELS).save(path)),
        ("a.tif", lambda path: tifffile.imwrite(path, PIXELS)),
        ("a.nii.gz", lambda path: nib.save(nib.Nifti1Image(PIXELS, np.eye(4)), path)),
        ("a.mha", lambda path: sitk.WriteImage(sitk.GetImageFromArray(PIXELS), str(path))),
        ("a.nrrd", lambda path: sitk.WriteImage(sitk.GetImageFromArray(PIXELS), str(path))),
        ("a.txt", lambda path: path.write_text("a" * 10**6)),
        ("a.zip", zipped),
    ],
)
def test_a_full_disk_is_named_whatever_writes(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    (tmp_path / name).write_bytes(b"before")
    with (
        largest_file(LIMIT),
        pytest.raises(DiskFullError, match=rf"{tmp_path / name}: cannot be written, as the disk is full\."),
        atomic_path(tmp_path / name) as temporary_path,
    ):
        write(temporary_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"before"


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".npy", ".npz", ".nii", ".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("less", [1, 100])
def test_a_file_that_just_does_not_fit_is_not_cut_off_in_silence(tmp_path: Path, ending: str, less: int) -> None:
    path = tmp_path / f"a{ending}"
    write_image(path, PIXELS[:60, :60])
    before = path.read_bytes()
    with largest_file(len(before) - less), pytest.raises(DiskFullError, match="disk is full"):
        write_image(path, PIXELS[:60, :60])
    assert path.read_bytes() == before


@pytest.mark.parametrize("error", [RuntimeError("no"), ValueError("no"), OSError("no"), KeyboardInterrupt()])
def test_other_errors_stay_what_they_are(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, atomic_path(tmp_path / "a.txt") as temporary_path:
        temporary_path.write_text("a")
        raise error
    assert caught.value is error
    assert not list(tmp_path.iterdir())


def test_a_full_folder_for_temporary_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with largest_file(LIMIT), pytest.raises(DiskFullError, match=str(tmp_path)), temporary_folder() as folder:
        sitk.WriteImage(sitk.GetImageFromArray(PIXELS), str(folder / "a.nrrd"))
    assert not list(tmp_path.iterdir())


def test_what_is_appended_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append(path, b"one\n")
    with largest_file(6), pytest.raises(DiskFullError, match="disk is full"):
        append(path, b"three\n")
    assert path.read_bytes() == b"one\n"
    append(path, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_the_systems_own_errors_are_known(number: int) -> None:
    error = OSError(number, os.strerror(number), "/results/a.png")
    assert is_full(error)
    assert "/results/a.png" in system_message(error)
    assert "disk is full" in system_message(error)
    later = ValueError("cannot save")
    later.__context__ = error
    assert is_full(later)
    assert not is_full(PermissionError(errno.EACCES, "no"))
    assert isinstance(DiskFullError("x"), (RegStudioError, OSError))


def killed(folder: Path, code: str) -> list[Path]:
    """Run `code` in another process, kill it while it waits, and return the files it left in `folder`."""
    before = set(folder.rglob("*"))
    script = f"import sys; from pathlib import Path; folder = Path({str(folder)!r})\n{code}"
    pipe = subprocess.PIPE  # for stdin, too, which may be closed where the tests run
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        left = sorted(set(folder.rglob("*")) - before)
        temporary.remove_leftovers(folder)  # a living process keeps its files
        temporary.remove_leftovers(folder, alone=True)
        assert sorted(set(folder.rglob("*")) - before) == left
        process.kill()
    return left


HALF_WRITTEN = """
from regstudio.files import atomic_path
with atomic_path(folder / "a.png") as path:
    path.write_text("half")
    print("now", flush=True)
    sys.stdin.read()
"""


def test_files_of_a_killed_process_go_when_the_next_one_writes_there(tmp_path: Path) -> None:
    (left,) = killed(tmp_path, HALF_WRITTEN)
    assert left.exists()
    assert left.name.endswith(".a.png")
    temporary._visited.discard(tmp_path)  # another process has not looked there yet
    write_text(tmp_path / "b.txt", "b")
    assert [path.name for path in tmp_path.iterdir()] == ["b.txt"]


@pytest.mark.parametrize("prefix", ["regstudio-", ".upload-"])
def test_folders_of_a_killed_process_go_too(tmp_path: Path, prefix: str) -> None:
    code = f"""
from regstudio.temporary import new_folder
(new_folder(folder, {prefix!r}) / "a").write_text("a")
print("now", flush=True)
sys.stdin.read()
"""
    assert len(killed(tmp_path, code)) == 2
    temporary.remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_files_that_are_none_of_ours_or_perhaps_in_use_stay(tmp_path: Path) -> None:
    ours = tmp_path / temporary.temporary_name("a.pt")
    theirs = tmp_path / f".{'a' * 16}{'0' * 8}{os.getpid():08x}.b.pt"  # of a machine of another name
    stay = [ours, tmp_path / ".hidden", tmp_path / ".deadbeef.a.pt", tmp_path / "regstudio-notes"]
    for path in (*stay, theirs):
        path.write_text("a")
    temporary.remove_leftovers(tmp_path)
    assert theirs.exists()  # a process of another machine may be writing it
    old = time.time() - temporary.FOREIGN_SECONDS - 10
    os.utime(theirs, (old, old))
    temporary.remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(stay)


def test_temporary_names_are_short_enough_for_the_longest_names(tmp_path: Path) -> None:
    for name in ("a" * 251 + ".png", "ä" * 125 + ".png"):
        write_text(tmp_path / name, "x")
        assert (tmp_path / name).read_text() == "x"
    assert len(list(tmp_path.iterdir())) == 2
    shutil.rmtree(tmp_path)
