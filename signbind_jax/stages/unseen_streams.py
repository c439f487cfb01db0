"""Streams of training clips, each read by an expert that has not seen the clip: cross-fitting.

What is trained on the streams of an expert's own training clips trusts them more than it may on
others. The experts of `signbind crossfit` leave out a fold each; together they read the whole split
unseen.
"""

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np

from signbind_jax import streams
from signbind_jax.checkpoint.artefact import Artefact, open_artefact
from signbind_jax.checkpoint.manifest import check_parent
from signbind_jax.config import RunConfig
from signbind_jax.data.batch_plan import EvaluationPlan
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.folds import fold_directories, held_out_ids, parse_fold
from signbind_jax.data.loader import clip_batches
from signbind_jax.data.row_plan import reading_plan
from signbind_jax.data.stream_cache import ExpertTokens, cached, joined
from signbind_jax.errors import SignBindError
from signbind_jax.stages.expert import read_hidden
from signbind_jax.stages.read_streams import ExpertReader

_MAP_CLIPS = 500  # that show how hidden vectors of two experts belong together
_RIDGE = 1e-3  # of the mean square of a hidden unit


@dataclass(frozen=True)
class UnseenReader:
    """The experts of one stream that read the clips of a training split.

    Attributes:
      full: the expert of all clips, which reads every other split, and here what no fold held out.
      folds: one expert a fold, in order.
      fold_of: int (clips,), the fold that held out each clip; -1: none did.
      train: the split.
      alike: the clips on some of which hidden vectors are compared, see `_hidden_map`.
      cache: where the streams are kept.
    """

    full: ExpertReader
    folds: tuple[Artefact, ...]
    fold_of: np.ndarray
    train: ClipDataset
    alike: ClipDataset
    cache: Path

    @property
    def digests(self) -> dict[str, str]:
        """Of the experts of the folds, as a manifest names parents."""
        return {f"{self.full.name}/fold{k}": fold.digest for k, fold in enumerate(self.folds)}

    @property
    def directories(self) -> dict[str, str]:
        """Where each of `digests` lies."""
        return {f"{self.full.name}/fold{k}": str(x.workdir) for k, x in enumerate(self.folds)}

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the experts and of the clips that decide the streams."""
        parts = [self.full.digest, *self.digests.values(), self.alike.digest]
        return hashlib.sha256(f"unseen {' '.join(parts)}".encode()).hexdigest()

    def read_split(self) -> ExpertTokens:
        """The tokens of the training split, read once and kept."""
        return cached(self.cache, self.train.digest, self.digest, self._read)

    def _read(self) -> ExpertTokens:
        parts = [self.full.read(self.train, chosen=self.fold_of < 0)]
        row_frames = self.full.row_frames
        wanted = list(_hidden_states(self.full, row_frames, self.alike))  # once for all folds
        for k, fold in enumerate(self.folds):
            reader = ExpertReader.of(fold, self.full.unread_s)
            tokens = reader.read(self.train, chosen=self.fold_of == k)
            own = _hidden_states(reader, row_frames, self.alike)
            map_dd, shift_d = _hidden_map(own, wanted, reader.d_hidden)
            hidden = (tokens.hidden.astype(np.float32) @ map_dd + shift_d).astype(np.float16)
            parts.append(replace(tokens, hidden=hidden))
        return joined(parts)


def _hidden_states(
    reader: ExpertReader, row_frames: int, clips: ClipDataset
) -> Iterator[np.ndarray]:
    """Hidden vectors of the steps of some clips, float32 (steps, d) a batch of rows; experts that
    read the same frames give vectors of the same steps.

    row_frames: see `reading_plan`.
    """
    lengths = reader.lengths(clips)
    present = np.flatnonzero(lengths)
    if not present.size:
        return
    chosen = present[np.arange(_MAP_CLIPS) * present.size // _MAP_CLIPS]
    plan = reading_plan(np.where(np.isin(np.arange(len(lengths)), chosen), lengths, 0), row_frames)
    own = EvaluationPlan([plan.step(i) for i in range(plan.n_steps)])
    for batch in clip_batches(clips, own, reader.config.frontend, [[]] * len(clips), 8):
        hidden_bsd, mask_bs = jax.device_get(read_hidden(*reader.weights(), batch))
        yield hidden_bsd[mask_bs]


def _hidden_map(fold: Iterable[np.ndarray], full: Iterable[np.ndarray], d: int):
    """The affine map that takes hidden vectors of one expert nearest to those of another.

    Two experts say the same in vectors of other directions, and what stands behind them learns one
    of the languages: ridge regression over the steps of some clips finds the way from one to the
    other (each process by itself, to the same end).

    Args:
      fold, full: of each expert the same steps, (steps, d) a batch.

    Returns:
      float32 (d, d) and (d,).
    """
    xx, xy = np.zeros((d + 1, d + 1)), np.zeros((d + 1, d))
    for x_sd, y_sd in zip(fold, full, strict=True):
        x = np.pad(x_sd.astype(np.float64), ((0, 0), (0, 1)), constant_values=1.0)
        xx, xy = xx + x.T @ x, xy + x.T @ y_sd
    penalty = _RIDGE * np.trace(xx[:d, :d]) / d + 1e-6
    whole = np.linalg.solve(xx + np.diag([penalty] * d + [1e-6]), xy).astype(np.float32)
    return whole[:d], whole[d]


def open_unseen(
    config: RunConfig,
    experts: Mapping[str, Artefact],
    readers: Mapping[str, ExpertReader],
    train: ClipDataset,
    alike: ClipDataset,
) -> dict[str, UnseenReader]:
    """By stream, what reads the training split where `config.crossfit` names a directory.

    Args:
      experts, readers: of all clips, by stream.

    Raises:
      SignBindError: a fold is missing, not finished, or of another config, vocabulary or dataset.
    """
    return {
        name: open_folds(
            experts[name],
            readers[name],
            Path(directory),
            train,
            alike,
            config.data.stream_cache,
        )
        for name, directory in config.crossfit.items()
        if directory
    }


def open_folds(
    expert: Artefact,
    full: ExpertReader,
    directory: Path,
    train: ClipDataset,
    alike: ClipDataset,
    cache: str = "",
) -> UnseenReader:
    """The experts that `signbind crossfit` trained in a directory.

    Args:
      expert, full: that of all clips.

    Raises:
      SignBindError: see `open_unseen`.
    """
    where = f"config.crossfit.{expert.stage}: {directory}"
    found = fold_directories(directory)
    if not found:
        raise SignBindError(f"{where}: found no fold0, wanted a --workdir of signbind crossfit")
    folds = tuple(map(open_artefact, found.values()))
    _check_siblings(folds, expert)
    _, n = parse_fold(folds[0].config.data.fold)
    if missing := sorted(set(range(n)) - set(found)):
        raise SignBindError(f"{where}: found no fold{missing[0]}, wanted {n} folds")
    fold_of = _fold_of(folds, train, where)
    return UnseenReader(full, folds, fold_of, train, alike, Path(cache or directory / "streams"))


def _check_siblings(folds: tuple[Artefact, ...], full: Artefact) -> None:
    """Folds differ in what they leave out alone, and read what the expert of all clips reads."""
    vocabulary = streams.get(full.stage).vocabulary
    wanted = {
        "stage": full.stage,
        "vocabularies": {vocabulary: full.vocabularies[vocabulary].digest},
        "dimensions": full.manifest.dimensions,
    }
    first = _deciding(folds[0])
    for fold in folds:
        k, own = int(fold.workdir.name.removeprefix("fold")), _deciding(fold)
        if (parse_fold(fold.config.data.fold) or (-1,))[0] != k:
            raise SignBindError(
                f"{fold.workdir}: config.data.fold: found {fold.config.data.fold!r}, wanted part "
                f"{k} of some"
            )
        check_parent(fold.manifest, wanted, str(fold.workdir))
        for name in sorted({*first, *own}):
            if first.get(name) != own.get(name):
                raise SignBindError(
                    f"{fold.workdir}: config.{name}: found {own.get(name)!r}, wanted "
                    f"{first.get(name)!r} as {folds[0].workdir} was trained with; train it again"
                )
        if fold.step < fold.config.steps:
            raise SignBindError(
                f"{fold.workdir}: step: found {fold.step}, wanted {fold.config.steps}: it is not "
                "finished; run its signbind crossfit again"
            )


def _deciding(fold: Artefact) -> dict:
    """What decides the weights of a fold's expert, but for which part it leaves out."""
    record = fold.config.deciding()
    data = dict(record.pop("data"))
    _, _, data["folds"] = data.pop("fold", "").partition("/")
    return record | {f"data.{name}": value for name, value in data.items()}


def _fold_of(folds: tuple[Artefact, ...], train: ClipDataset, where: str) -> np.ndarray:
    fold_of_id = {clip: k for k, fold in enumerate(folds) for clip in held_out_ids(fold.workdir)}
    fold_of = np.array([fold_of_id.get(clip, -1) for clip in train.ids], np.int32)
    if (fold_of < 0).all():
        raise SignBindError(
            f"{where}: found folds that hold out no clip of split {train.name}, wanted those of "
            "the dataset that config.data.directory names"
        )
    return fold_of
