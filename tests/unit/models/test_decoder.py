"""The decoder: causality, padding, the KV cache, dtypes, gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from signbind_jax.errors import SignBindError
from signbind_jax.models.llm import attention
from tests.unit.models.tiny_decoder import CONFIG, tiny_decoder

forward = nnx.jit(lambda decoder, *args, **kwargs: decoder(*args, **kwargs))
prefill = nnx.jit(lambda decoder, *args: decoder.prefill(*args, capacity=8))
step = nnx.jit(lambda decoder, *args: decoder.step(*args))


@pytest.fixture(scope="module")
def decoder():
    return tiny_decoder()


@pytest.fixture(scope="module")
def x_bld():
    return jax.random.normal(jax.random.key(7), (2, 7, CONFIG.d_model))


ALL = jnp.ones((2, 7), bool)


def mask_of(*rows: str):
    return jnp.array([[c == "1" for c in row] for row in rows])


def test_a_place_sees_its_past_and_not_its_future(decoder, x_bld):
    changed_bld = x_bld.at[:, 3].add(1.0)
    change_blv = jnp.abs(forward(decoder, x_bld, ALL) - forward(decoder, changed_bld, ALL))
    assert np.all(change_blv.max((0, 2))[:3] == 0)
    assert np.all(change_blv.max((0, 2))[3:] > 1e-3)


def test_order_of_the_past_matters(decoder, x_bld):
    swapped_bld = x_bld[:, jnp.array([1, 0, 2, 3, 4, 5, 6])]
    difference = forward(decoder, x_bld, ALL) - forward(decoder, swapped_bld, ALL)
    assert jnp.abs(difference[:, -1]).max() > 1e-3


@pytest.mark.parametrize("mask", ["0011111", "1111100", "0110111"])
def test_padding_anywhere_changes_nothing(decoder, x_bld, mask):
    mask_bl = mask_of(mask, mask)
    place_r = np.flatnonzero(mask_bl[0])
    n = len(place_r)
    # Padded places hold large numbers, not zeros, so that a leak would show.
    padded_bld = jnp.full_like(x_bld, 50.0).at[:, place_r].set(x_bld[:, :n])
    plain_blv = forward(decoder, x_bld, ALL)
    padded_blv = forward(decoder, padded_bld, mask_bl)
    np.testing.assert_allclose(padded_blv[:, place_r], plain_blv[:, :n], atol=1e-5)


def test_only_differences_of_positions_count(decoder, x_bld, monkeypatch):
    def at(position_bl):
        monkeypatch.setattr("signbind_jax.models.llm.decoder.positions", lambda _: position_bl)
        return nnx.jit(lambda decoder: decoder(x_bld, ALL))(decoder)

    position_bl = jnp.tile(jnp.arange(7), (2, 1))
    plain_blv, shifted_blv, stretched_blv = map(at, (position_bl, position_bl + 9, position_bl * 3))
    np.testing.assert_allclose(shifted_blv, plain_blv, atol=1e-4)
    assert jnp.abs(stretched_blv - plain_blv).max() > 1e-3


@pytest.mark.parametrize("mask", ["1111", "0011", "1100"])
def test_cached_steps_equal_the_full_forward_pass(decoder, x_bld, mask):
    mask_bp = mask_of(mask, "1111")
    see_prefix_bu = jnp.pad(mask_bp, ((0, 0), (0, 4)))
    n_real_b = mask_bp.sum(axis=1)
    mask_bl = jnp.pad(mask_bp, ((0, 0), (0, 3)), constant_values=True)
    full_blv = forward(decoder, x_bld, mask_bl)

    logits_bv, cache = prefill(decoder, x_bld[:, :4], mask_bp)
    last_b = np.array([mask.rindex("1"), 3])
    np.testing.assert_allclose(logits_bv, full_blv[np.arange(2), last_b], atol=1e-5)
    for t in range(4, 7):
        see_bu = see_prefix_bu | ((jnp.arange(8) >= 4) & (jnp.arange(8) <= t))
        position_b1 = (n_real_b + t - 4)[:, None]
        x_b1d = x_bld[:, t : t + 1]
        logits_b1v, cache = step(decoder, x_b1d, cache, position_b1, see_bu[:, None])
        np.testing.assert_allclose(logits_b1v[:, 0], full_blv[:, t], atol=1e-5)


def test_unstacked_layers_step_as_the_stack_does(x_bld):
    mixed = tiny_decoder(n_layers=3, local_layers=(True, False, True), sliding_window=2)
    _, cache = prefill(mixed, x_bld[:, :4], ALL[:, :4])
    mask_bqu = jnp.tile(mask_of("11111000", "11110100"), (2, 1, 1))
    given = (x_bld[:, 4:6], jnp.full((2, 2), 4), mask_bqu)

    @nnx.jit
    def step_unstacked(decoder, x_bqd, position_bq, mask_bqu, cache):
        return decoder.unstacked().step(x_bqd, cache.unstacked(), position_bq, mask_bqu)

    logits_bqv, scanned = step(mixed, given[0], cache, *given[1:])
    logits_unstacked_bqv, unstacked = step_unstacked(mixed, *given, cache)
    np.testing.assert_allclose(logits_unstacked_bqv, logits_bqv, atol=1e-5)
    np.testing.assert_allclose(jnp.stack(unstacked.k_ibhue), scanned.k_ibhue, atol=1e-5)
    np.testing.assert_allclose(jnp.stack(unstacked.v_ibhue), scanned.v_ibhue, atol=1e-5)
    assert unstacked.length == scanned.length == 6


IDS = jnp.array([[3, 1, 4], [1, 5, 8]])
PREFIX, TEXT = mask_of("0111", "1111"), mask_of("111", "110")


def test_closing_up_the_padding_changes_no_loss(decoder, x_bld):
    given = x_bld[:, :4], mask_of("0111", "0011"), IDS, TEXT
    open_bl, _ = decoder.loss(*given)
    closed_bl, _ = decoder.loss(*given, room=5)
    np.testing.assert_allclose(closed_bl, open_bl, atol=1e-5)


def test_smoothing_mixes_in_the_loss_of_every_other_token(decoder, x_bld):
    def loss(token, **given):
        ids_bl, there_bl = jnp.full((2, 1), token), jnp.ones((2, 1), bool)
        return decoder.loss(x_bld[:, :4], PREFIX, ids_bl, there_bl, **given)[0]

    of_all = sum(loss(token) for token in range(CONFIG.vocab_size)) / CONFIG.vocab_size
    np.testing.assert_allclose(loss(3, smoothing=0.2), 0.8 * loss(3) + 0.2 * of_all, rtol=1e-5)


def test_rivals_in_one_step_do_not_see_each_other(decoder, x_bld):
    _, cache = prefill(decoder, x_bld[:, :4], ALL[:, :4])
    mask_bqu = jnp.tile(mask_of("11111000", "11110100"), (2, 1, 1))
    together_bqv = step(decoder, x_bld[:, 4:6], cache, jnp.full((2, 2), 4), mask_bqu)[0]
    for i in range(2):
        mine_bld = x_bld.at[:, 4].set(x_bld[:, 4 + i])
        np.testing.assert_allclose(
            together_bqv[:, i], forward(decoder, mine_bld, ALL)[:, 4], atol=1e-5
        )


def test_a_row_of_padding_gives_finite_logits_and_gradients(decoder, x_bld):
    mask_bl = mask_of("1111111", "0000000")
    graphdef, state = nnx.split(decoder)

    def loss(state):
        return jnp.square(nnx.merge(graphdef, state)(x_bld, mask_bl)).mean()

    value, gradient = jax.jit(jax.value_and_grad(loss))(state)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))
    assert np.isfinite(prefill(decoder, x_bld[:, :4], mask_bl[:, :4])[0]).all()


def test_remat_leaves_the_gradients_alone(x_bld):
    def gradient_of(remat):
        graphdef, state = nnx.split(tiny_decoder(dropout=0.2, remat=remat))

        def loss(state):
            return nnx.merge(graphdef, state)(x_bld, ALL, key=jax.random.key(1))[0, -1, 3]

        traced = jax.jit(jax.grad(loss)).trace(state)
        return traced.jaxpr, jax.tree.leaves(traced.lower().compile()(state))

    (plain_jaxpr, plain), (remat_jaxpr, remat) = gradient_of(False), gradient_of(True)
    assert "remat" in str(remat_jaxpr) and "remat" not in str(plain_jaxpr)
    for a, b in zip(plain, remat, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_dropout_follows_its_key(decoder, x_bld):
    noisy = tiny_decoder(dropout=0.5)
    first, again, other = (forward(noisy, x_bld, ALL, key=jax.random.key(i)) for i in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert jnp.abs(first - other).max() > 1e-3
    np.testing.assert_array_equal(forward(noisy, x_bld, ALL), forward(decoder, x_bld, ALL))


def test_bfloat16_compute_keeps_parameters_and_logits_in_float32(decoder, x_bld):
    half = tiny_decoder(compute_dtype="bfloat16")
    logits_blv = forward(half, x_bld, ALL)
    assert half.embed(jnp.array([[1]])).dtype == jnp.bfloat16
    assert logits_blv.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(half))} == {jnp.dtype("float32")}
    exact_blv = forward(decoder, x_bld, ALL)
    np.testing.assert_allclose(logits_blv, exact_blv, atol=0.2)
    assert jnp.abs(logits_blv - exact_blv).max() > 1e-4


def test_untied_embeddings_have_an_output_layer_of_their_own(x_bld):
    untied = tiny_decoder(tie_embeddings=False)
    before = forward(untied, x_bld, ALL)
    untied.embedding.table[...] = untied.embedding.table[...] * 2
    np.testing.assert_array_equal(forward(untied, x_bld, ALL), before)


def test_every_parameter_names_its_dimensions(decoder):
    for path, variable in nnx.to_flat_state(nnx.state(decoder)):
        assert len(variable.dims) == variable.ndim, path
        assert (variable.dims[0] == "layers") == (path[0] == "layers"), path


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_kv_heads", 3),
        ("head_size", 7),
        ("dropout", 1.0),
        ("compute_dtype", "float16"),
        ("n_layers", 0),
        ("n_layers", 2**40),
        ("d_model", 16.0),
        ("d_mlp", True),
        ("norm_eps", 0.0),
        ("norm_eps", float("nan")),
        ("rope_base", 0),
        ("logit_cap", -1.0),
        ("qk_norm", 1),
        ("sliding_window", -2),
        ("dropout", float("nan")),
    ],
)
def test_an_impossible_config_is_refused_by_field(field, value):
    with pytest.raises(SignBindError, match=f"{field}: found {value!r}"):
        dataclasses.replace(CONFIG, **{field: value})


def test_attention_in_parts_of_rows_is_attention(monkeypatch):
    x_bld = jax.random.normal(jax.random.key(3), (4, 7, CONFIG.d_model))
    mask_bl = mask_of("1111111", "0011111", "1111100", "0110111")
    graphdef, state = nnx.split(tiny_decoder(local_layers=(True, False), sliding_window=3))

    def loss(state, x_bld):
        logits_blv = nnx.merge(graphdef, state)(x_bld, mask_bl)
        return jnp.sum(jnp.sin(logits_blv) * mask_bl[..., None]), logits_blv

    def run():
        return jax.grad(loss, argnums=(0, 1), has_aux=True)(state, x_bld)

    whole = run()
    a_row = 4 * 7 * 7 * CONFIG.n_heads
    monkeypatch.setitem(attention.CHUNK_BYTES, "", 2 * a_row)
    assert "length=2" in str(jax.make_jaxpr(lambda x: loss(state, x)[0])(x_bld))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), run(), whole)
