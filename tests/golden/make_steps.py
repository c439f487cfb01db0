"""Writes tests/golden/steps.json: what one step of training at tiny size is, stage by stage.

python -m tests.golden.make_steps
"""

import json
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from signbind_jax import keypoints
from signbind_jax.config import load_config
from signbind_jax.data.batch_plan import hash64
from signbind_jax.data.clip import Clip, pose_frames
from signbind_jax.data.lips import lip_frames
from signbind_jax.data_pipelines.corpus import corpus_of_clips
from signbind_jax.data_pipelines.writing.writer import write_dataset
from signbind_jax.distributed import sharding
from signbind_jax.sources import open_source
from signbind_jax.stages import assumed_stage, make_stage
from signbind_jax.streams import NOT_EXPERTS, SEGMENTATION, SHIPPED
from signbind_jax.train.train_step import TrainStep

FILE = Path(__file__).with_name("steps.json")
STAGES = (*SHIPPED, *NOT_EXPERTS)
ROWS, LENGTH = 4, 16  # of the batch of a stage behind experts
# Small, and with a learning rate above 0 from the first step on.
SIZES = {
    "optim.warmup_steps": "0",
    "assumed.longest": str(LENGTH),
    "assumed.target": "6",
    "assumed.vocabulary": "32",
    "assumed.fusion_targets": "24",
    "assumed.d_hidden": "16",
    "assumed.prompt_head": "2",
    "assumed.prompt_tail": "2",
    "assumed.text": "6",
}


def uniform(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Numbers of [0, 1) that are the same with every version of numpy."""
    n = int(np.prod(shape))
    return (hash64(np.arange(n), seed, 0) >> np.uint64(11)).reshape(shape) / 2.0**53


def write_clips(directory: Path) -> None:
    """A dataset of four clips that have every modality and every label."""
    clips = []
    for i in range(ROWS):
        pose = np.ones((24, keypoints.K, 3), np.float16)
        pose[..., :2] = np.cumsum(uniform((24, keypoints.K, 2), i) - 0.5, axis=0) / 8
        lips = np.repeat(40 * uniform((24, 1, 1), i), 32, axis=1) + np.arange(32) * 6
        clips.append(
            Clip(
                f"clip{i}",
                f"we meet anna {i}",
                modalities={
                    "pose": pose_frames(pose, 25.0),
                    "lips": lip_frames(lips.astype(np.uint8), 25.0),
                },
                gloss=("WE", f"MEET{i % 2}"),
                spelled=("anna",),
                phonemes=("W", "IY", "M"),
            )
        )
    write_dataset(directory, corpus_of_clips({"train": clips}, {"synthetic": True}), progress=False)


def fill(spec, vocabulary: int):
    """A batch of the stages behind experts: random tokens in all places of all rows."""

    def values(path, x):
        name, seed = path[-1].name, sum(map(ord, path[-1].name))
        if name == "index_b":
            return np.arange(ROWS, dtype=x.dtype)
        if name == "target_length_b":
            return np.full(x.shape, 3, x.dtype)
        if name == "stream_bm":
            return np.sort((uniform(x.shape, seed) * len(SHIPPED)).astype(x.dtype), axis=1)
        if x.dtype == bool:
            return np.ones(x.shape, bool)
        if np.issubdtype(x.dtype, np.integer):
            return 1 + (uniform(x.shape, seed) * (vocabulary - 1)).astype(x.dtype)
        if name in ("start_bm", "end_bm"):
            later = 0.1 * (name == "end_bm")
            return (np.arange(x.shape[1]) / 5 + later + np.zeros(x.shape)).astype(x.dtype)
        return uniform(x.shape, seed).astype(x.dtype)

    return jax.tree_util.tree_map_with_path(values, spec)


def stage_and_batch(name: str, directory: Path):
    """A stage at tiny size and a batch to train it on."""
    overrides = SIZES | {"data.directory": str(directory), "data.n_buckets": "1"}
    config = load_config(f"{name}:size=tiny", overrides)
    if name in (*SHIPPED, SEGMENTATION):
        source = open_source(config)
        return make_stage(config, source.shapes), source.batch(0)
    stage = assumed_stage(config)
    return stage, fill(stage.batch_spec(LENGTH, ROWS), vocabulary=20)


def first_step(name: str, directory: Path) -> dict[str, float]:
    """Loss, norms and a summary of the parameters after the first step."""
    stage, host_batch = stage_and_batch(name, directory)
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    step = TrainStep(stage, mesh)
    step.graphdef, params = sharding.init_sharded(stage.make_model, mesh, 0)
    trained, frozen = step.split(params)
    batch = sharding.put_batch(host_batch, mesh)

    @jax.jit
    def run(trained, frozen, batch):
        state = {"params": trained, "opt_state": step.tx.init(trained), "step": jnp.int32(0)}
        grads, metrics = step.gradients(trained, frozen, state["step"], batch)
        after = step.update(state, grads)["params"]
        leaves = jax.tree.leaves(after)
        measured = step.measure(state, grads) | {
            "parameters_norm": jnp.sqrt(sum(jnp.sum(x**2) for x in leaves)),
            "parameters_cosine": sum(
                jnp.sum(x * jnp.cos(jnp.arange(x.size).reshape(x.shape))) for x in leaves
            ),
        }
        return metrics | measured

    return {name: float(value) for name, value in sorted(run(trained, frozen, batch).items())}


def main() -> None:
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_disable_most_optimizations", True)  # as in the tests
    with tempfile.TemporaryDirectory() as directory:
        write_clips(data := Path(directory, "data"))
        golden = {name: first_step(name, data) for name in STAGES}
    FILE.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
