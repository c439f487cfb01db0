"""The tasks of llm_speed with SignBind-JAX; run by it as a process of its own."""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.harness import read_decoder, serve
from signbind_jax import generation
from signbind_jax.models.llm.lora import TARGETS, add_lora, is_lora


def write(decoder, soft, beams: int, new: int) -> list:
    """Ids of the new tokens."""
    ids, _ = generation.generate(
        decoder,
        soft,
        jnp.ones(soft.shape[:2], bool),
        generation.GenerationConfig(max_new_tokens=new, beam_size=beams),
        eos_id=-1,
        pad_id=0,
    )
    return np.asarray(ids).tolist()


class LoraStep:
    """One AdamW step on the adapters of every linear layer; gives the loss before it."""

    def __init__(self, directory: str, inputs, rank: int, alpha: float):
        self.arguments = directory, inputs, rank, alpha
        self.step = None

    def start(self) -> None:
        """Loads the model, puts the given adapters in and compiles the step."""
        directory, inputs, rank, alpha = self.arguments
        decoder = read_decoder(directory)
        add_lora(decoder, rank=rank, alpha=alpha, rngs=nnx.Rngs(params=0))
        for target in TARGETS:
            lora = getattr(decoder.layers, target).lora
            for matrix in (lora.a, lora.b):
                stored = inputs[f"{target}.{'a' if matrix is lora.a else 'b'}"]
                matrix[...] = jnp.asarray(stored.reshape(matrix[...].shape))
        graphdef, self.adapters, self.frozen = nnx.split(decoder, is_lora, ...)
        self.ids = jnp.asarray(inputs["ids"])
        tx = optax.adamw(1e-3, weight_decay=0.01)
        self.moments = tx.init(self.adapters)

        def step(adapters, moments, frozen, ids):
            def loss_of(adapters):
                decoder = nnx.merge(graphdef, adapters, frozen)
                x_bld = decoder.hidden_states(decoder.embed(ids), jnp.ones(ids.shape, bool))
                logits_blv = decoder.logits(x_bld[:, :-1])
                return optax.softmax_cross_entropy_with_integer_labels(
                    logits_blv, ids[:, 1:]
                ).mean()

            loss, gradients = jax.value_and_grad(loss_of)(adapters)
            updates, moments = tx.update(gradients, moments, adapters)
            return loss, optax.apply_updates(adapters, updates), moments

        self.step = jax.jit(step, donate_argnums=(0, 1))

    def __call__(self) -> float:
        if self.step is None:
            self.start()
        loss, self.adapters, self.moments = self.step(
            self.adapters, self.moments, self.frozen, self.ids
        )
        jax.block_until_ready(self.moments)
        return float(loss)


def main(directory: str, inputs_path: str, threads: str, new: str, rank: str, alpha: str) -> None:
    inputs = np.load(inputs_path)
    decoder, soft = read_decoder(directory), jnp.asarray(inputs["soft"])
    serve(
        {
            "prefill": partial(write, decoder, soft, 1, 1),
            "greedy": partial(write, decoder, soft, 1, int(new)),
            "beam-4": partial(write, decoder, soft, 4, int(new)),
            "LoRA step": LoraStep(directory, inputs, int(rank), float(alpha)),
        }
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
