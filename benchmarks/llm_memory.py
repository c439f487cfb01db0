"""Peak memory of loading a large checkpoint, over the size of the checkpoint.

python -m benchmarks.llm_memory [--gigabytes=2] [--dtype=float32]

Writes a random Llama of several files, then loads it on one device in a fresh process; stored
and loaded in the same dtype. The peak counts the whole process, libraries included.
"""

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.harness import Peak, make_parser, run_alone
from benchmarks.random_llama import Llama, write

LAYER = Llama(layers=1, d=1024, heads=16, kv_heads=4, mlp=4096, vocabulary=32_000)


def of_size(gigabytes: float, itemsize: int) -> Llama:
    """A Llama with as many layers as fill the given size."""
    one = LAYER.size()
    two = Llama(**{**vars(LAYER), "layers": 2}).size()
    layers = 1 + round((gigabytes * 1e9 / itemsize - one) / (two - one))
    return Llama(**{**vars(LAYER), "layers": layers})


def load(directory: str, dtype: str) -> None:
    """Loads and prints the peak before and after, and what the parameters take."""
    import jax

    from signbind_jax.distributed import sharding
    from signbind_jax.hf.families import read_config
    from signbind_jax.hf.weights import open_checkpoint, read_params

    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    peak = Peak()
    before = peak.read()["resident"]
    params = read_params(read_config(Path(directory)), open_checkpoint(directory), mesh, dtype)
    jax.block_until_ready(params)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    held = {"before": before, "after": peak.read()["resident"]}
    print(json.dumps({"params": size} | {name: 2**20 * mib for name, mib in held.items()}))


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        load(arguments.load, arguments.dtype)
        return
    itemsize = {"float32": 4, "float16": 2, "bfloat16": 2}[arguments.dtype]
    with tempfile.TemporaryDirectory() as scratch:
        llama = of_size(arguments.gigabytes, itemsize)
        size = write(llama, Path(scratch), dtype=arguments.dtype, files=4)
        own = (f"--load={scratch}", f"--dtype={arguments.dtype}")
        facts = run_alone("benchmarks.llm_memory", *own, JAX_PLATFORMS="cpu")
    print(f"checkpoint {size / 1e9:.2f} GB in 4 files of {arguments.dtype}, {llama.layers} layers")
    print(
        f"parameters {facts['params'] / 1e9:.2f} GB; peak before loading "
        f"{facts['before'] / 1e9:.2f} GB, after {facts['after'] / 1e9:.2f} GB: "
        f"{facts['after'] / size:.2f} x the checkpoint (wanted below 1.3)"
    )


if __name__ == "__main__":
    main()
