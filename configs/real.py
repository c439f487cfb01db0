"""Sizes, rows and schedules for real corpora on TPUs and GPUs: `size=base` and `size=large`.

Starting points: `signbind preflight` says that they fit and how long a step may take
(docs/use/check_fit_and_speed.md); none of them has been trained, as neither corpora nor
accelerators were at hand. Arguments: `corpus`, one of CORPORA, and `chips`, the devices of the
slice or GPUs: batches have a row for each at least.

What follows from the data itself when a run starts, and is nowhere here: vocabularies, how many
steps an epoch has, the side of the mouth crops (`--lip_size` of `signbind data build`, whose 96
suits these models, which take multiples of 32), how long targets are. `Corpus` holds what has to be
known before; `signbind data audit DATA --configs NAME:size=base,corpus=CORPUS` compares the
subsampling with a dataset.
"""

from dataclasses import dataclass

from ml_collections import ConfigDict

from signbind_jax import streams
from signbind_jax.errors import SignBindError
from signbind_jax.overrides import unknown_name

SIZES = ("base", "large")


@dataclass(frozen=True)
class Corpus:
    """What a corpus asks of a run.

    Attributes:
      row_frames: frames of a row that experts train on; holds the longest clip.
      rows: rows of an expert's batch.
      sentences: sentences of a later stage's batch.
      epochs: of an expert, the decoder and fusion; passes over the corpus's own training split.
      clips: of the training split, as published, for estimates of the steps alone.
      seconds: mean duration of a clip, for the same.
      glosses: size of the vocabulary of glosses or pseudo-glosses, roughly, for `assumed`.
      signing_steps: frames a step of the signing expert, from how fast pseudo-glosses follow each
        other: at 4 frames one in forty of How2Sign's rows is too short for them, at 2 none.
      impossible: the share of clips that may be too short for their targets at a frame a step:
        cut too narrowly, they are left out and counted. Of 40 released rows of How2Sign two are
        too short for their phonemes.
      keep_empty: see `DataConfig`; 0 where an empty target means that nobody labelled the clip,
        as with the spottings of BOBSL.
    """

    row_frames: int
    rows: int
    sentences: int
    epochs: int
    clips: int
    seconds: float
    glosses: int
    signing_steps: int = 2
    impossible: float = 0.1
    keep_empty: float = 1.0


CORPORA = {
    "how2sign": Corpus(2048, 32, 256, 60, 31_048, 7.0, 8192),
    "chicago_fswild_plus": Corpus(512, 128, 512, 80, 50_402, 3.0, 8192),
    "bobsl": Corpus(512, 512, 1024, 12, 1_000_000, 5.0, 16_384, keep_empty=0.0),
    "mixture": Corpus(2048, 128, 1024, 12, 1_200_000, 5.0, 16_384, keep_empty=0.0),
}
FPS = 25
# How2Sign's pseudo-glosses are of 10,521 kinds; the 6,387 that occur less often are 3.3 % of the
# tokens.
MIN_COUNT = 5

_EXPERT = {
    "base": {"d_model": 512, "n_layers": 8, "n_heads": 8, "d_mlp": 2048, "d_part": 256},
    "large": {"d_model": 1024, "n_layers": 16, "n_heads": 16, "d_mlp": 4096, "d_part": 512},
}
_FUSION = {
    "base": {"d_model": 512, "n_layers": 4, "n_heads": 8, "d_mlp": 1536},
    "large": {"d_model": 1024, "n_layers": 6, "n_heads": 16, "d_mlp": 3072},
}
_DECODER = {
    "base": {
        "d_model": 512,
        "n_layers": 8,
        "n_heads": 8,
        "n_kv_heads": 8,
        "head_size": 64,
        "d_mlp": 1536,
    },
    "large": {
        "d_model": 1024,
        "n_layers": 16,
        "n_heads": 16,
        "n_kv_heads": 8,
        "head_size": 64,
        "d_mlp": 3072,
    },
}
MODELS = {
    "signing": {size: {**_EXPERT[size], "conv_kernel": 15} for size in SIZES},
    "fingerspelling": {size: {**_EXPERT[size], "conv_kernel": 31} for size in SIZES},
    "lipreading": {
        "base": {
            **_EXPERT["base"],
            "conv_kernel": 15,
            "subsample": 1,  # at 2, 9 of How2Sign's 40 are too short for their phonemes
            "lip_patch": 4,
            "channels": (64, 128, 256, 512),
        },
        "large": {
            **_EXPERT["large"],
            "conv_kernel": 15,
            "subsample": 1,
            "lip_patch": 4,
            "channels": (96, 192, 384, 768),
        },
    },
    # Each layer looks 2.5 s farther, and nobody needs more than ten to tell.
    "segmentation": {size: {**_EXPERT[size], "n_layers": 4} for size in SIZES},
    "fusion": _FUSION,
    "language_model": {size: {**_DECODER[size], "dropout": 0.1} for size in SIZES},
    "alignment": dict.fromkeys(SIZES, {"dropout": 0.2}),
    "translation": dict.fromkeys(SIZES, {"dropout": 0.2}),
}
# What the final recipe of the hard preset has behind the experts. `beams` and `no_loops` paid there
# (docs/hard_results.md), `read_alone` and `whole_words` on PHOENIX (docs/real_results.md), whether
# `regularised` does was not measured.
_GENERATION = {"beam_size": 4, "no_repeat_ngram_size": 3}
_TUNED = {"smoothing": 0.1, "soft_prefix": "read", "generation": _GENERATION}
_OPTIONS = {
    # As many tokens as make nearly every word one.
    "language_model": {"bpe_vocabulary": 8192, "close_up": True, "generation": _GENERATION},
    "alignment": _TUNED,
    "translation": _TUNED,
}
# Of alignment and translation; PHOENIX and the hard preset took one to four.
_EPOCHS_OF_TUNING = 4
# Of real mouths, where the drawn ones of the synthetic corpus need none of it: as
# `lipreading:recorded`, in which it was measured, a crop's width taken into account.
_LIPS = {
    "speed": 0.15,
    "lip_shift": 4,
    "brightness": 0.1,
    "contrast": 0.2,
    "mirror": 0.5,
}
LIP_SIZE = 96  # pixels, what is assumed where there is no data
_PEAK = {"base": 5e-4, "large": 3e-4}  # learning rate
_GENTLY = 0.2  # of it, a translation's; a seventh on PHOENIX and the hard preset


def apply_size(config: ConfigDict, size: str, corpus: str, chips: int) -> ConfigDict:
    """A run at a real size for a corpus, on so many chips.

    Raises:
      SignBindError: another corpus, or no chip.
    """
    if corpus not in CORPORA:
        raise SignBindError(unknown_name("--config argument corpus", corpus, CORPORA))
    if not isinstance(chips, int) or chips < 1:
        raise SignBindError(f"--config argument chips: found {chips}, wanted a number of chips")
    of = CORPORA[corpus]
    with config.model.unlocked():
        config.model.update(MODELS[config.stage][size])
    config.data.batch_multiple = chips
    if config.stage in ("signing", "fusion"):
        config.data.min_count = MIN_COUNT
    config.data.threads = 8
    if config.stage in (*streams.SHIPPED, streams.SEGMENTATION):
        _expert(config, of)
    else:
        _tokens(config, of)
    config.optim.update({"learning_rate": _PEAK[size], "weight_decay": 0.05, "warmup_share": 0.05})
    if config.stage == "translation":
        config.optim.learning_rate *= _GENTLY
    config.keep_best = True
    config.evaluate_every = max(config.steps // 20, 1)
    config.checkpoint_every = min(1000, config.evaluate_every)
    return config


def _expert(config: ConfigDict, of: Corpus) -> None:
    """Filled rows, bfloat16, each block computed again in the backward pass."""
    config.model.dtype, config.model.remat = "bfloat16", True
    config.data.max_impossible = of.impossible
    config.data.row_frames = of.row_frames
    rows = _multiple(of.rows, config.data.batch_multiple)
    config.data.frames_per_batch = rows * of.row_frames
    config.epochs = float(of.epochs)
    config.steps = round(of.epochs * of.clips * of.seconds * FPS / config.data.frames_per_batch)
    clips_per_row = round(2 * of.row_frames / (of.seconds * FPS))
    config.assumed.update(
        {
            "longest": of.row_frames,
            "clips_per_row": clips_per_row,
            "vocabulary": of.glosses,
            "target": 96,
        }
    )
    if config.stage == "lipreading":
        config.assumed.vocabulary, config.assumed.lip_size = 48, LIP_SIZE
        with config.augment.unlocked():
            config.augment.update(_LIPS)
    if config.stage == "signing":
        config.model.subsample = of.signing_steps
        config.data.keep_empty = of.keep_empty


def _tokens(config: ConfigDict, of: Corpus) -> None:
    config.data.n_buckets = 5
    if config.stage != "language_model":
        config.data.keep_empty = of.keep_empty
    if config.stage in _OPTIONS:
        config.optim.average = 0.1
        with config.options.unlocked():
            config.options.update(_OPTIONS[config.stage])
    config.assumed.update(
        {
            "longest": 160,
            "target": 160,
            "streams": {"signing": of.glosses},
            "fusion_targets": of.glosses,
            "d_hidden": 512,
            "text": 88,
            "vocabulary": 8192,
        }
    )
    rows = _multiple(of.sentences, config.data.batch_multiple)
    config.data.frames_per_batch = rows * config.assumed.longest
    tuned = config.stage in ("alignment", "translation")
    config.epochs = float(_EPOCHS_OF_TUNING if tuned else of.epochs)
    config.steps = round(config.epochs * of.clips / rows)


def _multiple(n: int, of: int) -> int:
    return -(-n // of) * of
