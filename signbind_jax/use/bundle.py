"""Bundles: a trained translator and the experts it stands on as one directory that loads anywhere.

bundle.json                     the manifest: format, files with their digests
README.md                       the model card, for people: it may be changed
translator/part.json            config, model, vocabularies, what trained it
translator/model.safetensors    fusion, projector, language model and its adapters
translator/tokenizer/
experts/NAME/part.json, model.safetensors
segmenter/part.json, model.safetensors   where it was given one
examples/                       recordings to try it with, where it was given any
"""

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from signbind_jax import files, sealed
from signbind_jax.checkpoint.artefact import Artefact, check_known
from signbind_jax.checkpoint.manifest import manifest_from_text, manifest_to_text
from signbind_jax.checkpoint.model_record import (
    abstract_model,
    check_model,
    model_record,
    read_model_config,
)
from signbind_jax.config import RunConfig, from_mapping
from signbind_jax.data.data_config import PLACES
from signbind_jax.data.vocabulary import Vocabulary
from signbind_jax.distributed import sharding
from signbind_jax.errors import SignBindError
from signbind_jax.hf.weights import open_checkpoint
from signbind_jax.use import bundle_examples, bundle_weights
from signbind_jax.use.bundle_examples import Example, read_examples
from signbind_jax.use.bundle_weights import name_of, reader_of

FORMAT = 1
MANIFEST, CARD, PART = "bundle.json", "README.md", "part.json"
TRANSLATOR, EXPERTS, SEGMENTER = "translator", "experts", "segmenter"
_IN_MEMORY = ("float32", "bfloat16")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*", re.ASCII)
_MEND = "copy or download the bundle again"


@dataclass(frozen=True)
class BundlePart(Artefact):
    """A trained stage as a bundle holds it: what a run directory's is, but for its weights."""

    def load_params(self, mesh=None, imported: bool = True) -> tuple[nnx.GraphDef, nnx.State]:
        """Loads graph definition and weights, sharded over `mesh`.

        imported: whether to read the language model's weights as well.

        Raises:
          SignBindError: a weight that is missing, of another shape, or left over.
        """
        mesh = mesh or sharding.own_mesh()
        graphdef, params = nnx.split(abstract_model(self.model_config))
        shardings = dict(nnx.to_flat_state(sharding.state_shardings(params, mesh)))
        flat, checkpoint = dict(nnx.to_flat_state(params)), open_checkpoint(self.workdir)
        bundle_weights.check_names(checkpoint, flat, self.workdir)
        flat = {path: x for path, x in flat.items() if imported or path[0] != "decoder"}
        for path, variable in flat.items():
            shape = variable.get_value().shape
            read = reader_of(checkpoint, name_of(path), shape, self._dtype(path))
            array = jax.make_array_from_callback(shape, shardings[path].get_value(), read)
            flat[path] = variable.replace(array)
        return graphdef, nnx.from_flat_state(flat)

    def _dtype(self, path: tuple) -> np.dtype:
        """In memory, as the run has it: a frozen weight of others in a type of its own."""
        described = self.manifest.arrays.get(f"params/{name_of(path)}")
        frozen = self.config.options.get("frozen_dtype", "float32")
        found = str(described).partition("[")[0] if described else frozen
        if found not in _IN_MEMORY:
            raise SignBindError(
                f"{self.workdir / PART}: manifest: {name_of(path)}: found {files.shorten(found)}, "
                f"wanted {' or '.join(_IN_MEMORY)}"
            )
        return np.dtype(found)


def write_part(run: Artefact, directory: Path, dtype: str, parents: Mapping[str, str]) -> None:
    """Writes a trained stage as a part of a bundle.

    Args:
      directory: made here.
      dtype: of weights in the files, see `bundle_weights.write_weights`.
      parents: what its config names in place of the directories of this machine.
    """
    directory.mkdir(parents=True)
    config = dataclasses.replace(
        run.config,
        data=dataclasses.replace(run.config.data, weights=(), **dict.fromkeys(PLACES, "")),
        parents=dict(parents),
        crossfit={},
        init={"from": ""},
        wandb="",
    )
    record = {
        "stage": run.stage,
        "config": config.to_json(),
        "model": model_record(run.model_config),
        "vocabularies": [v.to_json() for v in run.vocabularies.values()],
        "manifest": manifest_to_text(run.manifest),
    }
    files.write_json(directory / PART, record)
    bundle_weights.write_weights(*run.load_params(), directory, dtype)


def write_manifest(directory: Path, about: Mapping[str, Any]) -> None:
    """Writes the manifest of a bundle whose other files are all there."""
    listed = {}
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        size, digest = path.stat().st_size, _digest(path)
        listed[path.relative_to(directory).as_posix()] = {"bytes": size, "sha256": digest}
    sealed.write(directory / MANIFEST, {"format": FORMAT, **about, "files": listed})


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Bundle:
    """An opened bundle; the files of a part are checked when it is opened.

    Attributes:
      directory: where it lies.
      record: what its manifest holds.
    """

    directory: Path
    record: dict[str, Any]

    @property
    def experts(self) -> tuple[str, ...]:
        """The streams that it has an expert for."""
        parts = (name.split("/") for name in self.record["files"])
        return tuple(dict.fromkeys(p[1] for p in parts if p[0] == EXPERTS and p[2:] == [PART]))

    @property
    def facts(self) -> dict[str, Any]:
        """What `model_card.facts_of` said of the run."""
        return files.field(self.record, "facts", dict, str(self.directory / MANIFEST))

    def examples(self) -> list[Example]:
        """Recordings that came with it.

        Raises:
          SignBindError: a file of them that was changed.
        """
        found = read_examples(self.record, self.directory, str(self.directory / MANIFEST))
        self._check_all(bundle_examples.DIRECTORY)
        return found

    def translator(self) -> BundlePart:
        """Fusion, projector and language model.

        Raises:
          SignBindError: a file that is missing, was changed, or holds something else.
        """
        return self._part(TRANSLATOR)

    def expert(self, name: str) -> BundlePart:
        """The expert of a stream.

        Raises:
          SignBindError: there is none; see also `translator`.
        """
        if name not in self.experts:
            known = ", ".join(self.experts) or "none"
            raise SignBindError(
                f"{self.directory}: expert: found no {name!r}, wanted one of {known}"
            )
        return self._part(f"{EXPERTS}/{name}")

    def segmenter(self) -> BundlePart | None:
        """What finds where sentences of long recordings end; None: the bundle has none.

        Raises:
          SignBindError: see `translator`.
        """
        return self._part(SEGMENTER) if f"{SEGMENTER}/{PART}" in self.record["files"] else None

    def _part(self, name: str) -> BundlePart:
        self._check_all(name)
        directory = self.directory / name
        where = str(directory / PART)
        record = files.read_json(where)
        tokens = files.field(record, "vocabularies", list, where)
        listed = [Vocabulary.from_json(v, f"{where}: vocabularies") for v in tokens]
        vocabularies = {v.name: v for v in listed}
        model = read_model_config(files.field(record, "model", dict, where), f"{where}: model")
        manifest = manifest_from_text(files.field(record, "manifest", str, where), where)
        check_model(directory, model, manifest, vocabularies)
        config = files.field(record, "config", dict, where)
        stage = files.field(record, "stage", str, where)
        check_known(where, (stage, *self.experts))
        return BundlePart(
            workdir=directory,
            stage=stage,
            config=from_mapping(RunConfig, config, f"{where}: config"),
            model_config=model,
            vocabularies=vocabularies,
            parents={},
            manifest=manifest,
            step=manifest.extra.get("step", 0),
        )

    def _check_all(self, name: str) -> None:
        for file, wanted in self.record["files"].items():
            if file.startswith(f"{name}/"):
                self._check(file, wanted["sha256"])

    def _check(self, file: str, wanted: str) -> None:
        path = self.directory / file
        files.check_regular(path)
        found = _digest(path)
        if found != wanted:
            raise SignBindError(
                f"{path}: sha256: found {found[:16]}, wanted {wanted[:16]}: its bytes changed: "
                f"{_MEND}"
            )


def is_bundle(directory: Path) -> bool:
    """Whether a directory says that it is a bundle."""
    return (directory / MANIFEST).exists()


def open_bundle(directory: Path) -> Bundle:
    """Opens a bundle; that its files are there is checked here.

    Raises:
      SignBindError: a newer format, a manifest that was changed, a file that is missing or of
        another size.
    """
    path = directory / MANIFEST
    where, record = str(path), files.read_json(path)
    version = files.field(record, "format", int, where)
    if not 1 <= version <= FORMAT:
        raise SignBindError(
            f"{where}: format: found {version}, wanted at most {FORMAT}: load it with the newer "
            "version of SignBind-JAX that wrote it"
        )
    record = sealed.unseal(record, where)
    listed = files.field(record, "files", dict, where)
    for name, file in listed.items():
        if not _NAME.fullmatch(name):
            raise SignBindError(
                f"{where}: files: found {files.shorten(name)}, wanted the name of a file in it"
            )
        size = files.field(file, "bytes", int, f"{where}: files: {name}")
        files.field(file, "sha256", str, f"{where}: files: {name}")
        if name == CARD:
            continue
        if not (directory / name).exists():
            raise SignBindError(f"{directory / name}: no such file, {MANIFEST} lists it: {_MEND}")
        if (found := files.check_regular(directory / name)) != size:
            raise SignBindError(
                f"{directory / name}: found {found:,} bytes, wanted {size:,}: {_MEND}"
            )
    return Bundle(directory, record)
