"""Decoded expert streams of a split, kept on disk so that frozen experts run once a corpus."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from signbind_jax.errors import SignBindError

VERSION = 4  # of what experts' posteriors are turned into; raised when streams change


@dataclass(frozen=True)
class ExpertTokens:
    """All tokens one expert read from a split, clip after clip.

    Attributes:
      first: int64 (clips + 1,), tokens of clip i are first[i]:first[i + 1].
      ids: int32 (tokens,); hidden: f16 (tokens, d); start, end: f32 seconds;
      confidence: f32.
      overflow: tokens lost to the capacity of the stream.
    """

    first: np.ndarray
    ids: np.ndarray
    hidden: np.ndarray
    start: np.ndarray
    end: np.ndarray
    confidence: np.ndarray
    overflow: np.ndarray

    @property
    def n_clips(self) -> int:
        """Clips of the split."""
        return len(self.first) - 1

    def of(self, clip: int) -> slice:
        """Where the tokens of a clip lie."""
        return slice(int(self.first[clip]), int(self.first[clip + 1]))


@dataclass(frozen=True)
class SplitStreams:
    """The streams of a split side by side; None where no expert reads that stream."""

    experts: tuple[ExpertTokens | None, ...]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of all streams, by clip; at least 1, so that a clip without any is kept."""
        lengths = sum(np.diff(e.first) for e in self.experts if e is not None)
        return np.maximum(lengths, 1)

    @property
    def d_hidden(self) -> int:
        """Size of the largest hidden vector."""
        return max(e.hidden.shape[1] for e in self.experts if e is not None)

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
            for stream, expert in enumerate(self.experts):
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


def cached(
    directory: Path, split_digest: str, expert_digest: str, read: Callable[[], ExpertTokens]
) -> ExpertTokens:
    """The tokens in the cache, or those `read` makes, which are then kept.

    The file's name is made from the digests of the split and of the expert's weights, so a
    changed corpus or expert never meets old streams.
    """
    content = f"streams {VERSION} {split_digest} {expert_digest}"
    key = hashlib.sha256(content.encode()).hexdigest()[:24]
    path = directory / f"{key}.npz"
    fields = [f.name for f in dataclasses.fields(ExpertTokens)]
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as stored:
                return ExpertTokens(**{name: stored[name] for name in fields})
        except Exception as error:
            raise SignBindError(f"{path}: stream cache unreadable ({type(error).__name__}); "
                                "delete the file, it will be made again") from error  # fmt: skip
    tokens = read()
    directory.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.savez(file, **{name: getattr(tokens, name) for name in fields})
    partial.replace(path)
    return tokens


def no_tokens(d: int) -> ExpertTokens:
    """What an expert with hidden vectors of size d read of no clip."""
    return gather(0, d, ())


def gather(n_clips: int, d: int, batches) -> ExpertTokens:
    """ExpertTokens from (index_b, TokenStream on the host) pairs in any order of clips."""
    per_clip: list[tuple | None] = [None] * n_clips
    overflow = np.zeros(n_clips, np.int32)
    for index_b, stream in batches:
        for row, clip in enumerate(index_b):
            if clip < 0:
                continue
            kept = stream.mask_bn[row]
            per_clip[clip] = (stream.ids_bn[row][kept],
                              stream.hidden_bnd[row][kept].astype(np.float16),
                              stream.start_bn[row][kept], stream.end_bn[row][kept],
                              stream.confidence_bn[row][kept])  # fmt: skip
            overflow[clip] = stream.overflow_b[row]
    none = (np.zeros(0, np.int32), np.zeros((0, d), np.float16), *[np.zeros(0, np.float32)] * 3)
    parts = [part if part is not None else none for part in per_clip] or [none]
    first = np.concatenate([[0], np.cumsum([len(p[0]) for p in parts[:n_clips]])]).astype(np.int64)
    ids, hidden, start, end, confidence = (np.concatenate(column) for column in zip(*parts))
    return ExpertTokens(first, ids, hidden, start, end, confidence, overflow)
