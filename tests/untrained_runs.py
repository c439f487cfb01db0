"""Runs of every stage behind one expert, with random weights: as good as trained ones where a
test asks what is done with them, and made without a training step."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from signbind_jax import cli
from signbind_jax.checkpoint import artefact
from signbind_jax.checkpoint.checkpoint_dir import CheckpointDir
from signbind_jax.config import load_config
from signbind_jax.sources import open_source
from signbind_jax.stages import make_stage
from tests import frame_corpora

SEED, SCALE = 0, 0.4  # of the weights
LIKELY_END = 6.0  # how much larger the embedding of the end is: it often leads the others
SENTENCES = ("ANNA COME|Anna came.", "BOB SIT|Bob sat.", "COME HOME|We came home.", "SIT|Sit!")


def write_dataset(tree: Path, sentences: Sequence[str] = SENTENCES) -> Path:
    """A dataset of the same few sentences in every split; their pose is `tree/a.npz`."""
    frame_corpora.write_pose(tree / "a.npz", 24)
    rows = ["id|split|gloss|text|signer|pose"]
    for split in ("train", "validation", "test"):
        rows += [f"{split}{i}|{split}|{s}|kim|a.npz" for i, s in enumerate(sentences)]
    (tree / "manifest.tsv").write_text("\n".join(rows).replace("|", "\t") + "\n")
    out = tree / "data"
    build = ["data", "build", "folder", f"--source={tree}", f"--out={out}", "--workers=1"]
    assert cli.main(build) == 0
    return out


def write_run(
    name: str, tree: Path, *, workdir: Path | None = None, weights: int = SEED, **overrides: str
) -> Path:
    """A run of config `name` at tiny size on `tree/data`, in `workdir` or `tree/name`.

    weights: their seed.
    """
    given = {"data.directory": str(tree / "data")} | overrides
    source = open_source(load_config(f"{name}:size=tiny", given))
    stage = make_stage(source.config, source.shapes)
    _, params = nnx.split(nnx.eval_shape(lambda: stage.make_model(nnx.Rngs(0))))
    random = np.random.default_rng(weights)

    def fill(path, leaf):
        is_norm = any("norm" in str(key) for key in path)
        return jnp.asarray(SCALE * random.normal(size=leaf.shape) + is_norm, leaf.dtype)

    workdir = workdir or tree / name
    workdir.mkdir(parents=True)
    with CheckpointDir(workdir / "checkpoints") as checkpoints:
        params = jax.tree.map_with_path(fill, params)
        if name == "language_model":
            table_vd = params["embedding"]["table"]
            table_vd[...] = table_vd[...].at[source.tokenizer.eos_id].mul(LIKELY_END)
        manifest = artefact.make_manifest(source, stage.model_config)
        artefact.write(workdir, source, stage.model_config, manifest)
        stored, _ = nnx.split_state(params, lambda path, _: stage.stores(path), ...)
        checkpoints.save(1, {"params": stored}, manifest, wait=True)
    return workdir


def write_alignment(
    tree: Path, fusion: Mapping[str, str] | None = None, sentences: Sequence[str] = SENTENCES
) -> Path:
    """An alignment run in `tree`, with its parents: a signing expert alone, fusion and a language
    model.

    fusion: overrides of the config of fusion.
    """
    write_dataset(tree, sentences)
    signing = {"parents.signing": str(write_run("signing", tree))}
    parents = {
        f"parents.{name}": str(write_run(name, tree, **more))
        for name, more in (("language_model", {}), ("fusion", signing | (fusion or {})))
    }
    return write_run("alignment", tree, **signing, **parents)
