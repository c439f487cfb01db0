"""`signbind quickstart`: every stage on the embedded corpus, scored, with a report."""

import argparse
import logging
import shlex
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from signbind_jax import sealed, streams, versions
from signbind_jax.checkpoint.artefact import open_artefact
from signbind_jax.data.dataset import open_dataset
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate.evaluators import TIME_SPLITS, open_evaluator
from signbind_jax.processes import xla_cpu
from signbind_jax.processes.parallel_runs import MemoryMeter, run_all, usable_cores
from signbind_jax.quickstart.examples import FILES, write_example_files, write_examples
from signbind_jax.ranges import Seed, Whole, argument
from signbind_jax.train.summary import SUMMARY, read_summary

logger = logging.getLogger(__name__)

STAGES = ("language_model", *streams.SHIPPED, "fusion", "alignment", "translation")
# What keeps a core each busy, in the order of starting: fusion, which the experts come before,
# and the decoder run together.
_SIDE_BY_SIDE = (*streams.SHIPPED, "language_model", "fusion")
_SCORING_PACKAGES = ("tensorflow-datasets", "sacrebleu")
# What results.json held when it carried no digest.
_RESULTS = frozenset(
    {
        "stages",
        "translation",
        "seconds_total",
        "seconds_data",
        "peak_rss_gb",
        "versions",
        "corpus",
        "command",
    }
)
SCORES = (
    "bleu4",
    "bleu_signature",
    "chrf",
    "name_recall",
    "name_recall_read",
    "text_name_recall",
    "n_text_names",
    "homonym_accuracy",
    "homonym_swapped",
)


def build_corpus(directory: Path, sizes: dict[str, int]) -> None:
    """Builds the synthetic corpus unless it is there already."""
    if (directory / "dataset.json").exists():
        return
    from signbind_jax.data_pipelines.synthetic.corpus import SyntheticConfig, open_corpus
    from signbind_jax.data_pipelines.writing.writer import write_dataset

    corpus = open_corpus(SyntheticConfig(**sizes))
    report = write_dataset(directory, corpus, workers=len(usable_cores()))
    print("\n".join(report.lines()), flush=True)


def train_stages(
    workdir: Path, data: Path, seed: int, smoke: bool = False, options: Sequence[str] = ()
) -> dict[str, dict]:
    """Trains all stages, each finding its parents beside it; steps and seconds by stage.

    On a CPU, stages that do not need each other run side by side. `options` are further
    arguments of each `signbind train`.

    Raises:
      SignBindError: a stage failed or was stopped by a signal; the same command goes on.
    """
    argument = "size=tiny" if smoke else ""
    commands = {s: [*training_command(s, workdir, data, seed, argument), *options] for s in STAGES}
    if xla_cpu.runs_side_by_side(len(usable_cores())):
        together = {stage: commands.pop(stage) for stage in _SIDE_BY_SIDE}
        after = {stage: needs(stage) for stage in together}

        def finished(stage: str) -> bool:
            return read_summary(workdir / stage)["finished"]

        run_all(together, workdir / "logs", after, finished)
        _check_finished(workdir, together)
    for stage, command in commands.items():
        run_all({stage: command}, workdir / "logs")
        _check_finished(workdir, [stage])
    done = {}
    for stage in STAGES:
        summary = read_summary(workdir / stage)
        done[stage] = {"seconds": round(summary["seconds"], 1), "steps": summary["step"]}
    return done


def _check_finished(workdir: Path, names: Iterable[str]) -> None:
    """A run that a signal stopped has ended well all the same."""
    for stage in names:
        summary = read_summary(workdir / stage)
        if not summary["finished"]:
            raise SignBindError(
                f"{stage}: stopped by a signal at step {summary['step']}; run the "
                "same command to go on"
            )


def training_command(
    stage: str, workdir: Path, data: Path, seed: int, argument: str = ""
) -> list[str]:
    """Arguments of the `signbind train` that trains a stage beside its parents; `argument` is
    its config's."""
    overrides = {"data.directory": data, "seed": seed}
    overrides |= {f"parents.{name}": workdir / name for name in needs(stage)}
    config = f"{stage}:{argument}" if argument else stage
    return [
        "train",
        f"--config={config}",
        f"--workdir={workdir / stage}",
        *(f"--config.{path}={value}" for path, value in overrides.items()),
    ]


def needs(stage: str) -> tuple[str, ...]:
    """The stages whose artefacts a stage is built on."""
    parents = {
        "fusion": streams.SHIPPED,
        "alignment": (*streams.SHIPPED, "language_model", "fusion"),
        "translation": (*streams.SHIPPED, "language_model", "alignment"),
    }
    return parents.get(stage, ())


def score(workdir: Path, data: Path, split: str = "test") -> tuple[dict, dict, dict]:
    """Scores on a split: (by stage, by translation variant, sentences by variant)."""
    dataset = open_dataset(data)
    clips = dataset.split(split)
    print(f"scoring {len(clips)} test clips and {len(TIME_SPLITS)} time splits", flush=True)
    evaluators = {name: open_evaluator(open_artefact(workdir / name)) for name in STAGES}
    judged = (*streams.SHIPPED, "fusion", "language_model", "alignment")
    found = {name: evaluators[name].run(clips) for name in judged}
    stages = {name: found[name].scores for name in (*streams.SHIPPED, "fusion")}
    variants = evaluators["translation"].variants(clips)
    variants["oracle_text"] = found["language_model"]
    translation = {
        variant: {name: row.scores.get(name) for name in SCORES}
        for variant, row in variants.items()
    }
    sentences = {v: [output.hypothesis for output in row.outputs] for v, row in variants.items()}
    stages["language_model"] = {"oracle_text_bleu4": translation["oracle_text"]["bleu4"]}
    stages["alignment"] = {"bleu4": found["alignment"].scores["bleu4"]}
    stages["translation"] = {"bleu4": translation["all"]["bleu4"]}
    for variant, row in evaluators["translation"].time_splits(dataset).items():
        translation[variant] |= row
    for name in TIME_SPLITS:
        if name in dataset.splits:
            scores = evaluators["language_model"].run(dataset.split(name)).scores
            translation["oracle_text"][name] = scores["contrast_accuracy"]
    return stages, translation, sentences


def quickstart(
    workdir: Path,
    seed: int = 0,
    sizes: dict[str, int] | None = None,
    smoke: bool = False,
    options: Sequence[str] = (),
) -> Path:
    """Runs everything; returns the report's path. What is finished already is not done again."""
    began = time.monotonic()
    workdir.mkdir(parents=True, exist_ok=True)
    data = workdir / "data"
    path = workdir / "results.json"
    if results := _finished(workdir, path):
        return _tell(results, path)
    with MemoryMeter() as memory:
        build_corpus(data, sizes or {})
        seconds_data = time.monotonic() - began
        done = train_stages(workdir, data, seed, smoke, options)
        stages, translation, sentences = score(workdir, data)
    stages = {name: {**stages[name], **done[name]} for name in STAGES}
    results = {
        "stages": stages,
        "translation": translation,
        "seconds_total": round(time.monotonic() - began, 1),
        "seconds_data": round(seconds_data, 1),
        "peak_rss_gb": round(memory.peak_bytes / 1e9, 2),
        "versions": versions.installed((*versions.PACKAGES, *_SCORING_PACKAGES)),
        "corpus": {
            "name": "embedded synthetic corpus",
            "synthetic": True,
            "splits": open_dataset(data).splits,
        },
        "command": f"signbind quickstart --workdir={workdir} --seed={seed}",
    }
    write_examples(workdir, open_dataset(data).split("test"), sentences)
    sealed.write(path, results)
    return _tell(results, path)


def _finished(workdir: Path, path: Path) -> dict:
    """The results that are there, unless a stage has been trained since or they are damaged:
    scoring again would only put its own seconds in the place of the run's."""
    summaries = [workdir / stage / SUMMARY for stage in STAGES]
    if not path.exists() or not all(summary.exists() for summary in summaries):
        return {}
    if any(summary.stat().st_mtime > path.stat().st_mtime for summary in summaries):
        return {}
    try:
        return read_results(path)
    except SignBindError as error:
        logger.warning("%s: scored again", error)
        return {}


def read_results(path: Path) -> dict:
    """What a finished quickstart wrote.

    Raises:
      SignBindError: no such file, or not as it was written.
    """
    return sealed.read(path, _RESULTS)


def _tell(results: dict, path: Path) -> Path:
    from signbind_jax.report.page import write_report  # its charts take a second to import

    report = write_report(path.parent)
    if not (path.parent / FILES).exists():
        write_example_files(path.parent, open_dataset(path.parent / "data").split("test"))
    print_table(results)
    print(f"results: {path}\nreport:  {report}\n")
    print("\n".join(next_commands(path.parent)))
    return report


def next_commands(workdir: Path) -> list[str]:
    """What to do with a finished quickstart, a command a line with what it is for."""
    run, examples = shlex.quote(str(workdir / "translation")), workdir / FILES
    commands = {
        "translate": f"translate --checkpoint={run} {shlex.quote(str(examples))}/*.npz",
        "serve a page": f"serve --checkpoint={run}    (needs the extra: pip install -e '.[serve]')",
        "share": f"export translator --checkpoint={run} "
        f"--examples={shlex.quote(str(examples))} --out=DIR",
    }
    return [f"{what + ':':14s}signbind {command}" for what, command in commands.items()]


def print_table(results: dict) -> None:
    """The scores as two tables on the terminal."""
    print("\nstage            score on the test split (synthetic corpus)      steps  seconds")
    for name, row in results["stages"].items():
        metric, value = next((k, v) for k, v in row.items() if isinstance(v, float))
        print(
            f"{name:16s} {metric:24s} {value:7.2f} {'%':12s} {row['steps']:9d} "
            f"{row['seconds']:8.0f}"
        )
    columns = ("bleu4", "chrf", "name_recall", "homonym_accuracy", *TIME_SPLITS)
    print("\n" + f"{'streams':24s}" + "".join(f"{c:>17s}" for c in columns))
    for variant in (*streams.variants(streams.SHIPPED), "oracle_text"):
        row = results["translation"][variant]
        cells = ("-" if row.get(c) is None else f"{row[c]:.1f}" for c in columns)
        print(f"{variant:24s}" + "".join(f"{cell:>17s}" for cell in cells))
    print(f"BLEU signature: {results['translation']['all']['bleu_signature']}")
    print(
        f"{results['seconds_total']:.0f} s in all, at most {results['peak_rss_gb']:.1f} GB "
        "resident\n"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind quickstart`."""
    parser.add_argument(
        "--workdir",
        type=Path,
        default=Path("runs/quickstart"),
        metavar="DIR",
        help="default: runs/quickstart; finished stages stay",
    )
    parser.add_argument(
        "--seed",
        type=argument(Seed),
        default=0,
        help="of training; the corpus stays the same (default: 0)",
    )
    parser.add_argument(
        "--smoke", action="store_true", help="tiny models, 20 steps a stage: does it all run?"
    )
    parser.add_argument(versions.OPTION, action="store_true", help=versions.HELP)
    for name in ("train", "validation", "test", "time_split"):
        parser.add_argument(
            f"--{name}", type=argument(Whole), metavar="CLIPS", help=f"synthetic clips in {name}"
        )


def run(arguments: argparse.Namespace) -> int:
    """`signbind quickstart`."""
    sizes = {
        name: getattr(arguments, name)
        for name in ("train", "validation", "test", "time_split")
        if getattr(arguments, name) is not None
    }
    if arguments.smoke:
        sizes = {"train": 64, "validation": 8, "test": 12, "time_split": 8} | sizes
    options = [versions.OPTION] if arguments.other_versions else []
    quickstart(arguments.workdir, arguments.seed, sizes, arguments.smoke, options)
    return 0
