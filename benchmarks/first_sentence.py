"""How long a program waits for its first sentence, and for each after it.

python -m benchmarks.first_sentence --checkpoint=DIR (--clip=FILE.npz | --data=DIR)
    [--runs=3] [--repeats=30] [--torch_python=PYTHON]

Each run is a process that opens the translator and translates the clip, by
`signbind_jax.load_translator(DIR)(FILE)`, and then translates it again and again. A first run,
which is not counted, fills the cache of compiled programs. With `--data`, the clip is the one of
that dataset's test split that lasts nearest to 4 seconds.

With `--torch_python`, the Python of an environment that has the extra `bench`, each run is followed
by one of a translator of the same sizes in PyTorch (`first_sentence_torch`).

The last line is JSON: wall seconds and processor seconds (of all threads) since the process was
started, as medians of the runs, when the library was `imported`, the translator `opened` and the
`first` sentence there; and median and 95th percentile of the sentences after it.
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import sentence_clip
from benchmarks.harness import describe_machine, make_parser, run_alone, take_turns


def main() -> None:
    """Measures and prints."""
    parser = make_parser(__doc__)
    parser.add_argument("--checkpoint", required=True, help="a translator: a run or a bundle")
    sentence_clip.add_arguments(parser)
    parser.add_argument("--runs", type=int, default=3, help="processes, one after the other")
    parser.add_argument("--repeats", type=int, default=30, help="sentences a process")
    parser.add_argument("--torch_python", help="also measures a translator in PyTorch")
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)  # by a run
    arguments = parser.parse_args()
    if arguments.started:
        print(json.dumps(_run(arguments)))
        return
    with tempfile.TemporaryDirectory() as directory:
        arguments.clip = sentence_clip.recording(arguments, Path(directory))
        sides = {"ours": lambda: _in_a_process(arguments)}
        if arguments.torch_python:
            sides["torch"] = lambda: _in_torch(arguments, directory)
        taken = take_turns(sides, arguments.runs)
    runs = taken["ours"]
    found: dict = {
        name: {
            kind: round(float(np.median([run["marks"][name][kind] for run in runs])), 2)
            for kind in ("wall_s", "processor_s")
        }
        for name in runs[0]["marks"]
    }
    for kind in ("wall_s", "processor_s"):
        each = [row[kind] for run in runs for row in run["next"]]
        p50, p95 = np.percentile(each, [50, 95])
        found.setdefault("next", {})[kind] = {"p50": round(p50, 3), "p95": round(p95, 3)}
    if others := taken.get("torch"):
        found["torch"] = sorted(others, key=lambda run: run["next"]["p50"])[len(others) // 2]
    print(f"{describe_machine()}: {runs[0]['text']!r}")
    print(json.dumps(found))


def _in_a_process(arguments: argparse.Namespace) -> dict:
    return run_alone(
        "benchmarks.first_sentence",
        f"--checkpoint={arguments.checkpoint}",
        f"--clip={arguments.clip}",
        f"--repeats={arguments.repeats}",
        f"--started={time.time()}",
    )


def _in_torch(arguments: argparse.Namespace, directory: str) -> dict:
    """A run of the other side, whose sizes and clip are written once."""
    if not (Path(directory) / "spec.json").exists():
        _write_sizes(arguments, Path(directory))
    return run_alone(
        "benchmarks.first_sentence_torch",
        directory,
        str(arguments.repeats),
        python=arguments.torch_python,
    )


def _write_sizes(arguments: argparse.Namespace, directory: Path) -> None:
    """Sizes of the translator and of what it reads and writes of the clip, and the clip."""
    import signbind_jax as sb
    from signbind_jax.data.batch import decode_lips
    from signbind_jax.use.clip_files import one_clip_each
    from signbind_jax.use.opening import open_translator

    run, experts = open_translator(arguments.checkpoint)
    found, tokenizer = sb.load_translator(arguments.checkpoint)(arguments.clip), run.tokenizer
    configs = [dataclasses.asdict(expert.model_config) for expert in experts.values()]
    text = (tokenizer.head, tokenizer.encode(" ".join(found.fused)), tokenizer.tail)
    spec = {
        "experts": configs,
        "fusion": dataclasses.asdict(run.model_config.fusion),
        "decoder": dataclasses.asdict(run.model_config.decoder),
        "tokens": sum(map(len, found.streams.values())),
        "text": sum(map(len, text)),
        "written": len(tokenizer.encode(found.text)) + 1,
    }
    lips = next((c for c in configs if c["frontend"] == "lips"), None)
    (clip,) = one_clip_each([arguments.clip], lips and lips["lip_size"])
    arrays = {"pose": np.asarray(clip.modalities["pose"].data)}
    if lips:  # the margins are not looked at
        margin = lips["lip_margin"]
        inside = slice(margin, lips["lip_size"] - margin)
        lips["lip_size"] -= 2 * margin
        arrays["lips"] = decode_lips(clip)[:, inside, inside]
    (directory / "spec.json").write_text(json.dumps(spec))
    np.savez(directory / "arrays.npz", **arrays)


def _run(arguments: argparse.Namespace) -> dict:
    marks: dict[str, dict[str, float]] = {}

    def mark(name: str) -> None:
        seconds = time.time() - arguments.started
        marks[name] = {"wall_s": seconds, "processor_s": sum(os.times()[:4])}

    import signbind_jax as sb

    load = sb.load_translator
    mark("imported")
    translate = load(arguments.checkpoint)
    mark("opened")
    text = translate(arguments.clip).text
    mark("first")
    print(f"{marks} {text!r}", file=sys.stderr, flush=True)
    rows = []
    for _ in range(arguments.repeats):
        start, processor = time.perf_counter(), time.process_time()
        translate(arguments.clip)
        wall_s = time.perf_counter() - start
        rows.append({"wall_s": wall_s, "processor_s": time.process_time() - processor})
    return {"marks": marks, "next": rows, "text": text}


if __name__ == "__main__":
    main()
