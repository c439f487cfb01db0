"""Frames a second that one core extracts: landmarks, mouth crops, decoding, writing.

python -m benchmarks.extract_speed VIDEO VIDEO ... [--environment=DIR]

One worker process on one core, as many a machine runs with `signbind extract --workers`. The first
clip is not counted: until it is done the models are loaded. "frames/s of processor time" is the
steadier figure on a busy machine.
"""

import os
import resource
import tempfile
import time
from pathlib import Path

from benchmarks.harness import make_parser
from signbind_jax.data_pipelines.clips import clip_list_of
from signbind_jax.data_pipelines.extraction.environment import (
    default_directory,
    ready_environment,
    worker_command,
)
from signbind_jax.data_pipelines.extraction.pool import Failure, Pool, Task
from signbind_jax.processes.parallel_runs import usable_cores


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--environment", type=Path, default=default_directory())
    arguments = parser.parse_args()
    environment = ready_environment(arguments.environment)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, usable_cores()[-1:])  # the worker inherits it
    done: list[tuple[float, int]] = []  # seconds, frames

    failed: list[str] = []

    def finished(task, outcome) -> None:
        if isinstance(outcome, Failure):
            failed.append(f"{task.id}: {outcome.reason}")
            return
        done.append((time.perf_counter(), outcome.frames))
        hands = outcome.found["left_hand"] + outcome.found["right_hand"]
        print(
            f"{task.id}: {outcome.frames} frames, face in {outcome.found['face']:.0%}, "
            f"{hands:.2f} hands a frame",
            flush=True,
        )

    with tempfile.TemporaryDirectory() as directory:
        tasks = [
            Task(clip_id, recording, Path(directory, f"{clip_id}.npz"))
            for clip_id, recording in clip_list_of(arguments.videos, 0.0).items()
        ]
        start = time.perf_counter()
        with Pool(worker_command(environment)) as pool:
            pool.extract(tasks, finished)
    if failed:
        raise SystemExit("; ".join(failed))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    n_frames = sum(frames for _, frames in done)
    print(
        f"{n_frames} frames in {done[-1][0] - start:.1f} s, models loaded; "
        f"{used.ru_utime + used.ru_stime:.1f} s of processor time, "
        f"{used.ru_maxrss / 1024:.0f} MB"
    )
    print(
        f"frames/s of processor time: {n_frames / (used.ru_utime + used.ru_stime):.1f}, "
        "loading counted"
    )
    if len(done) > 1:
        seconds = done[-1][0] - done[0][0]
        print(f"frames/s/core: {sum(frames for _, frames in done[1:]) / seconds:.1f}")


if __name__ == "__main__":
    main()
