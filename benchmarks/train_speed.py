"""Training steps, the experts' against equivalent PyTorch modules on the same device.

python -m benchmarks.train_speed --torch_python=PYTHON [--stage=signing,lipreading,translation]
  [--size=small] [--cores=0] [--runs=7] [--against=eager,compiled]

Each side is a process of its own; they take turns, so that what else the machine does hits all
alike. A turn's first run is not counted: a virtual machine may hand freed memory to its host within
seconds, and a step after a pause waits for pages that a step after a step finds. A step is loss,
gradients, clipping and AdamW, with dropout and without augmentation, which PyTorch programs leave
to their data loaders; ours is what `signbind train` compiles. Before anything is timed both sides
hold the same parameters and reach the same loss (dropout off). Float32 on a CPU; bfloat16 on an
NVIDIA device, where --size is `accelerator`.

"cpu ms" is the processor time of a step: on a busy machine, with --cores=1, the steadier figure.
"products" is the share of our step that its matrix products take when each is timed alone.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from functools import partial

from benchmarks.harness import Worker, describe_machine, make_parser, take_turns
from signbind_jax.processes import child, xla_cpu

STAGES, KINDS = ("signing", "lipreading", "translation"), ("eager", "compiled")
STEPS = {"signing": 10, "lipreading": 10, "translation": 1}  # a run; many, where they are short
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}  # relative, of the loss
WANTED_ON_CPU, WANTED_ON_ACCELERATOR, WANTED_MFU = 0.75, 1.2, 0.5
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # a second, bfloat16, dense


def environment(cores: int) -> dict[str, str]:
    """Of every side: huge pages for all, and for ours what `signbind` sets."""
    flags = [xla_cpu.COMPILE_FLAG, *([xla_cpu.ONE_CORE_FLAG] if cores == 1 else [])]
    given = {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # the sides share a device
        "XLA_FLAGS": child.xla_flags(*flags),
    }
    return os.environ | xla_cpu.ALLOCATOR | given


def compare(stage: str, size: str, dtype: str, arguments) -> dict:
    """Checks and times one stage; the medians of every side and what follows from them."""
    given = environment(arguments.cores)
    with tempfile.TemporaryDirectory() as scratch:
        shared = [dtype, str(STEPS[stage]), str(arguments.cores), scratch]
        ours = Worker(
            sys.executable, "benchmarks.train_speed_ours", size, stage, *shared, environment=given
        )
        with ours:
            # The LoRA step of a real PyTorch library is timed by benchmarks.llm_speed.
            kinds = [] if stage == "translation" else arguments.against
            if kinds:
                ours.run("write")
            sides = {"ours": ours} | {
                kind: Worker(
                    arguments.torch_python,
                    "benchmarks.train_speed_torch",
                    kind,
                    *shared,
                    environment=given,
                )
                for kind in kinds
            }
            try:
                check(stage, sides, TOLERANCE[dtype])
                return measure(stage, sides, arguments.runs)
            finally:
                for kind in kinds:
                    sides[kind].__exit__()


def check(stage: str, sides: dict[str, Worker], tolerance: float) -> None:
    """Ends the benchmark where the sides are not the same model with the same loss."""
    found = {name: (side.run("describe")[1], side.run("loss")[1]) for name, side in sides.items()}
    (ours, our_loss) = found["ours"]
    for name, (other, loss) in found.items():
        for what in ("parameters", "trained"):
            if abs(other[what] / ours[what] - 1) > 0.01:
                raise SystemExit(
                    f"{stage}: {what}: found {other[what]} in {name}, wanted within "
                    f"1 % of our {ours[what]}"
                )
        if abs(loss / our_loss - 1) > tolerance:
            raise SystemExit(
                f"{stage}: loss without dropout: found {loss} in {name}, wanted our {our_loss}"
            )
        print(
            f"{stage}: {name}: {other['parameters']:,} parameters, {other['trained']:,} train, "
            f"loss {loss:.5f}",
            flush=True,
        )


def measure(stage: str, sides: dict[str, Worker], runs: int) -> dict:
    """Medians over runs in which the sides took turns."""

    def turn(side: Worker) -> tuple[float, float]:
        side.run("steps")  # fetches what a virtual machine gave away while the others ran
        seconds, result = side.run("steps")
        return 1e3 * seconds / STEPS[stage], 1e3 * result["cpu"] / STEPS[stage]

    turns = {name: partial(turn, side) for name, side in sides.items()}
    take_turns(turns, 1, warm=0)  # compilation, and whatever the second step still settles
    for side in sides.values():
        side.run("forget peak")
    found = take_turns(turns, runs, warm=0)
    out = {"stage": stage, "runs": runs, "steps_a_run": STEPS[stage]}
    for i, figure in enumerate(("ms", "cpu_ms")):
        middle = {name: statistics.median(t[i] for t in kept) for name, kept in found.items()}
        out[figure] = middle
        out[f"ratio_{figure}"] = {
            kind: middle[kind] / middle["ours"] for kind in sides if kind != "ours"
        }
    out["peak_mib"] = {name: side.run("peak")[1] for name, side in sides.items()}
    products = sides["ours"].run("products")[1]
    out["products_ms"] = {"ms": 1e3 * products["seconds"], "cpu_ms": 1e3 * products["cpu"]}
    out["gflop"] = products["flops"] / 1e9
    return out


def report(row: dict, device: str, on_accelerator: bool) -> None:
    """A block of lines for a stage, then the row as JSON."""
    for name, wall in row["ms"].items():
        memory = ", ".join(f"{kind} {mib:,.0f} MiB" for kind, mib in row["peak_mib"][name].items())
        print(
            f"{row['stage']:<12}{name:<10}{wall:10.1f} ms{row['cpu_ms'][name]:10.1f} cpu ms   "
            f"peak {memory}"
        )
    for figure in ("ms", "cpu_ms"):
        ratios = row[f"ratio_{figure}"]
        if not ratios:
            continue
        against = ", ".join(f"{kind} {ratio:.2f}" for kind, ratio in ratios.items())
        wanted = WANTED_ON_ACCELERATOR if on_accelerator else WANTED_ON_CPU
        print(
            f"{row['stage']:<12}{figure:<7} ours against {against}; the least "
            f"{min(ratios.values()):.2f} (wanted {wanted})"
        )
    figure = "ms" if on_accelerator else "cpu_ms"
    step, products = row[figure]["ours"], row["products_ms"][figure]
    print(
        f"{row['stage']:<12}products {products:.1f} {figure} of {step:.1f} "
        f"({100 * products / step:.0f} %), {row['gflop']:.1f} GFLOP"
    )
    peak = next((flops for name, flops in PEAK_FLOPS.items() if name in device), None)
    if on_accelerator and peak:
        mfu = row["gflop"] * 1e9 / (row["ms"]["ours"] / 1e3) / peak
        print(
            f"{row['stage']:<12}MFU {100 * mfu:.0f} % (wanted for translation: "
            f"{100 * WANTED_MFU:.0f} %)"
        )
    print(json.dumps(row), flush=True)


def some_of(names):
    """An argument's type: names with commas between them."""

    def parse(text: str) -> list[str]:
        found = [name for name in text.split(",") if name]
        if unknown := [name for name in found if name not in names]:
            raise argparse.ArgumentTypeError(
                f"found {unknown[0]!r}, wanted some of {', '.join(names)}"
            )
        return found

    return parse


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument(
        "--torch_python",
        default=sys.executable,
        metavar="PYTHON",
        help="the Python that has PyTorch (default: this one)",
    )
    parser.add_argument(
        "--stage",
        default=list(STAGES),
        type=some_of(STAGES),
        metavar="STAGES",
        help="some of " + ",".join(STAGES),
    )
    parser.add_argument("--size", default="", help="small, base or accelerator")
    parser.add_argument("--cores", type=int, default=0, help="of the CPU; 0: all")
    parser.add_argument("--runs", type=int, default=7, help="of each side; medians are compared")
    parser.add_argument(
        "--against",
        default=list(KINDS),
        type=some_of(KINDS),
        metavar="KINDS",
        help="some of " + ",".join(KINDS) + "; nothing: ours alone",
    )
    arguments = parser.parse_args()
    import jax  # here, as a worker's environment is set before its own import

    device = jax.devices()[0]
    on_accelerator = device.platform == "gpu"
    size = arguments.size or ("accelerator" if on_accelerator else "small")
    dtype = "bfloat16" if on_accelerator else "float32"
    print(f"{describe_machine(arguments.cores)}, {dtype}, size {size}")
    if not on_accelerator:
        print(
            "No NVIDIA device here: the accelerator figures (bfloat16, MFU, device memory) were "
            "not taken."
        )
    for stage in arguments.stage:
        report(compare(stage, size, dtype, arguments), device.device_kind, on_accelerator)


if __name__ == "__main__":
    main()
