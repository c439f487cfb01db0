"""Which decoder writes better, and how names reach it: `python -m benchmarks.decoders`.

On the experts and the fusion of a finished quickstart, alignment and translation are trained
four times: with the decoder trained from scratch and with SmolLM2-135M (adapters), each with the
soft prefix alone and with what fusion read as text behind it. Everything is scored on the test
split of the embedded synthetic corpus and printed as a Markdown table, with the seconds of
training. One run after the other, each on all cores; what is finished already is kept.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from benchmarks.harness import make_parser
from signbind_jax import streams
from signbind_jax.checkpoint.artefact import open_artefact
from signbind_jax.data.dataset import open_dataset
from signbind_jax.evaluate.evaluators import open_evaluator
from signbind_jax.processes.parallel_runs import run_all
from signbind_jax.quickstart.command import SCORES

# Name of the system -> its decoder as (argument of the configs, name), and whether text is there.
SMOLLM2 = "smollm2-135m"
SYSTEMS = {
    "smollm2_text": (SMOLLM2, True),
    "scratch_text": ("scratch", True),
    "scratch_prefix_alone": ("scratch", False),
    "smollm2_prefix_alone": (SMOLLM2, False),
}
STAGES = ("alignment", "translation")
COLUMNS = ("bleu4", "chrf", "name_recall", "name_recall_read", "homonym_accuracy")


def train(system: str, quickstart: Path, workdir: Path, extra: Iterable[str]) -> float:
    """Alignment and translation of a system; the seconds both took."""
    decoder, text = SYSTEMS[system]
    pretrained = decoder == SMOLLM2
    parents = {name: quickstart / name for name in streams.SHIPPED}
    parents["language_model"] = decoder if pretrained else quickstart / "language_model"
    parents["fusion"] = quickstart / "fusion"
    seconds = 0.0
    for stage in STAGES:
        run = workdir / system / stage
        overrides = {"data.directory": quickstart / "data", "options.fused_text": text}
        overrides |= {f"parents.{name}": value for name, value in parents.items()}
        argument = ":llm=pretrained" if pretrained else ""
        command = [
            "train",
            f"--config={stage}{argument}",
            f"--workdir={run}",
            *extra,
            *(f"--config.{path}={value}" for path, value in overrides.items()),
        ]
        run_all({f"{system}-{stage}": command}, workdir / "logs")
        seconds += json.loads((run / "summary.json").read_text())["seconds"]
        parents = {n: p for n, p in parents.items() if n != "fusion"} | {"alignment": run}
    return seconds


def score(system: str, quickstart: Path, workdir: Path) -> dict:
    """Scores on the test split; kept beside the run."""
    path = workdir / system / "scores.json"
    if not path.exists():
        clips = open_dataset(quickstart / "data").split("test")
        found = open_evaluator(open_artefact(workdir / system / "translation")).run(clips)
        record = {name: found.scores.get(name) for name in SCORES}
        record["sentences"] = [output.hypothesis for output in found.outputs]
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument(
        "--quickstart",
        type=Path,
        default=Path("runs/quickstart"),
        help="a finished quickstart (default: %(default)s)",
    )
    parser.add_argument("--workdir", type=Path, default=Path("runs/decoders"))
    parser.add_argument(
        "--only",
        choices=SYSTEMS,
        action="append",
        help="a system to train; may be given several times",
    )
    arguments, extra = parser.parse_known_args()
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    print("| system | " + " | ".join(COLUMNS) + " | minutes |")
    print("|---" + "|---:" * (len(COLUMNS) + 1) + "|")
    for system in arguments.only or SYSTEMS:
        seconds = train(system, arguments.quickstart, arguments.workdir, extra)
        scores = score(system, arguments.quickstart, arguments.workdir)
        cells = [f"{scores[column]:.1f}" for column in COLUMNS]
        print(f"| {system} | " + " | ".join(cells) + f" | {seconds / 60:.0f} |", flush=True)
    print(f"\nBLEU signature: {scores['bleu_signature']}")


if __name__ == "__main__":
    main()
