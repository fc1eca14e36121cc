"""Uploaded files are read in a process of their own: what ends it is a message, and all goes on."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from queue import LifoQueue

import numpy as np
import pytest

from regstudio.data.pictures import decoder
from regstudio.data.pictures.formats import geometry_of, read_image, read_label
from regstudio.data.pictures.writing import output_extension, write_image
from regstudio.data.problems import FileError
from tests.data.writers import PLACED, UNPLACED, written
from tests.pictures import BYTES, ids


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setattr(decoder, "_folders", set())
    monkeypatch.setattr(decoder, "_idle", LifoQueue())
    decoder._idle.put(None)
    decoder.read_apart(folder)
    yield folder
    decoder._end_all()


def process_of(path: Path) -> int:
    number: int = decoder.call(path, os.getpid)
    return number


@pytest.mark.slow
def test_files_are_read_as_in_this_process(uploads: Path, tmp_path: Path) -> None:
    for writer in (*PLACED, *UNPLACED):
        own = written(tmp_path, writer, BYTES, "RAS")
        uploaded = Path(shutil.copy(own, uploads))
        for read in (read_image, read_label):
            expected, found = read(own), read(uploaded)
            np.testing.assert_array_equal(found.array, expected.array)
            assert found.array.dtype == expected.array.dtype
            assert found.path == uploaded
            assert found.facing == expected.facing == getattr(geometry_of(uploaded), "facing", None)
            assert type(found.header) is type(expected.header)
        write_image(tmp_path / f"out{output_extension(own)}", BYTES, like=found)


def test_one_process_is_started_and_used_again(uploads: Path, tmp_path: Path) -> None:
    path = written(tmp_path, "Pillow .png", BYTES)
    read_image(path)
    assert decoder._idle.queue[-1] is None  # a file that nobody has uploaded needs none
    first = process_of(path)
    read_image(shutil.copy(path, uploads))
    assert process_of(path) == first != os.getpid()


def test_errors_and_their_messages_come_through(uploads: Path) -> None:
    (uploads / "a.png").write_bytes(b"no picture")
    message = r"a\.png: cannot be read as \.png; it is damaged, or not what its name says\. Copy or export it again\."
    first = process_of(uploads)
    for read in (read_image, read_label):
        with pytest.raises(FileError, match=message):
            read(uploads / "a.png")
    with pytest.raises(FileError, match="there is no such file"):
        read_image(uploads / "gone.nii.gz")
    assert process_of(uploads) == first


CRASHES = {
    "abort": (os.abort,),
    "segfault": (ctypes.string_at, 0),
    "exit": (os._exit, 0),
    "kill": (signal.raise_signal, 9),
}


@pytest.mark.parametrize("crash", CRASHES.values(), ids=CRASHES)
def test_a_decoder_that_crashes_is_a_message_and_the_next_file_is_read(
    crash: tuple[object, ...], uploads: Path
) -> None:
    function, *arguments = crash
    with pytest.raises(FileError, match=r"a\.dcm: its decoder stopped; the file is damaged\. Copy or export"):
        decoder.call(Path("a.dcm"), function, *arguments)  # type: ignore[arg-type]
    np.testing.assert_array_equal(read_label(written(uploads, "pydicom .dcm", ids().astype(np.uint8))).array, ids())


def test_a_decoder_that_hangs_is_stopped(uploads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process_of(uploads)  # starting one takes longer than what follows
    monkeypatch.setattr(decoder, "MAX_SECONDS", 0.3)
    began = time.monotonic()
    with pytest.raises(FileError, match=r"a\.dcm: its decoder took more than 0 seconds; the file is damaged\."):
        decoder.call(Path("a.dcm"), time.sleep, 60)
    assert time.monotonic() - began < 10


def test_a_decoder_that_takes_all_memory_is_stopped(uploads: Path) -> None:
    pytest.importorskip("resource")
    with pytest.raises(FileError, match="its decoder stopped"):
        decoder.call(Path("a.dcm"), bytearray, decoder.MAX_MEMORY + 1)


def test_what_libraries_print_is_no_answer(uploads: Path) -> None:
    assert decoder.call(uploads, os.write, 1, b"a remark of a library\n") == 22
    assert decoder.call(uploads, print, "another") is None
    assert isinstance(process_of(uploads), int)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no list of processes here")
def test_it_ends_with_the_program_that_started_it(tmp_path: Path) -> None:
    ask = "print(call('x', os.getpid), flush=True); time.sleep(99)"
    words = f"import os, time; from regstudio.data.pictures.decoder import call; {ask}"
    with subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        child = Path("/proc", program.stdout.readline().strip())
        assert child.is_dir()
        program.kill()
    end = time.monotonic() + 20
    while child.is_dir() and time.monotonic() < end:
        time.sleep(0.05)
    assert not child.is_dir()
