"""What becomes of clips without a CTC target, as where nobody labelled them, behind the experts."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signbind_jax.config import load_config
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.errors import SignBindError
from signbind_jax.sources import open_source
from signbind_jax.stages.fusion import ctc_sums
from tests.audit_datasets import clean_clips, write
from tests.plans import drawn


@pytest.fixture
def source(runs, monkeypatch):
    """Opens a stage behind the experts on clips of which the last, 3, has no fusion target."""
    targets = ClipDataset.targets.func

    def without(dataset):
        *others, last = targets(dataset)
        return [*others, last | {"fusion_targets": ()}]

    monkeypatch.setattr(ClipDataset, "targets", property(without))

    def open_stage(stage, keep_empty):
        given = {f"parents.{name}": str(runs / name) for name in ("signing", "language_model")}
        given |= {"data.directory": str(runs / "data"), "data.keep_empty": keep_empty}
        if stage == "alignment":
            given["parents.fusion"] = str(runs / "fusion")
        return open_source(load_config(f"{stage}:size=tiny", given))

    return open_stage


def test_fingerspelling_is_refused_where_nobody_says_what_is_spelled(tmp_path):
    """It would learn blanks."""
    clips = clean_clips({"train": 3})
    clips["train"] = [replace(clip, spelled=()) for clip in clips["train"]]
    data = write(tmp_path / "data", clips)
    with pytest.raises(SignBindError, match="no letters label, wanted some to train fingerspell"):
        open_source(load_config("fingerspelling:size=tiny", {"data.directory": str(data)}))


def test_fusion_leaves_them_out_as_experts_do_and_tells_it(source):
    kept, left_out = source("fusion", "1"), source("fusion", "0")
    assert drawn(kept) == {3, *drawn(left_out)} and 3 not in drawn(left_out)
    told = "1 of 1 clips with an empty target left out (data.keep_empty)"
    assert told in left_out.notes and told not in kept.notes


def test_alignment_learns_their_sentences(source):
    assert 3 in drawn(source("alignment", "0"))


def test_their_weight_in_the_ctc_loss_behind_fusion_is_the_share_that_is_kept():
    log_probs_bsv = jax.nn.log_softmax(jnp.array(np.random.default_rng(0).normal(size=(2, 6, 4))))
    mask_bm = jnp.ones((2, 3), bool)

    def loss(lengths, keep_empty):
        batch = SimpleNamespace(
            target_bn=jnp.array([[1, 2], [3, 0]]) * (jnp.arange(2) < jnp.array(lengths)[:, None]),
            target_length_b=jnp.array(lengths),
            valid_b=jnp.ones(2, bool),
        )
        return float(ctc_sums(log_probs_bsv, mask_bm, batch, keep_empty)[0])

    assert loss([2, 1], 0.0) == loss([2, 1], 1.0)
    whole, without = loss([2, 0], 1.0), loss([2, 0], 0.0)
    assert whole > without > 0
    assert loss([2, 0], 0.25) == pytest.approx(without + 0.25 * (whole - without), rel=1e-5)
