"""Fifteen recorded DGS sentences through all stages, scored on themselves.

That shows that real recordings pass through every part and that the parts can learn: it is
memorising, not translating. No sentence here is new to the system.
"""

import csv
import json

import pytest

from signbind_jax.metrics.text import bleu
from tests.recorded.in_process import command

EXPERTS = ("signing", "lipreading")  # nothing is spelled in these sentences: no third expert


@pytest.fixture(scope="module")
def rows(recorded) -> list[dict]:
    """The manifest's rows that have a text."""
    with open(recorded / "dgs" / "manifest.tsv", encoding="utf-8", newline="") as file:
        return [
            row
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            if row["text"]
        ]


@pytest.fixture(scope="module")
def data(recorded, tmp_path_factory):
    out = tmp_path_factory.mktemp("dgs") / "data"
    printed = command("data", "build", "folder", f"--source={recorded / 'dgs'}", f"--out={out}")
    return out, printed


@pytest.fixture(scope="module")
def runs(data):
    """Run directories of all stages, trained as docs/use/translate_your_recordings.md says,
    but no longer than the sentences need."""
    runs = data[0].parent

    def train(config, *parents, **overrides):
        stage = config.partition(":")[0]
        options = {"data.directory": data[0], **overrides}
        options |= {f"parents.{name}": runs / name for name in parents}
        command(
            "train",
            f"--config={config}",
            f"--workdir={runs / stage}",
            *(f"--config.{name}={value}" for name, value in options.items()),
        )

    train("signing:size=few")
    train("lipreading:size=few,frontend=mouth_landmarks", steps=200, **{"data.max_impossible": 0.1})
    train("language_model:size=few")
    train("fusion:size=few", *EXPERTS, steps=80)
    train("alignment:size=few", *EXPERTS, "language_model", "fusion", steps=30)
    train("translation:size=few", *EXPERTS, "language_model", "alignment", steps=30)
    return runs


def test_the_row_without_text_is_reported_and_left_out(data):
    out, printed = data
    assert "train: 15 clips written" in printed
    assert "left out: empty text: 1 (a3340720)" in printed
    report = json.loads((out / "dataset.json").read_text())["report"]
    assert report["left_out"] == {"empty text": ["a3340720"]}


def test_pose_files_give_back_the_sentences_that_were_learnt(recorded, rows, runs):
    files = [recorded / "dgs" / row["pose"] for row in rows]
    printed = command("translate", f"--checkpoint={runs / 'translation'}", "--format=json", *files)
    records = [json.loads(line) for line in printed.splitlines()]
    assert [record["clip"] for record in records] == [str(file) for file in files]
    sentences = [record["sentence"] for record in records]
    score = bleu([row["text"] for row in rows], sentences)[-1]
    assert score.name == "BLEU-4"
    assert score.value >= 90, (score, sentences)
    # No expert reads fingerspelling here: its stream is absent, not empty.
    assert all(set(record["streams"]) == set(EXPERTS) for record in records)
    read = [[token["token"] for token in record["streams"]["signing"]] for record in records]
    right = sum(tokens == row["gloss"].split() for tokens, row in zip(read, rows, strict=True))
    assert right >= 14, read


def test_evaluate_scores_the_training_clips(data, runs):
    file = runs / "scores.json"
    command(
        "evaluate",
        f"--checkpoint={runs / 'lipreading'}",
        f"--data={data[0]}",
        "--split=train",
        f"--json={file}",
    )
    scores = json.loads(file.read_text())["scores"]
    # One clip has more phonemes than frames: it is not trained on, but it is scored.
    assert scores["n"] == 15
    assert scores["phoneme_error_rate"] <= 15
