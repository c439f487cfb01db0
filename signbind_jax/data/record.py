"""One clip as a record of a dataset, and its labels as a line of the index."""

import functools
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from signbind_jax import keypoints
from signbind_jax.data.clip import (
    TEXTS,
    TOKENS,
    Clip,
    Frames,
    TimedToken,
    check_bounds,
    check_timed_tokens,
)
from signbind_jax.data.vocabulary import FUSION_TARGETS
from signbind_jax.files import shorten

# Token fields of a clip -> what a dataset calls them; `FUSION_TARGETS` says why one differs.
_TOKENS = {name: name for name in TOKENS} | {"fusion_targets": FUSION_TARGETS}
RECORDING, START = "recording", "start_s"  # of a clip, as lines of the index call them
STREAMS = "streams"  # of a clip, as lines of the index and dataset.json call them
LABEL_CHARACTERS = 2**23  # of a line of the index
LENGTHS = {"pose": "pose_lengths", "lips": "lip_lengths"}  # modality -> array of the index

_NUMBERS = {"pose_fps": (int, float), "n_lip_frames": (int,), "lip_fps": (int, float)}
_NO_POSE = Frames(np.zeros((0, keypoints.K, 3), np.float16), 0.0, 0)
_NO_LIPS = Frames(b"", 0.0, 0)
_KINDS = {**dict.fromkeys(TEXTS, (str,)), **_NUMBERS, **dict.fromkeys(_TOKENS.values(), (list,))}


@functools.cache
def features():
    """The TFDS features of one clip; `Encoding.BYTES` keeps numbers exact and fast to read.

    They are made here and never read from a dataset: TFDS imports what a `features.json` names.
    """
    # Imported here: it takes about a second, which commands that read no data need not wait for.
    import tensorflow_datasets as tfds

    kinds = tfds.features
    raw = kinds.Encoding.BYTES
    texts = kinds.Sequence(kinds.Text())
    return kinds.FeaturesDict(
        {
            **dict.fromkeys(TEXTS, kinds.Text()),
            "pose": kinds.Tensor(shape=(None, keypoints.K, 3), dtype=np.float16, encoding=raw),
            "pose_fps": kinds.Tensor(shape=(), dtype=np.float64, encoding=raw),
            "lips": kinds.Text(),  # holds any bytes; an Image feature would need TensorFlow
            "n_lip_frames": kinds.Scalar(np.int32),
            "lip_fps": kinds.Tensor(shape=(), dtype=np.float64, encoding=raw),
            **dict.fromkeys(_TOKENS.values(), texts),
        }
    )


def open_records(shards: Mapping[Path, int]):
    """Random access to the records of shards, file -> clips in it; files are opened when needed."""
    from array_record.python.array_record_data_source import ArrayRecordDataSource
    from tensorflow_datasets.core.utils.shard_utils import FileInstruction

    return ArrayRecordDataSource(
        [FileInstruction(str(path), 0, n, n) for path, n in shards.items()]
    )


def fields_of(clip: Clip) -> dict:
    """What a record holds of a clip, by the names of `features`; of an absent modality nothing."""
    pose = clip.modalities.get("pose", _NO_POSE)
    lips = clip.modalities.get("lips", _NO_LIPS)
    return {
        **{name: getattr(clip, name) for name in TEXTS},
        "pose": pose.data,
        "pose_fps": np.float64(pose.fps),
        "lips": lips.data,
        "n_lip_frames": lips.n,
        "lip_fps": np.float64(lips.fps),
        **{stored: list(getattr(clip, name)) for name, stored in _TOKENS.items()},
    }


def clip_of(record: bytes) -> Clip:
    """The clip that a record holds.

    Raises:
      SignBindError: a value out of bounds.
      Exception: of many kinds, where the bytes are no such record.
    """
    fields = features().deserialize_example_np(record)
    labels = {name: fields[name].decode() for name in TEXTS}
    labels |= {name: tuple(x.decode() for x in fields[stored]) for name, stored in _TOKENS.items()}
    pose, lips = fields["pose"], fields["lips"]
    return _checked(
        labels,
        Frames(pose, float(fields["pose_fps"]), len(pose)),
        Frames(lips, float(fields["lip_fps"]), int(fields["n_lip_frames"])),
    )


def _checked(labels: dict, pose: Frames, lips: Frames) -> Clip:
    """The clip of what is stored of it, where a modality without frames is absent."""
    stored = {"pose": pose, "lips": lips}
    check_bounds(Clip(**labels, modalities=stored))
    return Clip(**labels, modalities={name: frames for name, frames in stored.items() if frames.n})


def labels_to_json(clip: Clip) -> str:
    """All of a clip but its arrays, as one line of JSON; recording, start and streams stand here
    alone."""
    fields = fields_of(clip)
    line = {name: fields[name] for name in _KINDS}
    if clip.recording:
        line[RECORDING] = clip.recording
    if clip.start_s is not None:
        line[START] = clip.start_s
    if clip.streams:
        line["seconds"] = clip.seconds
        line[STREAMS] = {name: [t.row for t in tokens] for name, tokens in clip.streams.items()}
    return json.dumps(line, ensure_ascii=False)


def streams_of(lines: Iterable[str]) -> tuple[str, ...]:
    """The streams that any of such lines has, in order of name."""
    found: set[str] = set()
    for line in lines:
        if f'"{STREAMS}"' in line:  # most datasets have none
            found |= json.loads(line).get(STREAMS, {}).keys()
    return tuple(sorted(found))


def labels_from_json(line: str, n_pose_frames: int) -> Clip:
    """The clip of such a line, its modalities without data.

    Raises:
      SignBindError: a value out of bounds.
      ValueError, RecursionError: no such line.
    """
    record = json.loads(line)
    if type(record) is not dict or "id" not in record or "text" not in record:
        raise ValueError("found no object with id and text")
    seconds, streams = _streams(record)
    recording = record.pop(RECORDING, "")
    if type(recording) is not str:
        raise ValueError(f"{RECORDING}: found {type(recording).__name__}, wanted text")
    start_s = record.pop(START, None)
    if start_s is not None and not (type(start_s) in (int, float) and 0 <= start_s < math.inf):
        raise ValueError(f"{START}: found {shorten(start_s)}, wanted seconds, at least 0")
    for name, value in record.items():
        if type(value) not in _KINDS.get(name, ()):
            raise ValueError(f"{name[:40]!r}: found a value of type {type(value).__name__}")
        if type(value) is list:
            if value and set(map(type, value)) != {str}:
                raise ValueError(f"{name!r}: found other tokens than text")
            record[name] = tuple(value)
    if "\\u" in line:  # only half of a surrogate pair needs it, and control characters
        json.dumps(record, ensure_ascii=False).encode()
    numbers = {name: record.pop(name, 0) for name in _NUMBERS}
    named = {stored: name for name, stored in _TOKENS.items()}
    labels = {named.get(stored, stored): value for stored, value in record.items()}
    return _checked(
        labels | {"seconds": seconds, STREAMS: streams, RECORDING: recording, START: start_s},
        Frames(None, float(numbers["pose_fps"]), n_pose_frames),
        Frames(None, float(numbers["lip_fps"]), numbers["n_lip_frames"]),
    )


def _streams(record: dict) -> tuple[float, dict[str, tuple[TimedToken, ...]]]:
    """Takes a clip's duration and streams out of what a line holds of it."""
    rows_of, seconds = record.pop(STREAMS, {}), record.pop("seconds", 0.0)
    if type(rows_of) is not dict or type(seconds) not in (int, float):
        raise ValueError("found no streams by name with the seconds of their clip")
    for rows in rows_of.values():
        check_timed_tokens(rows, seconds)
    streams = {name: tuple(TimedToken(*row) for row in rows) for name, rows in rows_of.items()}
    return seconds, streams
