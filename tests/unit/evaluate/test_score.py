"""`signbind score` as a user meets it: files in, a table or JSON out, one-line errors."""

import argparse
import json
import math
import os
import re
from pathlib import Path

import pytest

from signbind_jax.errors import SignBindError
from signbind_jax.evaluate import score

DOCS = Path(__file__).parents[3] / "docs" / "use" / "score_translations.md"


@pytest.fixture
def run(tmp_path, capsys):
    """Writes texts (str or bytes) to files and runs the command on them; returns its output."""

    def call(references, hypotheses, *options, **files):
        files = {"references": references, "hypotheses": hypotheses, **files}
        arguments = list(options)
        for name, content in files.items():
            path = tmp_path / f"{name}.txt"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            arguments.append(f"--{name}={path}")
        parser = argparse.ArgumentParser()
        score.add_arguments(parser)
        assert score.run(parser.parse_args(arguments)) == 0
        return capsys.readouterr().out

    return call


def test_all_holds_the_translation_conventions_with_signatures(run):
    rows = json.loads(run("Hi there you two!\n", "Hi there you two!\n", "--json"))["scores"]
    assert {row["convention"] for row in rows} == {
        "unisign",
        "how2sign",
        "phoenix",
        "csl_daily",
        "bobsl",
    }
    assert all(row["signature"] for row in rows)


def test_letters_are_offered_with_both_costs(run):
    rows = json.loads(run("mab\n", "cdm\n", "--convention=letters", "--json"))["scores"]
    assert {row["name"]: row["value"] for row in rows} == pytest.approx(
        {"letter accuracy (unit costs)": 0, "letter accuracy (htk costs)": -100 / 3}
    )


def test_names_add_their_recall(run):
    out = run(
        "We met Anna.\nBen left.\n",
        "We met Ana.\nBen left.\n",
        "--convention=phoenix",
        names="anna\nben\n",
    )
    assert re.search(r"name recall +50\.00 .*judged:2/2", out)


def test_a_given_word_list_makes_it_rbleu(run):
    texts = "the red house stands on a green hill\n"
    rows = run(texts, texts, "--convention=how2sign", rbleu_words="the\non\na\n")
    assert re.search(r" rBLEU-4 +100\.00 .*words:file\(3,", rows)
    assert re.search(r" reduced BLEU-4 +100\.00 ", run(texts, texts, "--convention=how2sign"))


def test_windows_files_and_odd_characters_stay_parallel(run):
    references = "\ufeffone\u2028line here now\r\ntwo lines here now\r\n"
    rows = json.loads(
        run(references, "one line here now\ntwo lines here now", "--json", "--convention=phoenix")
    )
    assert rows["sentences"] == 2
    assert rows["scores"][3]["value"] == pytest.approx(100)


def test_an_empty_hypothesis_line_is_an_empty_translation(run):
    assert "50.00" in run("a b\nc d\n", "a b\n\n", "--convention=wer")


@pytest.mark.parametrize(
    ("references", "hypotheses", "message"),
    [
        ("a\nb\n", "a\n", r"hypotheses.txt: found 1 lines, wanted 2 as in .*references.txt"),
        ("a\n \nc\n", "a\nb\nc\n", r"references.txt, line 2: found an empty reference"),
        ("", "", r"references.txt: found no lines"),
        ("a\nb\n", b"a\nb \xff\n", r"hypotheses.txt, line 2: found byte 0xff at column 3.*UTF-8"),
    ],
)
def test_files_that_cannot_be_scored_are_named_in_one_line(run, references, hypotheses, message):
    with pytest.raises(SignBindError, match=message) as error:
        run(references, hypotheses)
    assert "\n" not in str(error.value)


def test_lines_that_would_take_minutes_are_named(run):
    limit = 10_000
    with pytest.raises(SignBindError, match=r"hypotheses.txt, line 2: found 10,001 characters"):
        run("a\nb\n", "a\n" + "b" * (limit + 1) + "\n")
    many = ("a" * limit + "\n") * 6
    with pytest.raises(SignBindError, match=r"line 6: found 600,000,000 pairs of letters up to"):
        run(many, many, "--convention=letters")
    stops = "." * (limit - 1) + "\n"
    with pytest.raises(SignBindError, match=r"line 1: found 100,000,000 pairs of parts between"):
        run(stops, stops, "--convention=unisign")


def test_lines_of_nothing_but_names_are_named(run):
    with pytest.raises(SignBindError, match=r"names.txt, line 1: found 101 names, wanted at most"):
        run("a\n", "a\n", "--convention=phoenix", names="a " * 101)


@pytest.mark.parametrize("convention", ["all", "letters", "wer", "per"])
@pytest.mark.parametrize(
    "pair", [("a", "\n"), (".", "."), ("\0\x1b", "\0"), ("\u2026", "a b"), ("a " * 999, "a " * 999)]
)
def test_odd_sentences_have_finite_scores(run, convention, pair):
    rows = json.loads(run(*pair, "--json", f"--convention={convention}"))["scores"]
    values = [row["value"] for row in rows if row["value"] is not None]
    assert values and all(math.isfinite(value) for value in values)


def test_a_file_that_is_none_is_not_waited_for(run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SignBindError, match=r"pipe: found a named pipe, wanted a file"):
        run("a\n", "a\n", f"--rbleu_words={tmp_path / 'pipe'}")


def test_a_missing_file_is_named(run, tmp_path):
    with pytest.raises(SignBindError, match=r"nowhere.txt: cannot be read: No such file"):
        run("a\n", "a\n", f"--rbleu_words={tmp_path / 'nowhere.txt'}")


def test_the_example_in_the_docs_prints_what_the_docs_say(run):
    docs = DOCS.read_text(encoding="utf-8")
    references, hypotheses = re.findall(r"```text\n(.*?)```", docs, re.DOTALL)
    rows = json.loads(run(references, hypotheses, "--json"))["scores"]
    printed = {(row["convention"], row["name"]): f"{row['value']:.2f}" for row in rows}
    told = re.findall(r"^\| (\w+) \| ([^|]+) \| ([\d.]+) \|", docs, re.MULTILINE)
    assert len(told) >= 5
    assert {(name, metric): value for name, metric, value in told}.items() <= printed.items()
    letters = json.loads(run(references, hypotheses, "--convention=letters", "--json"))["scores"]
    sentence = "is {:.2f} with unit costs and {:.2f} with HTK's"
    assert sentence.format(*(row["value"] for row in letters)) in " ".join(docs.split())


def test_training_text_adds_the_recall_of_names_in_the_text(run, tmp_path):
    known = tmp_path / "train.txt"
    known.write_text("we met her\n")
    given = f"--training_text={known}", "--convention=wer", "--json"
    found = json.loads(run("We met Anna.\nWe met Bo.\n", "we met anna\nwe met\n", *given))
    (score,) = [score for score in found["scores"] if score["convention"] == "names"]
    assert (score["name"], score["value"]) == ("text name recall", 50.0)
    assert "judged:2|known:3" in score["signature"]
