"""Sweep configs and what their points leave on disk, written by tests."""

import json
from pathlib import Path

from signbind_jax.sweep.points import Sweep, load_sweep
from signbind_jax.sweep.record import write_record


def sweep_file(path: Path, grid: str, *settings: str, stage: str = "signing") -> Path:
    """A sweep of a tiny stage whose `get_hyper` returns `grid`, a Python expression."""
    lines = "".join(f"    config.{setting}\n" for setting in settings)
    path.write_text(
        f"from signbind_jax.configs import {stage}\n\n\n"
        "def get_config(arg=None):\n"
        f"    config = {stage}.get_config('size=tiny')\n{lines}    return config\n\n\n"
        f"def get_hyper(h):\n    return {grid}\n"
    )
    return path


def finished_points(workdir: Path, config: Path, scores: dict[int, float]) -> Sweep:
    """A sweep of which the points of `scores` are finished, the others not started."""
    sweep = load_sweep(str(config), {"data.directory": "d"})
    write_record(workdir, sweep)
    for index, score in scores.items():
        directory = workdir / sweep.points[index].name
        directory.mkdir()
        (directory / "metrics.jsonl").write_text(
            "".join(
                json.dumps({"step": s, "kind": "train", "loss": 9.0 - s / 10}) + "\n"
                for s in (10, 20)
            )
        )
        (directory / "summary.json").write_text(
            json.dumps(
                {
                    "step": 20,
                    "seconds": 61.0,
                    "finished": True,
                    "scores": {"gloss_wer": score, "absent": 0.0},
                }
            )
        )
    return sweep
