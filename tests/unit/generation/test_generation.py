"""Generation against plain re-computation: greedy, beams, padding, batches."""

import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from signbind_jax import generation
from signbind_jax.errors import SignBindError
from signbind_jax.generation import GenerationConfig
from signbind_jax.generation.beam import beam_search
from tests.unit.models.tiny_decoder import tiny_decoder

# Made once with transformers 5.23.0 and torch 2.13.0: LlamaForCausalLM with the weights of
# `tiny_decoder(seed)`, `generate(inputs_embeds=..., num_beams=4, do_sample=False)`.
GOLDEN = Path(__file__).parents[2] / "golden" / "beams_of_transformers.json"
EOS, PAD = 1, 0
N, B, P = 6, 5, 6


@pytest.fixture(scope="module")
def decoder():
    return tiny_decoder(seed=4)


@pytest.fixture(scope="module")
def prefix_bpd():
    return jax.random.normal(jax.random.key(4), (B, P, 16))


ALL = jnp.ones((B, P), bool)
forward = nnx.jit(lambda decoder, *args: decoder(*args))


def generate(decoder, prefix_bpd, mask_bp, **options):
    """Options are fields of GenerationConfig, but for these."""
    ends = {"eos_id": EOS, "pad_id": PAD, "key": None}
    ends |= {name: options.pop(name) for name in ends.keys() & options.keys()}
    config = GenerationConfig(**({"max_new_tokens": N} | options))
    ids_bn, score_b = generation.generate(decoder, prefix_bpd, mask_bp, config, **ends)
    return np.asarray(ids_bn), np.asarray(score_b)


def sentence(ids_n, eos=(EOS,)) -> list[int]:
    """The ids up to and including the first ending."""
    end = next((i + 1 for i, token in enumerate(ids_n) if token in eos), len(ids_n))
    return [int(i) for i in ids_n[:end]]


@nnx.jit
def all_log_p(decoder, prefix_bpd, ids_bn):
    """Log-probabilities (b, n, v) before each of `ids_bn`, without any cache."""
    x_bld = jnp.concatenate([prefix_bpd, decoder.embed(ids_bn)], axis=1)
    logits_blv = decoder(x_bld, jnp.ones(x_bld.shape[:2], bool))
    return jax.nn.log_softmax(logits_blv[:, prefix_bpd.shape[1] - 1 : -1])


def score_of(decoder, prefix_bpd, rows, length_penalty=1.0):
    """The scores of sentences, one a row of `prefix_bpd`, from the full forward pass."""
    ids_bn = np.array([row + [PAD] * (N - len(row)) for row in rows])
    log_p_bnv = np.asarray(all_log_p(decoder, prefix_bpd, jnp.asarray(ids_bn)))
    return np.array(
        [
            sum(log_p_bnv[i, t, token] for t, token in enumerate(row)) / len(row) ** length_penalty
            for i, row in enumerate(rows)
        ]
    )


def test_greedy_takes_the_most_probable_token_of_the_full_forward_pass(decoder, prefix_bpd):
    ids_bn, score_b = generate(decoder, prefix_bpd, ALL)
    log_p_bnv = np.asarray(all_log_p(decoder, prefix_bpd, jnp.asarray(ids_bn)))
    rows = [sentence(ids_n) for ids_n in ids_bn]
    assert len({len(row) for row in rows}) > 1, "the rows should end at different places"
    for i, row in enumerate(rows):
        assert row == log_p_bnv[i].argmax(-1)[: len(row)].tolist()
        assert set(ids_bn[i, len(row) :]) <= {PAD}
    np.testing.assert_allclose(score_b, score_of(decoder, prefix_bpd, rows), atol=1e-5)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_beam_score_is_the_score_of_its_sentence(decoder, prefix_bpd, length_penalty):
    ids_bn, score_b = generate(decoder, prefix_bpd, ALL, beam_size=4, length_penalty=length_penalty)
    rows = [sentence(ids_n) for ids_n in ids_bn]
    assert all(set(ids_n[len(row) :]) <= {PAD} for ids_n, row in zip(ids_bn, rows, strict=True))
    expected_b = score_of(decoder, prefix_bpd, rows, length_penalty)
    np.testing.assert_allclose(score_b, expected_b, atol=1e-5)


def test_a_beam_of_one_is_greedy(decoder, prefix_bpd):
    search = jax.jit(
        lambda config: beam_search(
            decoder, prefix_bpd, ALL, jnp.array([EOS]), PAD, 1.0, config=config
        ),
        static_argnums=0,
    )
    ids_bn, score_b = search(GenerationConfig(max_new_tokens=N))
    greedy_ids_bn, greedy_score_b = generate(decoder, prefix_bpd, ALL)
    np.testing.assert_array_equal(ids_bn, greedy_ids_bn)
    np.testing.assert_allclose(score_b, greedy_score_b, atol=1e-5)


def repeats(row, n: int) -> bool:
    """Whether n tokens in a row stand in a sentence twice; n = 0: they do not matter."""
    runs = [tuple(row[i : i + n]) for i in range(len(row) - n + 1)] if n else []
    return len({*runs}) < len(runs)


@pytest.mark.parametrize("n", [1, 2])
def test_greedy_takes_the_most_probable_token_that_repeats_nothing(prefix_bpd, n):
    decoder, changed = tiny_decoder(vocab_size=5, seed=2), 0
    ids_bn, _ = generate(decoder, prefix_bpd, ALL, max_new_tokens=5, no_repeat_ngram_size=n)
    rows = [sentence(ids_n) for ids_n in ids_bn]
    padded_bn = np.array([row + [PAD] * (5 - len(row)) for row in rows])
    log_p_bnv = np.asarray(all_log_p(decoder, prefix_bpd, jnp.asarray(padded_bn)))
    for i, row in enumerate(rows):
        for t, token in enumerate(row):
            best = [int(x) for x in np.argsort(-log_p_bnv[i, t])]
            assert token == next(x for x in best if not repeats([*row[:t], x], n))
            changed += token != best[0]
    assert changed


@pytest.mark.parametrize(
    ("length_penalty", "n_once"), [(0.0, 0), (1.0, 0), (2.0, 0), (1.0, 1), (1.0, 2)]
)
def test_a_wide_enough_beam_finds_the_best_of_all_sentences(length_penalty, n_once):
    n, vocabulary = 3, 4
    decoder = tiny_decoder(vocab_size=vocabulary, seed=3)
    prefix_bpd = jax.random.normal(jax.random.key(8), (3, 4, 16))
    every = sorted({tuple(sentence(s)) for s in itertools.product(range(vocabulary), repeat=n)})
    every = [row for row in every if not repeats(row, n_once)]
    ids_bn, score_b = generate(
        decoder,
        prefix_bpd,
        jnp.ones((3, 4), bool),
        max_new_tokens=n,
        beam_size=len(every),
        length_penalty=length_penalty,
        no_repeat_ngram_size=n_once,
    )
    for i in range(3):
        prefix = jnp.tile(prefix_bpd[i : i + 1], (len(every), 1, 1))
        scores = score_of(decoder, prefix, [list(s) for s in every], length_penalty)
        assert tuple(sentence(ids_bn[i])) == every[scores.argmax()]
        np.testing.assert_allclose(score_b[i], scores.max(), atol=1e-5)


def test_beams_find_better_sentences_than_greedy(prefix_bpd):
    unsure = tiny_decoder(seed=5)
    _, greedy_b = generate(unsure, prefix_bpd, ALL, length_penalty=0.0)
    _, beam_b = generate(unsure, prefix_bpd, ALL, beam_size=4, length_penalty=0.0)
    assert np.all(beam_b >= greedy_b - 1e-5)
    assert beam_b.mean() > greedy_b.mean() + 0.01


@pytest.mark.parametrize("beam_size", [1, 4])
def test_padding_of_the_prefix_changes_nothing(decoder, prefix_bpd, beam_size):
    short_b3d = prefix_bpd[:, :3]
    results = []
    for places in ([0, 1, 2], [3, 4, 5], [0, 2, 5]):
        place_p = jnp.array(places)
        padded_bpd = jnp.full_like(prefix_bpd, 50.0).at[:, place_p].set(short_b3d)
        mask_bp = jnp.zeros((B, P), bool).at[:, place_p].set(True)
        results.append(generate(decoder, padded_bpd, mask_bp, beam_size=beam_size))
    rows = [sentence(ids_n) for ids_n in results[0][0]]
    unpadded_b = score_of(decoder, short_b3d, rows)
    for ids_bn, score_b in results:
        np.testing.assert_array_equal(ids_bn, results[0][0])
        np.testing.assert_allclose(score_b, unpadded_b, atol=1e-4)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_row_does_not_depend_on_its_neighbours(decoder, prefix_bpd, beam_size):
    together_bn, together_b = generate(decoder, prefix_bpd, ALL, beam_size=beam_size)
    for i in range(B):
        # Among fillers, so that nobody else keeps the loop running.
        mask_bp = jnp.zeros((B, P), bool).at[i].set(True)
        alone_bn, alone_b = generate(decoder, prefix_bpd, mask_bp, beam_size=beam_size)
        np.testing.assert_array_equal(alone_bn[i], together_bn[i])
        np.testing.assert_allclose(alone_b[i], together_b[i], atol=1e-5)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_filler_row_is_padding_with_score_zero(decoder, prefix_bpd, beam_size):
    mask_bp = ALL.at[2].set(False)
    ids_bn, score_b = generate(decoder, prefix_bpd, mask_bp, beam_size=beam_size)
    expected_bn, _ = generate(decoder, prefix_bpd, ALL, beam_size=beam_size)
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(ids_bn[others], expected_bn[others])
    assert set(ids_bn[2]) == {PAD} and score_b[2] == 0


@pytest.mark.parametrize("beam_size", [1, 4])
def test_any_of_several_endings_ends_a_sentence(decoder, prefix_bpd, beam_size):
    eos = (EOS, 2, 3)
    ids_bn, score_b = generate(decoder, prefix_bpd, ALL, eos_id=eos, beam_size=beam_size)
    rows = [sentence(ids_n, eos) for ids_n in ids_bn]
    assert len({row[-1] for row in rows} & set(eos)) > 1
    assert all(set(ids_n[len(row) :]) <= {PAD} for ids_n, row in zip(ids_bn, rows, strict=True))
    np.testing.assert_allclose(score_b, score_of(decoder, prefix_bpd, rows), atol=1e-5)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_one_new_token_is_enough(decoder, prefix_bpd, beam_size):
    ids_bn, _ = generate(decoder, prefix_bpd, ALL, max_new_tokens=1, beam_size=beam_size)
    expected_bn, _ = generate(decoder, prefix_bpd, ALL)
    np.testing.assert_array_equal(ids_bn, expected_bn[:, :1])


def test_generation_compiles_once_for_one_shape(decoder, prefix_bpd):
    generate(decoder, prefix_bpd, ALL)
    before = generation._generate._cache_size()
    changed = nnx.merge(*nnx.split(decoder))
    generate(changed, prefix_bpd + 1.0, ALL.at[:, 0].set(False), length_penalty=0.3)
    assert generation._generate._cache_size() == before


def test_logits_and_beams_equal_those_of_transformers():
    golden = json.loads(GOLDEN.read_text())
    for case in golden["cases"]:
        decoder = tiny_decoder(seed=case["seed"])
        prefix_bpd = jnp.asarray(
            np.random.default_rng(case["seed"]).normal(size=(B, P, 16)), jnp.float32
        )
        mask_bp = jnp.arange(P) >= jnp.array(golden["left_padding"])[:, None]
        logits_bv = forward(decoder, prefix_bpd, mask_bp)[:, -1]
        np.testing.assert_allclose(logits_bv, case["logits"], atol=1e-4)
        for beams in case["beams"]:
            ids_bn, score_b = generate(
                decoder, prefix_bpd, mask_bp, beam_size=4, length_penalty=beams["length_penalty"]
            )
            np.testing.assert_array_equal(ids_bn, beams["ids"], err_msg=str(case["seed"]))
            np.testing.assert_allclose(score_b, beams["scores"], atol=1e-3)


@pytest.mark.parametrize("option", [{"beam_size": 0}, {"max_new_tokens": 0}])
def test_impossible_sizes_are_refused(decoder, prefix_bpd, option):
    with pytest.raises(SignBindError, match=f"{next(iter(option))}: found 0, .* at least 1"):
        generate(decoder, prefix_bpd, ALL, **option)


def test_an_unknown_early_stopping_is_refused(decoder, prefix_bpd):
    with pytest.raises(
        SignBindError, match="early_stopping: found 'always', wanted one of False, True, 'never'"
    ):
        generate(decoder, prefix_bpd, ALL, beam_size=2, early_stopping="always")


class Bigrams(nnx.Module):
    """A language model that has nothing in common with `Decoder` but the protocol: a token's
    probability depends on the one before it alone."""

    def __init__(self, logits_vv):
        self.config = tiny_decoder().config
        self.table_vv = nnx.Param(logits_vv)

    def embed(self, ids_bl):
        return jax.nn.one_hot(ids_bl, len(self.table_vv))

    def prefill(self, x_bpd, mask_bp, capacity):
        return x_bpd[:, -1] @ self.table_vv[...], jnp.zeros(capacity)

    def step(self, x_bqd, cache, position_bq, mask_bqs):
        return x_bqd @ self.table_vv[...], cache

    def unstacked(self):
        return self


def test_any_model_with_the_protocol_is_searched_as_the_decoder_is():
    logits_vv = jax.random.normal(jax.random.key(2), (9, 9)) - 3.0 * (jnp.arange(9) == EOS)
    model = Bigrams(logits_vv)
    prefix_b1d = model.embed(jnp.arange(9)[:, None])
    chain = [int(i) for i in logits_vv.argmax(-1)]
    ids_bn, greedy_b = generate(model, prefix_b1d, jnp.ones((9, 1), bool), length_penalty=0.0)
    for first, ids_n in enumerate(ids_bn):
        expected = [first]
        for _ in range(N):
            expected.append(chain[expected[-1]])
        assert sentence(ids_n) == sentence(expected[1:])
    _, beam_b = generate(model, prefix_b1d, jnp.ones((9, 1), bool), beam_size=4, length_penalty=0.0)
    assert np.all(beam_b >= greedy_b - 1e-5) and beam_b.mean() > greedy_b.mean() + 0.01
