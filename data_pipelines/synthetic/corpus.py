"""The synthetic corpus: clips that are pure functions of seed, split and index."""

import dataclasses
import functools
import zlib
from dataclasses import dataclass

import numpy as np

from signbind_jax.data.clip import Clip, pose_frames
from signbind_jax.data.lips import lip_frames
from signbind_jax.data_pipelines.corpus import Corpus, ReadResult
from signbind_jax.data_pipelines.synthetic.grammar import SPLITS, TIME_SPLITS, Sentence, sentence
from signbind_jax.data_pipelines.synthetic.hard import corpus as hard
from signbind_jax.data_pipelines.synthetic.places import Place, Places
from signbind_jax.data_pipelines.synthetic.render import FPS, MAX_SECONDS, render
from signbind_jax.data_pipelines.synthetic.signer import N_SIGNERS, Signer, signer, signer_group
from signbind_jax.data_pipelines.synthetic.timeline import Timeline, schedule
from signbind_jax.errors import SignBindError
from signbind_jax.ranges import Checked, Whole, argument


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


def open_corpus(config: SyntheticConfig) -> Corpus:
    """The corpus of a configuration: every split's clips in order of their index."""
    return Corpus(
        {split: Places(split, range(config.size(split))) for split in SPLITS},
        functools.partial(_read, config.seed),
        {"corpus": "synthetic", "synthetic": True, **dataclasses.asdict(config)},
    )


def add_arguments(parser) -> None:
    """Options of `signbind data build synthetic`."""
    parser.add_argument(
        "--preset",
        choices=("easy", "hard"),
        default="easy",
        help="hard: many signs that differ little, labels withheld, English in many ways "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--part",
        choices=hard.TRAINED,
        help=f"what split train of the hard preset is (default: {hard.TRAINED[0]})",
    )
    parser.add_argument(
        "--gold",
        action="store_true",
        default=None,
        help="the hard preset with nothing withheld, to tell what is hard to see from what is "
        "hard to learn from text",
    )
    sizes = ", ".join(f"{hard.PARTS[part].clips} of {part}" for part in hard.TRAINED)
    what = {
        "seed": "another corpus of the same kind (default: 0)",
        "train": f"clips in train (default: {SyntheticConfig.train}; hard: {sizes})",
        "validation": f"clips in validation (default: {SyntheticConfig.validation})",
        "test": f"clips in test (default: {SyntheticConfig.test})",
        "time_split": "clips in each split that time alone decides, of which the hard preset has "
        f"none (default: {SyntheticConfig.time_split})",
    }
    for name, text in what.items():
        parser.add_argument(f"--{name}", type=argument(Whole), metavar="N", help=text)


def from_arguments(arguments) -> Corpus:
    """The corpus that parsed arguments ask for.

    Raises:
      SignBindError: an option that the preset does not have.
    """
    if arguments.preset == "hard":
        _refuse(arguments, "time_split", "easy")
        part = arguments.part or hard.TRAINED[0]
        given = {"part": part, "train": hard.PARTS[part].clips} | _given(arguments, hard.HardConfig)
        return hard.open_corpus(hard.HardConfig(**given))
    _refuse(arguments, "part", "hard")
    _refuse(arguments, "gold", "hard")
    return open_corpus(SyntheticConfig(**_given(arguments, SyntheticConfig)))


def _given(arguments, config: type) -> dict:
    """The options of a config that the command line set."""
    names = (field.name for field in dataclasses.fields(config))
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def _refuse(arguments, name: str, preset: str) -> None:
    if getattr(arguments, name) is not None:
        raise SignBindError(
            f"synthetic corpus: --{name}: found {getattr(arguments, name)}, wanted it with "
            f"--preset={preset} alone"
        )


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
