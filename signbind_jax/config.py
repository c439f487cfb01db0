"""Config files -> frozen dataclasses, with overrides and errors that name the near miss."""

import ast
import dataclasses
import difflib
import hashlib
import importlib
import importlib.util
import json
import typing
from dataclasses import dataclass, field
from pathlib import Path

from ml_collections import ConfigDict

from signbind_jax.errors import SignBindError

STREAMS = ("signing", "fingerspelling", "lipreading")


@dataclass(frozen=True)
class DataConfig:
    """Where the clips come from and how they are batched.

    Attributes:
      directory: a dataset written by `signbind data build`, or several, separated by commas.
      weights: with several, how often an epoch draws each clip of each of them, on average;
        empty: once.
      train, validation: names of its splits; `validation` may be empty (no evaluation).
      frames_per_batch: padded frames (experts) or tokens (later stages) a batch.
      n_buckets: how many padded lengths are compiled.
      row_frames: above 0 experts train on rows of this many frames, or more where the longest
        clip needs it, that hold several clips end to end: for corpora of long-tailed lengths,
        which buckets pad by a fifth. 0: one clip a row, in `n_buckets` padded lengths.
      batch_multiple: batch sizes are multiples of this (the data-parallel device count).
      threads: reader threads of the loader.
      max_impossible: the largest share of clips whose CTC target may be longer than the
        output; above it the run refuses to start.
      keep_empty: share of the clips with an empty CTC target, such as those in which nothing is
        spelled, that an expert trains on. Some are needed: without any it reads into them.
      stream_cache: where decoded expert streams are kept; empty: `streams` beside the run.
    """

    directory: str = ""
    weights: tuple[float, ...] = ()
    train: str = "train"
    validation: str = "validation"
    frames_per_batch: int = 4096
    n_buckets: int = 6
    row_frames: int = 0
    batch_multiple: int = 1
    threads: int = 1
    max_impossible: float = 0.02
    keep_empty: float = 1.0
    stream_cache: str = ""


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with linear warm-up and cosine decay to `final_share` of the peak."""

    learning_rate: float = 1e-3
    warmup_steps: int = 100
    final_share: float = 0.02
    weight_decay: float = 0.01
    b1: float = 0.9
    b2: float = 0.98
    clip_norm: float = 1.0
    accumulate: int = 1


@dataclass(frozen=True)
class MeshConfig:
    """Devices along the mesh axes; `data=-1` takes what the others leave."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1


@dataclass(frozen=True)
class ParentsConfig:
    """Run directories of the artefacts a stage builds on; empty where it needs none.

    `language_model` may also name a pretrained model: a Hugging Face directory, what
    `signbind llm fetch` made, or a hub id.
    """

    signing: str = ""
    fingerspelling: str = ""
    lipreading: str = ""
    language_model: str = ""
    fusion: str = ""
    alignment: str = ""


@dataclass(frozen=True)
class AssumedConfig:
    """Sizes that `signbind preflight` assumes, as it has neither data nor parents.

    Nothing else reads them: a run takes them from its dataset and its parents.

    Attributes:
      longest: frames (experts) or tokens (later stages) of the longest bucket.
      clips_per_row: the most clips of a row, where `data.row_frames` fills rows.
      target: tokens of the longest CTC target.
      vocabulary: symbols that an expert or a decoder from scratch tells apart.
      streams: vocabulary size of each stream, in stream order, blanks included.
      senses: size of the fused vocabulary, blank included.
      pieces: the most LLM tokens of one fused token.
      d_hidden: size of the experts' hidden vectors.
      prompt_head, prompt_tail: LLM tokens in front of the soft prefix and at the prompt's end.
      text: LLM tokens of the longest sentence, its end included.
      fusion, decoder: what the FusionConfig and DecoderConfig of the parents are made from; the
        decoder's only where no pretrained one is named.
    """

    longest: int = 384
    clips_per_row: int = 8
    target: int = 48
    vocabulary: int = 1024
    streams: tuple[int, ...] = (1024, 32, 48)
    senses: int = 1024
    pieces: int = 4
    d_hidden: int = 128
    prompt_head: int = 24
    prompt_tail: int = 8
    text: int = 48
    fusion: dict = field(default_factory=dict)
    decoder: dict = field(default_factory=dict)


@dataclass(frozen=True)
class RunConfig:
    """Everything one training run is made from.

    `model` holds the keyword arguments of the stage's own model config (ExpertConfig,
    FusionConfig, DecoderConfig); `augment` those of its augmentation; `options` those of
    the stage itself. Each is checked by the dataclass it is for.
    """

    stage: str
    seed: int = 0
    steps: int = 1000
    log_every: int = 20
    evaluate_every: int = 0
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    parents: ParentsConfig = field(default_factory=ParentsConfig)
    assumed: AssumedConfig = field(default_factory=AssumedConfig)
    model: dict = field(default_factory=dict)
    augment: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)

    def to_json(self) -> dict:
        """A JSON-ready copy, read back by `from_mapping(RunConfig, ...)`."""
        return dataclasses.asdict(self)

    def deciding(self) -> dict:
        """The part of `to_json` that decides the weights: not paths, logging or the mesh."""
        record = self.to_json()
        for key in ("mesh", "parents", "assumed", "log_every", "evaluate_every", "checkpoint_every",
                    "keep_checkpoints"):  # fmt: skip
            del record[key]
        for key in ("weights", "row_frames"):  # came later: not there, not used
            if not record["data"][key]:
                del record["data"][key]
        for key in ("directory", "threads", "stream_cache", "validation"):
            del record["data"][key]
        return record

    @property
    def digest(self) -> str:
        """SHA-256 of `deciding`."""
        text = json.dumps(self.deciding(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def from_mapping(cls: type, values: typing.Mapping, where: str = "config"):
    """The frozen dataclass `cls` from a mapping, nested dataclasses included.

    Raises:
      SignBindError: an unknown key (with the near miss) or a value of the wrong type.
    """
    known = {f.name: f for f in dataclasses.fields(cls)}
    for key in values:
        if key not in known:
            raise SignBindError(unknown_name(f"{where}.{key}", key, known))
    hints = typing.get_type_hints(cls)
    arguments = {}
    for key, value in values.items():
        kind = hints[key]
        if dataclasses.is_dataclass(kind):
            arguments[key] = from_mapping(kind, value, f"{where}.{key}")
        else:
            arguments[key] = _typed(value, kind, f"{where}.{key}")
    missing = [f.name for f in known.values() if f.name not in arguments
               and f.default is dataclasses.MISSING
               and f.default_factory is dataclasses.MISSING]  # fmt: skip
    if missing:
        raise SignBindError(f"{where}.{missing[0]}: found nothing, wanted a value")
    return cls(**arguments)


def unknown_name(where: str, name: str, known: typing.Iterable[str]) -> str:
    """One line for a name that does not exist, with the nearest one that does."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
    return f"{where}: unknown name '{name}'; {hint}"


def _typed(value, kind, where):
    origin = typing.get_origin(kind) or kind
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(value)
    if origin is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is dict and isinstance(value, typing.Mapping):
        return dict(value)
    if isinstance(origin, type) and not isinstance(value, origin):
        raise SignBindError(f"{where}: found {value!r}, wanted {origin.__name__}")
    if origin is int and isinstance(value, bool):
        raise SignBindError(f"{where}: found {value!r}, wanted int")
    return value


def load_config(spec: str, overrides: typing.Mapping[str, str] | None = None) -> RunConfig:
    """`NAME[:arg]` or `FILE.py[:arg]` -> RunConfig.

    NAME is a module of `configs/` with `get_config(arg)`, or `sweeps/NAME` for the run that a
    sweep varies; `overrides` maps dotted paths to text such as {"optim.learning_rate": "3e-4"}.

    Raises:
      SignBindError: unknown config, unknown key or a value of another type.
    """
    name, _, arg = spec.partition(":")
    config = config_module(name).get_config(arg or None)
    for path, text in (overrides or {}).items():
        _override(config, path, text)
    return from_mapping(RunConfig, config.to_dict())


def config_module(name: str):
    """The Python module of a config: `NAME`, `sweeps/NAME` or `FILE.py`.

    Raises:
      SignBindError: there is none, with the near miss.
    """
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise SignBindError(f"--config: {name}: no such file")
        spec = importlib.util.spec_from_file_location("signbind_user_config", name)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    import configs

    folder = "sweeps/" if name.startswith("sweeps/") else ""
    known = sorted(folder + p.stem for p in Path(configs.__file__).parent.glob(f"{folder}*.py")
                   if p.stem not in ("__init__", "common"))  # fmt: skip
    if name not in known:
        raise SignBindError(unknown_name("--config", name, known))
    return importlib.import_module(f"configs.{name.replace('/', '.')}")


def _override(config: ConfigDict, path: str, text: str) -> None:
    *parents, last = path.split(".")
    node, where = config, "config"
    for key in (*parents, last):
        if not isinstance(node, ConfigDict) or key not in node:
            known = node.keys() if isinstance(node, ConfigDict) else ()
            if node is not config and where.split(".")[-1] in ("model", "augment", "options"):
                break  # free sections: their own dataclass checks the key
            raise SignBindError(unknown_name(f"{where}.{key}", key, known))
        if key != last or node[key] is not None and isinstance(node[key], ConfigDict):
            node, where = node[key], f"{where}.{key}"
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        value = text
    old = node.get(last)
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if old is not None and not isinstance(value, type(old)):
        raise SignBindError(
            f"config.{path}: found {text!r}, wanted {type(old).__name__} such as {old!r}"
        )
    with node.unlocked():
        node[last] = value
