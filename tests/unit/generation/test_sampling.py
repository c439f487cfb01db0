"""Sampling against exact enumeration of a tiny decoder and against transformers' warpers."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signbind_jax.errors import SignBindError
from signbind_jax.generation import GenerationConfig
from signbind_jax.generation.sampling import warp
from tests.unit.generation.test_generation import ALL, B, P, all_log_p, generate, score_of
from tests.unit.generation.test_generation import sentence as up_to_end
from tests.unit.models.tiny_decoder import tiny_decoder

GOLDEN = Path(__file__).parents[2] / "golden" / "generation.npz"
# As tests/golden/make_generation.py names them.
WARPERS = {
    "temperature": {"temperature": 0.7},
    "top_k": {"top_k": 5},
    "top_p": {"top_p": 0.8},
    "all": {"temperature": 1.7, "top_k": 12, "top_p": 0.6},
    "one": {"top_p": 0.0},
}
ROWS, NEW, VOCABULARY = 4096, 3, 4


def sampling(**options) -> dict:
    """Settings that draw from all tokens, but for what is asked for."""
    return {"do_sample": True, "top_k": 0} | options


@pytest.fixture(scope="module")
def decoder():
    return tiny_decoder(seed=4)


@pytest.fixture(scope="module")
def prefix_bpd():
    return jax.random.normal(jax.random.key(4), (B, P, 16))


@pytest.mark.parametrize("name", WARPERS)
def test_what_may_be_drawn_is_what_transformers_leaves(name):
    golden = np.load(GOLDEN)
    found = warp(jnp.asarray(golden["logits"]), GenerationConfig(**sampling(**WARPERS[name])))
    np.testing.assert_allclose(found, golden[f"warped/{name}"], rtol=1e-6)
    assert np.isfinite(found).any(axis=1).all()


def admitted(log_p_v, config: GenerationConfig):
    """Probabilities by the definition: tokens are let in, most probable first, until the rule
    says stop."""
    p_v = np.exp(np.float64(log_p_v) / config.temperature)
    order = np.argsort(-p_v)[: config.top_k or None]
    p_v = np.where(np.isin(np.arange(len(p_v)), order), p_v, 0.0)
    p_v /= p_v.sum()
    inside = []
    for token in order:
        inside.append(token)
        if p_v[inside].sum() >= config.top_p:
            break
    p_v = np.where(np.isin(np.arange(len(p_v)), inside), p_v, 0.0)
    return p_v / p_v.sum()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 3.0},
        {"top_k": 2},
        {"top_p": 0.75},
        {"temperature": 1.5, "top_k": 3, "top_p": 0.8},
    ],
    ids=str,
)
def test_sentences_are_as_frequent_as_they_are_probable(options):
    options = sampling(**options)
    decoder = tiny_decoder(vocab_size=VOCABULARY, seed=3)
    prefix_1pd = jax.random.normal(jax.random.key(8), (1, 4, 16))
    every = list(itertools.product(range(VOCABULARY), repeat=NEW))
    log_p_bnv = np.asarray(
        all_log_p(decoder, jnp.tile(prefix_1pd, (len(every), 1, 1)), jnp.array(every))
    )
    expected = {}
    for row, log_p_nv in zip(every, log_p_bnv, strict=True):
        ended = tuple(up_to_end(row))
        p = [
            admitted(log_p_v, GenerationConfig(**options))[token]
            for token, log_p_v in zip(ended, log_p_nv)
        ]
        expected[ended] = np.prod(p)
    ids_bn, _ = generate(
        decoder,
        jnp.tile(prefix_1pd, (ROWS, 1, 1)),
        jnp.ones((ROWS, 4), bool),
        max_new_tokens=NEW,
        key=jax.random.key(1),
        **options,
    )
    drawn = [tuple(up_to_end(ids_n)) for ids_n in ids_bn]
    assert np.isclose(sum(expected.values()), 1.0)
    for row, p in expected.items():
        # Five standard deviations of a relative frequency; what is impossible never comes.
        bound = 5 * np.sqrt(p * (1 - p) / ROWS)
        assert abs(drawn.count(row) / ROWS - p) <= bound, row


@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_p": 0.0}, {"temperature": 1e-4}])
def test_a_draw_from_one_token_is_greedy(decoder, prefix_bpd, options):
    ids_bn, score_b = generate(decoder, prefix_bpd, ALL, **sampling(**options))
    greedy_ids_bn, greedy_score_b = generate(decoder, prefix_bpd, ALL)
    np.testing.assert_array_equal(ids_bn, greedy_ids_bn)
    np.testing.assert_allclose(score_b, greedy_score_b, atol=1e-5)


def test_a_sample_depends_on_its_own_key_alone(decoder, prefix_bpd):
    key_b = jax.random.split(jax.random.key(7), B)
    options = sampling(temperature=2.0)
    together_bn, score_b = generate(decoder, prefix_bpd, ALL, key=key_b, **options)
    others_bn, _ = generate(decoder, prefix_bpd, ALL, key=key_b[::-1], **options)
    assert not np.array_equal(together_bn, others_bn)
    order = np.array([3, 1])
    pair_bn, pair_score_b = generate(
        decoder, prefix_bpd[order], ALL[order], key=key_b[order], **options
    )
    np.testing.assert_array_equal(pair_bn, together_bn[order])
    np.testing.assert_allclose(pair_score_b, score_b[order], atol=1e-5)
    rows = [up_to_end(ids_n) for ids_n in together_bn]
    np.testing.assert_allclose(score_b, score_of(decoder, prefix_bpd, rows), atol=1e-5)


def test_rows_of_one_seed_differ_and_a_seed_repeats_them(decoder, prefix_bpd):
    same_bpd = jnp.tile(prefix_bpd[:1], (B, 1, 1))
    options = sampling(temperature=2.0, seed=3)
    ids_bn, _ = generate(decoder, same_bpd, ALL, **options)
    assert len({tuple(ids_n) for ids_n in ids_bn}) > 1
    again_bn, _ = generate(decoder, same_bpd, ALL, **options)
    np.testing.assert_array_equal(again_bn, ids_bn)
    other_bn, _ = generate(decoder, same_bpd, ALL, **options | {"seed": 4})
    assert not np.array_equal(other_bn, ids_bn)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperature": 0.0}, "temperature: found 0.0, wanted a number, at least 0.0001"),
        ({"temperature": float("nan")}, "temperature: found nan"),
        ({"top_k": -1}, "top_k: found -1, wanted a whole number"),
        ({"top_k": 0.5}, "top_k: found 0.5, wanted a whole number"),
        ({"top_p": 1.1}, "top_p: found 1.1, wanted a number, at least 0 and at most 1"),
        ({"beam_size": 2}, r"beam_size: found 2, wanted 1 where tokens are drawn \(do_sample"),
        ({"do_sample": False, "top_p": 0.9}, "top_p: found 0.9, wanted 1.0, or do_sample=True"),
    ],
)
def test_wrong_values_are_refused(options, said):
    with pytest.raises(SignBindError, match=said):
        GenerationConfig(**{"do_sample": True} | options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"key": jax.random.key(0)}, "key: found one, wanted none without do_sample"),
        (sampling(key=jax.random.split(jax.random.key(0), 3)), r"key: found shape \(3,\)"),
    ],
)
def test_what_does_not_go_together_is_refused(decoder, prefix_bpd, options, said):
    with pytest.raises(SignBindError, match=said):
        generate(decoder, prefix_bpd, ALL, **options)
