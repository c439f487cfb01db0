"""How much room the text of alignment's and translation's batches gets."""

import numpy as np

from signbind_jax.data.data_config import DataConfig
from signbind_jax.data.sentences import Sentences
from signbind_jax.data.training_plan import training_plan
from signbind_jax.sources.translation import rooms


def test_a_long_sentence_makes_no_room_in_the_rows_of_short_ones():
    rng = np.random.default_rng(0)
    texts = rng.integers(5, 12, 400)
    texts[7] = 60  # of a clip in which as little was read as in the others
    tokens = texts * 3 % 40 + 1
    tokens[:3] = 0
    lengths = rooms(tokens, texts)
    assert not lengths[:3].any(), "clips without a token are not drawn"
    assert (lengths >= tokens).all()
    sentences = Sentences(lengths, None, [()] * 400, [(1,)] * 400, [[1] * n for n in texts])
    plan = training_plan(lengths, DataConfig(frames_per_batch=512, n_buckets=4), 0, multiple=4)
    capacities = sentences.capacities(plan.buckets)
    places = 0
    for i in range(plan.steps_per_epoch):
        step = plan.step(i)
        own = step.ids[:, 0][step.ids[:, 0] >= 0]
        room = capacities[step.bucket_length][2]
        assert (texts[own] <= room).all()
        places += room * len(own)
    assert places < 2 * texts[3:].sum()
