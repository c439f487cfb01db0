"""Generation and LoRA training against transformers and peft on PyTorch, on the same cores.

python -m benchmarks.llm_speed [--smollm2=DIR] [--torch_python=python] [--only=llama,smollm2]

Each side is a process of its own; they take turns, so that what else the machine does hits both.
Before anything is timed both have to write the same tokens and reach the same loss. Float32,
greedy and beam-4 from 64 soft-prefix embeddings to 64 new tokens for a batch of 8, a LoRA step
(r=8, every linear layer, AdamW) over 8 x 128 tokens; medians of 5 runs. "bandwidth" is what one
decoding step has to read of weights and cache over its time, beside what the machine copies.
"""

import os
import statistics
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import random_llama
from benchmarks.harness import Worker, describe_machine, make_parser, take_turns

BATCH, PREFIX, NEW, TEXT, RANK, ALPHA = 8, 64, 64, 128, 8, 16
LLAMA = random_llama.Llama(layers=8, d=512, heads=8, kv_heads=8, mlp=1408, vocabulary=32_000)
SMOLLM2 = random_llama.Llama(
    layers=30, d=576, heads=9, kv_heads=3, mlp=1536, vocabulary=49_152, rope_base=1e5
)
TASKS = {"llama": ("prefill", "greedy", "beam-4"), "smollm2": ("prefill", "greedy", "LoRA step")}
TARGETS = {
    ("llama", "greedy"): 1.3,
    ("llama", "beam-4"): 1.3,
    ("smollm2", "greedy"): 1.15,
    ("smollm2", "LoRA step"): 0.8,
}


def write_inputs(llama: random_llama.Llama, path: Path) -> None:
    """Soft prefixes, token ids and adapters that both sides start from."""
    random = np.random.default_rng(1)
    kv = llama.kv_heads * llama.d // llama.heads
    linears = {
        "q": (llama.d, llama.d),
        "k": (llama.d, kv),
        "v": (llama.d, kv),
        "o": (llama.d, llama.d),
        "gate": (llama.d, llama.mlp),
        "up": (llama.d, llama.mlp),
        "down": (llama.mlp, llama.d),
    }
    arrays = {
        "soft": 0.1 * random.standard_normal((BATCH, PREFIX, llama.d), np.float32),
        "ids": random.integers(3, llama.vocabulary, (BATCH, TEXT)),
    }
    for name, (n_in, n_out) in linears.items():
        a = random.standard_normal((llama.layers, n_in, RANK), np.float32)
        b = random.standard_normal((llama.layers, RANK, n_out), np.float32)
        arrays |= {f"{name}.a": a / np.float32(n_in**0.5), f"{name}.b": b * np.float32(0.01)}
    np.savez(path, **arrays)


def same(task: str, found, wanted) -> bool:
    """Whether both sides computed the same: tokens exactly, losses to 1e-4."""
    return abs(found / wanted - 1) < 1e-4 if task == "LoRA step" else found == wanted


def copy_bandwidth(cores: int, size: int = 2**28) -> float:
    """Bytes a second, read and written, that all cores copy; the best of 5."""
    source = np.ones((cores, size // cores), np.uint8)
    target = np.zeros_like(source)
    best = 0.0
    for _ in range(5):
        threads = [threading.Thread(target=np.copyto, args=pair) for pair in zip(target, source)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        best = max(best, 2 * source.nbytes / (time.perf_counter() - start))
    return best


def step_bytes(llama: random_llama.Llama) -> float:
    """What one greedy step reads at least: every weight once, and the cache's filled slots."""
    head_size = llama.d // llama.heads
    slots = PREFIX + NEW / 2
    return 4 * (llama.size() + 2 * llama.layers * BATCH * llama.kv_heads * slots * head_size)


def compare(name: str, llama, directory: Path, arguments) -> None:
    """Checks and times every task of one model and prints a line for each."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as scratch:
        inputs = Path(scratch) / "inputs.npz"
        write_inputs(llama, inputs)
        given = [str(directory), str(inputs), str(cores), str(NEW), str(RANK), str(ALPHA)]
        quiet = {"TOKENIZERS_PARALLELISM": "false", "TF_CPP_MIN_LOG_LEVEL": "2"}
        environment = {**os.environ, **quiet, "OMP_NUM_THREADS": str(cores)}
        seconds = {}
        with (
            Worker(
                sys.executable,
                "benchmarks.llm_speed_ours",
                *given,
                environment={**environment, "JAX_PLATFORMS": "cpu"},
            ) as ours,
            Worker(
                arguments.torch_python,
                "benchmarks.llm_speed_torch",
                *given,
                environment=environment,
            ) as reference,
        ):
            for task in TASKS[name]:
                for _ in range(2):  # the second training step shows that the first was the same
                    (_, found), (_, wanted) = ours.run(task), reference.run(task)
                    if not same(task, found, wanted):
                        raise SystemExit(f"{name}, {task}: found {found}, wanted {wanted}")
                sides = {"ours": partial(ours.run, task), "theirs": partial(reference.run, task)}
                turns = take_turns(sides, arguments.runs, warm=0)
                seconds[task] = [statistics.median(s for s, _ in runs) for runs in turns.values()]
                report(name, task, *seconds[task])
    for side, greedy, prefill in zip(("ours", "reference"), seconds["greedy"], seconds["prefill"]):
        step = (greedy - prefill) / (NEW - 1)
        print(
            f"{name:<9} one step {side:<10} {1e3 * step:8.1f} ms, "
            f"bandwidth {step_bytes(llama) / step / 1e9:5.1f} GB/s"
        )


def report(name: str, task: str, ours: float, reference: float) -> None:
    wanted = TARGETS.get((name, task))
    print(
        f"{name:<9} {task:<10} ours {ours:7.3f} s   reference {reference:7.3f} s   "
        f"ratio {reference / ours:5.2f}" + (f" (wanted {wanted})" if wanted else ""),
        flush=True,
    )


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--smollm2", help="a Hugging Face directory; else random of that shape")
    parser.add_argument("--torch_python", default=sys.executable)
    parser.add_argument("--only", default="llama,smollm2")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    copied = copy_bandwidth(len(os.sched_getaffinity(0)))
    print(f"{describe_machine()}, copies {copied / 1e9:.1f} GB/s (read and written)")
    with tempfile.TemporaryDirectory() as scratch:
        for name, llama in (("llama", LLAMA), ("smollm2", SMOLLM2)):
            if name not in arguments.only.split(","):
                continue
            directory = Path(scratch) / name
            if name == "smollm2" and arguments.smollm2:
                directory = Path(arguments.smollm2)
            else:
                random_llama.write(llama, directory)
            compare(name, llama, directory, arguments)


if __name__ == "__main__":
    main()
