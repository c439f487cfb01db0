"""LoRA: no change when fresh, adapters alone selected, exact merge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from signbind_jax.errors import SignBindError
from signbind_jax.models.layers import Linear, LoRA
from signbind_jax.models.llm.lora import TARGETS, add_lora, is_lora
from tests.unit.models.merged_lora import merge_lora
from tests.unit.models.tiny_decoder import CONFIG, tiny_decoder

X_BLD = jax.random.normal(jax.random.key(1), (2, 5, 16))
MASK_BL = jnp.ones((2, 5), bool)

forward = nnx.jit(lambda decoder: decoder(X_BLD, MASK_BL))


def adapted(trained: bool, targets=TARGETS, dropout=0.0):
    decoder = tiny_decoder()
    add_lora(decoder, rank=2, alpha=6.0, targets=targets, dropout=dropout, rngs=nnx.Rngs(5))
    if trained:
        for i, (path, variable) in enumerate(nnx.to_flat_state(nnx.state(decoder, is_lora))):
            noise = 0.3 * jax.random.normal(jax.random.key(i), variable.shape)
            getattr(getattr(decoder.layers, path[1]).lora, path[3])[...] += noise
    return decoder


def test_a_fresh_adapter_changes_nothing():
    plain = tiny_decoder()
    np.testing.assert_array_equal(forward(adapted(trained=False)), forward(plain))


def test_the_filter_selects_the_adapters_of_the_targets_and_nothing_else():
    decoder = adapted(trained=False, targets=("q", "down"))
    lora = nnx.to_flat_state(nnx.state(decoder, is_lora))
    assert {path for path, _ in lora} == {
        ("layers", target, "lora", part) for target in ("q", "down") for part in "ab"
    }
    for _, variable in lora:
        assert variable.shape[0] == CONFIG.n_layers and variable.dims[0] == "layers"
        assert len(variable.dims) == variable.ndim


def test_layers_start_with_different_adapters():
    a_ldr = adapted(trained=False).layers.up.lora.a[...]
    assert jnp.abs(a_ldr[0] - a_ldr[1]).max() > 1e-3


def test_training_the_adapters_lowers_a_loss_and_leaves_the_rest():
    graphdef, lora, frozen = nnx.split(adapted(trained=False), is_lora, ...)
    before = jax.tree.leaves(frozen)

    @jax.jit
    def step(lora):
        def loss(lora):
            logits_blv = nnx.merge(graphdef, lora, frozen)(X_BLD, MASK_BL)
            return -jax.nn.log_softmax(logits_blv)[..., 3].mean()

        value, gradient = jax.value_and_grad(loss)(lora)
        return value, jax.tree.map(lambda p, g: p - 0.1 * g, lora, gradient)

    losses = []
    for _ in range(8):
        value, lora = step(lora)
        losses.append(float(value))
    assert losses[-1] < losses[0] - 0.1
    after = jax.tree.leaves(nnx.split(nnx.merge(graphdef, lora, frozen), is_lora, ...)[2])
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("in_shape,out_shape", [((6,), (3, 4)), ((3, 4), (6,))])
def test_gradients_are_those_of_the_dense_update(in_shape, out_shape):
    names = {1: ("model",), 2: ("heads", "head_size")}
    linear = Linear(
        in_shape, out_shape, names[len(in_shape)], names[len(out_shape)], rngs=nnx.Rngs(0)
    )
    linear.lora = LoRA(linear, rank=2, alpha=6.0, rngs=nnx.Rngs(1))
    linear.lora.b[...] = jax.random.normal(jax.random.key(2), (2, *out_shape))
    graphdef, lora, kernel = nnx.split(linear, is_lora, ...)
    x = jax.random.normal(jax.random.key(3), (2, 5, *in_shape))
    wanted_y = jax.random.normal(jax.random.key(4), (2, 5, *out_shape))

    def loss(lora, x, dense):
        layer = nnx.merge(graphdef, lora, kernel)
        n_in = len(in_shape)
        y = jnp.tensordot(x, layer.merged_kernel(), axes=n_in) if dense else layer(x)
        return jnp.square(y - wanted_y).mean()

    gradients = jax.grad(loss, (0, 1))
    for found, wanted in zip(
        jax.tree.leaves(gradients(lora, x, False)),
        jax.tree.leaves(gradients(lora, x, True)),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_merging_is_exact_and_leaves_no_adapter():
    decoder = adapted(trained=True)
    expected_blv = forward(decoder)
    merged = merge_lora(decoder)
    assert jnp.abs(expected_blv - forward(adapted(trained=False))).max() > 0.1
    np.testing.assert_allclose(forward(merged), expected_blv, atol=1e-4, rtol=1e-5)
    plain = tiny_decoder()
    assert jax.tree.structure(nnx.state(merged)) == jax.tree.structure(nnx.state(plain))
    np.testing.assert_array_equal(forward(decoder), expected_blv)


def test_dropout_is_on_the_adapters_input_and_only_with_a_key():
    linear = Linear((64,), (3,), ("model",), ("mlp",), rngs=nnx.Rngs(0))
    x = jnp.ones((400, 64))
    frozen = linear(x)
    linear.lora = LoRA(linear, rank=2, alpha=2.0, dropout=0.25, rngs=nnx.Rngs(1))
    np.testing.assert_array_equal(linear(x, jax.random.key(3)), frozen)  # B is still zero
    # A sums its input and B passes that on: the update counts what was kept.
    linear.lora.a[...] = jnp.ones((64, 2))
    linear.lora.b[...] = jnp.ones((2, 3))
    np.testing.assert_allclose(linear(x) - frozen, 64.0 * 2, rtol=1e-4)
    update = np.asarray(linear(x, jax.random.key(3)) - frozen)[:, 0] / 2
    kept = update * 0.75
    np.testing.assert_allclose(kept, np.round(kept), atol=1e-3)
    assert abs(kept.mean() / 64 - 0.75) < 0.02 and kept.std() > 1.0
    assert np.abs(update - (linear(x, jax.random.key(4)) - frozen)[:, 0] / 2).max() > 0.5


def test_every_target_of_every_layer_drops_what_is_its_own():
    decoder = adapted(trained=True, dropout=0.5)
    dropped = nnx.jit(lambda decoder, key: decoder(X_BLD, MASK_BL, key=key))
    key, plain = jax.random.key(0), forward(decoder)
    np.testing.assert_array_equal(plain, forward(adapted(trained=True)))
    np.testing.assert_array_equal(dropped(decoder, key), dropped(decoder, key))
    assert jnp.abs(dropped(decoder, key) - dropped(decoder, jax.random.key(1))).max() > 0.1
    for target in TARGETS:
        alone = adapted(trained=True, targets=(target,), dropout=0.5)
        assert jnp.abs(dropped(alone, key) - forward(alone)).max() > 1e-3, target


def test_adapters_on_bfloat16_weights_compute_in_float32():
    linear = Linear((32,), (5,), ("model",), ("mlp",), rngs=nnx.Rngs(0))
    linear.lora = LoRA(linear, rank=2, alpha=2.0, rngs=nnx.Rngs(1))
    linear.lora.b[...] += 1.0
    linear.kernel = nnx.Param(linear.kernel[...].astype(jnp.bfloat16), dims=linear.kernel.dims)
    x = jax.random.normal(jax.random.key(0), (7, 32)).astype(jnp.bfloat16)
    x64, a, b, kernel = (
        np.asarray(v, np.float64)
        for v in (x, linear.lora.a[...], linear.lora.b[...], linear.kernel[...])
    )
    assert linear.lora(x).dtype == jnp.float32
    np.testing.assert_allclose(linear.lora(x), x64 @ a @ b, atol=1e-5)
    # Frozen product, update and sum are rounded to bfloat16 once each: nothing else is.
    y, exact = linear(x), x64 @ kernel + x64 @ a @ b
    assert y.dtype == jnp.bfloat16
    rounded = np.abs(x64 @ kernel) + np.abs(x64 @ a @ b) + np.abs(exact)
    bound = 2.0**-8 * rounded + 1e-5
    assert (np.abs(np.asarray(y, np.float64) - exact) <= bound).all()


def test_merging_into_bfloat16_rounds_the_sum_once():
    decoder = adapted(trained=True)
    graphdef, lora, frozen = nnx.split(decoder, is_lora, ...)
    frozen = jax.tree.map(lambda x: x.astype(jnp.bfloat16), frozen)
    merged = merge_lora(nnx.merge(graphdef, lora, frozen))
    for target in TARGETS:
        linear = getattr(decoder.layers, target)
        a, b = (np.asarray(v[...], np.float64) for v in (linear.lora.a, linear.lora.b))
        a, b = a.reshape(CONFIG.n_layers, -1, 2), b.reshape(CONFIG.n_layers, 2, -1)
        rounded = np.asarray(linear.kernel[...].astype(jnp.bfloat16), np.float64)
        exact = rounded + (a @ b * 3.0).reshape(rounded.shape)  # alpha / rank = 6 / 2
        kernel = getattr(merged.layers, target).kernel[...]
        assert kernel.dtype == jnp.bfloat16
        error = np.abs(np.asarray(kernel, np.float64) - exact)
        assert (error <= 2.0**-8 * 1.01 * np.abs(exact) + 1e-7).all()


def test_an_adapter_on_a_single_linear_layer_works():
    linear = Linear((4,), (3,), ("model",), ("mlp",), rngs=nnx.Rngs(0))
    before = linear(jnp.ones((2, 4)))
    linear.lora = LoRA(linear, rank=2, alpha=2.0, rngs=nnx.Rngs(1))
    np.testing.assert_array_equal(linear(jnp.ones((2, 4))), before)
    linear.lora.b[...] += 1.0
    assert jnp.abs(linear(jnp.ones((2, 4))) - before).max() > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"targets": ("q", "qkv")},
            r"targets: found \('q', 'qkv'\), wanted a list.* each one of 'q'",
        ),
        ({"targets": ()}, r"targets: found \(\), wanted a list, at least one"),
        ({"targets": "qk"}, "targets: found 'qk', wanted a list"),
        ({"targets": ("q", "q")}, "targets.*each once"),
        ({"rank": 0}, "lora.rank: found 0, wanted at least 1"),
        ({"rank": -1}, "LoRAConfig.rank: found -1, wanted a whole number, at least 0"),
        ({"rank": 2.0}, "rank: found 2.0, wanted a whole number"),
        ({"alpha": float("nan")}, "alpha: found nan, wanted a number, above 0"),
        ({"alpha": 0.0}, "alpha: found 0.0, wanted a number, above 0"),
        ({"dropout": 1.0}, "dropout: found 1.0, wanted a number, at least 0 and below 1"),
    ],
)
def test_impossible_adapters_are_refused(change, message):
    decoder = tiny_decoder()
    with pytest.raises(SignBindError, match=message):
        add_lora(decoder, **({"rank": 2, "alpha": 1.0, "rngs": nnx.Rngs(0)} | change))
    assert not nnx.to_flat_state(nnx.state(decoder, is_lora))


def test_a_second_adapter_is_refused():
    decoder = adapted(trained=False, targets=("v",))
    with pytest.raises(SignBindError, match="targets: found 'v', wanted a layer without an adapt"):
        add_lora(decoder, rank=1, alpha=1.0, rngs=nnx.Rngs(0))
    assert len(nnx.to_flat_state(nnx.state(decoder, is_lora))) == 2
