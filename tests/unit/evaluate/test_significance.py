"""Two systems on the same clips: `signbind score --against` says whether they differ by more than
chance, as sacrebleu does."""

import argparse
import json
import random

import pytest
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest

from signbind_jax.errors import SignBindError
from signbind_jax.evaluate import score
from signbind_jax.metrics.resampling import bytes_needed

N = 40
WORDS = ["anna", "cuts", "the", "small", "red", "paper", "and", "then", "holds", "it", "up", "now"]


def written(seed: int, wrong: float, references: list[str]) -> list[str]:
    """References with a share of their words taken for others."""
    random_ = random.Random(seed)
    return [
        " ".join(random_.choice(WORDS) if random_.random() < wrong else w for w in line.split())
        for line in references
    ]


REFERENCES = written(0, 1.0, [" ".join(WORDS[: 5 + i % 8]) for i in range(N)])
GOOD, WEAK, ALIKE = (written(i, wrong, REFERENCES) for i, wrong in enumerate((0.1, 0.4, 0.1), 1))


@pytest.fixture
def run(tmp_path, capsys):
    def call(hypotheses, against, *options, references=REFERENCES, **more):
        sides = {"references": references, "hypotheses": hypotheses, "against": against, **more}
        arguments = list(options)
        for name, lines in sides.items():
            path = tmp_path / f"{name}.txt"
            path.write_text("".join(f"{line}\n" for line in lines))
            arguments.append(f"--{name}={path}")
        parser = argparse.ArgumentParser()
        score.add_arguments(parser)
        assert score.run(parser.parse_args(arguments)) == 0
        return capsys.readouterr().out

    return call


@pytest.mark.parametrize("samples", [1000, 200])
def test_the_test_is_that_of_sacrebleu(run, samples):
    options = "--convention=unisign", "--json", f"--resamples={samples}"
    rows = {row["name"]: row for row in json.loads(run(GOOD, ALIKE, *options))["scores"]}
    metrics = {"BLEU": BLEU(), "chrF2": CHRF()}
    systems = [("base", ALIKE), ("system", GOOD)]
    _, found = PairedTest(systems, metrics, [REFERENCES], "bs", n_samples=samples)()
    for name, own in (("BLEU", "BLEU-4"), ("chrF2", "chrF")):
        row, (base, system) = rows[own], found[name]
        assert (row["value"], row["against"]) == (system.score, base.score)
        test = row["paired_bootstrap"]
        assert test["p_value"] == system.p_value
        assert (test["system"]["mean"], test["system"]["half"]) == (system.mean, system.ci)
        assert (test["baseline"]["mean"], test["baseline"]["half"]) == (base.mean, base.ci)
        assert test["signature"].startswith(f"bs:{samples}|seed:12345|version:2.")


@pytest.mark.parametrize("convention", ["all", "letters", "wer", "per"])
def test_every_score_is_tested_or_named_as_not_tested(run, convention):
    given = f"--convention={convention}", "--resamples=100"
    rows = json.loads(run(GOOD, WEAK, *given, "--json"))["scores"]
    without = [row["name"] for row in rows if row["paired_bootstrap"] is None]
    assert without == (["exchanged BLEU-4"] if convention == "all" else [])
    for row in rows:
        for value, side in ((row["value"], "system"), (row["against"], "baseline")):
            if (test := row["paired_bootstrap"]) is not None:
                assert abs(test[side]["mean"] - value) < test[side]["half"]
                assert test["p_value"] < 0.05
    table = run(GOOD, WEAK, *given)
    told = "not tested, as they are not computed for other sentences: bobsl exchanged BLEU-4\n"
    assert table.endswith(told if without else "mean +- 95 %\n")


def test_alike_systems_differ_by_chance_alone(run):
    options = "--convention=phoenix", "--json", "--resamples=300"
    for row in json.loads(run(GOOD, ALIKE, *options))["scores"]:
        assert row["paired_bootstrap"]["p_value"] > 0.05
    for row in json.loads(run(GOOD, GOOD, *options))["scores"]:
        assert row["value"] == row["against"] and row["paired_bootstrap"]["p_value"] == 1


def test_names_are_tested_where_enough_clips_have_some(run):
    names = ["anna" if "anna" in line else "" for line in REFERENCES]
    options = "--convention=wer", "--json", "--resamples=100"
    few = json.loads(run(GOOD, WEAK, *options, names=names))["scores"][-1]
    assert few["name"] == "name recall" and few["paired_bootstrap"] is None
    references, names = [f"{line} anna" for line in REFERENCES], ["anna"] * N
    hypotheses = [f"{line} anna" for line in GOOD]
    many = json.loads(run(hypotheses, WEAK, *options, references=references, names=names))
    row = many["scores"][-1]
    assert row["value"] == 100 and row["paired_bootstrap"]["baseline"]["mean"] < 60


def test_what_cannot_be_compared_is_refused_in_a_line(run, tmp_path):
    with pytest.raises(SignBindError, match=r"against.txt: found 39 lines, wanted 40 as in"):
        run(GOOD, WEAK[1:])
    with pytest.raises(SystemExit):
        run(GOOD, WEAK, "--resamples=99")
    assert bytes_needed(N, 100_000) < 2**32 < bytes_needed(460, 100_000)
    with pytest.raises(SignBindError, match=r"--resamples: found 100,000 of 460 sentences, which"):
        run(["a"] * 460, ["a"] * 460, "--resamples=100000", references=["a"] * 460)
