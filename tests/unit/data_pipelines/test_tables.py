"""Tables of corpora: what is no table ends in one line that says where, before it takes memory."""

import os

import pytest

from signbind_jax.data_pipelines.readers import tables
from signbind_jax.errors import SignBindError

COLUMNS = ("name", "text")


def test_columns_that_nobody_asked_for_are_not_kept(tmp_path):
    (tmp_path / "a.csv").write_text('\ufeffid,text,name\r\n1,"b\n\u2028""c""",a\r\n\r\n2,d\n')
    first, second = tables.read_table(tmp_path / "a.csv", COLUMNS)
    assert first == (3, {"name": "a", "text": 'b\n\u2028"c"'}, "")
    assert second == (5, {"text": "d"}, "found 2 fields, wanted 3")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name,text\na," + "x" * 200_000 + "\n", ":2: quotes: field larger than field limit"),
        ("name,text\na,b\n" + "," * 2**20 + "\n", ":3: found a line of 1,048,577 characters"),
        ("x" * 2**21, ":1: found a line of 2,097,152 characters"),
        ("name,text" + ",c" * 2000 + "\n", ": header: found 2,002 columns, wanted at most 1,000"),
        ("name,text\n" + "\n" * 1_000_000, ": found over 1,000,000 lines"),
        ('name,text\na,"b\n', ":2: quotes: unexpected end of data"),
        ("name,name,text\n", ": column 'name': found twice"),
        (b"name,text\na,\xff\n", ": byte 12 is not UTF-8"),
    ],
    ids=["field", "delimiters", "header line", "columns", "rows", "quotes", "twice", "encoding"],
)
def test_what_is_no_table_is_told_with_its_place(tmp_path, content, said):
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SignBindError) as error:
        tables.read_table(path, COLUMNS)
    line = str(error.value)
    assert line.startswith(f"{path}{said}") and "\n" not in line and len(line) < 500


def test_a_named_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(SignBindError, match=r"a\.csv: found a named pipe, wanted a file"):
        tables.read_table(tmp_path / "a.csv", COLUMNS)
