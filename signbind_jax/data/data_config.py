"""DataConfig: where clips come from and how they are batched."""

from dataclasses import dataclass
from typing import Annotated

from signbind_jax import streams
from signbind_jax.data.folds import GROUPS, RECORDING, Fold
from signbind_jax.ranges import (
    Checked,
    Count,
    NonNegative,
    OneOf,
    Range,
    Share,
    Text,
    Whole,
)
from signbind_jax.streams import Name

# Fields that name places of one machine: what lies there counts, not what it is called.
PLACES = ("directory", "stream_cache", "vocabulary", "spellings", "sign_order")


@dataclass(frozen=True)
class DataConfig(Checked):
    """Where the clips come from and how they are batched.

    Attributes:
      directory: a dataset written by `signbind data build`, or several, separated by commas.
      weights: with several, how often an epoch draws each clip of each of them, on average;
        empty: once.
      train, validation: names of its splits; `validation` may be empty (no evaluation).
      frames_per_batch: padded frames (experts) or tokens (later stages) a batch.
      n_buckets: how many padded lengths the stages behind the experts compile.
      row_frames: frames of the rows that experts train on, which hold several clips end to end;
        more where the longest clip needs it. 0: as many as waste least.
      batch_multiple: batch sizes are multiples of this (the data-parallel device count).
      threads: reader threads of the loader.
      max_impossible: the largest share of clips whose CTC target may be longer than the
        output; above it an expert takes fewer frames a step, and at one it refuses to start.
      keep_empty: share of the clips with an empty CTC target, such as those in which nothing is
        spelled, that an expert or fusion trains on; alignment and translation, which learn their
        sentences too, weigh CTC by it there. Some are needed, or fusion and experts read into
        them; none where nobody labelled what they hold.
      stream_cache: where decoded expert streams are kept; empty: `streams` beside the run.
      longest_s: seconds; an expert leaves longer clips out of `train`, while their tokens count for
        its vocabulary. 0: none is. For a first run on short clips, which another one on all of them
        starts from: text in its own order says little about where in a long clip a sign is.
      fold: of an expert: the clips of `train` that it leaves out, "k/K" for part k of K, so that
        it reads them unseen; empty: none.
      fold_by: what stays together in a fold: the clips of a recording or of a signer.
      unread_s: seconds of the runs in which an expert reads nothing, which stages behind it get as
        tokens with their hidden vectors; 0: they get none of these.
      streams: those that the stages behind the experts take from the dataset itself, whose clips
        came with them, in the order in which fusion numbers them.
      vocabulary: a file that `signbind data vocabulary` wrote, whose tokens an expert or fusion
        learns to read; empty: those of the training split. Others are left out of targets.
      spellings: files that `signbind data spellings` wrote, separated by commas: words found to be
        spelled in splits of the datasets, which stand for the labels of clips that have none.
      sign_order: files that `signbind data order` wrote, separated by commas: where an expert sees
        the pseudo-glosses of clips, in whose order they are targets of the stages that read it.
      min_count: without a file, tokens that occur less often in the training split are left out.
    """

    directory: Text = ""
    weights: tuple[NonNegative, ...] = ()
    train: Text = "train"
    validation: Text = "validation"
    frames_per_batch: Count = 4096
    n_buckets: Annotated[int, Range(1, 1000)] = 6
    row_frames: Whole = 0
    batch_multiple: Count = 1
    threads: Annotated[int, Range(0, 1000)] = 1
    max_impossible: Share = 0.02
    keep_empty: Share = 1.0
    stream_cache: Text = ""
    unread_s: Annotated[float, Range(0, 10)] = 0.0
    longest_s: Annotated[float, Range(0, 10_000)] = 0.0
    fold: Fold = ""
    fold_by: Annotated[str, OneOf(*GROUPS)] = RECORDING
    streams: tuple[Name, ...] = ()
    vocabulary: Text = ""
    spellings: Text = ""
    sign_order: Text = ""
    min_count: Count = 1

    def __post_init__(self):
        super().__post_init__()
        for name in self.streams:
            streams.give(name)

    @property
    def directories(self) -> list[str]:
        """The datasets that `directory` names."""
        return [part.strip() for part in self.directory.split(",")]

    def files_of(self, option: str) -> list[str]:
        """The files that `spellings` or `sign_order` names."""
        return [part.strip() for part in getattr(self, option).split(",") if part.strip()]

    def conflicts(self):
        n = len(self.directories)
        if self.weights and (len(self.weights) != n or not sum(self.weights)):
            yield "weights", f"one number for each of the {n} directories, not all 0"
        if len(set(self.streams)) < len(self.streams):
            yield "streams", "each name once"
        if self.vocabulary and self.min_count > 1:
            yield "min_count", "1 beside data.vocabulary, whose tokens are counted already"
