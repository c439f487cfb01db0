"""`init.from`: a run starts from the parameters of a trained run of the same stage.

Taken is what this stage trains and no parent brings, and what it tunes of the LLM. Parameters are
found by path. Tables with an entry for each token (CTC heads, embeddings) are taken token by token,
so that corpora may differ in what they label: a token that the trained run did not know keeps the
value it has without `init.from`.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from signbind_jax import sealed
from signbind_jax.checkpoint.artefact import Artefact, init_of, open_artefact
from signbind_jax.checkpoint.model_record import ModelConfig
from signbind_jax.config import RunConfig
from signbind_jax.data.vocabulary import Vocabulary
from signbind_jax.distributed import hosts
from signbind_jax.distributed.sharding import path_string
from signbind_jax.errors import SignBindError
from signbind_jax.models.expert import ExpertConfig
from signbind_jax.models.fusion import FusionConfig
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.segmenter import SegmenterConfig
from signbind_jax.models.signbind import SignBindConfig
from signbind_jax.sources.source import BatchSource
from signbind_jax.stages.stage import Stage

FILE = "init.json"
# Fields of models in which the two runs may differ: what vocabularies decide, and what changes no
# parameter and no meaning of one.
_MAY_DIFFER = frozenset(
    {
        "n_tokens",
        "n_ids",
        "n_targets",
        "vocab_size",
        "unread",
        "dropout",
        "dtype",
        "compute_dtype",
        "remat",
        "remat_keeps_linear",
        "text_room",
        "targets",
    }
)
_EXAMPLES = 3


@dataclass(frozen=True)
class Table:
    """A parameter with an entry for each of some tokens.

    Attributes:
      what: the tokens are, such as "gloss".
      axis: along which the entries lie.
      entries: what each is of.
    """

    what: str
    axis: int
    entries: Sequence[str]


@dataclass(frozen=True)
class Carried:
    """What a run takes over.

    Attributes:
      whole: parameters by path.
      rows: path -> (the trained run's parameter, its axis, which of its entries become which of
        this run's).
      record: what was matched, what is new and what was left, JSON-ready.
    """

    whole: dict[tuple, nnx.Variable]
    rows: dict[tuple, tuple[nnx.Variable, int, np.ndarray, np.ndarray]]
    record: dict[str, Any]

    def into(self, params: nnx.State) -> nnx.State:
        """The parameters with the entries taken over."""
        flat = dict(nnx.to_flat_state(params))
        for path, (old, axis, there, here) in self.rows.items():
            new = flat[path].get_value()
            move = jax.jit(functools.partial(_move, axis=axis), out_shardings=new.sharding)
            flat[path] = flat[path].replace(move(new, old.get_value(), here, there))
        return nnx.from_flat_state(flat)

    def tell(self, workdir: Path, stage: str, announce: Callable) -> None:
        """Says in a few lines what was taken over, and writes all of it as `init.json`."""
        record = self.record
        lines = [_line(f"{record['from']}, step {record['step']}", record, " arrays")]
        lines += [_line(what, table) for what, table in record["tables"].items()]
        for line in lines:
            announce(f"{stage}: init.from: {line}")
        if hosts.is_primary():
            sealed.write(workdir / FILE, record)


@dataclass(frozen=True)
class Init:
    """The run that `init.from` names.

    Attributes:
      directory: as the config names it.
      digest: of its artefact.
      run: None where the run that started from it goes on: it is not read again.
    """

    directory: str
    digest: str
    run: Artefact | None

    @property
    def where(self) -> str:
        """In front of an error."""
        return f"config.init.from: {self.directory}"

    def check(self, stage: Stage, source: BatchSource) -> None:
        """Refuses a run whose parameters mean something else in this one.

        Raises:
          SignBindError: names the first field that differs.
        """
        if self.run is None:
            return
        old, new = _flat(self.run.model_config), _flat(stage.model_config)
        adapters = old.get("lora.rank") and new.get("lora.rank")
        for field, wanted in new.items():
            name = field.rpartition(".")[2]
            if name in _MAY_DIFFER or field.startswith("lora.") and not adapters:
                continue
            self._check_field(f"model.{field}", old.get(field), wanted)
        if getattr(source, "imported", False):
            name = "language_model"
            found, wanted = self.run.manifest.parents.get(name, ""), source.parents[name]
            self._check_field(f"parents.{name}", found[:12], wanted[:12])

    def _check_field(self, field: str, found: Any, wanted: Any) -> None:
        if found != wanted:
            raise SignBindError(
                f"{self.where}: {field}: found {found!r}, wanted {wanted!r} as this run has it; "
                "give it the same, or start from another run"
            )

    def carried(self, stage: Stage, source: BatchSource, mesh, given: Container[tuple]) -> Carried:
        """What the run brings, sharded over `mesh`.

        given: paths that parents bring.

        Raises:
          SignBindError: its arrays are damaged, or one has another shape.
        """
        try:
            old = dict(nnx.to_flat_state(self.run.load_params(mesh, imported=False)[1]))
        except SignBindError as error:
            raise SignBindError(f"config.init.from: {error}") from error
        model = nnx.state(nnx.eval_shape(lambda: stage.make_model(nnx.Rngs(0))))
        new = {
            path: x
            for path, x in nnx.to_flat_state(model)
            if stage.trains(path) and (path not in given or path[0] == "decoder")
        }
        tables = _tables(self.run.model_config, self.run)
        own_tables = _tables(stage.model_config, source)
        whole, rows, told = {}, {}, {}
        for path in (path for path in new if path in old):  # in the order of every process
            table, own = tables.get(path), own_tables.get(path)
            if own is None or list(table.entries) == list(own.entries):
                shapes = (x[path].get_value().shape for x in (old, new))
                self._check_field(path_string(path), *shapes)
                whole[path] = old[path]
            else:
                rows[path] = (old[path], own.axis, *_matches(table.entries, own.entries))
            if own is not None:
                told[own.what] = _compare(table.entries, own.entries)
        record = {
            "from": os.path.abspath(self.directory),
            "step": self.run.step,
            "artefact": self.digest,
            "matched": len(whole) + len(rows),
            "new": sorted(map(path_string, new.keys() - old.keys())),
            "left": sorted(
                path_string(path) for path in old.keys() - new.keys() if stage.trains(path)
            ),
            "tables": dict(sorted(told.items())),
        }
        return Carried(whole, rows, record)


def open_init(config: RunConfig, workdir: Path) -> Init | None:
    """Opens the run that `init.from` names; None where it names none.

    A run in `workdir` that has a checkpoint goes on from that. What it started from is then not
    read again and may be gone; given another directory, that has to hold the same.

    Raises:
      SignBindError: no trained run there, a damaged one, or one of another stage.
    """
    directory = config.init_from
    if not directory:
        return None
    before = init_of(workdir)
    if before and os.path.abspath(before[0]) == os.path.abspath(directory):
        return Init(directory, before[1], None)
    try:
        run = open_artefact(directory)
    except SignBindError as error:
        raise SignBindError(f"config.init.from: {error}") from error
    init = Init(directory, run.digest, run)
    init._check_field("stage", run.stage, config.stage)
    return init


def _tables(model: ModelConfig, run: Artefact | BatchSource) -> dict[tuple, Table]:
    """The tables among a model's parameters, by path."""
    if isinstance(model, SignBindConfig):
        parts = {"fusion": model.fusion, "decoder": model.decoder}
        return {
            (name, *path): table
            for name, part in parts.items()
            for path, table in _tables(part, run).items()
        }
    if isinstance(model, DecoderConfig):
        tokens = run.tokenizer.tokens
        tokens += [f"row {i}" for i in range(len(tokens), model.vocab_size)]  # of no token
        return {
            ("embedding", "table"): Table("text tokens", 0, tokens),
            ("head", "kernel"): Table("text tokens", 1, tokens),
        }
    if isinstance(model, SegmenterConfig):
        return {}  # it knows no tokens
    vocabularies = list(run.vocabularies.values())
    if isinstance(model, ExpertConfig):
        (vocabulary,) = vocabularies
        return _head("head", vocabulary.name, vocabulary)
    assert isinstance(model, FusionConfig)
    streams, (*inputs, targets) = run.config.streams, vocabularies
    ids = [
        f"{name} {token}"
        for name, vocabulary in zip(streams, inputs, strict=True)
        for token in vocabulary.tokens
    ]
    return _head("ctc_head", "fused tokens", targets) | {
        ("id_embed", "table"): Table("tokens of streams", 0, ids),
        ("stream_embed", "table"): Table("streams", 0, streams),
        ("hidden", "kernel"): Table("streams", 1, streams),
    }


def _head(path: str, what: str, vocabulary: Vocabulary) -> dict[tuple, Table]:
    """Of a CTC head."""
    return {
        (path, "kernel"): Table(what, 1, vocabulary.tokens),
        (path, "bias"): Table(what, 0, vocabulary.tokens),
    }


def _matches(there: Sequence[str], here: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the entries that both have, in `there` and in `here`."""
    known = {entry: i for i, entry in enumerate(there)}
    pairs = [(known[entry], i) for i, entry in enumerate(here) if entry in known]
    return tuple(np.array(pairs, np.int32).reshape(-1, 2).T)


def _compare(there: Sequence[str], here: Sequence[str]) -> dict[str, Any]:
    known, own = set(there), set(here)
    return {
        "matched": len(known & own),
        "new": [entry for entry in here if entry not in known],
        "left": [entry for entry in there if entry not in own],
    }


def _move(new, old, here, there, axis: int):
    taken = jnp.take(jnp.moveaxis(old, axis, 0), there, axis=0)
    return jnp.moveaxis(jnp.moveaxis(new, axis, 0).at[here].set(taken), 0, axis)


def _line(what: str, matches: Mapping[str, Any], unit: str = "") -> str:
    """How much was matched, what is new and what was left, with examples."""
    line = f"{what}: {matches['matched']:,}{unit} taken over"
    for names, word in ((matches["new"], "new"), (matches["left"], "left there")):
        if names:
            more = " and others" if len(names) > _EXAMPLES else ""
            line += f", {len(names):,} {word} ({', '.join(names[:_EXAMPLES])}{more})"
    return line


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """The fields of a config and of those in it, by dotted name."""
    flat = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            flat |= _flat(value, f"{prefix}{field.name}.")
        else:
            flat[prefix + field.name] = value
    return flat
