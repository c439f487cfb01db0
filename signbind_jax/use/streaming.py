"""Signing translated while it goes on: tokens as they become certain, a sentence that is revised.

All frames of the sentence so far are read again whenever enough new ones have come: a sentence is
short, and its attention spans all of it. What is approximate is what later frames would change: the
reading of the newest frames, which lack their right context, and what is measured over the clip
(where the shoulders are and how wide, the mean picture of the mouth), here over the frames so far.
At its end the sentence is translated as the whole clip that it is.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np

from signbind_jax import keypoints
from signbind_jax.data.clip import FPS_RANGE, Clip, Frames, TimedToken
from signbind_jax.data.stream_cache import ExpertTokens, SplitStreams, gather
from signbind_jax.ranges import Checked, NonNegative, OneOf, Positive, Range
from signbind_jax.stages.read_streams import ExpertReader
from signbind_jax.use.expert_stream import ExpertStream, Settled
from signbind_jax.use.growing_clip import GrowingClip
from signbind_jax.use.translation import Translation
from signbind_jax.use.translator import Translator

MOST_LONGEST_S = 600.0


@dataclass(frozen=True)
class StreamSettings(Checked):
    """How a stream is read.

    Attributes:
      fps: frames a second.
      look_ahead_s, stable_s: a token is final once it ended `look_ahead_s` before the newest frame
        and was read the same for `stable_s`; in seconds.
      chunk_s: seconds of new frames after which all are read again.
      sentence_s: seconds of new frames after which the sentence is written again; 0: at its end
        alone.
      longest_s: of a sentence; 0: as long as the longest clip that the translator was trained on.
      scheme: of the landmarks, such as "mediapipe_543"; empty: their number decides.
      width, height: of the picture in pixels, for landmarks in 0..1.
    """

    fps: Annotated[float, Range(*FPS_RANGE)]
    look_ahead_s: NonNegative = 0.6
    stable_s: NonNegative = 0.4
    chunk_s: Positive = 0.2
    sentence_s: NonNegative = 1.0
    longest_s: Annotated[float, Range(0, MOST_LONGEST_S)] = 0.0
    scheme: Annotated[str, OneOf("", *keypoints.SCHEMES)] = ""
    width: NonNegative = 0.0
    height: NonNegative = 0.0


@dataclass(frozen=True)
class StreamUpdate:
    """What is known of a sentence that goes on.

    Attributes:
      seconds: of signing that came.
      final: by stream, the tokens that stay; a later update has them and maybe more.
      provisional: by stream, those behind them, which the next update may change.
      sentence: as it was last written; empty before.
      is_final: whether the sentence has ended.
      translation: that of the whole clip, once it has.
    """

    seconds: float = 0.0
    final: Mapping[str, list[TimedToken]] = field(default_factory=dict)
    provisional: Mapping[str, list[TimedToken]] = field(default_factory=dict)
    sentence: str = ""
    is_final: bool = False
    translation: Translation | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready copy."""
        streams = {
            which: {name: [t._asdict() for t in row] for name, row in of.items()}
            for which, of in (("final", self.final), ("provisional", self.provisional))
        }
        return {
            "seconds": round(self.seconds, 3),
            **streams,
            "sentence": self.sentence,
            "is_final": self.is_final,
            "translation": self.translation.to_json() if self.translation else None,
        }


class StreamingTranslator:
    """Sentences one after the other, each fed as its frames come.

    ```python
    stream = StreamingTranslator(load_translator("runs/translation"), StreamSettings(fps=25))
    for landmarks in camera:
        print(stream.feed(landmarks).sentence)
    print(stream.end().translation)
    ```

    Args:
      translator: a trained one; several streams may share it, from one thread.
      settings: how the stream is read.

    Attributes:
      longest_s: seconds that a sentence may last.
    """

    def __init__(self, translator: Translator, settings: StreamSettings):
        self.settings = settings
        self.longest_s = self.settings.longest_s or translator.longest_s
        self._translator, self._fps = translator, self.settings.fps
        self._chunk, self._sentence = (
            max(1, round(seconds * self._fps))
            for seconds in (self.settings.chunk_s, self.settings.sentence_s)
        )
        most_frames = max(1, round(self.longest_s * self._fps))
        self._experts = {
            name: ExpertStream(reader, most_frames)
            for name, reader in translator.reader.readers.items()
            if isinstance(reader, ExpertReader)
        }
        self._n_sentences = 0
        self._begin()

    def _begin(self) -> None:
        """Begins a sentence."""
        of = {name: getattr(self.settings, name) for name in ("scheme", "width", "height")}
        self._clip = GrowingClip(self._fps, self.longest_s, self.lip_size, **of)
        certain = self.settings.look_ahead_s, self.settings.stable_s
        self._settled = {name: Settled(*certain) for name in self._experts}
        self._n_read = self._n_written = 0  # frames
        self._written_of: Mapping[str, list[TimedToken]] = {}
        self._update = StreamUpdate()

    @property
    def lip_size(self) -> int | None:
        """Side in pixels that mouth crops are brought to; None: they are not read."""
        return self._translator.reader.lip_size

    def prepare(self) -> None:
        """Compiles what frames and a first sentence need, which otherwise they wait for."""
        n, size = 2, self.lip_size or 1
        pose = np.ones((n, keypoints.K, 3), np.float16)
        crops = np.zeros((n, size, size), np.uint8)
        modalities = {"pose": Frames(pose, self._fps, n), "lips": Frames(crops, self._fps, n)}
        for expert in self._experts.values():
            expert.read(Clip("", "", modalities=modalities))
        if self.settings.sentence_s:
            self._write({})

    def feed(
        self,
        landmarks: np.ndarray | None = None,
        crops: np.ndarray | None = None,
        *,
        scores: np.ndarray | None = None,
        first: int | None = None,
    ) -> StreamUpdate:
        """Takes the next frames of the sentence.

        Args:
          landmarks: (t, n, 2) x, y or (t, n, 3) x, y, confidence, as a file of `signbind translate`
            holds them; a keypoint whose values are not finite is missing.
          crops: uint8 (t, h, w) grey mouth crops of the same frames.
          scores: (t, n) confidences in place of a third column.
          first: the number of the first frame, counted from the start of the sentence; checked
            where given, so that no frame is lost or swapped on the way.

        Returns:
          What is known then. Frames are read once `chunk_s` of new ones have come.

        Raises:
          SignBindError: frames that are out of order, of another kind than those before, too many,
            or none. The sentence stays as it was.
        """
        self._clip.add(landmarks, crops, scores, first)
        if self._clip.n_frames - self._n_read >= self._chunk:
            self._read()
        return self._update

    def end(self) -> StreamUpdate:
        """Ends the sentence: it is translated as a clip of its own. The next frame begins another.

        Raises:
          SignBindError: there is no frame, or nobody in any. The sentence is forgotten.
        """
        try:
            clip = self._clip.whole(f"sentence {self._n_sentences + 1}")
            found = self._translator.translate_clips([clip])[0]
            for name, settled in self._settled.items():
                settled.end(found.streams[name])
            self._n_sentences += 1
            return StreamUpdate(self._clip.seconds, self._final(), {}, found.text, True, found)
        finally:
            self._begin()

    def run(self, chunks: Iterable[Mapping[str, Any]]) -> Iterator[StreamUpdate]:
        """The updates of one sentence, the last one final.

        Args:
          chunks: arguments of `feed`, by name.
        """
        for chunk in chunks:
            yield self.feed(**chunk)
        yield self.end()

    def _read(self) -> None:
        """Reads the frames so far, and writes the sentence where it is due."""
        clip, seconds = self._clip.so_far(), self._clip.seconds
        read = {name: expert.read(clip) for name, expert in self._experts.items()}
        tokens = {name: self._experts[name].readable(found) for name, found in read.items()}
        self._n_read = self._clip.n_frames
        provisional = {n: s.update(tokens[n], seconds) for n, s in self._settled.items()}
        sentence, due = self._update.sentence, self._n_written + self._sentence <= self._n_read
        if self.settings.sentence_s and due and tokens != self._written_of:
            sentence = self._write(read)
            self._n_written, self._written_of = self._n_read, tokens
        self._update = StreamUpdate(seconds, self._final(), provisional, sentence)

    def _write(self, read: Mapping[str, ExpertTokens]) -> str:
        """The sentence of what was read last; of final tokens too as they are read by now."""
        reader = self._translator.reader
        streams: dict[str, ExpertTokens | None] = dict.fromkeys(reader.streams)
        streams |= {name: gather(1, each.d_hidden, ()) for name, each in reader.readers.items()}
        return self._translator.write(SplitStreams(streams | read))[0]

    def _final(self) -> dict[str, list[TimedToken]]:
        return {name: list(settled.final) for name, settled in self._settled.items()}
