"""Tables of text from outside, within bounds: decoded, and cut into cells."""

import csv
import unicodedata
from pathlib import Path

from regstudio.data.problems import FileError
from regstudio.schema import SchemaError, read_bytes

MAX_ROWS, MAX_BYTES = 100_000, 2**25

Row = tuple[int, list[str]]  # the number of its line, and its cells


def read_text(path: Path, remedy: str) -> tuple[str, str]:
    """Return the text of a file in UTF-8 or UTF-16, and its encoding; raises FileError, with this remedy, without."""
    if not path.exists():
        raise FileError(path, "there is no such file", "Check the name.")
    try:
        content = read_bytes(path, MAX_BYTES)
        encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        text = content.decode(encoding)
    except SchemaError as error:
        raise FileError(path, f"cannot be read as a table ({error})", remedy) from None
    except UnicodeDecodeError:
        raise FileError(path, "cannot be read as a table (it is no text in UTF-8 or UTF-16)", remedy) from None
    if any(unicodedata.category(letter) == "Cc" for letter in set(text) - set("\t\r\n")):
        raise FileError(path, "cannot be read as a table (it is no text)", remedy)
    return text, encoding if encoding == "utf-16" else "utf-8"


def delimiter_of(lines: list[str]) -> str:
    """Return what parts the cells of a table: the most frequent of comma, semicolon and tab in its first line."""
    first = next((line for line in lines if line.strip()), "")
    return max(",;\t", key=first.count)


def cells(path: Path, lines: list[str], remedy: str, delimiter: str = ",") -> list[Row]:
    """Return the rows that are not blank; raises FileError, with this remedy, for what is no table."""
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    except csv.Error as error:
        raise FileError(path, f"cannot be read as a table ({error})", remedy) from None
    if len(rows) > MAX_ROWS:
        raise FileError(path, f"has {len(rows):,} lines; {MAX_ROWS:,} are the most", "Leave some out.")
    return [(number, row) for number, row in enumerate(rows, start=1) if any(cell.strip() for cell in row)]


def columns_of(header: list[str]) -> dict[str, int]:
    """Return the place of each column by its name in small letters; of several of one name, the first."""
    return {name.strip().lower(): place for place, name in reversed(list(enumerate(header)))}
