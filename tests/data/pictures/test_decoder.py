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

import numpy as np
import pytest

from regstudio.data.pictures import decoder
from regstudio.data.pictures.decoder import DecoderPool
from regstudio.data.pictures.formats import geometry_of, read_image, read_label
from regstudio.data.pictures.writing import output_extension, write_image
from regstudio.data.problems import FileError
from tests.data.writers import PLACED, UNPLACED, written
from tests.pictures import BYTES, ids


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "uploads"
    folder.mkdir()
    decoder.read_apart(folder)
    return folder


@pytest.fixture
def one() -> Iterator[DecoderPool]:
    """A process of this test alone."""
    pool = DecoderPool()
    yield pool
    pool.end()


def process_of(path: Path, pool: DecoderPool = decoder.pool) -> int:
    number: int = pool.call(path, os.getpid)
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
    before = decoder.pool.running
    read_image(path)
    assert decoder.pool.running == before  # a file that nobody has uploaded needs none
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
        decoder.pool.call(Path("a.dcm"), function, *arguments)  # type: ignore[arg-type]
    np.testing.assert_array_equal(read_label(written(uploads, "pydicom .dcm", ids().astype(np.uint8))).array, ids())


def test_a_decoder_that_hangs_is_stopped() -> None:
    began = time.monotonic()
    with pytest.raises(FileError, match=r"a\.dcm: its decoder took more than 0 seconds; the file is damaged\."):
        DecoderPool(seconds=0.3).call(Path("a.dcm"), time.sleep, 60)
    assert time.monotonic() - began < 10


def test_a_decoder_that_takes_all_memory_is_stopped() -> None:
    pytest.importorskip("resource")
    with pytest.raises(FileError, match="its decoder stopped"):
        decoder.pool.call(Path("a.dcm"), bytearray, decoder.MAX_MEMORY + 1)


def test_what_libraries_print_is_no_answer(one: DecoderPool) -> None:
    assert one.call(Path("a"), os.write, 1, b"a remark of a library\n") == 22
    assert one.call(Path("a"), print, "another") is None
    assert isinstance(process_of(Path("a"), one), int)


def test_one_that_ended_while_nobody_asked_is_replaced(one: DecoderPool) -> None:
    first = process_of(Path("a"), one)
    os.kill(first, signal.SIGKILL)
    while one.running:
        time.sleep(0.01)
    assert process_of(Path("a"), one) != first
    assert one.running == 1
    one.end()
    assert one.running == 0


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no list of processes here")
def test_it_ends_with_the_program_that_started_it(tmp_path: Path) -> None:
    ask = "print(pool.call('x', os.getpid), flush=True); time.sleep(99)"
    words = f"import os, time; from regstudio.data.pictures.decoder import pool; {ask}"
    with subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        child = Path("/proc", program.stdout.readline().strip())
        assert child.is_dir()
        program.kill()
    end = time.monotonic() + 20
    while child.is_dir() and time.monotonic() < end:
        time.sleep(0.05)
    assert not child.is_dir()
