"""A trained stage on disk: `artefact.json` beside its checkpoints, and how others open it."""

import dataclasses
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from flax import nnx

from signbind_jax import hosts, keypoints, sharding, streams
from signbind_jax.checkpoint import CheckpointDir, Manifest, artefact_digest
from signbind_jax.config import RunConfig, from_mapping, stages
from signbind_jax.data.vocabulary import Vocabulary
from signbind_jax.errors import SignBindError
from signbind_jax.hf.pretrained import open_pretrained
from signbind_jax.hf.tokenizer import TextTokenizer
from signbind_jax.models.expert import Expert, ExpertConfig
from signbind_jax.models.fusion import Fusion, FusionConfig
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.llm.decoder import Decoder
from signbind_jax.models.llm.lora import LoRAConfig
from signbind_jax.models.signbind import SignBind

FILE = "artefact.json"
TOKENIZER = "tokenizer"


def model_record(model_config) -> dict:
    """JSON form of a model's config or, for SignBind, of its three configs."""
    if isinstance(model_config, tuple):
        parts = zip(("fusion", "decoder", "lora"), model_config, strict=True)
        return {"kind": "signbind"} | {name: dataclasses.asdict(part) for name, part in parts}
    kind = {ExpertConfig: "expert", FusionConfig: "fusion", DecoderConfig: "decoder"}
    return {"kind": kind[type(model_config)], "config": dataclasses.asdict(model_config)}


def make_model(record: dict, rngs: nnx.Rngs) -> nnx.Module:
    """The module that `model_record` describes, freshly initialised."""
    kind = record["kind"]
    if kind == "expert":
        return Expert(from_mapping(ExpertConfig, record["config"]), rngs)
    if kind == "fusion":
        return Fusion(from_mapping(FusionConfig, record["config"]), rngs)
    if kind == "decoder":
        return Decoder(from_mapping(DecoderConfig, record["config"]), rngs)
    return SignBind(from_mapping(FusionConfig, record["fusion"]),
                    from_mapping(DecoderConfig, record["decoder"]), rngs,
                    from_mapping(LoRAConfig, record["lora"]))  # fmt: skip


@dataclass(frozen=True)
class Artefact:
    """A finished (or running) stage as its run directory holds it.

    Attributes:
      workdir: the run directory.
      stage: the stage's name.
      config: what it was trained with.
      model: see `model_record`.
      vocabularies: name -> Vocabulary.
      parents: name -> run directory of each parent.
      manifest: of the newest complete checkpoint.
      step: that checkpoint's step.
    """

    workdir: Path
    stage: str
    config: RunConfig
    model: dict
    vocabularies: dict[str, Vocabulary]
    parents: dict[str, Path]
    manifest: Manifest
    step: int

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest: which weights these are."""
        return artefact_digest(self.manifest)

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The text tokenizer of a stage that has one."""
        return TextTokenizer.load(self.workdir / TOKENIZER)

    def load_model(self, mesh=None) -> nnx.Module:
        """The module with its trained weights, sharded over `mesh` (default: whole on every
        device of this process)."""
        graphdef, params = self.load_params(mesh)
        return nnx.merge(graphdef, params)

    def load_params(self, mesh=None, imported: bool = True) -> tuple[nnx.GraphDef, nnx.State]:
        """Graph definition and weights; see `load_model`.

        imported: whether to read also the decoder's weights where they stay in a pretrained
          model's directory; without them the state has no such parameters.
        """
        mesh = mesh or sharding.own_mesh()
        abstract = nnx.eval_shape(lambda: make_model(self.model, nnx.Rngs(0)))
        graphdef, params = nnx.split(abstract)
        shardings = sharding.state_shardings(params, mesh)
        stored, elsewhere = nnx.split_state(
            sharding.with_shardings(params, shardings), lambda path, _: self._stores(path), ...
        )
        checkpoints = CheckpointDir(self.workdir / "checkpoints")
        found = checkpoints.restore(self.step, {"params": stored})["params"]
        checkpoints.close()
        if imported and nnx.to_flat_state(elsewhere):
            found = nnx.merge_state(found, self._imported(mesh))
        return graphdef, found

    def _stores(self, path: tuple) -> bool:
        return f"params/{'/'.join(map(str, path))}" in self.manifest.arrays

    def _imported(self, mesh) -> nnx.State:
        """The frozen decoder, which stays in the directory it came from."""
        name = "language_model"
        pretrained = open_pretrained(self.parents[name])
        if pretrained.digest != self.manifest.parents[name]:
            raise SignBindError(f"{pretrained.workdir}: digest: found {pretrained.digest[:12]}, "
                                f"wanted {self.manifest.parents[name][:12]}: not the model that "
                                f"{self.workdir} was trained with")  # fmt: skip
        _, params = pretrained.load_params(mesh, self.config.options.get("frozen_dtype", "float32"))
        return nnx.State({"decoder": params})


def open_artefact(workdir: Path | str) -> Artefact:
    """The artefact of a run directory.

    Raises:
      SignBindError: no run there, or no complete checkpoint in it.
    """
    workdir = Path(workdir)
    record = _read(workdir)
    check_known(workdir / FILE, record)
    checkpoints = CheckpointDir(workdir / "checkpoints")
    step = checkpoints.latest()
    if step is None:
        raise SignBindError(f"{workdir}: found no complete checkpoint; train the stage first")
    manifest = checkpoints.read_manifest(step)
    checkpoints.close()
    parents = {name: Path(os.path.normpath(workdir / path))
               for name, path in record["parents"].items()}  # fmt: skip
    return Artefact(
        workdir=workdir,
        stage=record["stage"],
        config=from_mapping(RunConfig, by_name(record["config"])),
        model=record["model"],
        vocabularies={v["name"]: Vocabulary.from_json(v) for v in record["vocabularies"]},
        parents=parents,
        manifest=manifest,
        step=step,
    )


def write(workdir: Path, stage) -> Manifest:
    """Writes `artefact.json` and the stage's own files, on process 0; returns the checkpoints'
    manifest."""
    record = {
        "stage": stage.name,
        "config": stage.config.to_json(),
        "model": model_record(stage.model_config),
        "vocabularies": [v.to_json() for v in stage.vocabularies.values()],
        "parents": {
            name: os.path.relpath(path, workdir)
            for name, path in stage.parent_directories().items()
            if path
        },
    }
    if hosts.first():
        partial = workdir / (FILE + ".partial")
        partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        stage.save_files(workdir)
        partial.replace(workdir / FILE)
    return Manifest(
        stage=stage.name,
        config_digest=stage.config.digest,
        vocabularies={name: v.digest for name, v in stage.vocabularies.items()},
        dimensions=stage.dimensions(),
        keypoint_layout=keypoints.LAYOUT_VERSION,
        parents=dict(stage.parents),
        arrays={},
    )


def check_resumable(workdir: Path, config: RunConfig) -> str:
    """Refuses a run directory that holds another run with anything to lose.

    Returns:
      What to tell of a run that has saved nothing, in whose place the new one begins; or "".

    Raises:
      SignBindError: names the first field of the config that differs.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    if not (workdir / FILE).exists():
        return ""
    if not any((workdir / "checkpoints").glob("step_*")):
        return f"{workdir / FILE}: of a run that saved no checkpoint: begins anew"
    record = _read(workdir)
    found = from_mapping(RunConfig, by_name(record["config"]), f"{workdir / FILE}: config")
    if found.digest == config.digest:
        return ""
    old, new = _flat(found.to_json()), _flat(config.to_json())
    key = next(k for k in sorted({*old, *new}) if old.get(k) != new.get(k))
    raise SignBindError(f"{workdir / FILE}: {key}: found {old.get(key)!r}, wanted "
                        f"{new.get(key)!r}; another run lives here: give another --workdir "
                        "or remove it")  # fmt: skip


def check_known(path: Path, record: dict) -> None:
    """Whether the streams that a run names are registered here.

    Raises:
      SignBindError: one is not.
    """
    known = stages()
    for name in (record["stage"], *record["parents"]):
        if name not in known:
            raise SignBindError(f"{path}: stream: found {name!r}, wanted one of "
                                f"{', '.join(streams.names())}; --import=FILE.py registers "
                                "another")  # fmt: skip


def by_name(config: dict) -> dict:
    """The config of an older run, which listed `assumed.streams` by position, as of today."""
    assumed = config.get("assumed")
    listed = assumed.get("streams") if isinstance(assumed, dict) else None
    if not isinstance(listed, list):
        return config
    return config | {"assumed": assumed | {"streams": dict(zip(streams.SHIPPED, listed))}}


def _read(workdir: Path) -> dict:
    path = workdir / FILE
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SignBindError(f"{path}: no such file; wanted the --workdir of a trained "
                            "stage") from None  # fmt: skip
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SignBindError(f"{path}: not readable as JSON ({error})") from None


def _flat(record: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in record.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
