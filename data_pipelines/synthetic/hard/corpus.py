"""The hard preset: parts with their labels, clips, and the truth of what is withheld."""

import dataclasses
import functools
import random
import zlib
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from signbind_jax.data.clip import Clip, TimedToken, exact, pose_frames
from signbind_jax.data.lips import lip_frames
from signbind_jax.data_pipelines.corpus import Corpus, ReadResult
from signbind_jax.data_pipelines.synthetic.grammar import Sentence
from signbind_jax.data_pipelines.synthetic.hard import english, signing, signs
from signbind_jax.data_pipelines.synthetic.hard.meaning import Draw
from signbind_jax.data_pipelines.synthetic.hard.words import lexicon
from signbind_jax.data_pipelines.synthetic.levers import HARD
from signbind_jax.data_pipelines.synthetic.places import Place, Places
from signbind_jax.data_pipelines.synthetic.render import FPS, MAX_SECONDS, render
from signbind_jax.data_pipelines.synthetic.signer import Signer, make_signer
from signbind_jax.data_pipelines.synthetic.timeline import Timeline, schedule
from signbind_jax.ranges import Checked, OneOf, Seed, Whole

LABELS = ("gloss", "spelled", "phonemes", "fusion_targets")
MIN_SIGNS = 2
OTHER_TOPICS = ("health", "arts")  # of the labelled part
# Seconds at the beginning and at the end of a weakly labelled clip that its video lacks, at most.
WEAK_CUT = 0.8
# Of the signs of content words: how many are spotted; of the spottings: how many are wrong; how
# far off they are (a standard deviation) and how long, in seconds.
SPOTTED, WRONGLY, SPOT_OFF, SPOT_SECONDS = 0.35, 0.12, 0.12, 0.4


@dataclass(frozen=True)
class Part:
    """A part of the preset.

    Attributes:
      n_signers: how many people sign it, nobody in two parts.
      clips: how many there are by default.
      labelled: whether its clips have gold labels.
      other_topics: whether its sentences are about `OTHER_TOPICS`, or about all others.
      names: whose names it spells (`names.allowed`).
    """

    n_signers: int
    clips: int
    labelled: bool = False
    other_topics: bool = False
    names: str = "train"

    @property
    def topics(self) -> tuple[str, ...]:
        """What its sentences are about."""
        return tuple(t for t in lexicon().topics if (t in OTHER_TOPICS) == self.other_topics)


PARTS = {
    "main": Part(12, 6000),
    "weak": Part(60, 5000),
    "labelled": Part(4, 500, labelled=True, other_topics=True),
    "spotted": Part(8, 2000),
    "validation": Part(5, 400, labelled=True, names="validation"),
    "test": Part(5, 400, labelled=True, names="test"),
}
TRAINED = ("main", "weak", "labelled", "spotted")


@dataclass(frozen=True)
class HardConfig(Checked):
    """How many clips of which part to make.

    Attributes:
      seed: another seed gives other sentences, names and signers of the same language.
      part: one of `TRAINED`, the clips of split train.
      train, validation, test: clips a split.
      gold: nothing is withheld from training.
    """

    seed: Seed = 0
    part: Annotated[str, OneOf(*TRAINED)] = "main"
    train: Whole = PARTS["main"].clips
    validation: Whole = PARTS["validation"].clips
    test: Whole = PARTS["test"].clips
    gold: bool = False

    @property
    def withheld(self) -> dict[str, list[str]]:
        """Split -> the labels that its clips are not told."""
        return {} if self.gold or PARTS[self.part].labelled else {"train": list(LABELS)}


def open_corpus(config: HardConfig) -> Corpus:
    """The clips of a part as split train, those of the held-out signers as validation and test."""
    parts = {"train": config.part, "validation": "validation", "test": "test"}
    return Corpus(
        {split: Places(part, range(getattr(config, split))) for split, part in parts.items()},
        functools.partial(_read, config.seed, config.gold),
        {
            "corpus": "synthetic",
            "synthetic": True,
            "preset": "hard",
            **dataclasses.asdict(config),
            "withheld": config.withheld,
        },
        truth=functools.partial(_truth, config.seed),
    )


def _read(seed: int, gold: bool, place: Place) -> ReadResult:
    return ReadResult(generate_clip(seed, place.split, place.index, gold))


def _truth(seed: int, place: Place) -> Clip:
    return Performance.of(seed, place.split, place.index).truth()


def generate_clip(seed: int, part: str, index: int, gold: bool = False) -> Clip:
    """One clip; the same arguments give the same bytes, whatever was made before.

    gold: its labels are not withheld.
    """
    made = Performance.of(seed, part, index)
    pose_tk3, crops_fhw = render(made.drawn, made.who, made.line, made.rng)
    kept = slice(*made.frames)
    truth = made.truth()
    withheld = {} if gold or PARTS[part].labelled else dict.fromkeys(LABELS, ())
    streams = made.spottings(truth) if part == "spotted" else {}
    return dataclasses.replace(
        truth,
        modalities={
            "pose": pose_frames(pose_tk3[kept], FPS),
            "lips": lip_frames(crops_fhw[kept], FPS),
        },
        streams=streams,
        seconds=truth.seconds if streams else 0.0,
        **withheld,
    )


@dataclass(frozen=True)
class Performance:
    """What is signed in a clip, by whom and when; `frames` are those that its video has."""

    id: str
    drawn: Sentence
    who: Signer
    line: Timeline
    frames: tuple[int, int]
    rng: np.random.Generator

    @classmethod
    def of(cls, seed: int, part: str, index: int) -> "Performance":
        """The clip of a part; a sentence that is too long or has too few signs is drawn again."""
        attempt = 0
        while True:
            rng = np.random.default_rng([seed, zlib.crc32(f"hard {part}".encode()), index, attempt])
            who = signer(seed, part, int(rng.integers(PARTS[part].n_signers)))
            drawn = sentence(seed, part, index, attempt)
            attempt += 1
            if sum(word.entry is not None for word in drawn.words) < MIN_SIGNS:
                continue
            line = schedule(drawn, who, rng)
            if line.duration <= MAX_SECONDS:
                break
        n = int(np.ceil(line.duration * FPS))
        frames = (0, n)
        if part == "weak":
            first, last = rng.uniform(0.0, WEAK_CUT, 2) * FPS
            frames = (int(first), n - int(last))
        return cls(Place(part, index).id, drawn, who, line, frames, rng)

    def truth(self) -> Clip:
        """The clip with its gold labels and, as streams, when each of them happens; no arrays."""
        start, end = (frame / FPS for frame in self.frames)
        streams = self._streams(start, end)
        kept = {place for place, middle in self._middles().items() if start <= middle <= end}
        words = [word for place, word in enumerate(self.drawn.words) if place in kept]
        return Clip(
            id=self.id,
            text=self.drawn.text,
            text_language="en",
            signer=self.who.name,
            gloss=tuple(word.entry.gloss for word in words if word.entry),
            spelled=tuple(word.name for word in words if word.name),
            phonemes=tuple(token.token for token in streams["lipreading"]),
            fusion_targets=tuple(word.sense for word in words),
            streams=streams,
            seconds=exact(end - start),
        )

    def _middles(self) -> dict[int, float]:
        middles = {sign.place: (sign.start + sign.end) / 2 for sign in self.line.signs}
        for spelling in self.line.spellings:
            middles |= dict.fromkeys(spelling.places, (spelling.start + spelling.end) / 2)
        return middles

    def _streams(self, start: float, end: float) -> dict[str, tuple[TimedToken, ...]]:
        glosses = [
            (self.drawn.words[sign.place].entry.gloss, sign.start, sign.end)
            for sign in self.line.signs
        ]
        letters = [
            (letter, centre - spelling.spacing / 2, centre + spelling.spacing / 2)
            for spelling in self.line.spellings
            for letter, centre in zip(spelling.letters, spelling.centre_n, strict=True)
        ]
        phonemes = [
            (phoneme, *edges)
            for mouthing in self.line.mouthings
            for phoneme, *edges in zip(
                mouthing.phonemes, mouthing.edge_n, mouthing.edge_n[1:], strict=False
            )
        ]
        read = {"signing": glosses, "fingerspelling": letters, "lipreading": phonemes}
        return {name: timed(tokens, start, end) for name, tokens in read.items()}

    def spottings(self, truth: Clip) -> dict[str, tuple[TimedToken, ...]]:
        """What a spotter found that knows the text: few signs, some of them wrong."""
        rng = random.Random(f"spotting/{self.id}")
        content = [
            token for token in truth.streams["signing"] if token.token not in lexicon().function
        ]
        found = []
        for token in content:
            if rng.random() >= SPOTTED:
                continue
            wrong = rng.random() < WRONGLY
            gloss = rng.choice(content).token if wrong else token.token
            middle = (token.start + token.end) / 2 + rng.gauss(0.0, SPOT_OFF)
            confidence = rng.uniform(0.5, 0.9) if wrong else rng.uniform(0.6, 1.0)
            half = SPOT_SECONDS / 2
            found.append((gloss, middle - half, middle + half, confidence))
        return {"spotting": timed(found, 0.0, truth.seconds)}


def timed(tokens: list[tuple], start: float, end: float) -> tuple[TimedToken, ...]:
    """(token, start, end[, confidence]) whose middle lies within a window, in its own time."""
    seconds = exact(end - start)
    kept = [
        TimedToken(
            token,
            exact(min(max(first - start, 0.0), seconds)),
            exact(min(max(last - start, 0.0), seconds)),
            *(exact(round(share, 3)) for share in confidence),
        )
        for token, first, last, *confidence in tokens
        if start <= (first + last) / 2 <= end
    ]
    return tuple(sorted(kept, key=lambda token: token.start))


@functools.lru_cache(maxsize=128)
def signer(seed: int, part: str, number: int) -> Signer:
    """The signer `number` of a part."""
    rng = np.random.default_rng([seed, zlib.crc32(f"hard signer {part}".encode()), number])
    own = signs.of_signer(random.Random(f"hard signs/{seed}/{part}/{number}"))
    return make_signer(f"{part}-{number:02d}", rng, HARD, own)


def sentence(seed: int, part: str, index: int, attempt: int = 0) -> Sentence:
    """The sentence of one clip: signs and English of one meaning."""
    rng = random.Random(f"hard sentence/{seed}/{part}/{index}/{attempt}")
    of = PARTS[part]
    meaning = Draw(rng, of.topics, of.names).meaning()
    first, last = meaning.clauses[0], meaning.clauses[-1]
    asked = first.question
    face = "" if not asked else asked if asked == "yes-no" else "wh"
    if last.negated and not asked:
        face = "negation"
    return Sentence(signing.sign(meaning, rng), english.write(meaning, rng), first.kind, face)
