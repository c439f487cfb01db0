"""The decoder with its layers run one by one instead of scanned."""

from typing import TYPE_CHECKING

import jax
from flax import nnx

from signbind_jax.models.llm.kv_cache import KVCache
from signbind_jax.models.llm.positions import AttentionInputs

if TYPE_CHECKING:
    from signbind_jax.models.llm.decoder import Decoder


class UnstackedDecoder:
    """A decoder for a loop on the CPU, where a scan would copy every layer's weights and cache
    out of their stack at each step; each layer has its own copy of its parameters instead."""

    def __init__(self, decoder: "Decoder"):
        self.config, self.embed, self.loss = decoder.config, decoder.embed, decoder.loss
        self.decoder, self.linears = decoder, decoder.linears
        graphdef, state = nnx.split(decoder.layers)
        self.blocks = [
            nnx.merge(graphdef, jax.tree.map(lambda x, i=i: x[i], state))
            for i in range(decoder.config.n_layers)
        ]

    def unstacked(self) -> "UnstackedDecoder":
        """Gives itself."""
        return self

    def prefill(self, x_bpd, mask_bp, capacity: int):
        """Does what `Decoder.prefill` does, with an unstacked cache."""
        logits_bv, cache = self.decoder.prefill(x_bpd, mask_bp, capacity)
        return logits_bv, cache.unstacked()

    def step(self, x_bqd, cache: KVCache, position_bq, mask_bqu):
        """Does what `Decoder.step` does, with a cache from `prefill` here."""
        return self.decoder.step_by(self._step_blocks, x_bqd, cache, position_bq, mask_bqu)

    def _step_blocks(self, x_bqd, cache: KVCache, inputs_of_kinds: list[AttentionInputs]):
        k_ibhue, v_ibhue, start = [], [], (0, 0, cache.length, 0)
        kinds = [self.config.layer_kinds.index(kind) for kind in self.config.kind_of_layer]
        layers_of_cache = zip(cache.k_ibhue, cache.v_ibhue, strict=True)
        for block, kind, (k_bhue, v_bhue) in zip(self.blocks, kinds, layers_of_cache, strict=True):
            q_bqhe, k_bhqe, v_bhqe = block.project(x_bqd, inputs_of_kinds[kind])
            k_ibhue.append(jax.lax.dynamic_update_slice(k_bhue, k_bhqe, start))
            v_ibhue.append(jax.lax.dynamic_update_slice(v_bhue, v_bhqe, start))
            attended_bqhe = block.attend(q_bqhe, k_ibhue[-1], v_ibhue[-1], inputs_of_kinds[kind])
            x_bqd = block.finish(x_bqd, attended_bqhe)
        return x_bqd, tuple(k_ibhue), tuple(v_ibhue)
