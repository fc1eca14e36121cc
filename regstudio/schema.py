"""What comes from outside has one schema: bounded values, files read up to a size, and what is wrong in a few words.

A kind of file has its model in the module that writes it; the models are made of the types below, and whatever is read
passes through `parse` or `validate`. A SchemaError says what is wrong; whoever reads a file adds its name and a remedy.
"""

import os
import reprlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar

from pydantic import AfterValidator, Field, Strict, TypeAdapter, ValidationError

MAX_RECORD_BYTES = 2**20  # of a file, or line, of plain values
_NO_WAITING = getattr(os, "O_NONBLOCK", 0)  # a pipe is then opened, and refused, at once

# Strict: the text "3" is no number, and neither is True.
Number = Annotated[float, Strict(), Field(ge=-3.5e38, le=3.5e38, allow_inf_nan=False)]  # what float32 can hold
Seconds = Annotated[float, Strict(), Field(ge=0, le=1e10, allow_inf_nan=False)]
Count = Annotated[int, Strict(), Field(ge=0, le=10**12)]
Name = Annotated[str, Strict(), Field(max_length=255)]
Text = Annotated[str, Strict(), Field(max_length=10_000)]
Measure = Count | Annotated[float, Strict()]  # what was counted or measured, which may be NaN


def _check_file_name(name: str) -> str:
    if Path(name).name != name or "\0" in name or len(name.encode()) > 255:
        raise ValueError("is no name of a file")
    return name


FileName = Annotated[str, Strict(), AfterValidator(_check_file_name)]  # without folders

T = TypeVar("T")


class SchemaError(ValueError):
    """Something from outside is not what it should be; the message has no name of a file yet."""


def open_file(path: Path) -> BinaryIO:
    """Open a file to read; raises SchemaError for what is no file, such as a folder or a pipe, or may not be read."""
    try:
        stream = os.fdopen(os.open(path, os.O_RDONLY | _NO_WAITING | getattr(os, "O_BINARY", 0)), "rb")
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise SchemaError(reason(error)) from None
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise SchemaError("is no file")
    return stream


def read_bytes(path: Path, limit: int = MAX_RECORD_BYTES) -> bytes:
    """Return the content of a file; raises SchemaError as `open_file` does, or for more than `limit` bytes."""
    try:
        with open_file(path) as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise SchemaError(reason(error)) from None
    if len(content) > limit:
        raise SchemaError(f"has more than {limit:,} bytes")
    return content


def read_lines(path: Path, limit: int = MAX_RECORD_BYTES) -> Iterator[bytes]:
    """Yield the lines of a file; raises SchemaError as `open_file` does. One longer than `limit` comes in pieces."""
    with open_file(path) as stream:
        while line := stream.readline(limit):
            yield line


def parse(content: bytes, model: TypeAdapter[T]) -> T:
    """Return the values of the `model` in a text of JSON; raises SchemaError."""
    try:
        return model.validate_json(content.removeprefix(b"\xef\xbb\xbf"), strict=True)  # Windows' editors put it first
    except ValidationError as error:
        raise SchemaError(_what(error)) from None


def validate(value: object, model: TypeAdapter[T]) -> T:
    """Return the values of the `model` in plain Python values; raises SchemaError."""
    try:
        return model.validate_python(value)
    except ValidationError as error:
        raise SchemaError(_what(error)) from None


def reason(error: OSError | ValueError) -> str:
    """Return why a file cannot be opened, to follow its name."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "is a folder"
    return f"cannot be opened ({getattr(error, 'strerror', None) or error})"


def shortened(value: object) -> str:
    """Return a value from outside as it may stand in a message, however large it is."""
    try:
        return reprlib.repr(value)
    except ValueError:  # an integer of thousands of digits
        return f"{type(value).__name__} of many digits"


def _what(error: ValidationError) -> str:
    """Return what is wrong in the first place that is."""
    details: Any = error.errors(include_url=False, include_context=False)[0]
    message = details["msg"][:1].lower() + details["msg"][1:]
    place = ".".join(str(part)[:60] for part in details["loc"])
    if details["type"] == "json_invalid":
        return f"is not JSON ({message.removeprefix('invalid JSON: ')})"
    if details["type"] in ("missing", "unexpected_keyword_argument"):
        return f"{place} is {'missing' if details['type'] == 'missing' else 'not known'}"
    return f"{place or 'it'} is {shortened(details['input'])}: {message}"
