"""Sentences: decoded streams, fusion targets, prompts and texts of a split, batch by batch."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from signbind_jax import progress
from signbind_jax.data.batch_plan import (
    EMPTY_ROW,
    FEW_CLIPS,
    Step,
    evaluation_plan,
    next_power_of_two,
    standard_buckets,
)
from signbind_jax.data.sentence_batch import SentenceBatch, pad_left, pad_right
from signbind_jax.data.stream_cache import SplitStreams
from signbind_jax.distributed import hosts
from signbind_jax.models.fusion import StreamTokens


@dataclass(frozen=True)
class Sentences:
    """Everything the stages behind the experts read of a split.

    Attributes:
      lengths: what batches are bucketed by: stream tokens, or prompt and text tokens.
      streams: decoded streams, or None for a stage that reads text alone.
      targets: ids of the fusion target, by clip.
      prompts: ids of the prompt behind the soft prefix, by clip; at least one each.
      texts: ids of the sentence, the end token included, by clip.
    """

    lengths: np.ndarray
    streams: SplitStreams | None
    targets: Sequence[Sequence[int]]
    prompts: Sequence[Sequence[int]]
    texts: Sequence[Sequence[int]]

    @classmethod
    def unlabelled(cls, streams: SplitStreams, prompt: Sequence[int] = ()) -> "Sentences":
        """Streams to be read or written from, each with the same prompt."""
        n = len(streams.lengths)
        return cls(streams.lengths, streams, [()] * n, [prompt] * n, [()] * n)

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, step: Step, capacities: tuple[int, int, int]) -> SentenceBatch:
        """The rows of a step; see `capacities`."""
        n, p, text = capacities
        rows = step.ids[:, 0].tolist()

        def of(sequences):
            return [sequences[i] if i >= 0 else () for i in rows]

        tokens = None
        if self.streams is not None:
            tokens = StreamTokens(**self.streams.rows(rows, step.bucket_length))
        target_bn, target_mask = pad_right(of(self.targets), n)
        prompt_ids, prompt_mask = pad_left(of(self.prompts), p)
        text_ids, text_mask = pad_right(of(self.texts), text)
        index_b = np.asarray(rows, np.int32)
        return SentenceBatch(
            tokens,
            target_bn,
            target_mask.sum(1).astype(np.int32),
            prompt_ids,
            prompt_mask,
            text_ids,
            text_mask,
            index_b,
            index_b >= 0,
        )

    def capacities(self, buckets: Sequence[int], multiple: int = 4) -> dict[int, tuple]:
        """Bucket length -> sizes of (target, prompt, text) that every clip of it fits.

        A plan may move a clip to a longer bucket, never to a shorter one, so sizes grow
        with the bucket.
        """
        sizes, before = {}, 0
        best = np.ones(3, int)
        for bucket in sorted(buckets):
            inside = np.flatnonzero((self.lengths > before) & (self.lengths <= bucket))
            for kind, sequences in enumerate((self.targets, self.prompts, self.texts)):
                longest = max((len(sequences[i]) for i in inside), default=0)
                best[kind] = max(best[kind], longest)
            sizes[bucket] = tuple(int(-(-size // multiple) * multiple) for size in best)
            before = bucket
        return sizes


def empty_row(streams: SplitStreams | None, length: int, capacities: Mapping) -> SentenceBatch:
    """A host batch of one row without a clip, with the room that `capacities` has for `length`."""
    step = Step.padded(length, np.array([EMPTY_ROW]))
    return Sentences(np.zeros(0, int), streams, [], [], []).batch(step, capacities[length])


def few_buckets(longest: int) -> tuple[int, ...]:
    """32, 64, 128, ... up to the first that holds `longest`: one an octave, for up to `FEW_CLIPS`
    clips, whose batches come in several numbers of rows as well."""
    return tuple(2**i for i in range(5, max(6, next_power_of_two(longest).bit_length())))


def reading_batches(sentences: Sentences, frames_per_batch: int) -> Iterator[SentenceBatch]:
    """Every clip once, with its streams and prompt but no labels, in standard shapes; of several
    processes each gets its own part."""
    bare = dataclasses.replace(
        sentences, targets=[()] * len(sentences), texts=[()] * len(sentences)
    )
    made = few_buckets if len(sentences) <= FEW_CLIPS else standard_buckets
    buckets = made(int(sentences.lengths.max()))
    plan = evaluation_plan(sentences.lengths, buckets, frames_per_batch)
    longest = max(map(len, sentences.prompts), default=1)
    prompt = 4 if longest <= 4 else standard_buckets(longest)[-1]
    own = hosts.own_steps(plan.n_steps)
    for i in progress.shown(own, "writing", len(own), "batch"):
        yield bare.batch(plan.step(i), (4, prompt, 4))
