"""Tunes adapters, exports them, and asks `transformers` and `peft` for the same logits.

python -m benchmarks.lora_round_trip [SMOLLM2_DIRECTORY ...] [--torch_python=PYTHON]

For a tiny random checkpoint of every family (tests/golden/families) and for every directory
given: a few steps of LoRA, then four comparisons of float32 logits, each as the largest
difference over the largest logit:

  merged    the merged export in transformers
  adapters  the adapter export on the untouched checkpoint in peft
  from peft adapters that peft wrote, read here
  moved     how far tuning moved the logits: what the others are small beside

PyTorch, transformers and peft need not be installed here: they run as
`lora_round_trip_torch.py` in the Python named.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.harness import make_parser, read_decoder
from signbind_jax.distributed import sharding
from signbind_jax.hf.adapters import read_adapters
from signbind_jax.hf.export import export_adapters, export_merged
from signbind_jax.models.llm.decoder import Decoder
from signbind_jax.models.llm.lora import add_lora, is_lora

FAMILIES = Path(__file__).parents[1] / "tests" / "golden" / "families"
COLUMNS = ("merged", "adapters", "from peft", "moved")
BOUND = 1e-4
RANK, ALPHA, DROPOUT, STEPS, LEARNING_RATE = 4, 8.0, 0.05, 4, 1e-2


@nnx.jit
def logits_of(decoder: Decoder, ids_bl):
    """Float32 logits_blv."""
    return decoder(decoder.embed(ids_bl), jnp.ones(ids_bl.shape, bool))


def imported(directory: Path) -> Decoder:
    """A checkpoint in float32, with fresh adapters."""
    decoder = read_decoder(directory)
    add_lora(decoder, rank=RANK, alpha=ALPHA, dropout=DROPOUT, rngs=nnx.Rngs(0))
    return decoder


def tune(decoder: Decoder, ids_bl) -> list[float]:
    """A few steps of Adam on the adapters, in place; returns the losses."""
    graphdef, lora, frozen = nnx.split(decoder, is_lora, ...)
    tx = optax.adam(LEARNING_RATE)

    @jax.jit
    def step(lora, opt_state, frozen, key):
        def loss(lora):
            decoder = nnx.merge(graphdef, lora, frozen)
            mask_bl = jnp.ones(ids_bl.shape, bool)
            logits_blv = decoder(decoder.embed(ids_bl), mask_bl, key=key)[:, :-1]
            losses = optax.softmax_cross_entropy_with_integer_labels(logits_blv, ids_bl[:, 1:])
            return losses.mean()

        value, gradient = jax.value_and_grad(loss)(lora)
        updates, opt_state = tx.update(gradient, opt_state, lora)
        return optax.apply_updates(lora, updates), opt_state, value

    opt_state, losses = tx.init(lora), []
    for key in jax.random.split(jax.random.key(0), STEPS):
        lora, opt_state, value = step(lora, opt_state, frozen, key)
        losses.append(float(value))
    nnx.update(decoder, lora)
    return losses


def export_case(source: Path, case: Path) -> list[float]:
    """Tunes and exports one checkpoint into `case`; returns the losses."""
    decoder = imported(source)
    size = decoder.config.vocab_size
    ids_bl = np.random.default_rng(0).integers(3, size, (2, 16)).astype(np.int32)
    losses = tune(decoder, ids_bl)
    export_merged(decoder, case / "merged", source=source)
    export_adapters(decoder, case / "adapters", base_model=str(source.absolute()))
    np.savez(case / "ours.npz", ids=ids_bl, logits=logits_of(decoder, ids_bl))
    return losses


def compare(source: Path, case: Path) -> dict[str, float]:
    """The row of one checkpoint, once PyTorch has answered."""
    ours, theirs = np.load(case / "ours.npz"), np.load(case / "theirs.npz")
    decoder = imported(source)
    _, state = read_adapters(decoder.config, case / "peft", sharding.make_mesh())
    nnx.update(decoder, state)
    pairs = {
        "merged": (theirs["merged"], ours["logits"]),
        "adapters": (theirs["adapters"], ours["logits"]),
        "from peft": (theirs["peft"], logits_of(decoder, ours["ids"])),
        "moved": (theirs["base"], ours["logits"]),
    }
    return {name: float(np.abs(a - b).max() / np.abs(a).max()) for name, (a, b) in pairs.items()}


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument("checkpoints", nargs="*", type=Path, help="more Hugging Face directories")
    parser.add_argument("--torch_python", default=sys.executable)
    parser.add_argument("--only", help="families, with commas between; default: all")
    arguments = parser.parse_args()
    names = (
        arguments.only.split(",")
        if arguments.only
        else sorted(path.name for path in FAMILIES.iterdir())
    )
    sources = {name: FAMILIES / name for name in names if name}
    sources |= {path.name: path for path in arguments.checkpoints}
    with tempfile.TemporaryDirectory() as work:
        for name, source in sources.items():
            (Path(work) / name).mkdir()
            losses = export_case(source, Path(work) / name)
            print(f"{name}: loss {losses[0]:.3f} -> {losses[-1]:.3f}", file=sys.stderr, flush=True)
        plan = {
            "sources": {name: str(path.absolute()) for name, path in sources.items()},
            "rank": RANK,
            "alpha": ALPHA,
        }
        (Path(work) / "plan.json").write_text(json.dumps(plan))
        script = Path(__file__).with_name("lora_round_trip_torch.py")
        subprocess.run([arguments.torch_python, script, work], check=True)
        print(f"{'checkpoint':<16}" + "".join(f"{column:>12}" for column in COLUMNS))
        failed = False
        for name, source in sources.items():
            row = compare(source, Path(work) / name)
            print(f"{name:<16}" + "".join(f"{row[column]:12.1e}" for column in COLUMNS), flush=True)
            failed |= not max(row[column] for column in COLUMNS[:3]) < BOUND < row["moved"]
    print("FAILED" if failed else f"all within {BOUND} of the logits' scale")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
