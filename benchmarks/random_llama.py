"""Llama checkpoints with random weights, as Hugging Face directories."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


@dataclass(frozen=True)
class Llama:
    """Shape of a Llama; tied embeddings, no biases."""

    layers: int
    d: int
    heads: int
    kv_heads: int
    mlp: int
    vocabulary: int
    rope_base: float = 1e4

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of each tensor, as they are stored."""
        kv = self.kv_heads * self.d // self.heads
        yield "model.embed_tokens.weight", (self.vocabulary, self.d)
        for i in range(self.layers):
            layer = f"model.layers.{i}"
            for part, shape in (
                ("self_attn.q_proj", (self.d, self.d)),
                ("self_attn.k_proj", (kv, self.d)),
                ("self_attn.v_proj", (kv, self.d)),
                ("self_attn.o_proj", (self.d, self.d)),
                ("mlp.gate_proj", (self.mlp, self.d)),
                ("mlp.up_proj", (self.mlp, self.d)),
                ("mlp.down_proj", (self.d, self.mlp)),
                ("input_layernorm", (self.d,)),
                ("post_attention_layernorm", (self.d,)),
            ):
                yield f"{layer}.{part}.weight", shape
        yield "model.norm.weight", (self.d,)

    def size(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for _, shape in self.tensors())

    def record(self) -> dict:
        """The config.json."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocabulary,
            "hidden_size": self.d,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.d // self.heads,
            "intermediate_size": self.mlp,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-5,
            "rope_theta": self.rope_base,
            "tie_word_embeddings": True,
            "max_position_embeddings": 2048,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }


def write(llama: Llama, directory: Path, *, dtype="float32", files: int = 1) -> int:
    """Writes the checkpoint in so many files and returns the bytes of its tensors."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(llama.record(), indent=1))
    random = np.random.default_rng(0)
    names = [f"model-{i + 1:05}-of-{files:05}.safetensors" for i in range(files)]
    names = names if files > 1 else ["model.safetensors"]
    shapes = list(llama.tensors())
    share = -(-llama.size() // files)  # parameters a file, rounded up
    own, held, written, file_of = {}, 0, 0, {}
    for i, (name, shape) in enumerate(shapes):
        values = random.standard_normal(shape, np.float32) * np.float32(0.02)
        values += np.float32("norm" in name)
        own[name] = values.astype(dtype)
        held += values.size
        written += own[name].nbytes
        if held >= share or i + 1 == len(shapes):
            file_of |= dict.fromkeys(own, names[0])
            save_file(own, directory / names.pop(0), metadata={"format": "pt"})
            own, held = {}, 0
    if files > 1:
        index = {"metadata": {"total_size": written}, "weight_map": file_of}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return written
