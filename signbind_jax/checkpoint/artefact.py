"""A trained stage on disk: `artefact.json` beside its checkpoints, and how others open it."""

import argparse
import hashlib
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from flax import nnx

from signbind_jax import files, keypoints, sealed, streams, versions
from signbind_jax.checkpoint.checkpoint_dir import CheckpointDir, Manifest, artefact_digest
from signbind_jax.checkpoint.manifest import check_same
from signbind_jax.checkpoint.model_record import (
    ModelConfig,
    SignBindConfig,
    abstract_model,
    check_model,
    check_rows,
    dimensions,
    model_record,
    read_model_config,
)
from signbind_jax.config import RunConfig, from_mapping
from signbind_jax.data.vocabulary import Vocabulary
from signbind_jax.distributed import hosts, sharding
from signbind_jax.errors import SignBindError
from signbind_jax.files import shorten
from signbind_jax.hf.pretrained import open_pretrained
from signbind_jax.hf.tokenizer import TOKENIZER_BYTES, TextTokenizer
from signbind_jax.metrics import names
from signbind_jax.train.summary import summary_or_none

logger = logging.getLogger(__name__)

FILE = "artefact.json"
TOKENIZER = "tokenizer"
NEWEST, BEST = "newest", "best"
INIT = "init.from"  # among the parents, the run it started from; no stage is called so
# What it held when it carried no digest.
_UNSEALED = frozenset({"stage", "config", "model", "vocabularies", "parents"})


@dataclass(frozen=True)
class Artefact:
    """A finished (or running) stage as its run directory holds it.

    Attributes:
      workdir: the run directory.
      stage: the stage's name.
      config: what it was trained with.
      model_config: what its model is made from.
      vocabularies: name -> Vocabulary.
      parents: name -> run directory of each parent.
      manifest: of the checkpoint that was opened, by default the newest complete one.
      step: that checkpoint's step.
    """

    workdir: Path
    stage: str
    config: RunConfig
    model_config: ModelConfig
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
        """The text tokenizer of a stage that has one.

        Raises:
          SignBindError: it is damaged or has more tokens than the decoder.
        """
        tokenizer = TextTokenizer.load(self.workdir / TOKENIZER)
        config = self.model_config
        decoder = config.decoder if isinstance(config, SignBindConfig) else config
        check_rows(self.workdir, decoder, tokenizer.vocab_size)
        return tokenizer

    def load_model(self, mesh=None) -> nnx.Module:
        """Loads the module with its trained weights, sharded over `mesh` (default: whole on every
        device of this process)."""
        graphdef, params = self.load_params(mesh)
        return nnx.merge(graphdef, params)

    def load_params(self, mesh=None, imported: bool = True) -> tuple[nnx.GraphDef, nnx.State]:
        """Loads graph definition and weights; see `load_model`.

        imported: whether to read also the decoder's weights where they stay in a pretrained
          model's directory; without them the state has no such parameters.
        """
        mesh = mesh or sharding.own_mesh()
        graphdef, params = nnx.split(abstract_model(self.model_config))
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
        """Loads the frozen decoder, which stays in the directory it came from."""
        name = "language_model"
        pretrained = open_pretrained(self.parents[name])
        if pretrained.digest != self.manifest.parents[name]:
            raise SignBindError(
                f"{pretrained.workdir}: digest: found {pretrained.digest[:12]}, "
                f"wanted {self.manifest.parents[name][:12]}: not the model that "
                f"{self.workdir} was trained with"
            )
        _, params = pretrained.load_params(mesh, self.config.options.get("frozen_dtype", "float32"))
        return nnx.State({"decoder": params})


def add_step_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--step`, which says what `open_artefact` opens."""

    def read(text: str) -> int | str:
        if text in (NEWEST, BEST):
            return text
        if text.isascii() and text.isdigit():
            return int(text)
        raise argparse.ArgumentTypeError(
            f"found {files.shorten(text)}, wanted {NEWEST}, {BEST} or a step's number"
        )

    parser.add_argument(
        "--step",
        type=read,
        default=NEWEST,
        metavar="STEP",
        help="which checkpoint: newest (default), best (see --config.keep_best) or a step's number",
    )


def open_artefact(workdir: Path | str, step: int | str = NEWEST) -> Artefact:
    """Opens the artefact of a run directory, all of it but its arrays checked.

    step: of the checkpoint: NEWEST, BEST (see `RunConfig.keep_best`) or a number.

    Raises:
      SignBindError: no run there, no such complete checkpoint in it, or a file that is not as it
        was written.
    """
    workdir = Path(workdir)
    record, where = _read(workdir), str(workdir / FILE)
    if "identity" not in record:
        logger.warning(
            "%s: found no digest, as of an earlier version: it is not checked; start "
            "its `signbind train` once more to have it written anew",
            where,
        )
    step, manifest = _newest(workdir) if step == NEWEST else _chosen(workdir, step)
    stage = files.field(record, "stage", str, where)
    model = files.field(record, "model", dict, where)
    tokens = files.field(record, "vocabularies", list, where)
    listed = [Vocabulary.from_json(v, f"{where}: vocabularies") for v in tokens]
    vocabularies = {v.name: v for v in listed}
    of_old = {"stage": stage, "vocabularies": {n: v.digest for n, v in vocabularies.items()}}
    identity = files.field({"identity": of_old} | record, "identity", dict, where)
    _check_identity(workdir, identity, manifest)
    model_config = read_model_config(model, f"{where}: model")
    check_model(workdir, model_config, manifest, vocabularies)
    parents = files.field(record, "parents", dict, where)
    parents = {name: files.field(parents, name, str, f"{where}: parents") for name in parents}
    # "signing/fold0" is an expert of signing.
    named = {name.partition("/")[0] for name in parents.keys() - {INIT}}
    check_known(where, (stage, *sorted(named)))
    return Artefact(
        workdir=workdir,
        stage=stage,
        config=_config_of(record, where),
        model_config=model_config,
        vocabularies=vocabularies,
        parents={name: Path(os.path.normpath(workdir / path)) for name, path in parents.items()},
        manifest=manifest,
        step=step,
    )


def _newest(workdir: Path) -> tuple[int, Manifest]:
    """Finds the newest complete step and its manifest."""
    with CheckpointDir(workdir / "checkpoints") as checkpoints:
        step, lost = checkpoints.latest(), checkpoints.without_manifest()
        if lost and (step is None or lost[-1] > step):
            raise SignBindError(
                f"{checkpoints.directory}: step {lost[-1]}: found its arrays and no manifest.json: "
                "put that file back, or move the step's directory away to use what is before it"
            )
        if step is None:
            raise SignBindError(f"{workdir}: found no complete checkpoint; train the stage first")
        summary = summary_or_none(workdir, "not looked at")
        if summary and summary["step"] > step:
            logger.warning(
                "%s: newest complete step: found %d, though summary.json tells of step "
                "%d: step %d is used",
                checkpoints.directory,
                step,
                summary["step"],
                step,
            )
        return step, checkpoints.read_manifest(step)


def _chosen(workdir: Path, step: int | str) -> tuple[int, Manifest]:
    """Finds the best complete step or one by its number, and its manifest."""
    with CheckpointDir(workdir / "checkpoints") as checkpoints:
        if step == BEST:
            best = checkpoints.best()
            if best is None:
                raise SignBindError(
                    f"{checkpoints.directory}: found no best step, wanted that of a run with "
                    f"--config.keep_best=True; other steps: {checkpoints.steps() or 'none'}"
                )
            step = best.step
        return step, checkpoints.read_manifest(step)


def _check_identity(workdir: Path, identity: dict, manifest: Manifest) -> None:
    """Compares `artefact.json`, the files beside it and the newest checkpoint."""
    check_same(
        manifest,
        identity,
        f"{workdir}: checkpoint",
        f"that of {FILE}: they are of two runs; put the right files there",
    )
    for name, wanted in (manifest.files or identity.get("files", {})).items():
        found = _digest_of(files.read_bytes(workdir / name, TOKENIZER_BYTES))
        if found != wanted:
            raise SignBindError(
                f"{workdir / name}: digest: found {found[:16]}, wanted {wanted[:16]}; the file was "
                "changed: put a good copy there, or start its `signbind train` once more"
            )


def tokenizer_files(tokenizer: TextTokenizer) -> dict[str, str]:
    """Gives a tokenizer as a stage's `side_files`."""
    return {f"{TOKENIZER}/{name}": text for name, text in tokenizer.to_files().items()}


def make_manifest(source, model_config: ModelConfig) -> Manifest:
    """Makes what checkpoints of a run say about it, without arrays; source: its `BatchSource`."""
    config = source.config
    return Manifest(
        stage=config.stage,
        config_digest=config.digest,
        vocabularies={name: v.digest for name, v in source.vocabularies.items()},
        dimensions=dimensions(model_config),
        keypoint_layout=keypoints.LAYOUT_VERSION,
        parents=dict(source.parents),
        extra={k: v for k in ("longest_s", "fps") if (v := getattr(source, k))},
        files={name: _digest_of(text.encode()) for name, text in source.side_files().items()},
        versions=versions.joined({}, versions.installed()),
    )


def write(workdir: Path, source, model_config: ModelConfig, manifest: Manifest) -> None:
    """Writes `artefact.json` and the run's side files, on process 0."""
    if not hosts.is_primary():
        return
    for name, text in source.side_files().items():
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        files.write(workdir / name, text)
    # Not among the side files: runs of before go on without it.
    if source.config.stage in streams.WRITING and not _has_known_words(workdir):
        names.write_known_words(workdir, source.known_words)
    parents = source.parent_directories().items()
    sealed.write(
        workdir / FILE,
        {
            "stage": source.config.stage,
            "config": source.config.to_json(),
            "model": model_record(model_config),
            "vocabularies": [v.to_json() for v in source.vocabularies.values()],
            "parents": {name: os.path.relpath(path, workdir) for name, path in parents if path},
            "identity": manifest.identity,
        },
    )


def _has_known_words(workdir: Path) -> bool:
    """Whether a run that goes on has them, which do not change."""
    with CheckpointDir(workdir / "checkpoints") as checkpoints:
        if checkpoints.latest() is None:
            return False
    try:
        return names.read_known_words(workdir) is not None
    except SignBindError:  # damaged: written anew
        return False


def check_resumable(workdir: Path, config: RunConfig) -> str:
    """Refuses a run directory that holds another run with anything to lose.

    Returns:
      What to tell of a run that has saved nothing, in whose place the new one begins; or "".

    Raises:
      SignBindError: names the first field that decides the weights and differs.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    if not (workdir / FILE).exists():
        return ""
    if not any((workdir / "checkpoints").glob("step_*")):
        return f"{workdir / FILE}: of a run that saved no checkpoint: begins anew"
    found = _config_of(_read(workdir), str(workdir / FILE))
    if found.digest == config.digest:
        return ""
    old, new = _flat(found.deciding()), _flat(config.deciding())
    keys = sorted({*old, *new}, key=lambda key: (key != "stage", key))
    key = next(k for k in keys if old.get(k) != new.get(k))
    raise SignBindError(
        f"{workdir / FILE}: {key}: found {old.get(key)!r}, wanted {new.get(key)!r}; another run "
        "lives here: give another --workdir or remove it"
    )


def init_of(workdir: Path) -> tuple[Path, str] | None:
    """Which run a run that has a checkpoint started from: its directory and artefact digest; None
    where it started from none, or has no checkpoint yet.

    Raises:
      SignBindError: `artefact.json` is not as it was written.
    """
    with CheckpointDir(workdir / "checkpoints") as checkpoints:
        if checkpoints.latest() is None or not (workdir / FILE).exists():
            return None
    record = _read(workdir)
    directory = record["parents"].get(INIT)
    return (workdir / directory, record["identity"]["parents"][INIT]) if directory else None


def check_known(where: str, names: Iterable[str]) -> None:
    """Checks whether the streams that a run names are registered here."""
    for name in names:
        if name not in streams.stages():
            raise SignBindError(
                f"{where}: stream: found {shorten(name)}, wanted one of "
                f"{', '.join(streams.names())}; --import=FILE.py registers another"
            )


def _config_of(record: dict, where: str) -> RunConfig:
    """Reads the config of a run; an older one lists `assumed.streams` by position."""
    config = files.field(record, "config", dict, where)
    assumed = config.get("assumed")
    if isinstance(assumed, dict) and isinstance(assumed.get("streams"), list):
        listed = dict(zip(streams.SHIPPED, assumed["streams"], strict=False))
        config = config | {"assumed": assumed | {"streams": listed}}
    return from_mapping(RunConfig, config, f"{where}: config")


def _read(workdir: Path) -> dict:
    path = workdir / FILE
    if not path.exists():
        raise SignBindError(f"{path}: no such file; wanted the --workdir of a trained stage")
    try:
        return sealed.read(path, _UNSEALED)
    except SignBindError as error:
        raise SignBindError(
            f"{error}; put a good copy there, or remove it and start its `signbind "
            "train` once more, which writes it anew"
        ) from error


def _digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _flat(record: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in record.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
