"""Sentences from a soft prefix: greedy decoding, sampling and beam search with a KV cache."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from signbind_jax.errors import SignBindError
from signbind_jax.generation.beam import beam_search
from signbind_jax.generation.loop import layers_apart
from signbind_jax.generation.one_by_one import one_by_one
from signbind_jax.generation.sampling import Sampling, row_keys

__all__ = ["Sampling", "generate"]


def generate(decoder, prefix_bpd, prefix_mask_bp, *, max_new_tokens: int,
             eos_id: int | Sequence[int], pad_id: int, beam_size: int = 1,
             length_penalty: float = 1.0, early_stopping: bool | str = False,
             sampling: Sampling | None = None, key=None,
             apart: bool | None = None):  # fmt: skip
    """A continuation of each prefix, as one compiled call.

    Without `sampling` it is the best one that the search finds. Beam search follows
    `transformers`: of the 2 x beam_size best continuations only the first beam_size may finish,
    and a row is closed for good once its best running beam is not expected to score more than
    its worst finished one.

    Args:
      decoder: a `signbind_jax.models.llm.decoder.Decoder`.
      prefix_bpd: embeddings, in any order of soft prefix, prompt and beginning-of-sentence.
      prefix_mask_bp: bool, True at real places, which may stand anywhere. A row without any
        is a filler of the batch: it gives padding and score 0, and delays nobody.
      max_new_tokens: n, the number of tokens after which a sentence ends in any case.
      eos_id: one id that ends a sentence, or several.
      pad_id: what follows it.
      beam_size: beams a row; 1 is greedy decoding.
      length_penalty: a score is the sum of log-probabilities / tokens ** length_penalty.
      early_stopping: what a running beam is expected to score. False: its sum over its present
        length; "never": over n where length_penalty is above 0, which is the most it can reach;
        True: as False, and a row is closed as soon as beam_size sentences are finished.
      sampling: draws the tokens instead of choosing the best ones; needs `key`.
      key: one random key a row, (b,): the row's sample depends on nothing else in the batch. Of
        a single key, row i takes `jax.random.fold_in(key, i)`.
      apart: whether the decoder's layers are taken apart for the loop; None: as is best on
        JAX's own devices, which are not those of a program compiled for other machines.

    Returns:
      (ids_bn int32, score_b float32). The ending id is part of ids and of the score, which is
      the decoder's own also where the tokens are drawn from a warped distribution.

    Raises:
      SignBindError: a size below 1, more beams than the vocabulary can keep apart, an unknown
        early_stopping, beams together with sampling, sampling without a key or the reverse.
    """
    eos = jnp.atleast_1d(jnp.asarray(eos_id, jnp.int32))
    _check(decoder.config.vocab_size, eos.size, max_new_tokens, beam_size, early_stopping)
    if sampling is not None and beam_size > 1:
        raise SignBindError(f"generation: sampling: found it with beam_size={beam_size}, wanted "
                            "one of them")  # fmt: skip
    if (sampling is None) != (key is None):
        raise SignBindError("generation: key: found one without sampling" if sampling is None else
                            "generation: key: found none, wanted one for sampling")  # fmt: skip
    key_b = None if key is None else row_keys(key, prefix_mask_bp.shape[0])
    graphdef, state = nnx.split(decoder)
    return _generate(graphdef, state, prefix_bpd, prefix_mask_bp.astype(bool), eos,
                     jnp.int32(pad_id), jnp.float32(length_penalty), key_b, n=max_new_tokens,
                     beam_size=beam_size, early_stopping=early_stopping,
                     sampling=sampling,
                     apart=layers_apart() if apart is None else apart)  # fmt: skip


def _check(vocabulary: int, n_eos: int, max_new_tokens, beam_size, early_stopping) -> None:
    for name, value in (("max_new_tokens", max_new_tokens), ("beam_size", beam_size)):
        if value < 1:
            raise SignBindError(f"generation: {name}: found {value}, wanted at least 1")
    if beam_size > 1 and vocabulary < 1 + n_eos:
        raise SignBindError(f"generation: beam_size: found {beam_size} beams over {vocabulary} "
                            f"tokens, wanted more tokens than eos_id has ({n_eos})")  # fmt: skip
    if not isinstance(early_stopping, bool) and early_stopping != "never":
        raise SignBindError(f"generation: early_stopping: found {early_stopping!r}, wanted False, "
                            "True or 'never'")  # fmt: skip


@partial(jax.jit, static_argnames=("graphdef", "n", "beam_size", "early_stopping", "sampling",
                                   "apart"))  # fmt: skip
def _generate(graphdef, state, prefix_bpd, mask_bp, eos, pad_id, length_penalty, key_b, *, n,
              beam_size, early_stopping, sampling, apart):  # fmt: skip
    decoder = nnx.merge(graphdef, state)
    given = (decoder, prefix_bpd, mask_bp, eos, pad_id, length_penalty)
    if beam_size == 1:
        return one_by_one(*given, n=n, apart=apart, sampling=sampling, key_b=key_b)
    return beam_search(*given, n=n, beam_size=beam_size, apart=apart,
                       early_stopping=early_stopping)  # fmt: skip
