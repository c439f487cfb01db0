"""Memory of building a large dataset, and what ten kills do to it.

python -m benchmarks.build_and_kill [--gb=5] [--kills=10] [--workers=2] [--folder=DIR]

Builds a synthetic corpus of the size asked for (random poses of 200 frames, 96x96 crops of noise:
the sizes of real clips, no content) twice: once undisturbed, with the memory of all its processes
measured, and once killed (SIGKILL) at random moments and started again. Ends with status 1 unless
the two datasets are equal byte for byte and no process is left. Needs twice the size on disk.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from benchmarks.harness import make_parser
from signbind_jax.data.clip import Clip, pose_frames
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data.lips import lip_frames
from signbind_jax.data_pipelines.corpus import Corpus, ReadResult
from signbind_jax.data_pipelines.writing.writer import write_dataset
from signbind_jax.processes.parallel_runs import MemoryMeter

FRAMES, SIDE, FPS = 200, 96, 25.0


@dataclass(frozen=True)
class Place:
    """A row: its index."""

    index: int

    @property
    def id(self) -> str:
        """The clip's id."""
        return f"c{self.index:07d}"


def read(place: Place) -> ReadResult:
    """A clip of noise, a function of its index."""
    chance = np.random.default_rng(place.index)
    pose_tkc = chance.normal(size=(FRAMES, 91, 3)).astype(np.float16)
    crops_fhw = chance.integers(0, 256, (FRAMES, SIDE, SIDE), dtype=np.uint8)
    modalities = {"pose": pose_frames(pose_tkc, FPS), "lips": lip_frames(crops_fhw, FPS)}
    return ReadResult(Clip(place.id, "noise", modalities=modalities))


def clip_bytes() -> int:
    """About what a clip takes on disk."""
    clip = read(Place(0)).clip
    return clip.modalities["pose"].data.nbytes + len(clip.modalities["lips"].data)


def build(out: Path, clips: int, workers: int) -> None:
    """What the killed process does."""
    corpus = Corpus({"train": [Place(i) for i in range(clips)]}, read, {"synthetic": True})
    write_dataset(out, corpus, workers=workers, clips_per_shard=250, progress=False)


def command(out: Path, clips: int, workers: int) -> list[str]:
    """The build as a process of its own."""
    return [
        sys.executable,
        "-m",
        "benchmarks.build_and_kill",
        f"--build={out}",
        f"--clips={clips}",
        f"--workers={workers}",
    ]


def left_over(out: Path) -> list[psutil.Process]:
    """Processes of the build that are still there."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(out) in part for part in process.info["cmdline"] or ()):
            found.append(process)
    return found


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--gb", type=float, default=5.0)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to build (default: a temporary one)")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--clips", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.build:
        build(arguments.build, arguments.clips, arguments.workers)
        return 0
    clips = round(arguments.gb * 1e9 / clip_bytes())
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        whole, killed = Path(folder, "whole"), Path(folder, "killed")
        began = time.monotonic()
        with MemoryMeter() as memory:
            subprocess.run(command(whole, clips, arguments.workers), check=True)
        seconds = time.monotonic() - began
        size = sum(path.stat().st_size for path in whole.iterdir())
        print(
            f"{clips} clips, {size / 1e9:.2f} GB in {seconds:.0f} s ({clips / seconds:.0f} "
            f"clips/s, {arguments.workers} workers), at most {memory.peak_bytes / 1e9:.2f} GB "
            "resident (wanted 1.5)",
            flush=True,
        )
        kill_and_resume(killed, clips, arguments.workers, arguments.kills, seconds)
        time.sleep(2)  # the processes of a killed build look for it twice a second
        orphans = left_over(killed)
        digests = [open_dataset(out).digest for out in (whole, killed)]
        stray = sorted(path.name for path in Path(folder).iterdir())
        print(
            f"after {arguments.kills} kills: {'equal' if len(set(digests)) == 1 else 'DIFFERENT'}"
            f", {len(orphans)} processes left, {stray} on disk"
        )
        shutil.rmtree(folder, ignore_errors=True)
        return 0 if len(set(digests)) == 1 and not orphans and len(stray) == 2 else 1


def kill_and_resume(out: Path, clips: int, workers: int, kills: int, seconds: float) -> None:
    """Builds, killed at moments spread over the undisturbed build's time."""
    chance = random.Random(0)
    for _ in range(kills):
        process = subprocess.Popen(command(out, clips, workers))
        try:
            process.wait(timeout=chance.uniform(0.5, 2 * seconds / kills + 5))
            print("the build was done before all kills", flush=True)
            return
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    subprocess.run(command(out, clips, workers), check=True)


if __name__ == "__main__":
    sys.exit(main())
