"""Config files -> frozen dataclasses, with overrides and errors that name the near miss."""

import dataclasses
import functools
import hashlib
import importlib
import inspect
import json
import typing
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from ml_collections import ConfigDict

from signbind_jax import configs, streams
from signbind_jax.data.data_config import PLACES, DataConfig
from signbind_jax.data.folds import ALL
from signbind_jax.errors import SignBindError
from signbind_jax.files import shorten
from signbind_jax.overrides import override, unknown_name
from signbind_jax.processes import user_files
from signbind_jax.ranges import (
    LARGEST,
    Checked,
    Count,
    FieldError,
    OneOf,
    Range,
    Seed,
    Size,
    StepSpan,
    Text,
    Whole,
    field_error,
    hints_of,
)
from signbind_jax.streams import ParentName, StreamName
from signbind_jax.train.optim_config import OptimConfig

NO_RUNS = ("__init__", "common", "open_llm", "real", "shipped")  # what configs/ holds besides


@dataclass(frozen=True)
class MeshConfig(Checked):
    """Devices along the mesh axes; `data=-1` takes what the others leave."""

    data: Annotated[int, Range(-1, LARGEST)] = -1
    fsdp: Count = 1
    tensor: Count = 1

    def conflicts(self):
        if not self.data:
            yield "data", "at least 1, or -1 for what fsdp and tensor leave"


@dataclass(frozen=True)
class AssumedConfig(Checked):
    """Sizes that `signbind preflight` assumes, as it has neither data nor parents.

    Nothing else reads them: a run takes them from its dataset and its parents.

    Attributes:
      longest: frames (experts) or tokens (later stages) of the longest bucket.
      clips_per_row: the most clips of an expert's row.
      target: tokens of the longest CTC target.
      lip_size: side in pixels of the mouth crops.
      vocabulary: symbols that an expert or a decoder from scratch tells apart.
      streams: stream -> size of its vocabulary, the blank included.
      fusion_targets: size of the fused vocabulary, blank included.
      pieces: the most LLM tokens of one fused token.
      d_hidden: size of the experts' hidden vectors.
      prompt_head, prompt_tail: LLM tokens in front of the soft prefix and at the prompt's end.
      text: LLM tokens of the longest sentence, its end included.
      fusion, decoder: what the FusionConfig and DecoderConfig of the parents are made from; the
        decoder's only where no pretrained one is named.
    """

    longest: Count = 384
    clips_per_row: Count = 8
    target: Count = 48
    lip_size: Size = 32
    vocabulary: Annotated[int, Range(2, LARGEST)] = 1024
    streams: dict[StreamName, Count] = field(
        default_factory=lambda: {spec.name: spec.assumed_vocabulary for spec in streams.specs()}
    )
    fusion_targets: Annotated[int, Range(2, LARGEST)] = 1024
    pieces: Count = 4
    d_hidden: Size = 128
    prompt_head: Whole = 24
    prompt_tail: Count = 8
    text: Count = 48
    fusion: dict = field(default_factory=dict)
    decoder: dict = field(default_factory=dict)


def _conventions() -> list[str]:
    from signbind_jax.metrics import conventions  # late: sacrebleu takes its time

    return conventions.translation()


@dataclass(frozen=True)
class RunConfig(Checked):
    """Everything one training run is made from.

    `model` holds the keyword arguments of the stage's own model config (ExpertConfig,
    FusionConfig, DecoderConfig); `augment` those of its augmentation; `options` those of
    the stage itself. Each is checked by the dataclass it is for.

    Attributes:
      epochs: how often the training split is gone through, in place of `steps`, which sweeps and
        `signbind preflight` alone still read; 0: `steps` counts.
      log_every, evaluate_every, checkpoint_every: steps between two; 0: at the end alone.
      keep_checkpoints: how many of the newest steps stay.
      keep_best: whether the step with the best main metric on `data.validation` stays too.
      convention: whose BLEU-4 is the main metric of a stage that writes sentences, as
        `signbind score --convention` names them; empty: sacrebleu's default.
      patience: evaluations without a better step after which a run ends; 0: never before
        `steps`.
      profile: the steps of which a profiler trace is written, such as "100:110" for steps 100 to
        109; empty: none.
      wandb: the Weights & Biases project to log to as well; empty: none.

    `parents` are run directories of the artefacts a stage builds on, by the stage that made
    them; empty where it needs none. `language_model` may also name a pretrained model: a Hugging
    Face directory, what `signbind llm fetch` made, or a hub id.

    `crossfit` are, by stream, directories that `signbind crossfit` made: the clips of `data.train`
    are then read by its experts that have not seen them. Its expert of all clips reads the others,
    where `parents` names none.

    `init.from` is the directory of a trained run of the same stage, from whose parameters this one
    starts (`train/init_from.py`); empty: none.

    An expert's `parents.translation` is a trained translator whose sentence loss the expert learns
    from beside its CTC loss (`stages/end_to_end_expert.py`).
    """

    stage: Annotated[str, OneOf(more=streams.stages)]
    seed: Seed = 0
    steps: Count = 1000
    epochs: Annotated[float, Range(0, 1_000_000)] = 0.0
    log_every: Whole = 20
    evaluate_every: Whole = 0
    checkpoint_every: Whole = 500
    keep_checkpoints: Count = 2
    keep_best: bool = False
    convention: Annotated[str, OneOf("", more=_conventions)] = ""
    patience: Whole = 0
    profile: StepSpan = ""
    wandb: Text = ""
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    parents: dict[ParentName, Text] = field(
        default_factory=lambda: dict.fromkeys(streams.parents(), "")
    )
    crossfit: dict[StreamName, Text] = field(
        default_factory=lambda: dict.fromkeys(streams.names(), "")
    )
    init: dict[Annotated[str, OneOf("from")], Text] = field(default_factory=lambda: {"from": ""})
    assumed: AssumedConfig = field(default_factory=AssumedConfig)
    model: dict = field(default_factory=dict)
    augment: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)

    def conflicts(self):
        if self.keep_best and not self.data.validation:
            yield "keep_best", "False where data.validation is empty: nothing says what is best"
        if self.patience and not (self.keep_best and self.evaluate_every):
            yield "patience", "0 without keep_best and evaluate_every"
        if self.convention and self.stage not in streams.WRITING:
            yield "convention", f"nothing for {self.stage}, which writes no sentences"
        for name in self.data.streams:
            for section in ("parents", "crossfit"):
                if found := getattr(self, section).get(name):
                    wanted = "nothing: data.streams takes that stream from the dataset"
                    raise field_error("RunConfig", f"{section}.{name}", found, wanted)

    def __post_init__(self):
        super().__post_init__()
        known = dict.fromkeys((*streams.SHIPPED, *streams.STAGES_BEHIND), "")
        object.__setattr__(self, "parents", known | self.parents)
        for name, directory in self.crossfit.items():
            if directory and not self.parents.get(name):
                self.parents[name] = str(Path(directory) / ALL)

    @property
    def init_from(self) -> str:
        """The run that `init.from` names; empty: none."""
        return self.init.get("from", "")

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that a stage behind experts has, in order: those shipped, of which some may
        have no expert, each other one of which an expert is named, and those of the dataset's own.
        Where no expert is named at all, the dataset's own alone."""
        given = self.data.streams
        if given and not any(self.parents.get(name) for name in streams.names()):
            return given
        shipped = streams.SHIPPED
        read = [name for name in streams.names() if name in shipped or self.parents.get(name)]
        return (*read, *(name for name in given if name not in read))

    def in_steps(self, steps_per_epoch: int) -> "RunConfig":
        """The run with as many `steps` as its `epochs` are; of the same digest.

        Raises:
          SignBindError: more than can be counted.
        """
        return dataclasses.replace(self, steps=max(round(self.epochs * steps_per_epoch), 1))

    def to_json(self) -> dict:
        """A JSON-ready copy, read back by `from_mapping(RunConfig, ...)`."""
        return dataclasses.asdict(self)

    def deciding(self) -> dict:
        """The part of `to_json` that decides the weights: not paths, logging or the mesh."""
        record = self.to_json()
        for key in (
            "mesh",
            "parents",
            "crossfit",
            "init",
            "assumed",
            "log_every",
            "evaluate_every",
            "checkpoint_every",
            "keep_checkpoints",
            "keep_best",
            "convention",
            "patience",
            "profile",
            "wandb",
        ):
            del record[key]
        del record["steps" if self.epochs else "epochs"]
        if not record["data"]["fold"]:
            del record["data"]["fold_by"]
        # What came later is not there where it is not used.
        for section, keys in (
            ("data", ("weights", "row_frames", "streams", "unread_s", "fold", "longest_s")),
            ("optim", ("warmup_share", "average", "factors")),
        ):
            for key in keys:
                if not record[section][key]:
                    del record[section][key]
        if record["data"]["min_count"] == 1:
            del record["data"]["min_count"]
        for key in (*PLACES, "threads", "validation"):
            del record["data"][key]
        for key, value in record["augment"].items():  # was once given by position
            if isinstance(value, dict) and value.keys() == set(streams.SHIPPED):
                record["augment"][key] = [value[name] for name in streams.SHIPPED]
        return record

    @property
    def digest(self) -> str:
        """SHA-256 of `deciding`."""
        text = json.dumps(self.deciding(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


# Fields that configs and run directories of before call otherwise.
_RENAMED = {AssumedConfig: {"senses": "fusion_targets"}}


def from_mapping(cls: type[Checked], values: typing.Mapping, where: str = "config"):
    """The frozen dataclass `cls` from a mapping, nested dataclasses included.

    Raises:
      SignBindError: an unknown key (with the near miss), a value of the wrong type or out of
        range, or values that do not go together.
    """
    if not isinstance(values, typing.Mapping):
        raise SignBindError(f"{where}: found {shorten(values)}, wanted names with values")
    for old, new in _RENAMED.get(cls, {}).items():
        if old in values:
            values = {key: value for key, value in values.items() if key != old} | {
                new: values[old]
            }
    hints = hints_of(cls)
    for key in values:
        if key not in hints:
            raise SignBindError(unknown_name(f"{where}.{key}", key, hints))
    arguments = {
        key: from_mapping(hints[key], value, f"{where}.{key}")
        if dataclasses.is_dataclass(hints[key])
        else value
        for key, value in values.items()
    }
    for f in dataclasses.fields(cls):
        if f.name not in arguments and f.default is f.default_factory:  # both MISSING
            raise SignBindError(f"{where}.{f.name}: found nothing, wanted a value")
    try:
        return cls(**arguments)
    except FieldError as error:
        raise error.moved(where) from None


def load_config(spec: str, overrides: typing.Mapping[str, str] | None = None) -> RunConfig:
    """`NAME[:arg]` or `FILE.py[:arg]` -> RunConfig.

    NAME is a module of `configs/` with `get_config(arg)`, or `sweeps/NAME` for the run that a
    sweep varies; `overrides` maps dotted paths to text such as {"optim.learning_rate": "3e-4"}.

    Raises:
      SignBindError: unknown config, an error in it, unknown key or a value of another type or out
        of range.
    """
    name, _, arg = spec.partition(":")
    module = config_module(name)
    values = call_config(module, "get_config", arg or None)
    if not isinstance(values, ConfigDict):
        raise SignBindError(
            f"--config: {name}: get_config: found {shorten(values)}, wanted a "
            "ConfigDict such as signbind_jax.configs.common.run makes"
        )
    with user_files.placed(module.__file__):
        values = values.to_dict()
    if overrides:
        from signbind_jax.stages.sections import default_of

        if "steps" in overrides and "epochs" not in overrides:
            values["epochs"] = 0.0  # what is typed counts
        for path, text in overrides.items():
            override(values, path, text, functools.partial(default_of, values.get("stage")))
    return from_mapping(RunConfig, values)


def config_module(name: str) -> ModuleType:
    """The Python module of a config: `NAME`, `sweeps/NAME` or `FILE.py`.

    Raises:
      SignBindError: there is none, with the near miss, or an error in it, with its line.
    """
    if name.endswith(".py"):
        return user_files.run(name, "--config")

    folder = "sweeps/" if name.startswith("sweeps/") else ""
    known = sorted(
        folder + p.stem
        for p in Path(configs.__file__).parent.glob(f"{folder}*.py")
        if p.stem not in NO_RUNS
    )
    if name not in known:
        raise SignBindError(unknown_name("--config", name, known))
    return importlib.import_module(f"signbind_jax.configs.{name.replace('/', '.')}")


def call_config(module: ModuleType, function: str, *arguments) -> Any:
    """What a config's `get_config` or `get_hyper` returns.

    Raises:
      SignBindError: it is not there or does not go through, with the line of the config.
    """
    if not callable(getattr(module, function, None)):
        raise SignBindError(f"--config: {module.__file__}: found no {function}, wanted a function")
    with user_files.placed(module.__file__):
        make = getattr(module, function)
        if arguments == (None,) and not inspect.signature(make).parameters:
            return make()  # as config files of others are written
        return make(*arguments)
