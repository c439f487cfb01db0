"""The decoder: causality, padding, the KV cache, dtypes, gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from signbind_jax.errors import SignBindError
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.llm.decoder import Decoder

CONFIG = DecoderConfig(vocab_size=19, d_model=16, n_layers=3, n_heads=4, n_kv_heads=2,
                       head_size=6, d_mlp=24)  # fmt: skip


@pytest.fixture(scope="module")
def decoder():
    return Decoder(CONFIG, nnx.Rngs(0))


def embeddings(b, l):  # noqa: E741
    return jax.random.normal(jax.random.key(7), (b, l, CONFIG.d_model))


def test_a_place_sees_its_past_and_not_its_future(decoder):
    x_bld, mask_bl = embeddings(1, 6), jnp.ones((1, 6), bool)
    changed_bld = x_bld.at[:, 3].add(1.0)
    difference_l = jnp.abs(decoder(x_bld, mask_bl) - decoder(changed_bld, mask_bl)).max((0, 2))
    assert np.all(difference_l[:3] == 0)
    assert np.all(difference_l[3:] > 1e-3)


def test_order_of_the_past_matters(decoder):
    x_bld, mask_bl = embeddings(1, 5), jnp.ones((1, 5), bool)
    swapped_bld = x_bld[:, jnp.array([1, 0, 2, 3, 4])]
    difference = decoder(x_bld, mask_bl)[:, -1] - decoder(swapped_bld, mask_bl)[:, -1]
    assert jnp.abs(difference).max() > 1e-3


@pytest.mark.parametrize("mask", ["0011111", "1111100", "0110111"])
def test_padding_anywhere_changes_nothing(decoder, mask):
    mask_bl = jnp.array([[c == "1" for c in mask]])
    place_r = np.flatnonzero(mask_bl[0])
    x_brd = embeddings(1, 5)[:, : len(place_r)]
    # Padded places hold large numbers, not zeros, so that a leak would show.
    padded_bld = jnp.full((1, 7, CONFIG.d_model), 50.0).at[:, place_r].set(x_brd)
    plain_brv = decoder(x_brd, jnp.ones((1, len(place_r)), bool))
    np.testing.assert_allclose(decoder(padded_bld, mask_bl)[:, place_r], plain_brv, atol=1e-5)


def test_explicit_positions_shift_rotary_phases(decoder):
    x_bld, mask_bl = embeddings(1, 4), jnp.ones((1, 4), bool)
    plain_blv = decoder(x_bld, mask_bl)
    # Rotary attention depends on differences of positions only.
    shifted_blv = decoder(x_bld, mask_bl, jnp.arange(4)[None] + 9)
    stretched_blv = decoder(x_bld, mask_bl, jnp.arange(4)[None] * 3)
    np.testing.assert_allclose(shifted_blv, plain_blv, atol=1e-4)
    assert jnp.abs(stretched_blv - plain_blv).max() > 1e-3


@pytest.mark.parametrize("mask", ["1111", "0011", "1100"])
def test_cached_steps_equal_the_full_forward_pass(decoder, mask):
    mask_bp = jnp.array([[c == "1" for c in mask], [True] * 4])
    n_real_b = mask_bp.sum(axis=1)
    x_bld = embeddings(2, 7)
    full_blv = decoder(x_bld, jnp.pad(mask_bp, ((0, 0), (0, 3)), constant_values=True))

    logits_bv, cache = decoder.prefill(x_bld[:, :4], mask_bp, capacity=7)
    last_b = np.array([max(i for i, c in enumerate(mask) if c == "1"), 3])
    np.testing.assert_allclose(logits_bv, full_blv[np.arange(2), last_b], atol=1e-5)
    for t in range(4, 7):
        see_bs = jnp.pad(mask_bp, ((0, 0), (0, 3))) | ((jnp.arange(7) >= 4) & (jnp.arange(7) <= t))
        logits_bqv, cache = decoder.step(
            x_bld[:, t : t + 1], cache, (n_real_b + t - 4)[:, None], see_bs[:, None]
        )
        np.testing.assert_allclose(logits_bqv[:, 0], full_blv[:, t], atol=1e-5)


def test_rivals_in_one_step_do_not_see_each_other(decoder):
    x_bpd, mask_bp = embeddings(1, 3), jnp.ones((1, 3), bool)
    rival_2d = jax.random.normal(jax.random.key(3), (2, CONFIG.d_model))
    _, cache = decoder.prefill(x_bpd, mask_bp, capacity=5)
    see_bqs = jnp.array([[[1, 1, 1, 1, 0], [1, 1, 1, 0, 1]]], bool)
    together_qv = decoder.step(rival_2d[None], cache, jnp.array([[3, 3]]), see_bqs)[0][0]
    for i in range(2):
        x_bld = jnp.concatenate([x_bpd, rival_2d[None, i : i + 1]], axis=1)
        alone_v = decoder(x_bld, jnp.ones((1, 4), bool))[0, -1]
        np.testing.assert_allclose(together_qv[i], alone_v, atol=1e-5)


def test_a_row_of_padding_gives_finite_logits_and_gradients(decoder):
    x_bld = embeddings(2, 4)
    mask_bl = jnp.array([[True] * 4, [False] * 4])
    graphdef, state = nnx.split(decoder)

    def loss(state):
        return jnp.square(nnx.merge(graphdef, state)(x_bld, mask_bl)).mean()

    value, gradient = jax.value_and_grad(loss)(state)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))
    assert np.isfinite(decoder.prefill(x_bld, mask_bl, 4)[0]).all()


def test_remat_leaves_the_gradients_alone(decoder):
    x_bld, mask_bl = embeddings(1, 4), jnp.ones((1, 4), bool)
    plain = Decoder(dataclasses.replace(CONFIG, dropout=0.2), nnx.Rngs(0))
    remat = Decoder(dataclasses.replace(CONFIG, dropout=0.2, remat=True), nnx.Rngs(0))

    def gradient(model):
        graphdef, state = nnx.split(model)
        loss = lambda s: nnx.merge(graphdef, s)(x_bld, mask_bl, key=jax.random.key(1))[0, -1, 3]  # noqa: E731
        return jax.tree.leaves(jax.grad(loss)(state)), str(jax.make_jaxpr(jax.grad(loss))(state))

    (plain_leaves, plain_program), (remat_leaves, remat_program) = gradient(plain), gradient(remat)
    assert "remat" in remat_program and "remat" not in plain_program
    for a, b in zip(plain_leaves, remat_leaves, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_dropout_follows_its_key(decoder):
    noisy = Decoder(dataclasses.replace(CONFIG, dropout=0.5), nnx.Rngs(0))
    x_bld, mask_bl = embeddings(1, 4), jnp.ones((1, 4), bool)
    first, again, other = (noisy(x_bld, mask_bl, key=jax.random.key(i)) for i in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert jnp.abs(first - other).max() > 1e-3
    np.testing.assert_array_equal(noisy(x_bld, mask_bl), decoder(x_bld, mask_bl))


def test_bfloat16_compute_keeps_parameters_and_logits_in_float32(decoder):
    half = Decoder(dataclasses.replace(CONFIG, compute_dtype="bfloat16"), nnx.Rngs(0))
    x_bld, mask_bl = embeddings(1, 4), jnp.ones((1, 4), bool)
    logits_blv = half(x_bld, mask_bl)
    assert half.hidden_states(x_bld, mask_bl).dtype == jnp.bfloat16
    assert logits_blv.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(half))} == {jnp.dtype("float32")}
    np.testing.assert_allclose(logits_blv, decoder(x_bld, mask_bl), atol=0.2)


def test_untied_embeddings_have_an_output_layer_of_their_own():
    untied = Decoder(dataclasses.replace(CONFIG, tie_embeddings=False), nnx.Rngs(0))
    x_bld, mask_bl = embeddings(1, 3), jnp.ones((1, 3), bool)
    before = untied(x_bld, mask_bl)
    untied.embedding.table[...] = untied.embedding.table[...] * 2
    np.testing.assert_array_equal(untied(x_bld, mask_bl), before)


def test_every_parameter_names_its_dimensions(decoder):
    for path, variable in nnx.to_flat_state(nnx.state(decoder)):
        assert len(variable.dims) == variable.ndim, path
        assert (variable.dims[0] == "layers") == (path[0] == "layers"), path


@pytest.mark.parametrize(
    ("field", "value"),
    [("n_kv_heads", 3), ("head_size", 7), ("dropout", 1.0), ("compute_dtype", "float16"),
     ("n_layers", 0)],
)  # fmt: skip
def test_an_impossible_config_is_refused_by_field(field, value):
    with pytest.raises(SignBindError, match=f"{field}: found {value!r}"):
        dataclasses.replace(CONFIG, **{field: value})
