"""Gradient accumulation: a batch in slices trains as the whole batch does."""

import numpy as np
import pytest

from signbind_jax.config import load_config
from signbind_jax.errors import SignBindError
from signbind_jax.train.loop import train


def losses(synthetic, workdir, **values):
    overrides = {
        "data.directory": str(synthetic),
        "data.validation": "",
        "steps": "6",
        "data.batch_multiple": "4",
        "model.dropout": "0.0",
        "checkpoint_every": "0",
    } | values
    return train(load_config("signing:size=tiny", overrides), workdir, announce=str).losses


def test_slices_of_a_batch_train_as_the_whole(synthetic, tmp_path):
    whole = losses(synthetic, tmp_path / "whole")
    sliced = losses(synthetic, tmp_path / "sliced", **{"optim.accumulate": "4"})
    assert len(whole) == 6 and whole[0] != whole[-1]
    np.testing.assert_allclose(sliced, whole, rtol=1e-5)


def test_rows_that_do_not_divide_into_slices_are_refused_before_compiling(synthetic, tmp_path):
    with pytest.raises(SignBindError, match="config.optim.accumulate: found 3"):
        losses(synthetic, tmp_path, **{"optim.accumulate": "3", "data.batch_multiple": "4"})
