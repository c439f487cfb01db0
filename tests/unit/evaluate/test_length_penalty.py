"""A length penalty is chosen on one split, by the BLEU-4 that its sentences have there."""

import json

import pytest

from signbind_jax import cli
from signbind_jax.evaluate import evaluators
from tests.conftest import signbind


@pytest.fixture
def place(runs):
    data = [f"--data={runs / 'data'}", "--split=validation"]
    return [f"--checkpoint={runs / 'language_model'}", *data]


@pytest.fixture
def wordy(monkeypatch):
    """Sentences that are right with a penalty of 0.6, in the wrong case with 0.4, else too long."""

    def write(graphdef, params, tokenizer, clips, config):
        texts = [clip.text for clip in clips.labels]
        return {0.6: texts, 0.4: [text.upper() for text in texts]}.get(
            config.length_penalty, [f"{text} and so on and on" for text in texts]
        )

    monkeypatch.setattr(evaluators, "write_from_text", write)


def test_the_best_penalty_is_named_with_the_scores_of_all(place, wordy, tmp_path, capsys):
    out = tmp_path / "chosen.json"
    command = ["evaluate", *place, "--length_penalties=1,0.6,2", "--beam_size=4", f"--json={out}"]
    assert cli.main(command) == 0
    shown, record = capsys.readouterr().out, json.loads(out.read_text())
    assert "length_penalty 0.6      BLEU-4 100.00" in shown
    assert shown.rstrip().endswith("best: --length_penalty=0.6")
    assert list(record["bleu4"]) == ["1", "0.6", "2"] and record["length_penalty"] == 0.6
    assert record["bleu4"]["1"] == record["bleu4"]["2"] < 99
    assert record["generation"]["length_penalty"] == 0.6 and record["generation"]["beam_size"] == 4


def test_the_convention_decides_which_is_best(place, wordy, capsys):
    command = ["evaluate", *place, "--length_penalties=1,0.4", "--beam_size=4"]
    assert cli.main(command) == 0
    assert "best: --length_penalty=1" in capsys.readouterr().out
    assert cli.main([*command, "--convention=how2sign"]) == 0  # in lower case
    assert "best: --length_penalty=0.4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--length_penalties=1,x", "--beam_size=4"], 2, "found '1,x', wanted numbers with commas"),
        (["--length_penalties=1,9", "--beam_size=4"], 2, "at least -5 and at most 5"),
        (["--length_penalties=1,2"], 1, "decides nothing without beam_size above 1"),
        (
            ["--length_penalties=1,2", "--length_penalty=1"],
            1,
            "--length_penalty: found it beside --length_penalties",
        ),
    ],
)
def test_what_does_not_go_is_told(place, wordy, options, code, words):
    done = signbind("evaluate", *place, *options, check=False)
    assert done.returncode == code and words in done.stderr


def test_a_stage_without_sentences_is_refused(runs, capsys):
    command = ["evaluate", f"--checkpoint={runs / 'signing'}", f"--data={runs / 'data'}"]
    assert cli.main([*command, "--split=validation", "--length_penalties=1,2"]) == 1
    assert "generation.length_penalty: found it for" in capsys.readouterr().err
