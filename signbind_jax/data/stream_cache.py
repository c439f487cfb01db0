"""Decoded expert streams of a split, kept on disk so that frozen experts run once a corpus."""

import hashlib
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from signbind_jax import files
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError

logger = logging.getLogger(__name__)

_DIGEST = "digest"
VERSION = 6  # of what experts' posteriors are turned into; raised when streams change


@dataclass(frozen=True)
class ExpertTokens:
    """All tokens one expert read from a split, clip after clip.

    Attributes:
      first: int64 (clips + 1,), tokens of clip i are first[i]:first[i + 1].
      ids: int32 (tokens,); hidden: f16 (tokens, d); start, end: f32 seconds;
      confidence: f32.
    """

    first: np.ndarray
    ids: np.ndarray
    hidden: np.ndarray
    start: np.ndarray
    end: np.ndarray
    confidence: np.ndarray

    @property
    def n_clips(self) -> int:
        """Clips of the split."""
        return len(self.first) - 1

    def of(self, clip: int) -> slice:
        """Where the tokens of a clip lie."""
        return slice(int(self.first[clip]), int(self.first[clip + 1]))


@dataclass(frozen=True)
class SplitStreams:
    """The streams of a split by name, in the order in which fusion numbers them; None where no
    expert reads that stream."""

    experts: dict[str, ExpertTokens | None]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of all streams, by clip; at least 1, so that a clip without any is kept."""
        lengths = sum(np.diff(e.first) for e in self.experts.values() if e is not None)
        return np.maximum(lengths, 1)

    @property
    def d_hidden(self) -> int:
        """Size of the largest hidden vector."""
        return max(e.hidden.shape[1] for e in self.experts.values() if e is not None)

    def rows(self, clips: Sequence[int], capacity: int) -> dict[str, np.ndarray]:
        """The fields of `StreamTokens` for some clips (-1: an empty row), zero-padded."""
        b, d = len(clips), self.d_hidden
        out = {
            "ids_bm": np.zeros((b, capacity), np.int32),
            "stream_bm": np.zeros((b, capacity), np.int32),
            "hidden_bmd": np.zeros((b, capacity, d), np.float16),
            "start_bm": np.zeros((b, capacity), np.float32),
            "end_bm": np.zeros((b, capacity), np.float32),
            "confidence_bm": np.zeros((b, capacity), np.float32),
            "mask_bm": np.zeros((b, capacity), bool),
        }
        for row, clip in enumerate(clips):
            place = 0
            for stream, expert in enumerate(self.experts.values()):
                if expert is None or clip < 0:
                    continue
                own = expert.of(clip)
                to = slice(place, place + own.stop - own.start)
                out["ids_bm"][row, to] = expert.ids[own]
                out["stream_bm"][row, to] = stream
                out["hidden_bmd"][row, to, : expert.hidden.shape[1]] = expert.hidden[own]
                out["start_bm"][row, to] = expert.start[own]
                out["end_bm"][row, to] = expert.end[own]
                out["confidence_bm"][row, to] = expert.confidence[own]
                out["mask_bm"][row, to] = True
                place = to.stop
        return out


def default_cache() -> Path:
    """Names `streams` in this package's part of the user's cache, for experts without a place."""
    return files.user_cache("streams")


def cached(
    directory: Path, split_digest: str, expert_digest: str, read: Callable[[], ExpertTokens]
) -> ExpertTokens:
    """The tokens in the cache, or those `read` makes, which are then kept.

    The file's name is made from the digests of the split and of the expert's weights, so a
    changed corpus or expert never meets old streams; a file that is not as it was written is told
    of and made again. Of several processes every one has to call it; where one lacks the file they
    read together, and afterwards every host has it, whether or not they share `directory`.

    Raises:
      SignBindError: the processes have different datasets or experts; a directory stands in the
        file's place.
    """
    path, key = _place(directory, split_digest, expert_digest)
    tokens = kept(directory, split_digest, expert_digest)
    if tokens is not None:
        return tokens
    tokens = read()
    if hosts.is_primary():
        _store(path, key, tokens)
    hosts.barrier("process 0's writing of a stream cache")
    if not path.exists():
        _store(path, key, tokens)
    return tokens


def kept(directory: Path, split_digest: str, expert_digest: str) -> ExpertTokens | None:
    """The tokens in the cache; None where they are not, on one of several processes or on all.

    Raises:
      SignBindError: see `cached`.
    """
    path, key = _place(directory, split_digest, expert_digest)
    hosts.check_agreement({"split and expert of a stream cache": key})
    tokens = _load(path, key)
    found = hosts.all_gather("looking for a stream cache", tokens is not None)
    return tokens if all(found) else None


def _place(directory: Path, split_digest: str, expert_digest: str) -> tuple[Path, str]:
    content = f"streams {VERSION} {split_digest} {expert_digest}"
    key = hashlib.sha256(content.encode()).hexdigest()[:24]
    return directory / f"{key}.npz", key


def _load(path: Path, key: str) -> ExpertTokens | None:
    """What a file holds; None where there is none, or where it was damaged and is taken away."""
    if not path.exists():
        return None
    try:
        # The arrays lie in it as they are: more than the file's own size is a wrong claim.
        arrays = files.read_arrays(path, limit=files.check_regular(path))
        digest = arrays.pop(_DIGEST, None)
        if digest is None or digest.tobytes() != _digest(key, arrays).encode():
            found = "nothing" if digest is None else "another"
            raise SignBindError(f"{path}: digest: found {found}, wanted that of its streams")
        arrays.pop("overflow", None)  # of files of before; it was always 0
        return ExpertTokens(**arrays)
    except (SignBindError, TypeError) as error:
        if path.is_dir():
            raise
        logger.warning("%s: taken away, the streams are read again", error)
        path.unlink(missing_ok=True)
        return None


def _store(path: Path, key: str, tokens: ExpertTokens) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = np.frombuffer(_digest(key, vars(tokens)).encode(), np.uint8)
    with files.replacing(path) as file:
        np.savez(file, **vars(tokens), **{_DIGEST: digest})


def _digest(key: str, arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of arrays under their names, and of what they are the streams of."""
    digest = hashlib.sha256(key.encode())
    for name, x in sorted(arrays.items()):
        digest.update(f"{name} {x.dtype.str} {x.shape} ".encode())
        digest.update(np.ascontiguousarray(x))
    return digest.hexdigest()


def no_tokens(d: int) -> ExpertTokens:
    """What an expert with hidden vectors of size d read of no clip."""
    return gather(0, d, ())


def joined(parts: Sequence[ExpertTokens]) -> ExpertTokens:
    """The tokens of a stream that was read in parts, each with the tokens of other clips."""
    rows, columns = [], []
    for part in parts:
        counts = np.diff(part.first)
        read = np.flatnonzero(counts)
        rows.append(np.stack([read, counts[read]], axis=1))
        columns.append((part.ids, part.hidden, part.start, part.end, part.confidence))
    tokens = map(np.concatenate, zip(*columns, strict=True))
    return in_order(parts[0].n_clips, np.concatenate(rows), *tokens)


def gather(n_clips: int, d: int, batches) -> ExpertTokens:
    """ExpertTokens from (index_bg, TokenStream on the host) pairs in any order of clips.

    Of several processes every one has to call it, with the batches it has read.
    """
    empty = (np.zeros(0, np.int32), np.zeros((0, d), np.float16), *[np.zeros(0, np.float32)] * 3)
    rows, columns = [], [[column] for column in empty]
    for index_bg, stream in batches:
        mask_bn = stream.mask_bn
        for row, place in zip(*np.nonzero(index_bg >= 0), strict=True):
            rows.append((index_bg[row, place], (stream.clip_bn[row] == place).sum()))
        read = (
            stream.ids_bn,
            stream.hidden_bnd,
            stream.start_bn,
            stream.end_bn,
            stream.confidence_bn,
        )
        # Row by row, and within a row clip by clip: in the order of `rows`.
        for column, x in zip(columns, read, strict=True):
            column.append(x[mask_bn].astype(column[0].dtype))
    own = [np.array(rows, np.int64).reshape(-1, 2), *map(np.concatenate, columns)]
    parts = [own]
    if hosts.client() is not None:
        file = io.BytesIO()
        np.savez(file, *own)
        parts = [_arrays(data) for data in hosts.gather_bytes("streams", file.getvalue())]
    return in_order(n_clips, *map(np.concatenate, zip(*parts, strict=True)))


def _arrays(data: bytes) -> list[np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        return [stored[name] for name in stored.files]


def in_order(n_clips: int, rows: np.ndarray, *columns: np.ndarray) -> ExpertTokens:
    """ExpertTokens of clips in any order.

    Args:
      rows: int64 (read clips, 2): clip and how many tokens it has, in the order of `columns`.
      columns: ids, hidden, start, end, confidence of all tokens.
    """
    clip, n_tokens = rows.T
    counts = np.zeros(n_clips, np.int64)
    counts[clip] = n_tokens
    place = np.argsort(np.repeat(clip, n_tokens), kind="stable")
    ids, hidden, start, end, confidence = (column[place] for column in columns)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return ExpertTokens(first, ids, hidden, start, end, confidence)
