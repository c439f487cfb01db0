"""Reading the tables that corpora come with: delimited text below a header row."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from signbind_jax.errors import SignBindError


class TableRow(NamedTuple):
    """A row of a table.

    Attributes:
      line: where it ends in the file, counted from 1.
      cells: column -> value as it stands, with the spaces around it.
      fault: why it cannot be trusted; empty where it can.
    """

    line: int
    cells: dict[str, str]
    fault: str = ""


def read_table(
    path: Path, columns: Sequence[str], delimiter: str = ",", quoted: bool = True
) -> list[TableRow]:
    """The rows of a table; every value is text, "nan" and "null" are words.

    Args:
      path: UTF-8, with or without a byte order mark, any line ends.
      columns: that have to be there; they are found by name, in any order, among others.
      quoted: whether quotes enclose values that hold delimiters, as in CSV; else a quote is a
        character like others.

    Raises:
      SignBindError: not UTF-8; a column that is missing or there twice; quotes that do not
        close; no rows.
    """
    text = read_text(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True,
                        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)  # fmt: skip
    header: list[str] = []
    rows: list[TableRow] = []
    try:
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            if not header:
                header = _checked_header(values, columns, path)
                continue
            fault = ("" if len(values) == len(header)
                     else f"found {len(values)} fields, wanted {len(header)}")  # fmt: skip
            rows.append(TableRow(reader.line_num, dict(zip(header, values, strict=False)), fault))
    except csv.Error as error:
        raise SignBindError(f"{path}:{reader.line_num}: {error}: wanted quotes that close: copy "
                            "the file again") from error  # fmt: skip
    if not header:
        raise SignBindError(f"{path}: empty, wanted a header row with {', '.join(columns)}")
    if not rows:
        raise SignBindError(f"{path}: found no rows below the header, wanted at least one clip")
    return rows


def read_text(path: Path) -> str:
    """A UTF-8 file without its byte order mark, line ends as they are.

    Raises:
      SignBindError: it cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SignBindError(f"{path}: byte {error.start} is not UTF-8: copy the file "
                            "again") from error  # fmt: skip
    except OSError as error:
        raise SignBindError(f"{path}: cannot be read: {error.strerror or error}") from error


def _checked_header(values: list[str], columns: Sequence[str], path: Path) -> list[str]:
    header = [name.strip() for name in values]
    for column in columns:
        if header.count(column) != 1:
            found = "found twice" if column in header else "missing"
            raise SignBindError(f"{path}: column {column!r}: {found}, wanted one; the header is "
                                f"{', '.join(header)[:200]!r}")  # fmt: skip
    return header
