"""Sentences from a soft prefix: greedy decoding, sampling and beam search with a KV cache."""

import dataclasses
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from signbind_jax.errors import SignBindError
from signbind_jax.generation.beam import beam_search
from signbind_jax.generation.config import GenerationConfig
from signbind_jax.generation.greedy_or_sample import greedy_or_sample
from signbind_jax.generation.sampling import row_keys
from signbind_jax.models.llm.language_model import LanguageModel
from signbind_jax.processes import xla_cpu

__all__ = ["GenerationConfig", "generate"]


def generate(
    model: LanguageModel,
    prefix_bpd,
    prefix_mask_bp,
    config: GenerationConfig,
    *,
    eos_id: int | Sequence[int],
    pad_id: int,
    key=None,
    unstacked: bool | None = None,
):
    """Continues each prefix, as one compiled call: (ids_bl int32, score_b float32).

    The id that ends a sentence is part of ids and of the score, which is the model's own also
    where the tokens are drawn from a warped distribution. Beam search follows `transformers`: of
    the 2 x beam_size best continuations only the first beam_size may finish, and a row is closed
    for good once its best running beam is not expected to score more than its worst finished one.

    Args:
      model: a language model, as an NNX module.
      prefix_bpd: embeddings, in any order of soft prefix, prompt and beginning-of-sentence.
      prefix_mask_bp: bool, False at padding, which may stand anywhere. A row of padding alone
        gives padding and score 0, and delays nobody.
      config: how the continuation is chosen; l is its max_new_tokens.
      eos_id: one id that ends a sentence, or several.
      pad_id: what follows it.
      key: for sampling, one random key a row, (b,), on which alone of the batch the row's sample
        depends. Of a single key, row i takes `jax.random.fold_in(key, i)`; None: the seed's.
      unstacked: whether the model's layers are unstacked for the loop; None: as is best on
        JAX's own devices, which are not those of a program compiled for other machines.

    Raises:
      SignBindError: more beams than the vocabulary can keep apart, a key where nothing is
        drawn, or keys of another number than rows.
    """
    eos = jnp.atleast_1d(jnp.asarray(eos_id, jnp.int32))
    if config.beam_size > 1 and model.config.vocab_size < 1 + eos.size:
        raise SignBindError(
            f"generation.beam_size: found {config.beam_size} beams over "
            f"{model.config.vocab_size} tokens, wanted more tokens than eos_id has ({eos.size})"
        )
    if key is not None and not config.do_sample:
        raise SignBindError("generation.key: found one, wanted none without do_sample=True")
    key_b = None
    if config.do_sample:
        key_b = row_keys(jax.random.key(config.seed) if key is None else key, len(prefix_mask_bp))
    graphdef, state = nnx.split(model)
    return _generate(
        graphdef,
        state,
        prefix_bpd,
        prefix_mask_bp.astype(bool),
        eos,
        jnp.int32(pad_id),
        jnp.float32(config.length_penalty),
        key_b,
        # What is passed as an array makes no other program.
        config=dataclasses.replace(config, length_penalty=1.0, seed=0),
        unstacked=xla_cpu.unstacks_layers() if unstacked is None else unstacked,
    )


@partial(jax.jit, static_argnames=("graphdef", "config", "unstacked"))
def _generate(
    graphdef, state, prefix_bpd, mask_bp, eos, pad_id, length_penalty, key_b, *, config, unstacked
):
    model = nnx.merge(graphdef, state)
    if unstacked:
        model = model.unstacked()
    given = (model, prefix_bpd, mask_bp, eos, pad_id, length_penalty)
    if config.beam_size == 1:
        return greedy_or_sample(*given, config=config, key_b=key_b)
    return beam_search(*given, config=config)
