"""Frames a second of one training step (CTC loss and gradient) of each expert.

python benchmarks/expert_step.py [--batch=24] [--frames=128] [--runs=5] [--only=signing,...]

"cpu_ms" is the time all cores spent on a step: the steadier figure on a busy machine.
"""

import argparse
import time

import jax
import jax.numpy as jnp
from flax import nnx

from signbind_jax.ctc import ctc_loss
from signbind_jax.models.expert import Expert, ExpertConfig

EXPERTS = {
    "signing": (ExpertConfig("pose", n_tokens=130, subsample=4), 10),
    "fingerspelling": (
        ExpertConfig("pose", n_tokens=32, subsample=2, parts=("body", "left_hand", "right_hand")),
        8,
    ),
    "lips": (ExpertConfig("lips", n_tokens=40, subsample=2), 30),
    "mouth_landmarks": (ExpertConfig("mouth_landmarks", n_tokens=40, subsample=2), 30),
}


def measure(config: ExpertConfig, n_target: int, batch: int, frames: int, runs: int) -> dict:
    """Compiles and times the step on random input; the best run counts."""
    graphdef, state = nnx.split(Expert(config, nnx.Rngs(0)))
    key = jax.random.key(0)
    inner = (config.lip_size,) * 2 if config.frontend == "lips" else (91, 3)
    x = jax.random.uniform(key, (batch, frames, *inner))
    clip_bt = jnp.zeros((batch, frames), jnp.int32)
    target_bgn = jax.random.randint(key, (batch, 1, n_target), 1, config.n_tokens)
    length_bg = jnp.full((batch, 1), n_target)

    @jax.jit
    def step(state, key):
        def loss(state):
            output = nnx.merge(graphdef, state)(x, clip_bt, key)
            loss_bg, _ = ctc_loss(output.log_probs_bsv, output.clip_bs, target_bgn, length_bg)
            return loss_bg.mean()

        return jax.value_and_grad(loss)(state)

    start = time.perf_counter()
    compiled = step.lower(state, key).compile()
    compile_s = time.perf_counter() - start
    jax.block_until_ready(compiled(state, key))
    seconds, cpu_seconds = [], []
    for _ in range(runs):
        start, cpu_start = time.perf_counter(), time.process_time()
        jax.block_until_ready(compiled(state, key))
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state)),
        "compile_s": compile_s,
        "step_ms": 1e3 * min(seconds),
        "cpu_ms": 1e3 * min(cpu_seconds),
        "frames_per_s": batch * frames / min(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--frames", type=int, default=128)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default=",".join(EXPERTS))
    arguments = parser.parse_args()
    print(
        f"{jax.devices()[0].device_kind}, batch {arguments.batch} x {arguments.frames} frames, "
        f"best of {arguments.runs} runs"
    )
    columns = ("parameters", "compile_s", "step_ms", "cpu_ms", "frames_per_s")
    print(f"{'expert':<16}" + "".join(f"{column:>14}" for column in columns))
    for name in arguments.only.split(","):
        config, n_target = EXPERTS[name]
        row = measure(config, n_target, arguments.batch, arguments.frames, arguments.runs)
        print(f"{name:<16}" + "".join(f"{row[column]:>14,.1f}" for column in columns), flush=True)


if __name__ == "__main__":
    main()
