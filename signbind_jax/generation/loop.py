"""What the loops of greedy decoding, sampling and beam search have in common."""

from collections.abc import Callable
from functools import partial

import jax

from signbind_jax.models.llm.decoder import Decoder, KVCache


def is_eos(ids, eos):
    """bool in the shape of `ids`: whether each is one of the ending ids."""
    return (ids[..., None] == eos).any(-1)


def start_steps(decoder: Decoder, prefix_bpd, mask_bp, capacity: int, apart: bool) -> tuple:
    """(logits_bv after the prefix, the cache, the step the loop takes with it).

    apart: whether the layers are taken apart before the loop, see `layers_apart`.
    """
    logits_bv, cache = decoder.prefill(prefix_bpd, mask_bp, capacity)
    step: Callable[..., tuple[jax.Array, KVCache]] = decoder.step
    if apart:
        cache, step = cache.apart(), partial(step, blocks=decoder.blocks())
    return logits_bv, cache, step


def layers_apart() -> bool:
    """Whether a loop on JAX's own devices takes the decoder's layers apart.

    On the CPU it does, which costs a copy of the weights: XLA would otherwise copy all of them
    at every step (see `Decoder.step`). On accelerators, where memory is scarce and a scan reads
    a layer where it lies, the stack is scanned.
    """
    return jax.default_backend() == "cpu"
