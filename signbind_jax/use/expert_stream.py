"""What an expert reads of signing that still goes on, and which of its tokens are final."""

import itertools
from collections.abc import Sequence

import jax
import numpy as np

from signbind_jax.data.batch import collate, reads_lips
from signbind_jax.data.batch_plan import Step, standard_buckets
from signbind_jax.data.clip import Clip, TimedToken
from signbind_jax.data.stream_cache import ExpertTokens, gather
from signbind_jax.stages.expert import read_batch
from signbind_jax.stages.read_streams import ExpertReader, readable

SAME_S = 0.2  # by which the middle of a token may move between two readings


class ExpertStream:
    """Reads a clip again and again while it grows, always in the one row that its longest fits.

    Its attention spans the clip, its convolutions see some steps to either side: frames that came
    later change what was read of those before, the less the further away they are.

    Args:
      reader: the expert.
      most_frames: of the clip.
    """

    def __init__(self, reader: ExpertReader, most_frames: int):
        self._reader, self._config = reader, reader.config
        self._step = Step.padded(standard_buckets(most_frames)[-1], np.zeros(1, np.int32))
        self._lip_size = (self._config.lip_size,) * 2 if reads_lips(self._config.frontend) else None

    @property
    def modality(self) -> str:
        """What it reads of a clip."""
        return "pose" if self._lip_size is None else "lips"

    def read(self, clip: Clip) -> ExpertTokens:
        """Tokens of a clip as `GrowingClip.so_far` gives it; none where it lacks the frames."""
        d_hidden = self._reader.d_hidden
        if not clip.n_frames(self.modality):
            return gather(1, d_hidden, ())
        frontend, how = self._config.frontend, {"lip_size": self._lip_size, "decode": _crops}
        batch = collate([clip], self._step, frontend, [[]], 8, **how)
        stream = read_batch(*self._reader.weights(), batch, self._reader.unread_s)
        return gather(1, d_hidden, [(batch.index_bg, jax.device_get(stream))])

    def readable(self, tokens: ExpertTokens) -> list[TimedToken]:
        """The tokens with their text."""
        return readable(tokens, self._reader.vocabulary, 0)


def _crops(clip: Clip) -> np.ndarray:
    return clip.modalities["lips"].data


class Settled:
    """The tokens of a stream that are final: none is ever taken back or moved.

    A token is final once it ended `look_ahead_s` before the newest frame and all readings of the
    last `stable_s` have it, and those between it and the last final one, at about the same time
    (the agreement of Liu et al., 2020, "Low-Latency Sequence-to-Sequence Speech Recognition and
    Translation by Partial Hypothesis Selection", over a span of time). Of a later reading only what
    stands behind the last final token is looked at: that token is found again by its text and time,
    so that it is neither told twice nor skipped where its time moved a little.

    Attributes:
      final: in order of time, with the times of the reading that settled them.
    """

    def __init__(self, look_ahead_s: float, stable_s: float):
        self.final: list[TimedToken] = []
        self._look_ahead_s, self._stable_s = look_ahead_s, stable_s
        self._readings: list[tuple[float, list[TimedToken]]] = []  # when, and what was behind

    def update(self, read: Sequence[TimedToken], newest_s: float) -> list[TimedToken]:
        """Adds what is final by a reading of all frames up to `newest_s`; gives what is not."""
        behind = self._behind(read)
        self._readings.append((newest_s, behind))
        since_s = newest_s - self._stable_s + 1e-6
        while len(self._readings) > 1 and self._readings[1][0] <= since_s:
            del self._readings[0]
        n = 0
        if self._readings[0][0] <= since_s:
            n = _n_agreed([row for _, row in self._readings])
            ended_s = newest_s - self._look_ahead_s
            n = next((i for i, token in enumerate(behind[:n]) if token.end > ended_s), n)
        self.final += behind[:n]
        self._readings = [(at, row[n:]) for at, row in self._readings]
        return behind[n:]

    def end(self, read: Sequence[TimedToken]) -> None:
        """Adds what a reading of all frames has behind the final tokens."""
        self.final += self._behind(read)

    def _behind(self, read: Sequence[TimedToken]) -> list[TimedToken]:
        """What a reading has behind the final tokens."""
        if not self.final:
            return list(read)
        last = self.final[-1]
        same = [(_apart(last, t), i) for i, t in enumerate(read) if _is_same(last, t)]
        if same:
            return list(read[min(same)[1] + 1 :])
        return [token for token in read if _middle(token) > _middle(last)]


def _n_agreed(readings: Sequence[Sequence[TimedToken]]) -> int:
    """How many tokens all readings begin with."""
    columns = zip(*readings, strict=False)
    agree = (all(_is_same(column[-1], token) for token in column) for column in columns)
    return sum(itertools.takewhile(bool, agree))


def _is_same(a: TimedToken, b: TimedToken) -> bool:
    return a.token == b.token and _apart(a, b) <= SAME_S


def _apart(a: TimedToken, b: TimedToken) -> float:
    return abs(_middle(a) - _middle(b))


def _middle(token: TimedToken) -> float:
    return (token.start + token.end) / 2
