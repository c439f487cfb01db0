"""Sentences written for a whole split: generation inside one compiled call a batch shape."""

import dataclasses
import functools
import sys
from collections.abc import Callable

import jax
from flax import nnx

from signbind_jax import generation
from signbind_jax.data.sentences import Sentences, reading_batches
from signbind_jax.distributed import hosts
from signbind_jax.generation.config import GenerationConfig
from signbind_jax.hf.tokenizer import TextTokenizer
from signbind_jax.processes import interrupts, xla_cpu

PREFIX_POSITIONS = 2048  # stream or prompt tokens a batch


def generate_sentences(
    graphdef: nnx.GraphDef,
    params: nnx.State,
    sentences: Sentences,
    tokenizer: TextTokenizer,
    *given,
    prefix: Callable,
    config: GenerationConfig,
) -> list[str]:
    """Writes the sentence of each clip, all of them on every process.

    Args:
      given: arrays passed on to `prefix`.
      prefix: (module, batch, *given) -> its language model, prefix_bpd, mask_bp, and how many
        tokens of each row did not fit into it. A function of a module, not a closure: what is
        compiled is kept by it.
      config: how the sentences are chosen. One that is drawn hangs on the seed and on the
        clip's index alone, whatever batch or process it falls into.
    """
    key = jax.random.key(config.seed) if config.do_sample else None
    own, lost = {}, 0
    for batch in interrupts.until_asked(reading_batches(sentences, PREFIX_POSITIONS)):
        ids_bl, lost_b = jax.device_get(
            _write(
                graphdef,
                params,
                batch,
                given,
                key,
                prefix,
                dataclasses.replace(config, seed=0),  # it is in the key
                tokenizer.eos_id,
                tokenizer.pad_id,
                xla_cpu.unstacks_layers(),
            )
        )
        lost += int(lost_b.sum())
        for row, index in enumerate(batch.index_b):
            if index >= 0:
                own[int(index)] = tokenizer.decode(ids_bl[row]).strip()
    written = hosts.join_rows("writing sentences", own)
    lost = sum(hosts.all_gather("counting lost tokens", lost))
    if lost and hosts.is_primary():
        print(f"{lost} tokens of the fused text did not fit into the prompt", file=sys.stderr)
    return [written.get(i, "") for i in range(len(sentences))]


def lower_writing(
    graphdef, params, batch, *given, prefix: Callable, config: GenerationConfig
) -> jax.stages.Lowered:
    """Lowers the program `generate_sentences` runs for a batch, as accelerators run it.

    Arguments as there, arrays or ShapeDtypeStructs; which ids end and pad a sentence makes no
    difference to what it costs.
    """
    end, pad = 1, 0
    key = jax.random.key(config.seed) if config.do_sample else None
    return _write.lower(graphdef, params, batch, given, key, prefix, config, end, pad, False)


@functools.partial(jax.jit, static_argnums=(0, 5, 6, 7, 8, 9))
def _write(graphdef, params, batch, given, key, prefix, config, eos_id, pad_id, unstacked):
    model, prefix_bpd, mask_bp, lost_b = prefix(nnx.merge(graphdef, params), batch, *given)
    key_b = None
    if key is not None:
        key_b = jax.vmap(functools.partial(jax.random.fold_in, key))(batch.index_b)
    ids_bl, _ = generation.generate(
        model,
        prefix_bpd,
        mask_bp & batch.valid_b[:, None],
        config,
        eos_id=eos_id,
        pad_id=pad_id,
        key=key_b,
        unstacked=unstacked,
    )
    return ids_bl, lost_b
