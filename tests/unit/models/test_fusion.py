"""Fusion: what it may and may not depend on."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from signbind_jax.models.fusion import (
    Fusion,
    FusionConfig,
    FusionLayer,
    StreamTokens,
    intervals,
    keep_streams,
)
from signbind_jax.models.token_noise import TokenNoiseConfig, add_noise
from signbind_jax.streams import SHIPPED

NEVER = dict.fromkeys(SHIPPED, 0.0)
SIZES = dict(n_ids=(7, 5, 6), d_hidden=8, n_targets=9, d_model=16, n_layers=1, n_heads=2, d_mlp=16)


def tokens(seed=0, b=2, m=9) -> StreamTokens:
    rng = np.random.default_rng(seed)
    start = np.sort(rng.uniform(0, 4, (b, m)), axis=1)
    return StreamTokens(
        ids_bm=jnp.array(rng.integers(1, 5, (b, m)), jnp.int32),
        stream_bm=jnp.array(rng.integers(0, 3, (b, m)), jnp.int32),
        hidden_bmd=jnp.array(rng.normal(size=(b, m, 8)), jnp.float32),
        start_bm=jnp.array(start, jnp.float32),
        end_bm=jnp.array(start + 0.1, jnp.float32),
        confidence_bm=jnp.ones((b, m), jnp.float32),
        mask_bm=jnp.array(np.arange(m)[None] < np.array([m, m - 3] * (b // 2))[:, None]),
    )


forward = nnx.jit(lambda model, x: model(x))


def fusion(**overrides):
    """A fresh fusion as a function of its tokens, compiled as a whole."""
    return functools.partial(forward, Fusion(FusionConfig(**{**SIZES, **overrides}), nnx.Rngs(0)))


def test_result_does_not_depend_on_how_tokens_are_laid_out_or_padded():
    model, x = fusion(), tokens()
    order = np.random.default_rng(1).permutation(9)
    shuffled = jax.tree.map(lambda a: a[:, order], x)
    wider = jax.tree.map(
        lambda a: jnp.pad(a, ((0, 0), (0, 4)) + ((0, 0),) * (a.ndim - 2)), shuffled
    )
    fused, mask, log_probs = model(x)
    fused2, mask2, log_probs2 = model(wider)
    np.testing.assert_array_equal(mask, mask2[:, :9])
    np.testing.assert_allclose(fused * mask[..., None], fused2[:, :9] * mask[..., None], atol=1e-5)
    real = np.repeat(np.asarray(mask), 2, axis=1)
    np.testing.assert_allclose(log_probs[real], log_probs2[:, :18][real], atol=1e-5)


def test_only_a_fusion_that_knows_time_hears_a_moved_stream():
    x = tokens()
    late = x.stream_bm == 1
    moved = dataclasses.replace(
        x,
        start_bm=jnp.where(late, x.start_bm + 1.5, x.start_bm),
        end_bm=jnp.where(late, x.end_bm + 1.5, x.end_bm),
    )
    blind = fusion(time=False)
    np.testing.assert_allclose(blind(x)[2], blind(moved)[2], atol=1e-6)
    seeing = fusion()
    assert np.abs(seeing(x)[2] - seeing(moved)[2]).max() > 1e-3


def test_only_a_fusion_that_sees_hidden_vectors_hears_a_change_in_them():
    x = tokens()
    other = dataclasses.replace(x, hidden_bmd=x.hidden_bmd + 1.0)
    deaf = fusion(hidden=False)
    np.testing.assert_allclose(deaf(x)[2], deaf(other)[2], atol=1e-6)
    hearing = fusion()
    assert np.abs(hearing(x)[2] - hearing(other)[2]).max() > 1e-3


def test_absent_stream_leaves_no_trace():
    model, x = fusion(), tokens()
    without = keep_streams(x, jnp.array([[True, False, True]] * 2))
    changed = dataclasses.replace(
        without,
        hidden_bmd=jnp.where((x.stream_bm == 1)[..., None], 99.0, x.hidden_bmd),
        start_bm=jnp.where(x.stream_bm == 1, 0.0, x.start_bm),
    )
    mask = np.repeat(np.asarray(model(without)[1]), 2, axis=1)
    np.testing.assert_allclose(model(without)[2][mask], model(changed)[2][mask], atol=1e-5)


def test_gap_is_counted_within_a_stream():
    x = StreamTokens(
        ids_bm=jnp.ones((1, 5), jnp.int32),
        stream_bm=jnp.array([[0, 1, 1, 0, 1]]),
        hidden_bmd=jnp.zeros((1, 5, 8)),
        start_bm=jnp.array([[0.0, 0.5, 0.7, 1.0, 1.5]]),
        end_bm=jnp.array([[0.1, 0.6, 0.8, 1.1, 1.6]]),
        confidence_bm=jnp.ones((1, 5)),
        mask_bm=jnp.array([[True] * 5]),
    )
    before_bm, after_bm, median_bm = intervals(x, 2)
    np.testing.assert_allclose(before_bm[0], [0.0, 0.0, 0.2, 1.0, 0.8], atol=1e-6)
    np.testing.assert_allclose(after_bm[0], [1.0, 0.2, 0.8, 0.0, 0.0], atol=1e-6)
    assert median_bm[0, 0] == median_bm[0, 3] == pytest.approx(1.0)
    assert 0.2 - 1e-6 <= float(median_bm[0, 1]) == float(median_bm[0, 4]) <= 0.8 + 1e-6


def test_usual_gap_is_the_median_of_the_stream():
    start = jnp.cumsum(jnp.array([[0.3, 0.2, 0.2, 0.9, 0.2, 0.25]]), axis=1)
    x = StreamTokens(
        ids_bm=jnp.ones((1, 6), jnp.int32),
        stream_bm=jnp.zeros((1, 6), jnp.int32),
        hidden_bmd=jnp.zeros((1, 6, 8)),
        start_bm=start,
        end_bm=start + 0.1,
        confidence_bm=jnp.ones((1, 6)),
        mask_bm=jnp.ones((1, 6), bool),
    )
    np.testing.assert_allclose(intervals(x, 1)[2][0], 0.2, atol=1e-6)


def test_noise_never_takes_every_stream_and_drops_about_what_it_says():
    x = tokens(b=64, m=12)
    x = dataclasses.replace(x, mask_bm=jnp.ones((64, 12), bool))
    config = TokenNoiseConfig(drop=NEVER, substitute=NEVER, drop_stream=dict.fromkeys(SHIPPED, 0.5))
    noisy = add_noise(x, jnp.arange(64), jax.random.key(0), config, SHIPPED)
    here = np.stack([np.asarray(x.stream_bm) == s for s in range(3)], axis=1)
    kept = (here & np.asarray(noisy.mask_bm)[:, None]).sum(axis=-1)
    whole = (kept == here.sum(axis=-1)) | (kept == 0)
    assert whole.all()  # a stream is there or not
    assert (kept.sum(axis=1) > 0).all()
    shares = (kept == 0).mean(axis=0)
    assert (shares > 0.2).all() and (shares < 0.6).all()


def test_substitution_is_as_frequent_as_asked_and_takes_tokens_of_the_same_stream():
    """Also in a stream of which few clips have a token, and none at the place of another's."""
    rng = np.random.default_rng(0)
    b, m = 64, 12
    stream_bm = np.where(np.arange(m) < 2, 1, 2 * rng.integers(0, 2, (b, m)))
    stream_bm[np.arange(b) % 8 > 0, :2] = 0  # one clip in eight spells
    stream_bm = rng.permuted(stream_bm, axis=1)
    ids_bm = 10 * stream_bm + rng.choice(4, (b, m), p=[0.7, 0.1, 0.1, 0.1])
    x = dataclasses.replace(
        tokens(b=b, m=m),
        stream_bm=jnp.array(stream_bm),
        ids_bm=jnp.array(ids_bm),
        hidden_bmd=jnp.array(ids_bm, jnp.float32)[..., None] * jnp.ones(8),
        mask_bm=jnp.ones((b, m), bool),
    )
    asked = {"signing": 0.1, "fingerspelling": 0.3, "lipreading": 0.2}
    config = TokenNoiseConfig(drop=NEVER, substitute=asked, drop_hidden=0.0, drop_stream=NEVER)
    noise = jax.jit(lambda key: add_noise(x, jnp.arange(b), key, config, SHIPPED))
    drawn = [noise(jax.random.key(i)) for i in range(20)]
    ids_ibm = np.stack([np.asarray(noisy.ids_bm) for noisy in drawn])
    assert (ids_ibm // 10 == stream_bm).all()
    for noisy in drawn:
        np.testing.assert_array_equal(noisy.hidden_bmd[..., 0], noisy.ids_bm)
    for stream, share in enumerate(asked.values()):
        changed = (ids_ibm != ids_bm)[:, stream_bm == stream].mean()
        assert changed == pytest.approx(share, rel=0.2), stream
    # What stands in for a rare token is mostly the frequent one.
    substitutes = ids_ibm[(ids_ibm != ids_bm) & (ids_bm % 10 > 0)]
    assert (substitutes % 10 == 0).mean() > 0.6


@pytest.mark.parametrize("n_heads", [1, 4, 8, 16])
def test_every_head_learns_how_fast_it_fades(n_heads):
    config = FusionConfig(**SIZES | {"n_heads": n_heads, "d_model": 32})
    layer = FusionLayer(config, nnx.Rngs(0))
    rates = np.exp(np.asarray(layer.log_decay[...]))
    assert rates[0] == 0.125 and rates[-1] == pytest.approx(8 if n_heads > 1 else 0.125)
    if n_heads == 4:
        np.testing.assert_allclose(rates, [0.125, 0.5, 2, 8], rtol=1e-6)
    rng = np.random.default_rng(0)
    x_bmd = jnp.array(rng.normal(size=(1, 12, 32)), jnp.float32)
    middle_bm = jnp.arange(12.0)[None] * 0.3  # signs at the pace of signing
    distance_bmm = jnp.abs(middle_bm[:, :, None] - middle_bm[:, None])
    half = 32 // n_heads // 2
    straight = jnp.ones((1, 12, half)), jnp.zeros((1, 12, half))

    graphdef, params = nnx.split(layer)

    @jax.jit
    @jax.grad
    def gradients(params):
        layer = nnx.merge(graphdef, params)
        y = layer(x_bmd, *straight, distance_bmm, jnp.ones((1, 12), bool), None)
        return jnp.sum(jnp.square(y))

    gradient = np.abs(gradients(params)["log_decay"][...])
    assert gradient.min() > 1e-3 * gradient.max()


def test_dropped_hidden_vectors_leave_the_token():
    x = tokens(b=64, m=12)
    config = TokenNoiseConfig(drop=NEVER, substitute=NEVER, drop_hidden=0.3, drop_stream=NEVER)
    noisy = add_noise(x, jnp.arange(64), jax.random.key(0), config, SHIPPED)
    np.testing.assert_array_equal(noisy.ids_bm, x.ids_bm)
    np.testing.assert_array_equal(noisy.mask_bm, x.mask_bm)
    bare = ~np.asarray(noisy.hidden_bmd).any(axis=-1)
    assert 0.2 < bare.mean() < 0.4
