"""Every figure of docs/results.md: `python -m benchmarks.results [--workdir=DIR] [--seeds=3]`.

Trains and scores the quickstart once a seed on the same corpus. Then, with the first seed's
experts and decoder, trains fusion, alignment and translation again without what the
ablations hide. On a CPU the seeds run side by side, a core each, and so do the ablations.
What is finished already is kept, so an interrupted call goes on. Prints the tables of
docs/results.md as Markdown.
"""

import statistics
from pathlib import Path

from benchmarks.harness import make_parser
from signbind_jax import sealed, streams
from signbind_jax.checkpoint.artefact import open_artefact
from signbind_jax.data.dataset import open_dataset
from signbind_jax.evaluate.evaluators import TIME_SPLITS, open_evaluator
from signbind_jax.processes import xla_cpu
from signbind_jax.processes.parallel_runs import run_all, usable_cores
from signbind_jax.quickstart.command import SCORES, print_table, read_results, training_command
from signbind_jax.report.page import write_report

COLUMNS = (
    "bleu4",
    "chrf",
    "name_recall",
    "name_recall_read",
    "homonym_accuracy",
    "homonym_swapped",
    *TIME_SPLITS,
)
EXPERTS = (*streams.SHIPPED, "language_model")

# Name of the variant -> argument of the fusion config.
ABLATIONS = {"all_without_time": "time=False,hidden=False", "all_without_hidden": "hidden=False"}


def run_together(commands: dict[str, list[str]], log_dir: Path) -> None:
    """Runs `signbind` commands side by side on a CPU, else one after the other."""
    if xla_cpu.runs_side_by_side(len(usable_cores())):
        run_all(commands, log_dir)
        return
    for name, command in commands.items():
        run_all({name: command}, log_dir)


def train_seeds(workdir: Path, n_seeds: int) -> list[dict]:
    """Quickstarts of further seeds on the first one's corpus; the results of all."""
    commands = {}
    for seed in range(n_seeds):
        directory = workdir / f"seed{seed}"
        directory.mkdir(exist_ok=True)
        if seed and not (directory / "data").exists():
            (directory / "data").symlink_to((workdir / "seed0" / "data").resolve())
        if not (directory / "results.json").exists():
            commands[f"seed{seed}"] = ["quickstart", f"--workdir={directory}", f"--seed={seed}"]
    if "seed0" in commands:  # it makes the corpus
        run_all({"seed0": commands.pop("seed0")}, workdir / "logs")
    if commands:
        run_together(commands, workdir / "logs")
    return [read_results(workdir / f"seed{seed}" / "results.json") for seed in range(n_seeds)]


def train_ablations(first: Path, seed: int = 0) -> dict[str, dict]:
    """Scores by ablation; experts and decoder are those of the run `first`."""
    data = first / "data"
    for name in ABLATIONS:
        (first / name).mkdir(exist_ok=True)
        for expert in EXPERTS:
            if not (first / name / expert).exists():
                (first / name / expert).symlink_to((first / expert).resolve())
    for stage in ("fusion", "alignment", "translation"):
        commands = {
            name: training_command(
                stage, first / name, data, seed, argument if stage == "fusion" else ""
            )
            for name, argument in ABLATIONS.items()
        }
        run_together(commands, first / "logs")
    return {name: _score(first / name / "translation", data) for name in ABLATIONS}


def _score(translation: Path, data: Path) -> dict:
    evaluator, dataset = open_evaluator(open_artefact(translation)), open_dataset(data)
    scores = evaluator.run(dataset.split("test")).scores
    in_time = evaluator.time_splits(dataset, ("all",))["all"]
    return {name: scores[name] for name in SCORES} | in_time


def table(results: list[dict]) -> str:
    """Markdown: variants of the first seed, then mean and spread of `all` over the seeds."""
    lines = ["| streams | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for variant, row in results[0]["translation"].items():
        cells = [f"{row[c]:.1f}" if row.get(c) is not None else "–" for c in COLUMNS]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    spread = []
    for column in COLUMNS:
        values = [r["translation"]["all"][column] for r in results]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        spread.append(f"{statistics.mean(values):.1f} ± {deviation:.1f}")
    lines.append(
        f"| all, mean ± standard deviation of {len(results)} seeds | " + " | ".join(spread) + " |"
    )
    lines += [
        "",
        "| stage | " + " | ".join(f"seed {i}" for i in range(len(results))) + " |",
        "|---" * (len(results) + 1) + "|",
    ]
    for stage, first in results[0]["stages"].items():
        metric = next(k for k, v in first.items() if isinstance(v, float))
        cells = [f"{r['stages'][stage][metric]:.2f}" for r in results]
        lines.append(f"| {stage}: {metric} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--workdir", type=Path, default=Path("runs/results"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--quickstart",
        type=Path,
        default=Path("runs/quickstart"),
        help="once finished, the first seed (default: %(default)s)",
    )
    arguments = parser.parse_args()
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    first = arguments.workdir / "seed0"
    if not first.exists() and (arguments.quickstart / "results.json").exists():
        first.symlink_to(arguments.quickstart.resolve())
    results = train_seeds(arguments.workdir, arguments.seeds)
    results[0]["translation"] |= train_ablations(first)
    sealed.write(first / "results.json", results[0])
    write_report(first)
    print_table(results[0])
    text = table(results)
    (arguments.workdir / "results.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
