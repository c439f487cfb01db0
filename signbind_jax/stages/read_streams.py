"""Frozen experts read clips: whole splits through the cache, or single clips."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from signbind_jax import progress, streams
from signbind_jax.checkpoint.artefact import Artefact, open_artefact
from signbind_jax.data.batch_plan import EvaluationPlan
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.loader import clip_batches
from signbind_jax.data.row_plan import reading_plan
from signbind_jax.data.stream_cache import ExpertTokens, SplitStreams, cached, gather
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError
from signbind_jax.stages.expert import modality_lengths, read_batch


class ExpertReader:
    """One frozen expert, loaded once, that turns clips into tokens."""

    def __init__(self, artefact: Artefact):
        self.artefact = artefact
        self.frontend = artefact.model["config"]["frontend"]
        self.d_hidden = artefact.model["config"]["d_model"]

    @functools.cached_property
    def _loaded(self):
        return self.artefact.load_params()

    def read(self, clips: ClipDataset | Sequence, lengths: np.ndarray) -> ExpertTokens:
        """Tokens of every clip; none where `lengths` says the modality is absent.

        Of several processes each reads its part, and all get the whole.
        """
        if not (lengths > 0).any():
            return gather(len(clips), self.d_hidden, ())
        graphdef, params = self._loaded
        plan = reading_plan(lengths, self.artefact.config.data.row_frames)
        own = EvaluationPlan([plan.step(i) for i in hosts.own_steps(plan.n_steps)])
        batches = clip_batches(clips, own, self.frontend, [[]] * len(clips), 8)
        stage = self.artefact.stage
        capacity = streams.get(stage).capacity
        shown = progress.shown(batches, f"reading {stage}", own.n_steps, "batch")
        decoded = (
            (b.index_bg, jax.device_get(read_batch(graphdef, params, b, capacity))) for b in shown
        )
        return gather(len(clips), self.d_hidden, decoded)


def open_experts_of(run: Artefact) -> dict[str, Artefact]:
    """The experts that a stage behind them was trained on, by stream.

    Raises:
      SignBindError: one is missing or was trained again since.
    """
    experts = {
        name: open_artefact(run.parents[name]) for name in run.config.streams if name in run.parents
    }
    for name, expert in experts.items():
        trained_on = run.manifest.parents.get(name)
        if expert.digest != trained_on:
            raise SignBindError(
                f"{expert.workdir}: artefact digest: found {expert.digest[:12]}, "
                f"wanted {(trained_on or '')[:12]}: this expert was trained again "
                f"after {run.workdir}"
            )
    return experts


def read_split(
    readers: Mapping[str, ExpertReader], clips: ClipDataset, cache: Path, names: Sequence[str]
) -> SplitStreams:
    """The streams `names` of a split by the given experts, in this order.

    Decoded once and kept in `cache` under the digests of split and expert.
    """
    read: dict[str, ExpertTokens | None] = dict.fromkeys(names)
    for name in names:
        if reader := readers.get(name):
            lengths = modality_lengths(clips, reader.frontend)
            reading = functools.partial(reader.read, clips, lengths)
            read[name] = cached(cache, clips.digest, reader.artefact.digest, reading)
    return SplitStreams(read)
