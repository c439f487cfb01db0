"""Damage to a file: to its bytes, or to the values in it, written back as a whole file again.

Flipped bytes rarely get past a checksum or a parser. So half of the damage is done to what a
file says: it is decoded by its suffix, one or a few of its values become hostile, and it is
encoded again. Everything is drawn from one `random.Random`.
"""

import contextlib
import copy
import csv
import gzip
import io
import json
import math
import pickle
import random
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

_INTEGERS = (0, 1, -1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 10**30)
_FLOATS = (math.nan, math.inf, -math.inf, 1e300, -1e300, 1e-320, -0.5, 1e9)
_TEXTS = (
    "",
    " ",
    "../x",
    "../../escaped",
    "/etc/passwd",
    "a\0b",
    "\x1b[31mred",
    "\u202egnp",
    "\ud800",
    "NaN",
    "1e400",
    "-1",
    "0",
    "9" * 5000,
    "%s%n",
    "{{ 7 * 7 }}",
    "{% for i in range(10**9) %}x{% endfor %}",
    "a/b",
    ".",
    "~",
    "-x",
    "CON",
    "é",
    "e\u0301",
    "\n",
    "\t",
    '"',
    "'",
    ",",
    "|",
    "__import__('os')",
    "file:///etc/passwd",
    "x" * 5000,
)
_LONG = 2_000_000  # characters
_GZIP = b"\x1f\x8b"
_IMPOSSIBLE = (
    ValueError,
    TypeError,
    OverflowError,
    RecursionError,
    LookupError,
    AttributeError,
    zipfile.BadZipFile,
    pickle.PickleError,
    struct.error,
)
# JSON that no value of Python stands for; put in place of a mark in the encoded text.
_RAW = {
    "<1e400>": "1e400",
    "<deep>": "[" * 100_000,
    "<nested>": "[" * 5000 + "]" * 5000,
    "<half>": r'"\ud800"',
    "<big>": "9" * 5000,
    "<comment>": "1 /* */",
}


def damaged(data: bytes, name: str, chance: random.Random) -> bytes:
    """Other bytes for a file of this name."""
    if data[:2] == _GZIP and chance.random() < 0.7:
        return gzip.compress(damaged(gzip.decompress(data), name, chance), mtime=0)
    if chance.random() < 0.6:
        for pattern, (decode, encode) in _CODECS.items():
            if re.search(f"(?:{pattern})$", name):
                # What such a file cannot hold, damage to the bytes stands in for.
                with contextlib.suppress(*_IMPOSSIBLE):
                    value = decode(data)
                    for _ in range(chance.choice((1, 1, 1, 2, 4))):
                        value = _changed(value, chance)
                    return encode(value)
                break
    return damaged_bytes(data, chance)


def damaged_bytes(data: bytes, chance: random.Random) -> bytes:
    """Bits flipped, runs overwritten, cut out, repeated or put in, numbers made huge."""
    data = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        # Headers matter most and are short.
        at = chance.randrange(min(len(data), chance.choice((64, 4096, 2**40))) or 1)
        run = chance.choice((1, 2, 4, 16, 256))
        kind = chance.randrange(8)
        if not data or kind == 0:
            data[at:at] = chance.choice((b"\0", b"\xff", b"\n", b"\x1b", b"9" * 30, b"\0" * 99))
        elif kind == 1:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            data[at : at + run] = chance.choice((b"\0", b"\xff")) * run
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            del data[at : at + run]
        elif kind == 5:
            data[at:at] = data[at : at + run] * chance.choice((1, 2, 50))
        elif kind == 6:
            size = chance.choice((2, 4, 8))
            number = chance.choice(_INTEGERS) % 2 ** (8 * size)
            data[at : at + size] = number.to_bytes(size, chance.choice(("little", "big")))
        else:
            data[at : at + run] = chance.randbytes(run)
    return bytes(data)


def _changed(value: Any, chance: random.Random) -> Any:
    """`value` with one hostile change somewhere in it; `value` itself may be changed."""
    parts = _parts(value)
    if not parts or chance.random() < 0.05:
        return _hostile(value, chance)
    # Down one path, mostly to a leaf.
    key = chance.choice(parts)
    kind = chance.randrange(12)
    if kind == 0 and isinstance(value, dict | list):
        del value[key]
    elif kind == 1 and isinstance(value, list):
        value.insert(key, copy.deepcopy(chance.choice(value)))
    elif kind == 1 and isinstance(value, dict):
        value[_hostile_text(str(key), chance)] = value.pop(key)
    elif kind == 2:
        value[key], value[other] = value[other := chance.choice(parts)], value[key]
    else:
        value[key] = _changed(value[key], chance)
    return value


def _parts(value: Any) -> list:
    if isinstance(value, dict):
        return list(value)
    return list(range(len(value))) if isinstance(value, list) else []


def _hostile(value: Any, chance: random.Random) -> Any:
    if isinstance(value, np.ndarray | np.generic) and chance.random() < 0.8:
        return _hostile_array(np.asarray(value), chance)
    if isinstance(value, str) and chance.random() < 0.6:
        return _hostile_text(value, chance)
    kind = chance.randrange(8)
    if kind == 0:
        return chance.choice(_INTEGERS) * chance.choice((1, -1))
    if kind == 1:
        return chance.choice(_FLOATS)
    if kind == 2:
        return chance.choice((None, True, False, [], {}, [[]], {"a": 1}, [0] * 1000, ""))
    if kind == 3:
        return chance.choice(list(_RAW))
    if kind == 4:
        return [value]
    if kind == 5:
        return {"a": value}
    if kind == 6 and isinstance(value, int | float):
        return str(value)
    return _hostile_text("", chance)


def _hostile_text(text: str, chance: random.Random) -> str:
    hostile = chance.choice(_TEXTS) if chance.random() < 0.97 else "x" * _LONG
    return hostile if chance.random() < 0.7 else text + hostile


def _hostile_array(array: np.ndarray, chance: random.Random) -> np.ndarray:
    kind = chance.randrange(7)
    if kind == 0:
        return array.astype(chance.choice(("f2", "f8", "i1", "i8", "u8", "c16", "U4", "S3", "?")))
    if kind == 1:
        return array.reshape(-1)[:0] if not array.ndim else array[:0]
    if kind == 2:
        return array[None]
    if kind == 3:
        return array.reshape(-1)
    if kind == 4 and array.ndim:
        return np.repeat(array, chance.choice((0, 2, 3)), chance.randrange(array.ndim))
    if kind == 5 and array.ndim:
        return np.moveaxis(array, 0, -1)
    array = array.copy()
    if array.size and array.dtype.kind in "fiu":
        flat = array.reshape(-1)
        with np.errstate(all="ignore"):
            numbers = np.array(chance.choice((_FLOATS, (0.0, -1.0, 2.0**31, 255.0))))
            flat[chance.randrange(flat.size) :: chance.choice((1, 7, flat.size))] = numbers.astype(
                array.dtype
            )[chance.randrange(len(numbers))]
    return array


# What follows is one pair of functions a format: bytes -> value, value -> bytes.


def _encode_json(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False)
    for mark, raw in _RAW.items():
        text = text.replace(f'"{mark}"', raw)
    return text.encode(errors="surrogatepass")


def _decode_lines(data: bytes) -> list:
    return [json.loads(line) for line in data.splitlines()]


def _encode_lines(lines: list) -> bytes:
    return b"".join(_encode_json(line).replace(b"\n", b" ") + b"\n" for line in lines)


def _table(delimiter: str, quoted: bool) -> tuple[Callable, Callable]:
    def decode(data: bytes) -> list:
        text = data.decode()
        if quoted:
            return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        return [line.split(delimiter) for line in text.split("\n")]

    def encode(rows: list) -> bytes:
        lines = [map(str, row) if isinstance(row, list) else [str(row)] for row in rows]
        text = "\n".join(map(delimiter.join, lines))
        if quoted:
            file = io.StringIO(newline="")
            csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(
                row if isinstance(row, list) else [row] for row in rows
            )
            text = file.getvalue()
        return text.encode(errors="surrogatepass")

    return decode, encode


def _decode_npz(data: bytes) -> dict:
    with np.load(io.BytesIO(data)) as archive:
        return dict(archive)


def _encode_npz(arrays: dict) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asanyarray(value), allow_pickle=True)
    return file.getvalue()


def _decode_safetensors(data: bytes) -> dict:
    size = int.from_bytes(data[:8], "little")
    return {"header": json.loads(data[8 : 8 + size]), "data": data[8 + size :]}


def _encode_safetensors(value: dict) -> bytes:
    header = _encode_json(value["header"])
    return len(header).to_bytes(8, "little") + header + value["data"]


_CODECS: dict[str, tuple[Callable, Callable]] = {
    r"\.json": (json.loads, _encode_json),
    r"\.jsonl": (_decode_lines, _encode_lines),
    r"\.npz": (_decode_npz, _encode_npz),
    r"\.pkl|labels\.\w+": (pickle.loads, pickle.dumps),
    r"\.safetensors": (_decode_safetensors, _encode_safetensors),
    r"\.tsv|\.py|\.txt|\.jinja": _table("\t", False),
    r"realigned.*\.csv": _table("\t", True),
    r"corpus\.csv": _table("|", False),
    r"\.csv": _table(",", True),
    r"\.vtt": _table(" ", False),
}
