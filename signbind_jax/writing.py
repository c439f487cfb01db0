"""Sentences written for a whole split: generation inside one compiled call a batch shape."""

import functools
import sys
from collections.abc import Callable

import jax
from flax import nnx

from signbind_jax import generation, hosts, interrupts
from signbind_jax.data.sentences import Sentences, reading_batches
from signbind_jax.generation.loop import layers_apart
from signbind_jax.hf.tokenizer import TextTokenizer

MAX_NEW_TOKENS = 96
PREFIX_PLACES = 2048  # stream or prompt tokens a batch


def write_sentences(
    graphdef: nnx.GraphDef,
    params: nnx.State,
    sentences: Sentences,
    tokenizer: TextTokenizer,
    *given,
    prefix: Callable,
    beam_size: int,
    max_new_tokens: int,
) -> list[str]:
    """The sentence a model writes for each clip, all of them on every process.

    Args:
      given: arrays passed on to `prefix`.
      prefix: (module, batch, *given) -> its decoder, prefix_bpd, mask_bp, and how many tokens
        of each row found no place in it. A function of a module, not a closure: what is
        compiled is kept by it.
      beam_size: 1 is greedy.
      max_new_tokens: longest sentence.
    """
    own, lost = {}, 0
    for batch in interrupts.until_asked(reading_batches(sentences, PREFIX_PLACES)):
        ids_bl, lost_b = jax.device_get(
            _write(graphdef, params, batch, given, prefix, beam_size, max_new_tokens,
                   tokenizer.eos_id, tokenizer.pad_id, layers_apart())
        )  # fmt: skip
        lost += int(lost_b.sum())
        for row, index in enumerate(batch.index_b):
            if index >= 0:
                own[int(index)] = tokenizer.decode(ids_bl[row]).strip()
    written = hosts.join_rows("writing sentences", own)
    lost = sum(hosts.exchange("counting lost tokens", lost))
    if lost and hosts.first():
        print(f"{lost} tokens of the fused text found no place in the prompt", file=sys.stderr)
    return [written.get(i, "") for i in range(len(sentences))]


def lower_writing(graphdef, params, batch, *given, prefix: Callable, beam_size: int,
                  max_new_tokens: int) -> jax.stages.Lowered:  # fmt: skip
    """The program `write_sentences` runs for a batch, lowered as accelerators run it.

    Arguments as there, arrays or ShapeDtypeStructs; which ids end and pad a sentence makes no
    difference to what it costs.
    """
    end, pad = 1, 0
    return _write.lower(graphdef, params, batch, given, prefix, beam_size, max_new_tokens, end,
                        pad, False)  # fmt: skip


@functools.partial(jax.jit, static_argnums=(0, 4, 5, 6, 7, 8, 9))
def _write(graphdef, params, batch, given, prefix, beam_size, max_new_tokens, eos_id, pad_id,
           apart):  # fmt: skip
    decoder, prefix_bpd, mask_bp, lost_b = prefix(nnx.merge(graphdef, params), batch, *given)
    ids_bl, _ = generation.generate(
        decoder, prefix_bpd, mask_bp & batch.valid_b[:, None], max_new_tokens=max_new_tokens,
        eos_id=eos_id, pad_id=pad_id, beam_size=beam_size, apart=apart,
    )  # fmt: skip
    return ids_bl, lost_b
