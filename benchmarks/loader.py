"""Clips a second that a training step is fed with, against PyTorch's DataLoader and tf.data.

python -m benchmarks.loader [--clips=500] [--runs=5] [--torch_python=PYTHON] [--tf_python=PYTHON]

All sides read one dataset of synthetic clips (91 keypoints as f16, 96x96 mouth crops as one
JPEG mosaic a clip, 60 to 200 frames) in the same batches of 16 and do the same work: decode,
rotate the pose by up to 8 degrees, shift the crops by up to 2 pixels, take away each clip's mean
picture and divide by its standard deviation, pad to the bucket, float32. Ours does the
arithmetic inside jit, as training does. Each side is a process of its own, all with huge pages as
training has them; they take turns; medians. PYTHON is an environment with this project and torch
(extra `bench`) or tensorflow; a side whose package is missing is left out and named.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness import Worker, make_parser, take_turns
from signbind_jax.data.clip import Clip, pose_frames
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data.lips import lip_frames
from signbind_jax.data_pipelines.corpus import corpus_of_clips
from signbind_jax.data_pipelines.writing.writer import write_dataset
from signbind_jax.processes import xla_cpu
from signbind_jax.processes.parallel_runs import usable_cores

BATCH, SIDE, FPS = 16, 96, 25.0
LENGTHS = (60, 200)
WANTED = {"torch": 1.3, "tf": 1.0}
PACKAGES = {"torch": "torch", "tf": "tensorflow"}


def write_clips(out: Path, n: int) -> None:
    """Random movement and blurred random mouths: sizes and costs of real clips, no content."""
    random = np.random.default_rng(0)
    clips = []
    for i in range(n):
        t = int(random.integers(*LENGTHS))
        steps_tkc = random.normal(0, 0.02, (t, 91, 3))
        pose = np.cumsum(steps_tkc, axis=0).astype(np.float16)
        pose[..., 2] = 1.0
        coarse_fhw = random.integers(60, 200, (t, SIDE // 8, SIDE // 8)).astype(np.uint8)
        crops_fhw = coarse_fhw.repeat(8, axis=1).repeat(8, axis=2)
        modalities = {"pose": pose_frames(pose, FPS), "lips": lip_frames(crops_fhw, FPS)}
        clips.append(Clip(f"c{i}", "x", modalities=modalities))
    write_dataset(out, corpus_of_clips({"train": clips}, {"synthetic": True}), progress=False)


def write_batches(dataset: Path, path: Path) -> int:
    """An epoch's batches, each as its bucket length and 16 clips; returns how many clips."""
    lengths = open_dataset(dataset).split("train").lengths("pose")
    order = np.argsort(lengths, kind="stable")
    rows = order[: len(order) // BATCH * BATCH].reshape(-1, BATCH)
    rows = rows[np.random.default_rng(1).permutation(len(rows))]
    buckets = -(-lengths[rows].max(axis=1) // 8) * 8
    np.savez(path, rows=rows, buckets=buckets)
    return rows.size


def has(python: str, package: str) -> bool:
    """Whether an environment can import a package."""
    return not subprocess.run([python, "-c", f"import {package}"], capture_output=True).returncode


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--torch_python", default=sys.executable)
    parser.add_argument("--tf_python", default=sys.executable)
    arguments = parser.parse_args()
    pythons = {"torch": arguments.torch_python, "tf": arguments.tf_python}
    environment = (
        os.environ
        | xla_cpu.ALLOCATOR
        | {
            "JAX_PLATFORMS": "cpu",
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        dataset, batches = Path(folder, "dataset"), Path(folder, "batches.npz")
        write_clips(dataset, arguments.clips)
        n = write_batches(dataset, batches)
        pythons = {"ours": sys.executable} | pythons
        sides = {}
        for name, python in pythons.items():
            if name in PACKAGES and not has(python, PACKAGES[name]):
                print(f"{name}: left out: no package {PACKAGES[name]} in {python}")
                continue
            module, given = f"benchmarks.loader_{name}", (str(dataset), str(batches))
            sides[name] = Worker(python, module, *given, environment=environment)
        measure(sides, n, arguments.runs)


def measure(sides: dict[str, Worker], n_clips: int, runs: int) -> None:
    """Turn by turn; prints medians and ratios."""
    cores = len(usable_cores())
    epochs = {name: partial(worker.run, "epoch") for name, worker in sides.items()}
    turns = take_turns(epochs, runs)
    rates = {name: [n_clips / seconds for seconds, _ in run] for name, run in turns.items()}
    sums = {name: run[-1][1] for name, run in turns.items()}
    for worker in sides.values():
        worker.__exit__()
    for name, value in sums.items():
        if not np.isclose(value, sums["ours"], rtol=0.02):
            raise SystemExit(
                f"{name}: mean size of the crops' values: found {value}, wanted "
                f"{sums['ours']}: not the same work"
            )
    ours = statistics.median(rates["ours"])
    print(f"ours   {ours:7.1f} clips/s on {cores} cores, {ours / cores:6.1f} a core (wanted 110)")
    for name in sides:
        if name != "ours":
            rate = statistics.median(rates[name])
            print(
                f"{name:6s} {rate:7.1f} clips/s, ours is {ours / rate:.2f} times as fast "
                f"(wanted {WANTED[name]})"
            )


if __name__ == "__main__":
    main()
