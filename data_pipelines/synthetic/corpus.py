"""The synthetic corpus: clips that are pure functions of seed, split and index."""

import dataclasses
import functools
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from signbind_jax.data.clip import Clip, pose_frames
from signbind_jax.data.lips import lip_frames
from signbind_jax.data_pipelines.corpus import Corpus, ReadResult
from signbind_jax.data_pipelines.synthetic import body, crops, motion, mouth, tracker
from signbind_jax.data_pipelines.synthetic.grammar import SPLITS, TIME_SPLITS, Sentence, sentence
from signbind_jax.data_pipelines.synthetic.signer import N_SIGNERS, Signer, signer, signer_group
from signbind_jax.data_pipelines.synthetic.timeline import Timeline, schedule
from signbind_jax.errors import SignBindError
from signbind_jax.ranges import Checked, Whole, argument

FPS = 25.0
MAX_SECONDS = 10.0


@dataclass(frozen=True)
class SyntheticConfig(Checked):
    """How many clips to make.

    Attributes:
      seed: another seed gives other sentences, names and signers of the same language.
      train, validation, test: clips a split.
      time_split: clips in each of role, lonely_twin and adjacent_names.
    """

    seed: Whole = 0
    train: Whole = 4000
    validation: Whole = 400
    test: Whole = 400
    time_split: Whole = 100

    def size(self, split: str) -> int:
        """How many clips a split has."""
        return self.time_split if split in TIME_SPLITS else getattr(self, split)


@dataclass(frozen=True)
class Place:
    """A clip of the corpus: its split and its index in it."""

    split: str
    index: int

    @property
    def id(self) -> str:
        """The clip's id."""
        return f"{self.split}-{self.index:06d}"


@dataclass(frozen=True)
class Places(Sequence):
    """The places of a split, in order; takes no memory."""

    split: str
    indices: range

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i):
        if isinstance(i, slice):
            return Places(self.split, self.indices[i])
        return Place(self.split, self.indices[i])


def open_corpus(config: SyntheticConfig) -> Corpus:
    """The corpus of a configuration: every split's clips in order of their index."""
    return Corpus(
        {split: Places(split, range(config.size(split))) for split in SPLITS},
        functools.partial(_read, config.seed),
        {"corpus": "synthetic", "synthetic": True, **dataclasses.asdict(config)},
    )


def add_arguments(parser) -> None:
    """Options of `signbind data build synthetic`."""
    what = {
        "seed": "another corpus of the same kind",
        "train": "clips in train",
        "validation": "clips in validation",
        "test": "clips in test",
        "time_split": "clips in each split that time alone decides",
    }
    for field in dataclasses.fields(SyntheticConfig):
        parser.add_argument(
            f"--{field.name}",
            type=argument(Whole),
            default=field.default,
            metavar="N",
            help=f"{what[field.name]} (default: {field.default})",
        )


def from_arguments(arguments) -> Corpus:
    """The corpus that parsed arguments ask for."""
    names = [field.name for field in dataclasses.fields(SyntheticConfig)]
    return open_corpus(SyntheticConfig(**{name: getattr(arguments, name) for name in names}))


def _read(seed: int, place: Place) -> ReadResult:
    return ReadResult(generate_clip(seed, place.split, place.index))


def generate_clip(seed: int, split: str, index: int) -> Clip:
    """One clip; the same arguments give the same bytes, whatever was made before.

    Raises:
      SignBindError: for an unknown split.
    """
    if split not in SPLITS:
        raise SignBindError(
            f"synthetic corpus: split: found {split!r}, wanted one of {', '.join(SPLITS)}"
        )
    drawn, who, line, rng = plan(seed, split, index)
    pose_tk3, crops_fhw = render(drawn, who, line, rng)
    return Clip(
        id=Place(split, index).id,
        text=drawn.text,
        text_language="en",
        signed_language="",
        signer=who.name,
        modalities={"pose": pose_frames(pose_tk3, FPS), "lips": lip_frames(crops_fhw, FPS)},
        gloss=drawn.gloss,
        spelled=tuple(word.name for word in drawn.words if word.name),
        phonemes=tuple(p for mouthing in line.mouthings for p in mouthing.phonemes),
        fusion_targets=tuple(word.sense for word in drawn.words),
        contrasts=drawn.contrasts,
        homonym_pairs=drawn.homonym_pairs,
    )


def plan(
    seed: int, split: str, index: int
) -> tuple[Sentence, Signer, Timeline, np.random.Generator]:
    """What is signed, by whom and when, before anything is drawn.

    A sentence that would take longer than `MAX_SECONDS` is drawn again.
    """
    group = signer_group(split)
    attempt = 0
    while True:
        rng = np.random.default_rng([seed, zlib.crc32(split.encode()), index, attempt])
        who = signer(seed, group, int(rng.integers(N_SIGNERS[group])))
        drawn = sentence(seed, split, index, attempt)
        line = schedule(drawn, who, rng)
        if line.duration <= MAX_SECONDS:
            return drawn, who, line, rng
        attempt += 1


def render(drawn: Sentence, who: Signer, line: Timeline, rng: np.random.Generator):
    """Pose f16 (t, 91, 3) and mouth crops uint8 (t, 32, 32) of a planned clip."""
    time_t = np.arange(math.ceil(line.duration * FPS)) / FPS
    strong_tp, weak_tp = motion.hand_motion(drawn, line, who, time_t, rng)
    mouth_tp = mouth.mouth_motion(line, who.levers, time_t, rng)
    head_t3, brows_t, blink_t, sway_t3 = _face_and_sway(drawn, line, time_t, rng)
    points_tk3 = body.keypoints(
        strong_tp, weak_tp, mouth_tp, head_t3, brows_t, blink_t, sway_t3, who
    )
    return tracker.track(points_tk3, who, rng), crops.mouth_crops(mouth_tp, who, rng)


def _face_and_sway(drawn: Sentence, line: Timeline, time_t, rng: np.random.Generator):
    """Head turns (t, 3), brows (t,), blinks (t,) and sway (t, 3).

    Brows rise for yes-no questions and fall for others; the head shakes with a negation.
    """
    phase, rate = rng.uniform(0, 2 * np.pi, (3, 3)), rng.uniform(0.15, 0.6, (3, 3))
    waves = np.sin(2 * np.pi * rate[..., None] * time_t + phase[..., None])
    head_t3 = (waves[0] * np.array([[3.0], [2.0], [2.0]])).T + rng.normal(0, 1.5, 3)
    sway_t3 = (waves[1] * np.array([[0.02], [0.008], [0.01]])).T
    brows_t = 0.12 * waves[2, 0]
    last = line.signs[-1]
    if drawn.face in ("yes-no", "wh"):
        begin = line.signs[0].start if drawn.face == "yes-no" else last.start - 0.4
        on = _fade(time_t, begin, line.duration - 0.1)
        brows_t = brows_t + (0.9 if drawn.face == "yes-no" else -0.7) * on
        head_t3[:, 1] += 4.0 * on
    elif drawn.face == "negation":
        on = _fade(time_t, last.start - 0.4, last.end + 0.2)
        head_t3[:, 0] += 11.0 * on * np.sin(2 * np.pi * 2.2 * (time_t - last.start))
    blink_t = np.zeros_like(time_t)
    for _ in range(rng.poisson(line.duration * 0.3)):
        blink_t += np.exp(-0.5 * ((time_t - rng.uniform(0, line.duration)) / 0.06) ** 2)
    return head_t3, brows_t, np.minimum(blink_t, 1.0), sway_t3


def _fade(time_t: np.ndarray, begin: float, end: float) -> np.ndarray:
    """1 between two moments, with flanks of 0.15 s."""
    return np.clip((time_t - begin) / 0.15, 0, 1) * np.clip((end - time_t) / 0.15, 0, 1)
