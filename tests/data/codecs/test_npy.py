"""NumPy's own files."""

import io
from pathlib import Path

import numpy as np
import pytest

from regstudio.data.codecs import npy


@pytest.mark.parametrize("failures", [0, 1, npy.HEADER_ATTEMPTS])
def test_a_header_is_read_again_where_python_lost_count(failures: int) -> None:
    stream, array = io.BytesIO(), np.zeros((3, 5), np.float32)
    np.save(stream, array)
    stream.seek(0)
    np.lib.format.read_magic(stream)
    left = iter(range(failures))

    def read(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[np.float32]]:
        header = np.lib.format.read_array_header_1_0(stream)
        if next(left, None) is not None:
            raise SystemError("AST constructor recursion depth mismatch (before=65, after=69)")
        return header

    assert npy._read_header(read, stream) == ((3, 5), False, array.dtype)


def test_a_header_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(npy.npy_format.magic(1, 0) + b"\x05\x00spoil")
    with pytest.raises((SyntaxError, ValueError)):
        npy.decode(path, "")
