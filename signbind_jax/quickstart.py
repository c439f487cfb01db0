"""`signbind quickstart`: every stage on the embedded corpus, scored, with a report."""

import argparse
import json
import platform
import resource
import time
from importlib import metadata
from pathlib import Path

import jax

from signbind_jax import artefact
from signbind_jax.config import STREAMS, load_config
from signbind_jax.data.dataset import open_dataset
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate import (
    VARIANTS,
    evaluate_expert,
    evaluate_fusion,
    evaluate_language_model,
    evaluate_translation,
)
from signbind_jax.examples import write_examples
from signbind_jax.report import write_report
from signbind_jax.train import train
from signbind_jax.translate import Translator

STAGES = (*STREAMS, "language_model", "fusion", "alignment", "translation")
TIME_SPLITS = ("role", "lonely_twin", "adjacent_names")
PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets",
            "transformers", "tokenizers", "sacrebleu", "numpy")  # fmt: skip
SCORES = ("bleu4", "bleu_signature", "chrf", "name_recall", "name_recall_read",
          "homonym_accuracy")  # fmt: skip


def build_corpus(directory: Path, sizes: dict[str, int]) -> None:
    """Builds the synthetic corpus unless it is there already."""
    if (directory / "dataset.json").exists():
        return
    from data_pipelines import build

    options = [f"--{name}={n}" for name, n in sizes.items()]
    parser = argparse.ArgumentParser()
    build.add_arguments(parser)
    build.run(parser.parse_args(["synthetic", f"--out={directory}", *options]))


def train_stages(workdir: Path, data: Path, seed: int, overrides: dict[str, str],
                 stages=STAGES, time_blind: bool = False) -> dict:  # fmt: skip
    """Trains the stages in order; each finds its parents beside it. Seconds and steps by name.

    Raises:
      SignBindError: a stage was stopped by a signal; the same command goes on with it.
    """
    done = {}
    for stage in stages:
        began = time.monotonic()
        argument = ":time=False" if time_blind and stage == "fusion" else ""
        known = {"data.directory": str(data), "seed": str(seed), **_parents(stage, workdir)}
        config = load_config(stage + argument, {**known, **overrides})
        result = train(config, workdir / stage)
        jax.clear_caches()
        if not result.finished:
            raise SignBindError(f"{workdir / stage}: stopped at step {result.step} of "
                                f"{config.steps}; run the same command to go on")  # fmt: skip
        seconds = time.monotonic() - began
        scores = ", ".join(f"{k} {v:.1f}" for k, v in result.scores.items() if v is not None)
        print(f"{stage}: {result.step} steps in {result.seconds:.0f} s; validation: {scores}",
              flush=True)  # fmt: skip
        done[stage] = {"seconds": round(max(result.seconds, seconds), 1), "steps": result.step}
    return done


def _parents(stage: str, workdir: Path) -> dict[str, str]:
    needs = {
        "fusion": STREAMS,
        "alignment": (*STREAMS, "language_model", "fusion"),
        "translation": (*STREAMS, "language_model", "alignment"),
    }
    return {f"parents.{name}": str(workdir / name) for name in needs.get(stage, ())}


def score(workdir: Path, data: Path, split: str = "test") -> tuple[dict, dict, dict]:
    """Scores on a split: (by stage, by translation variant, sentences by variant)."""
    dataset = open_dataset(data)
    clips = dataset.split(split)
    stages = {}
    for name in STREAMS:
        expert = artefact.open_artefact(workdir / name)
        stages[name] = evaluate_expert(expert, clips, workdir / "streams")
    system = Translator(workdir / "translation")
    stages["fusion"] = evaluate_fusion(system, clips)
    scored, sentences = evaluate_translation(system, clips)
    translation = {v: {name: scored[v].get(name) for name in SCORES} for v in scored}
    language_model = artefact.open_artefact(workdir / "language_model")
    oracle, sentences["oracle_text"] = evaluate_language_model(language_model, clips)
    translation["oracle_text"] = {name: oracle.get(name) for name in SCORES}
    stages["language_model"] = {"oracle_text_bleu4": oracle["bleu4"]}
    aligned = Translator(workdir / "alignment")
    stages["alignment"] = {
        "bleu4": evaluate_translation(aligned, clips, ("all",))[0]["all"]["bleu4"]
    }
    stages["translation"] = {"bleu4": translation["all"]["bleu4"]}
    for name in TIME_SPLITS:
        if name not in dataset.splits:
            continue
        hard = dataset.split(name)
        by_variant, _ = evaluate_translation(system, hard)
        by_variant["oracle_text"] = evaluate_language_model(language_model, hard)[0]
        for variant, row in by_variant.items():
            translation[variant][name] = row["contrast_accuracy"]
    return stages, translation, sentences


def quickstart(workdir: Path, seed: int = 0, sizes: dict[str, int] | None = None,
               overrides: dict[str, dict] | None = None) -> Path:  # fmt: skip
    """Runs everything; returns the report's path. What is finished already is not done again."""
    began = time.monotonic()
    workdir.mkdir(parents=True, exist_ok=True)
    data = workdir / "data"
    build_corpus(data, sizes or {})
    seconds_data = time.monotonic() - began
    done = train_stages(workdir, data, seed, overrides or {})
    stages, translation, sentences = score(workdir, data)
    stages = {name: {**stages[name], **done[name]} for name in STAGES}
    results = {
        "stages": stages,
        "translation": translation,
        "seconds_total": round(time.monotonic() - began, 1),
        "seconds_data": round(seconds_data, 1),
        "peak_rss_gb": round(peak_rss_gb(), 2),
        "versions": versions(),
        "corpus": {"name": "embedded synthetic corpus", "synthetic": True,
                   "splits": open_dataset(data).splits},
        "command": f"signbind quickstart --workdir={workdir} --seed={seed}",
    }  # fmt: skip
    path = workdir / "results.json"
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    write_examples(workdir, open_dataset(data).split("test"), sentences)
    report = write_report(workdir)
    print_table(results)
    print(f"results: {path}\nreport:  {report}")
    return report


def peak_rss_gb() -> float:
    """Largest resident set of this process and of any child so far, in GB (10^9 bytes)."""
    usage = (resource.getrusage(who).ru_maxrss
             for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))  # fmt: skip
    unit = 1 if platform.system() == "Darwin" else 1024
    return max(usage) * unit / 1e9


def versions() -> dict[str, str]:
    """Versions of what the figures depend on."""
    return {"python": platform.python_version(), **{p: metadata.version(p) for p in PACKAGES}}


def print_table(results: dict) -> None:
    """The scores as two tables on the terminal."""
    print("\nstage            score on the test split (synthetic corpus)      steps  seconds")
    for name, row in results["stages"].items():
        metric, value = next((k, v) for k, v in row.items() if isinstance(v, float))
        print(f"{name:16s} {metric:24s} {value:7.2f} {'%':12s} {row['steps']:9d} "
              f"{row['seconds']:8.0f}")  # fmt: skip
    columns = ("bleu4", "chrf", "name_recall", "homonym_accuracy", *TIME_SPLITS)
    print("\n" + f"{'streams':24s}" + "".join(f"{c:>17s}" for c in columns))
    for variant in (*VARIANTS, "oracle_text"):
        row = results["translation"][variant]
        cells = ("-" if row.get(c) is None else f"{row[c]:.1f}" for c in columns)
        print(f"{variant:24s}" + "".join(f"{cell:>17s}" for cell in cells))
    print(f"BLEU signature: {results['translation']['all']['bleu_signature']}")
    print(f"{results['seconds_total']:.0f} s in all, at most {results['peak_rss_gb']:.1f} GB "
          "resident\n")  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind quickstart`."""
    parser.add_argument("--workdir", type=Path, default=Path("runs/quickstart"), metavar="DIR",
                        help="default: runs/quickstart; finished stages stay")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0,
                        help="of training; the corpus stays the same (default: 0)")  # fmt: skip
    for name in ("train", "validation", "test", "time_split"):
        parser.add_argument(f"--{name}", type=int, metavar="CLIPS",
                            help=f"synthetic clips in {name}")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """`signbind quickstart`."""
    sizes = {name: getattr(arguments, name) for name in ("train", "validation", "test",
             "time_split") if getattr(arguments, name) is not None}  # fmt: skip
    quickstart(arguments.workdir, arguments.seed, sizes)
    return 0


