"""Known attacks, which no drawn damage would find: reader -> name -> what is done to its tree.

Each has to be refused, in one line and within the limits.
"""

import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from tests import how2sign_files
from tests.faults.fuzz.corpora import HOW2SIGN, N_FRAMES
from tests.faults.fuzz.runs import seal_dataset

Attack = Callable[[Path], None]


def _put(name: str, data: bytes | str, tree: Path) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def _replaced(name: str, old: str, new: str, tree: Path) -> None:
    path = tree / name
    text = path.read_text()
    assert old in text, f"{name} holds no {old}"
    path.write_text(text.replace(old, new))


# Pickles.

_NESTED = b"\x80\x04)" + b"2\x86" * 40 + b"."  # dup, tuple2: 2^40 tuples in 87 bytes
_READ = b"\x80\x04\x8e" + (2**33 + 1).to_bytes(8, "little") + b"."  # BINBYTES8
_STRING = b"\x80\x04\x8d" + (2**40).to_bytes(8, "little") + b"."  # BINUNICODE8
_FRAME = b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b"."
_MEMO = b"\x80\x04Nr\xff\xff\xff\x7f."  # LONG_BINPUT: a table of 2^31 places
_RUNS = b"cos\nsystem\n(S'touch ../canary2'\ntR."
_LONG = b"\x80\x04\x8b" + (2**31 - 1).to_bytes(4, "little") + b"\x01."
_PICKLES = {
    "nested tuples": _NESTED,
    "a string of 2^33 bytes": _READ,
    "a text of 2^40": _STRING,
    "a frame of 2^62": _FRAME,
    "a memo of 2^31": _MEMO,
    "code": _RUNS,
    "a number of 2^31 bytes": _LONG,
    "gzip bomb": gzip.compress(bytes(2**24)) * 2**9,
}


def _pickles(name: str) -> dict[str, Attack]:
    return {what: partial(_put, name, data) for what, data in _PICKLES.items()}


# Pictures.


def _png(width: int, height: int) -> bytes:
    """A grey PNG of this size that holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000), 9)
    chunks = (chunk(b"IHDR", header), chunk(b"IDAT", body), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _claims(width: int, height: int, tree: Path) -> None:
    """Has every JPEG say another size."""
    for path in (tree / "mouth").iterdir():
        data = bytearray(path.read_bytes())
        at = data.find(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", height, width)
        path.write_bytes(data)


def _pictures(data: bytes, tree: Path) -> None:
    for path in (tree / "mouth").iterdir():
        path.write_bytes(data)


# Arrays.


def _npz_bomb(name: str, member: str, shape: tuple[int, ...], tree: Path) -> None:
    """Zeros of this shape, a thousandth of it on disk."""
    file = io.BytesIO()
    packed = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 1}
    with zipfile.ZipFile(tree / name) as whole, zipfile.ZipFile(file, "w", **packed) as archive:
        for info in whole.infolist():
            if info.filename != f"{member}.npy":
                archive.writestr(info.filename, whole.read(info))
        with archive.open(f"{member}.npy", "w", force_zip64=True) as out:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(out, header)
            for left in range(int(np.prod(shape)), 0, -(2**24)):
                out.write(bytes(min(left, 2**24)))
    (tree / name).write_bytes(file.getvalue())


def _huge_safetensors(tree: Path) -> None:
    path = next((tree / "model").glob("*.safetensors"))
    path.write_bytes((2**60).to_bytes(8, "little") + path.read_bytes()[8:])


# What leaves its directory.


def _playlist(name: str, tree: Path) -> None:
    """The same name, but a list that names a video beside the tree."""
    how2sign_files.video(tree.parent / "outside.mp4", 8)
    (tree / name).write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{tree.parent}/outside.mp4\n#EXT-X-ENDLIST\n"
    )


def _concat(name: str, tree: Path) -> None:
    how2sign_files.video(tree.parent / "outside.mp4", 8)
    (tree / name).write_text("ffconcat version 1.0\nfile ../outside.mp4\n")


def _videos(name: str) -> dict[str, Attack]:
    return {"playlist": partial(_playlist, name), "list to join": partial(_concat, name)}


def _row(row: str, tree: Path) -> None:
    with open(tree / "manifest.tsv", "a", encoding="utf-8", errors="surrogatepass") as file:
        file.write(row.replace("|", "\t") + "\n")


def _fps(value: float, tree: Path) -> None:
    with np.load(tree / "a.npz") as archive:
        np.savez(tree / "a.npz", **{**archive, "fps": value})


# Code.


def _class_of_features(tree: Path) -> None:
    """Has `features.json` name a class that lies in the working directory."""
    path = tree / "d" / "features.json"
    record = json.loads(path.read_text())
    record["pythonClassName"] = "intruder.Intruder"
    path.write_text(json.dumps(record))
    seal_dataset(tree)
    for place in (tree, tree / "d", tree.parent / "cwd"):
        place.mkdir(exist_ok=True)
        (place / "intruder.py").write_text(
            f"open({str(tree.parent / 'ran')!r}, 'w').close()\nclass Intruder: pass\n"
        )


def _template(source: str, tree: Path) -> None:
    path = tree / "model" / "tokenizer_config.json"
    record = json.loads(path.read_text())
    record["chat_template"] = source
    path.write_text(json.dumps(record))
    for other in (tree / "model").glob("*.jinja"):
        other.unlink()


def _without_manifests(tree: Path) -> None:
    for path in (tree / "run" / "checkpoints").glob("*/manifest.json"):
        path.unlink()


_IDS = {
    "id that leaves": "../up|train|One.||a.npz",
    "id with NUL": "a\0b|train|One.||a.npz",
    "id with ESC": "a\x1b[31m|train|One.||a.npz",
    "id of 10 MB": "x" * 10**7 + "|train|One.||a.npz",
    "id equal but for case": "A|train|One.||a.npz",
    "absolute id": "/tmp/x|train|One.||a.npz",
    "split all": "e|all|One.||a.npz",
    "pose of a device": "e|train|One.||/dev/zero",
    "id in another Unicode form": "e\u0301|train|1||a.npz\n\u00e9|train|1||a.npz",
    "pose that leaves": "e|train|One.||../canary",
}
_TEMPLATES = {
    "endless template": "{% for i in range(99999) %}{% for j in range(99999) %}"
    "{% endfor %}{% endfor %}",
    "template of 8 GB": "{{ 'x' * (2**33) }}",
    "template that runs": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
}

# Of no effect, and so accepted: nothing reads what they name.
IGNORED = {"class of its own"}

ATTACKS: dict[str, dict[str, Attack]] = {
    "manifest.tsv": {what: partial(_row, row) for what, row in _IDS.items()},
    "pose npz": {
        "bomb": partial(_npz_bomb, "a.npz", "keypoints", (N_FRAMES, 133, 720_000)),
        "fps of 1e300": partial(_fps, 1e300),
        "fps of NaN": partial(_fps, float("nan")),
        "fps of 1e-300": partial(_fps, 1e-300),
    },
    "extracted npz": {"bomb": partial(_npz_bomb, "poses/a.npz", "lips", (11_500, 320, 320))},
    "lips jpeg": {
        "65000x256": partial(_claims, 65000, 256),
        "65000x65000": partial(_claims, 65000, 65000),
    },
    "lips png": {
        "100000x200": lambda tree: _pictures(_png(100_000, 200), tree),
        "200000x200000": lambda tree: _pictures(_png(200_000, 200_000), tree),
    },
    "lips video": _videos("m.mp4"),
    "video": _videos("v.mp4"),
    "rtmpose pickle": _pickles(f"poses/{HOW2SIGN[0]}.pkl"),
    "csl pickle": _pickles("source/sentence_label/csl2020ct_v2.pkl"),
    "spottings pickle": _pickles("source/dictionary.pkl"),
    "token streams": {
        "gzip bomb": partial(_put, "source/train.jsonl", gzip.compress(bytes(2**24)) * 2**9)
    },
    "features.json": {"class of its own": _class_of_features},
    "llm weights": {what: partial(_template, text) for what, text in _TEMPLATES.items()},
    "safetensors": {"header of 2^60": _huge_safetensors},
    "checkpoint": {"no manifests": _without_manifests},
    "artefact.json": {"empty": partial(_put, "run/artefact.json", "")},
    "run beside": {"no manifests": _without_manifests},
}
