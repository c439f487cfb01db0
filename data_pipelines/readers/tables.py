"""Reading the tables that corpora come with: delimited text below a header row."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from signbind_jax import files
from signbind_jax.errors import SignBindError

LONGEST_LINE = 2**20  # characters: a line of nothing but delimiters is as many cells
_MOST_COLUMNS = 1000
_MOST_ROWS = 1_000_000
_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")


class TableRow(NamedTuple):
    """A row of a table.

    Attributes:
      line: where it ends in the file, counted from 1.
      cells: column that was asked for -> value as it stands, with the spaces around it.
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
      SignBindError: see `read_rows`; a column that is missing or there twice; no rows.
    """
    header: list[str] = []
    place_of: dict[str, int] = {}
    rows: list[TableRow] = []
    for line, values in read_rows(path, delimiter, quoted):
        if not any(value.strip() for value in values):
            continue
        if not header:
            header = check_header(values, columns, path)
            place_of = {column: header.index(column) for column in columns}
            continue
        fault = ""
        if len(values) != len(header):
            fault = f"found {len(values)} fields, wanted {len(header)}"
        cells = {column: values[i] for column, i in place_of.items() if i < len(values)}
        rows.append(TableRow(line, cells, fault))
    if not header:
        raise SignBindError(f"{path}: empty, wanted a header row with {', '.join(columns)}")
    if not rows:
        raise SignBindError(f"{path}: found no rows below the header, wanted at least one clip")
    return rows


def read_rows(path: Path, delimiter: str, quoted: bool = True) -> Iterator[tuple[int, list[str]]]:
    """The rows of delimited text as they stand, each with the line that it ends in.

    Raises:
      SignBindError: see `files.read_text`; quotes that do not close; a line or a value that is
        too long.
    """
    lines = _lines(path)
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    # Strict: a quote that does not close would swallow the rows behind it.
    reader = csv.reader(lines, delimiter=delimiter, strict=True, quoting=quoting)
    try:
        for values in reader:
            check_rows(reader.line_num, path)
            yield reader.line_num, values
    except csv.Error as error:
        raise SignBindError(
            f"{path}:{reader.line_num}: quotes: {error}: wanted quotes that close: copy the file "
            "again"
        ) from error


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file with their ends: not splitlines(), as cells may hold U+2028."""
    for number, match in enumerate(_LINE.finditer(files.read_text(path)), start=1):
        if len(match[0]) > LONGEST_LINE:
            raise SignBindError(
                f"{path}:{number}: found a line of {len(match[0]):,} characters, wanted at most "
                f"{LONGEST_LINE:,}: copy the file again"
            )
        yield match[0]


def check_rows(n: int, path: Path) -> None:
    """Refuses a table of more rows than any corpus has.

    Raises:
      SignBindError: there are too many.
    """
    if n > _MOST_ROWS:
        raise SignBindError(f"{path}: found over {_MOST_ROWS:,} lines, wanted fewer")


def check_header(values: list[str], columns: Sequence[str], path: Path) -> list[str]:
    """The names of the columns, without the spaces around them.

    Raises:
      SignBindError: one of `columns` is missing or there twice; too many of them.
    """
    header = [name.strip() for name in values]
    if len(header) > _MOST_COLUMNS:
        raise SignBindError(
            f"{path}: header: found {len(header):,} columns, wanted at most {_MOST_COLUMNS:,}"
        )
    for column in columns:
        if header.count(column) != 1:
            found = "found twice" if column in header else "missing"
            raise SignBindError(
                f"{path}: column {column!r}: {found}, wanted one; the header is "
                f"{', '.join(header)[:200]!r}"
            )
    return header
