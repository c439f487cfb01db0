"""Isolated signs are continuous signing of one gloss: a folder corpus of short takes."""

import json

import numpy as np

from signbind_jax import cli

SIGNS = {"HELLO": (-120, -60), "HOUSE": (60, 120), "WATER": (150, -90)}  # of the hands, in pixels
FIRST_HAND = 91  # of 133 keypoints


def test_short_takes_of_one_sign_are_read(tmp_path):
    rng = np.random.default_rng(0)
    body = rng.uniform(200, 300, (133, 2))
    body[5], body[6] = (300, 250), (200, 250)  # shoulders
    rows = ["id|split|text|gloss|pose"]
    for n in range(30):
        gloss, split = list(SIGNS)[n % 3], "dev" if n % 5 == 4 else "train"
        points = np.tile(body, (int(rng.integers(9, 25)), 1, 1))
        points[:, FIRST_HAND:] += SIGNS[gloss]
        points += rng.normal(0, 3, points.shape)
        scores = np.ones(points.shape[:2])
        np.savez(tmp_path / f"take{n}.npz", keypoints=points, scores=scores, fps=25.0)
        rows.append(f"{n}|{split}|{gloss.lower()}|{gloss}|take{n}.npz")
    (tmp_path / "manifest.tsv").write_text("\n".join(rows).replace("|", "\t") + "\n")
    data, run, scores = (tmp_path / name for name in ("data", "run", "scores.json"))
    build = ["data", "build", "folder", f"--source={tmp_path}", f"--out={data}", "--workers=1"]
    train = [
        "train",
        "--config=signing:size=tiny",
        f"--workdir={run}",
        f"--config.data.directory={data}",
        "--config.data.validation=",
        "--config.data.frames_per_batch=256",
        "--config.steps=60",
        "--config.optim.learning_rate=1e-2",
    ]
    score = ["evaluate", f"--checkpoint={run}", f"--data={data}", "--split=dev"]
    for command in (build, train, [*score, f"--json={scores}"]):
        assert cli.main(command) == 0
    found = json.loads(scores.read_text())["scores"]
    assert found["reference_tokens"] == found["n"] == 6
    assert found["gloss_wer"] <= 20, found
