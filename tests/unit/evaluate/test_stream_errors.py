"""A stage behind the experts says how wrong its streams are, and warns of those not to trust."""

import json

import numpy as np
import pytest

from signbind_jax import cli
from signbind_jax.config import load_config
from signbind_jax.evaluate.stream_errors import spread, trusted_too_much
from signbind_jax.metrics.sequence import ErrorCounts
from signbind_jax.sources import open_source
from tests.unit.stages.test_stages import source_of


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Forty clips a split; the stream `signing` is right in training, and half wrong elsewhere."""
    tree = tmp_path_factory.mktemp("data")
    lines = []
    for split, second in (("train", "COME"), ("validation", "ANNA")):
        rows = [["ANNA", 0, 9], [second, 10, 19]]
        given = {"split": split, "text": "Anna came.", "fps": 25, "n_frames": 20}
        given |= {"streams": {"signing": rows, "mouth": rows}}
        lines += [{"id": f"{split}{i}", **given, "gloss": ["ANNA", "COME"]} for i in range(40)]
    (tree / "lines.jsonl").write_text("\n".join(map(json.dumps, lines)))
    build = ["data", "build", "streams", f"--source={tree / 'lines.jsonl'}"]
    assert cli.main([*build, f"--out={tree / 'data'}", "--text_language=en"]) == 0
    return tree / "data"


def notes_of(data, **overrides) -> str:
    given = {"data.directory": str(data), "data.streams": "signing,mouth"} | overrides
    return "\n".join(open_source(load_config("fusion:size=tiny", given)).notes)


def test_streams_that_are_right_on_training_clips_alone_are_warned_of(data):
    told = notes_of(data)
    wanted = "stream signing: 0.0 % wrong on train, 50.0 % wrong on validation, by the labels of"
    assert f"{wanted} gloss" in told
    assert "warning: stream signing is over 1.3 times as wrong on validation as on train" in told
    noise = "--config.augment.drop.signing=0.000 --config.augment.substitute.signing=0.500"
    assert noise in told
    assert "mouth" not in told  # nobody says what the mouth said


def test_without_other_clips_training_stands_alone(data):
    for split in ("train", ""):
        told = notes_of(data, **{"data.validation": split})
        assert "stream signing: 0.0 % wrong on train, by" in told and "warning" not in told


def test_derived_targets_are_called_so(runs):
    (line,) = [note for note in source_of(runs, "fusion").notes if "stream signing" in note]
    assert "% wrong on train, " in line and line.endswith("by the labels of gloss")


@pytest.mark.parametrize(
    ("trained_on", "unseen", "warned"),
    [(10, 12, False), (10, 30, True), (0, 3, False), (0, 6, True), (30, 10, False)],
)
def test_a_warning_takes_more_than_chance(trained_on, unseen, warned):
    assert trusted_too_much(ErrorCounts(trained_on, 0, 0, 100), ErrorCounts(0, unseen, 0, 100)) == (
        warned
    )


def test_of_a_large_split_some_clips_are_compared():
    chosen = np.flatnonzero(spread(10_001, 100))
    assert len(chosen) == 100 and chosen[0] == 0 and set(np.diff(chosen)) == {100}
    assert spread(3, 100).all() and not spread(0, 100).size
