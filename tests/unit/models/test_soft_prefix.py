"""What of fusion reaches the LLM as embeddings, by `options.soft_prefix`."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from signbind_jax.errors import SignBindError
from signbind_jax.generation.config import read_options
from signbind_jax.models.fusion import FusionConfig, StreamTokens
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.signbind import PromptParts, SignBind, SignBindConfig, text_capacity
from signbind_jax.stages.translation import TranslationOptions

FUSION = FusionConfig(
    n_ids=(7,), d_hidden=1, n_targets=5, d_model=16, n_layers=1, n_heads=2, d_mlp=16, hidden=False
)
DECODER = DecoderConfig(
    vocab_size=9, d_model=16, n_layers=1, n_heads=2, n_kv_heads=2, head_size=8, d_mlp=16
)
# The blank has no text; each other fused token is one or two of the LLM's.
PARTS = PromptParts(
    np.array([1], np.int32), np.array([[-1, -1], [2, -1], [3, 4], [5, -1], [6, -1]], np.int32)
)
M = 6
TAIL = np.array([[7], [7]], np.int32), np.ones((2, 1), bool)
WORDS = text_capacity(M)


@pytest.fixture(scope="module")
def tokens() -> StreamTokens:
    start = np.linspace(0, 3, M, dtype=np.float32)[None].repeat(2, axis=0)
    return StreamTokens(
        ids_bm=np.array([[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]], np.int32),
        stream_bm=np.zeros((2, M), np.int32),
        hidden_bmd=np.zeros((2, M, 1), np.float32),
        start_bm=start,
        end_bm=start + 0.1,
        confidence_bm=np.ones((2, M), np.float32),
        mask_bm=np.ones((2, M), bool),
    )


@pytest.fixture(scope="module")
def model() -> SignBind:
    return SignBind(SignBindConfig(FUSION, DECODER, soft_prefix="read"), nnx.Rngs(0))


@nnx.jit
def write(model, tokens):
    """The prompt's embeddings and which of them are real."""
    prefix = model.prefix(tokens, *TAIL, PARTS)
    return prefix.x_bpd, prefix.mask_bp


def test_what_was_read_is_added_to_its_text_and_says_nothing_at_first(model, tokens):
    x_bpd, mask_bp = write(model, tokens)
    assert x_bpd.shape[1] == 1 + WORDS + 1  # no place of its own
    there = np.asarray(mask_bp)
    assert there[:, 1:-1].any(), "this seed reads nothing, so nothing is tested"
    embeddings = np.asarray(model.decoder.embed(jnp.arange(9)))
    text = np.asarray(x_bpd)[there]
    assert (np.abs(text[:, None] - embeddings).max(axis=-1).min(axis=-1) == 0).all()


def test_the_sentence_teaches_fusion_through_what_was_read(model, tokens):
    graphdef, state = nnx.split(model)
    state["projector"]["down"]["kernel"] = jax.tree.map(
        lambda x: x + 0.1, state["projector"]["down"]["kernel"]
    )

    def loss(state):
        x_bpd, mask_bp = write(nnx.merge(graphdef, state), tokens)
        return jnp.sum(jnp.where(mask_bp[..., None], x_bpd, 0) ** 2)

    gradient = jax.grad(loss)(state)
    assert float(jnp.abs(gradient["fusion"]["id_embed"]["table"][...]).max()) > 0


def test_it_needs_the_text():
    with pytest.raises(SignBindError, match="soft_prefix.*'every' without fused_text"):
        read_options(TranslationOptions, {"soft_prefix": "read", "fused_text": False})
    assert dataclasses.asdict(TranslationOptions())["soft_prefix"] == "every"
