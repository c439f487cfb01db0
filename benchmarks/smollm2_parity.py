"""Does a fetched model compute here what it computes in transformers on PyTorch?

python -m benchmarks.smollm2_parity DIR [--torch_python=PYTHON] [--cases=32] [--places=16]
    [--new=12]

DIR is a Hugging Face directory, such as the one `signbind llm fetch smollm2-135m` prints. PYTHON
has torch and transformers (default: this one). Both read the same prefixes, half of them
embeddings of random tokens and half soft ones (noise on the embeddings' scale), padded on the
left, in float32. The logits of all real places are compared, and the tokens that greedy and beam
search with 4 beams write. Ends with status 1 where a logit differs by more than 1e-4 of the
largest one or a token differs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.harness import ROOT, make_parser, read_decoder

BATCH, LIMIT = 8, 1e-4
BEAMS = {"greedy": 1, "beam4": 4}


def make_prefixes(table_vd: np.ndarray, cases: int, places: int) -> dict[str, np.ndarray]:
    """x_bpd (float32), mask_bp (bool, real places last) and ids_bp (-1 where soft)."""
    random = np.random.default_rng(0)
    v, d = table_vd.shape
    ids_bp = random.integers(0, v, (cases, places))
    ids_bp[cases // 2 :] = -1
    soft_bpd = random.normal(size=(cases, places, d)) * table_vd.std()
    x_bpd = np.where(ids_bp[..., None] >= 0, table_vd[ids_bp], soft_bpd).astype(np.float32)
    length_b = random.integers(1, places + 1, cases)
    length_b[0] = places
    mask_bp = np.arange(places) >= places - length_b[:, None]
    return {"x": x_bpd, "mask": mask_bp, "ids": ids_bp}


def batches(cases: int) -> list[slice]:
    """The cases, a few at a time: the logits of all at once would take gigabytes."""
    return [slice(i, min(i + BATCH, cases)) for i in range(0, cases, BATCH)]


def reference(directory: Path, work: Path, new: int, eos: list[int], pad: int) -> None:
    """Runs in PyTorch: reads prefixes.npz in `work`, writes reference.npz."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    given = np.load(work / "prefixes.npz")
    x_bpd, mask_bp = torch.tensor(given["x"]), torch.tensor(given["mask"]).long()
    position_bp = (mask_bp.cumsum(1) - 1).clamp(min=0)
    out = {}
    with torch.no_grad():
        for n, rows in enumerate(batches(len(x_bpd))):
            prefix = {"inputs_embeds": x_bpd[rows], "attention_mask": mask_bp[rows]}
            logits = model(**prefix, position_ids=position_bp[rows], use_cache=False).logits
            out[f"logits{n}"] = logits.numpy()
            for name, beams in BEAMS.items():
                out[f"{name}{n}"] = model.generate(
                    **prefix,
                    max_new_tokens=new,
                    do_sample=False,
                    num_beams=beams,
                    early_stopping=False,
                    length_penalty=1.0,
                    eos_token_id=eos,
                    pad_token_id=pad,
                ).numpy()
    np.savez(work / "reference.npz", **out)


def same_up_to_end(found_bn: np.ndarray, wanted_bn: np.ndarray, eos: list[int]) -> np.ndarray:
    """bool_b: rows in which all tokens up to and including the first ending one agree."""
    found_bn = found_bn[:, : wanted_bn.shape[1]]
    ends = np.isin(wanted_bn, eos)
    behind = np.cumsum(ends, axis=1) - ends > 0
    return ((found_bn == wanted_bn) | behind).all(axis=1)


def compare(decoder, work: Path, new: int, eos: list[int], pad: int) -> dict:
    """Largest difference, logit scale and matching rows, of what `reference` wrote."""
    from flax import nnx

    from signbind_jax import generation

    given, wanted = np.load(work / "prefixes.npz"), np.load(work / "reference.npz")
    cases = len(given["x"])
    forward = nnx.jit(lambda decoder, x, mask: decoder(x, mask))
    difference = scale = 0.0
    same, ended = dict.fromkeys(BEAMS, 0), dict.fromkeys(BEAMS, 0)
    for n, rows in enumerate(batches(cases)):
        x_bpd, mask_bp = given["x"][rows], given["mask"][rows]
        logits, real = wanted[f"logits{n}"], mask_bp
        found = np.asarray(forward(decoder, x_bpd, mask_bp))
        difference = max(difference, float(np.abs(found - logits)[real].max()))
        scale = max(scale, float(np.abs(logits[real]).max()))
        for name, beams in BEAMS.items():
            ids, _ = generation.generate(
                decoder,
                x_bpd,
                mask_bp,
                generation.GenerationConfig(max_new_tokens=new, beam_size=beams),
                eos_id=eos,
                pad_id=pad,
            )
            same[name] += int(same_up_to_end(np.asarray(ids), wanted[f"{name}{n}"], eos).sum())
            ended[name] += int(np.isin(wanted[f"{name}{n}"], eos).any(axis=1).sum())
    return {
        "cases": cases,
        "largest_difference": difference,
        "logit_scale": scale,
        "relative": difference / scale,
        "same_tokens": same,
        "ended_early": ended,
    }


def main() -> int:
    """Writes prefixes, has PyTorch read them, compares."""
    parser = make_parser(__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--torch_python", default=sys.executable)
    parser.add_argument("--cases", type=int, default=32)
    parser.add_argument("--new", type=int, default=12, help="tokens to write")
    parser.add_argument("--places", type=int, default=16, help="length of the longest prefix")
    parser.add_argument("--reference", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    record = json.loads((arguments.directory / "config.json").read_text())
    eos = np.atleast_1d(record["eos_token_id"]).tolist()
    pad = record.get("pad_token_id", eos[0])
    if arguments.reference:
        reference(arguments.directory, arguments.reference, arguments.new, eos, pad)
        return 0
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")
    decoder = read_decoder(arguments.directory)
    table_vd = np.asarray(decoder.embedding.table[...])
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prefixes = make_prefixes(table_vd, arguments.cases, arguments.places)
        np.savez(work / "prefixes.npz", **prefixes)
        command = [
            arguments.torch_python,
            "-m",
            "benchmarks.smollm2_parity",
            str(arguments.directory.absolute()),
            f"--reference={work}",
            f"--new={arguments.new}",
        ]
        subprocess.run(command, cwd=ROOT, check=True)
        print("PyTorch is done", file=sys.stderr, flush=True)
        results = compare(decoder, work, arguments.new, eos, pad)
    print(json.dumps(results))
    whole = all(n == results["cases"] for n in results["same_tokens"].values())
    return 0 if whole and results["relative"] <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
