"""What configs for real corpora assume, against the released rows of How2Sign."""

import csv

import numpy as np
import pytest

from signbind_jax import ctc
from signbind_jax.config import from_mapping, load_config
from signbind_jax.data.labels import phonemes, pseudo_glosses
from signbind_jax.models.expert import ExpertConfig
from signbind_jax.stages.expert import impossible_clips

TARGETS = {
    "signing": lambda text: pseudo_glosses(text, "en"),
    "lipreading": lambda text: phonemes(text, "en")[0],
}


@pytest.fixture(scope="module")
def rows(recorded):
    path = recorded / "how2sign_rows" / "how2sign_realigned_test_first40.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.mark.parametrize("size", ["base", "large"])
@pytest.mark.parametrize("stage", sorted(TARGETS))
def test_experts_of_how2sign_start_without_a_refusal(rows, stage, size):
    config = load_config(f"{stage}:size={size},corpus=how2sign")
    model = from_mapping(ExpertConfig, {"frontend": "pose"} | config.model | {"n_tokens": 2})
    seconds = [float(row["END_REALIGNED"]) - float(row["START_REALIGNED"]) for row in rows]
    needed = [ctc.min_steps(TARGETS[stage](row["SENTENCE"])) for row in rows]
    frames = np.floor(24 * np.array(seconds)).astype(int)
    assert impossible_clips(needed, frames, model).mean() <= config.data.max_impossible
