"""A few clips of the validation split are shown at every evaluation."""

import json

from signbind_jax.evaluate.evaluation import ClipOutput, Evaluation
from signbind_jax.train.loop import train
from signbind_jax.train.metric_lines import record_of
from signbind_jax.train.metric_log import MetricLog
from tests.unit.train.test_train_metrics import tiny


def lines(path):
    return [record_of(line) for line in path.read_bytes().splitlines()]


def test_each_evaluation_prints_and_writes_the_same_few_clips(synthetic, tmp_path, capsys):
    overrides = {"data.validation": "validation", "evaluate_every": "2", "log_every": "0"}
    train(tiny(synthetic, "signing", steps="4", **overrides), tmp_path, announce=str)
    records, printed = lines(tmp_path / "samples.jsonl"), capsys.readouterr().out
    assert [r["step"] for r in records] == [2] * 4 + [4] * 4
    first, last = records[:4], records[4:]
    assert [r["clip"] for r in first] == [r["clip"] for r in last]
    assert all(r["reference"] and r["kind"] == "validation" for r in records)
    assert all(f"reference   {r['reference']}\n" in printed for r in records)
    assert "signing: step 2, validation: gloss_wer " in printed


def test_samples_are_spread_over_a_split_of_any_size():
    def chosen(n):
        outputs = [ClipOutput(str(i), "", "") for i in range(n)]
        return [sample.clip for sample in Evaluation({}, {}, outputs).samples]

    assert chosen(0) == [] and chosen(2) == ["0", "1"]
    assert chosen(100) == ["0", "25", "50", "75"]


def test_a_sample_stands_on_one_line():
    (sample,) = Evaluation({}, {}, [ClipOutput("a", "one\ntwo", " three ")]).samples
    assert sample == ("a", "one two", "three")


def test_samples_past_the_step_a_run_goes_on_from_are_cut_off(tmp_path):
    log = MetricLog(tmp_path, run="a")
    for step in (2, 4):
        log.write_samples(step, "validation", [ClipOutput("clip", "a", "b")])
    log.close()
    MetricLog(tmp_path, 2, "a").close()
    (line,) = (tmp_path / "samples.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == 2
