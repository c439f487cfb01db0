"""LoRA: no change when fresh, adapters alone selected, exact merge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from signbind_jax.errors import SignBindError
from signbind_jax.models.layers import Linear
from signbind_jax.models.llm.lora import TARGETS, add_lora, is_lora, merge_lora
from tests.unit.tiny_decoder import CONFIG, tiny_decoder

X_BLD = jax.random.normal(jax.random.key(1), (2, 5, 16))
MASK_BL = jnp.ones((2, 5), bool)

forward = nnx.jit(lambda decoder: decoder(X_BLD, MASK_BL))


def adapted(trained: bool, targets=TARGETS):
    decoder = tiny_decoder()
    add_lora(decoder, rank=2, alpha=6.0, targets=targets, rngs=nnx.Rngs(5))
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


def test_merging_is_exact_and_leaves_no_adapter():
    decoder = adapted(trained=True)
    expected_blv = forward(decoder)
    merged = merge_lora(decoder)
    assert jnp.abs(expected_blv - forward(adapted(trained=False))).max() > 0.1
    np.testing.assert_allclose(forward(merged), expected_blv, atol=1e-4, rtol=1e-5)
    plain = tiny_decoder()
    assert jax.tree.structure(nnx.state(merged)) == jax.tree.structure(nnx.state(plain))
    np.testing.assert_array_equal(forward(decoder), expected_blv)


def test_an_adapter_on_a_single_linear_layer_works():
    linear = Linear((4,), (3,), ("model",), ("mlp",), rngs=nnx.Rngs(0))
    before = linear(jnp.ones((2, 4)))
    linear.add_lora(rank=2, alpha=2.0, rngs=nnx.Rngs(1))
    np.testing.assert_array_equal(linear(jnp.ones((2, 4))), before)
    linear.lora.b[...] += 1.0
    assert jnp.abs(linear(jnp.ones((2, 4))) - before).max() > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [({"targets": ("q", "qkv")}, "qkv"), ({"targets": ()}, "targets"), ({"rank": 0}, "rank")],
)
def test_impossible_adapters_are_refused(change, message):
    decoder = tiny_decoder()
    with pytest.raises(SignBindError, match=message):
        add_lora(decoder, **({"rank": 2, "alpha": 1.0, "rngs": nnx.Rngs(0)} | change))
    assert not nnx.to_flat_state(nnx.state(decoder, is_lora))


def test_a_second_adapter_is_refused():
    decoder = adapted(trained=False, targets=("v",))
    with pytest.raises(SignBindError, match="v has an adapter"):
        add_lora(decoder, rank=1, alpha=1.0, rngs=nnx.Rngs(0))
    assert len(nnx.to_flat_state(nnx.state(decoder, is_lora))) == 2
