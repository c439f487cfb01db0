"""Trains every stage for some steps as one of several processes, then scores; writes JSON.

python -m tests.multiprocess.train_stages DATA WORKDIR CACHE PORT N PROCESS
Of N = 1 nothing is joined. WORKDIR is shared by all processes, CACHE (of expert streams) is not.
"""

import json
import sys
from pathlib import Path

import jax

from signbind_jax.config import load_config
from signbind_jax.evaluate import evaluate
from signbind_jax.quickstart import STAGES, needs
from signbind_jax.train import train

SCORED = ("signing", "fusion")  # while they train


def main(data: str, workdir: str, cache: str, port: str, n: str, process: str) -> None:
    if int(n) > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", int(n), int(process))
    losses, scores = {}, {}
    for stage in STAGES:
        overrides = {
            "data.directory": data,
            "data.validation": "validation" if stage in SCORED else "",
            "data.batch_multiple": "4",
            "data.n_buckets": "1",
            "data.stream_cache": cache,
            "steps": "3",
            **{f"parents.{name}": str(Path(workdir) / name) for name in needs(stage)},
        }
        config = load_config(f"{stage}:size=tiny", overrides)
        result = train(config, Path(workdir) / stage)
        losses[stage], scores[stage] = result.losses, result.scores
    evaluated = evaluate(Path(workdir) / "translation", Path(data), "test")
    facts = {"losses": losses, "scores": scores, "evaluated": evaluated["scores"]}
    Path(cache, f"facts_of_{process}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
