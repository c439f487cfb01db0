"""The fingerspelling expert on the 26 recorded letters and on words joined from them.

Joined words are synthetic: nobody signed them, and the words scored here are new only in
their order of letters, not in the recordings they are made from.
"""

import json

import pytest

from tests.recorded.in_process import command

TEST_WORDS = 60


@pytest.fixture(scope="module")
def scores(recorded, tmp_path_factory):
    """Split -> scores of the expert, trained as docs/use/translate_your_recordings.md says, for
    fewer steps."""
    root = tmp_path_factory.mktemp("letters")
    data, run = root / "data", root / "fingerspelling"
    command(
        "data",
        "build",
        "joined_letters",
        f"--source={recorded / 'fingerspelling_ase'}",
        f"--out={data}",
        f"--test={TEST_WORDS}",
    )
    command(
        "train",
        "--config=fingerspelling:size=few",
        f"--workdir={run}",
        f"--config.data.directory={data}",
        "--config.data.validation=letters",
        "--config.steps=300",
    )
    scores = {}
    for split in ("letters", "test"):
        file = root / f"{split}.json"
        command(
            "evaluate",
            f"--checkpoint={run}",
            f"--data={data}",
            f"--split={split}",
            f"--json={file}",
        )
        scores[split] = json.loads(file.read_text())["scores"]
    return scores


def test_the_recorded_letters_are_read(scores):
    assert scores["letters"]["n"] == 26
    assert scores["letters"]["letter_accuracy"] >= 95, scores["letters"]


def test_joined_words_that_were_not_trained_on_are_read(scores):
    assert scores["test"]["n"] == TEST_WORDS
    assert scores["test"]["letter_accuracy"] >= 95, scores["test"]
