"""Every figure of docs/results.md: `python -m benchmarks.results [--workdir=DIR] [--seeds=3]`.

Trains and scores the quickstart once a seed on the same corpus, then, with the first seed's
experts, fusion, alignment and translation blind to time. What is finished already is kept, so
an interrupted call goes on. Prints the tables of docs/results.md as Markdown.
"""

import argparse
import json
import statistics
from pathlib import Path

from signbind_jax.data.dataset import open_dataset
from signbind_jax.evaluate import TIME_SPLITS, evaluate_time_splits, evaluate_translation
from signbind_jax.quickstart import (
    SCORES,
    print_table,
    quickstart,
    train_stages,
)
from signbind_jax.report import write_report
from signbind_jax.translate import Translator

COLUMNS = ("bleu4", "chrf", "name_recall", "name_recall_read", "homonym_accuracy", *TIME_SPLITS)
EXPERTS = ("signing", "fingerspelling", "lipreading", "language_model")


def blind_to_time(workdir: Path, data: Path, seed: int) -> dict:
    """Scores of a system whose fusion does not know when tokens happened; its experts and
    decoder are those of `workdir`."""
    blind = workdir / "without_time"
    blind.mkdir(exist_ok=True)
    for name in EXPERTS:
        if not (blind / name).exists():
            (blind / name).symlink_to((workdir / name).resolve())
    train_stages(blind, data, seed, ("fusion", "alignment", "translation"), time_blind=True)
    system = Translator(blind / "translation")
    dataset = open_dataset(data)
    scores = evaluate_translation(system, dataset.split("test"), ("all",))[0]["all"]
    in_time = evaluate_time_splits(system, dataset, ("all",))["all"]
    return {name: scores[name] for name in SCORES} | in_time


def table(results: list[dict], blind: dict) -> str:
    """Markdown: variants of the first seed, then mean and spread of `all` over the seeds."""
    lines = ["| streams | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    rows = {**results[0]["translation"], "all_without_time": blind}
    for variant, row in rows.items():
        cells = [f"{row[c]:.1f}" if row.get(c) is not None else "–" for c in COLUMNS]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    spread = []
    for column in COLUMNS:
        values = [r["translation"]["all"][column] for r in results]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        spread.append(f"{statistics.mean(values):.1f} ± {deviation:.1f}")
    lines.append(f"| all, mean ± standard deviation of {len(results)} seeds | "
                 + " | ".join(spread) + " |")  # fmt: skip
    lines += ["", "| stage | " + " | ".join(f"seed {i}" for i in range(len(results))) + " |",
              "|---" * (len(results) + 1) + "|"]  # fmt: skip
    for stage, first in results[0]["stages"].items():
        metric = next(k for k, v in first.items() if isinstance(v, float))
        cells = [f"{r['stages'][stage][metric]:.2f}" for r in results]
        lines.append(f"| {stage}: {metric} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, default=Path("runs/results"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quickstart", type=Path, default=Path("runs/quickstart"),
                        help="once finished, the first seed (default: %(default)s)")  # fmt: skip
    arguments = parser.parse_args()
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    first = arguments.workdir / "seed0"
    if not first.exists() and (arguments.quickstart / "results.json").exists():
        first.symlink_to(arguments.quickstart.resolve())
    results = []
    for seed in range(arguments.seeds):
        workdir = arguments.workdir / f"seed{seed}"
        workdir.mkdir(exist_ok=True)
        if not (workdir / "data").exists() and seed:
            (workdir / "data").symlink_to((first / "data").resolve())
        if not (workdir / "results.json").exists():
            quickstart(workdir, seed)
        results.append(json.loads((workdir / "results.json").read_text()))
    blind = blind_to_time(first, first / "data", 0)
    results[0]["translation"]["all_without_time"] = blind
    (first / "results.json").write_text(json.dumps(results[0], indent=1) + "\n")
    write_report(first)
    print_table(results[0])
    text = table(results, blind)
    (arguments.workdir / "results.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
