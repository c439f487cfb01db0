"""A Llama in the GGUF format of llama.cpp -> a Hugging Face directory.

Only what SmolLM2 needs: the Llama architecture without biases, and its byte-level BPE.
"""

import json
from pathlib import Path

import gguf
import numpy as np
import tokenizers
from gguf.constants import TokenType
from gguf.quants import dequantize
from safetensors.numpy import save_file
from tokenizers import decoders, models, pre_tokenizers

from signbind_jax.errors import SignBindError

# What is left of a tensor's name without "blk.N." and ".weight" -> its name in a layer.
_LAYER_NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}  # fmt: skip
_OTHER_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm",
                "output": "lm_head"}  # fmt: skip


class GGUF:
    """A GGUF file's fields and tensors, by name.

    Raises:
      SignBindError: not a whole GGUF file.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            reader = gguf.GGUFReader(path)
        except (ValueError, IndexError, OSError) as error:
            raise SignBindError(f"{path}: not a whole GGUF file ({error})") from error
        self._fields = reader.fields
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}

    def get(self, name: str, default=None):
        """A field's value: a number, a string or a list of them."""
        return self._fields[name].contents() if name in self._fields else default

    def need(self, name: str):
        """The same, of a field without which nothing can be done.

        Raises:
          SignBindError: it is not there.
        """
        value = self.get(name)
        if value is None:
            raise SignBindError(f"{self.path}: {name}: found nothing, wanted a value")
        return value

    def only(self, name: str, wanted: str) -> None:
        """Refuses a field with another value.

        Raises:
          SignBindError: it has one.
        """
        if self.need(name) != wanted:
            raise SignBindError(f"{self.path}: {name}: found {self.need(name)!r}, "
                                f"wanted {wanted!r}")  # fmt: skip


def convert(path: Path, directory: Path) -> None:
    """Writes config, weights (float16), tokenizer and chat template into `directory`.

    Raises:
      SignBindError: not a GGUF file, or not one of a Llama with SmolLM's tokenizer.
    """
    file = GGUF(path)
    file.only("general.architecture", "llama")
    file.only("tokenizer.ggml.model", "gpt2")
    file.only("tokenizer.ggml.pre", "smollm")
    records = {
        "config.json": _config(file),
        "generation_config.json": _special_ids(file),
        "tokenizer_config.json": _tokenizer_config(file),
    }
    for name, record in records.items():
        text = json.dumps(record, indent=2, ensure_ascii=False)
        (directory / name).write_text(text + "\n", encoding="utf-8")
    _tokenizer(file).save(str(directory / "tokenizer.json"))
    path = directory / "model.safetensors"
    save_file(_weights(file), path, metadata={"format": "pt"})
    # safetensors writes for its owner alone; a cache may be shared.
    path.chmod((directory / "config.json").stat().st_mode)


def _config(file: GGUF) -> dict:
    """What `config.json` of the same model says."""
    n_heads = file.need("llama.attention.head_count")
    d_model = file.need("llama.embedding_length")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(file.need("tokenizer.ggml.tokens")),
        "hidden_size": d_model,
        "intermediate_size": file.need("llama.feed_forward_length"),
        "num_hidden_layers": file.need("llama.block_count"),
        "num_attention_heads": n_heads,
        "num_key_value_heads": file.get("llama.attention.head_count_kv", n_heads),
        "head_dim": d_model // n_heads,
        "hidden_act": "silu",
        "max_position_embeddings": file.need("llama.context_length"),
        "rms_norm_eps": _as_written(file.need("llama.attention.layer_norm_rms_epsilon")),
        "rope_theta": _as_written(file.get("llama.rope.freq_base", 10_000.0)),
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "torch_dtype": "float16",
        **_special_ids(file),
    }


def _as_written(value: float) -> float:
    """A float32 as the short decimal that it was made from: 1e-05, not 9.99999974e-06."""
    return float(f"{value:.6g}")


def _special_ids(file: GGUF) -> dict[str, int]:
    names = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    found = {key: file.get(f"tokenizer.ggml.{name}_token_id") for key, name in names.items()}
    return {key: value for key, value in found.items() if value is not None}


def _tokenizer_config(file: GGUF) -> dict:
    tokens = file.need("tokenizer.ggml.tokens")
    special = {key.removesuffix("_id"): tokens[i] for key, i in _special_ids(file).items()}
    unknown = file.get("tokenizer.ggml.unknown_token_id")
    if unknown is not None:
        special["unk_token"] = tokens[unknown]
    record = {
        # The class that takes tokenizer.json as it is: GPT-2's own knows no single digits.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": file.need("llama.context_length"),
        "clean_up_tokenization_spaces": False,
        **special,
    }
    template = file.get("tokenizer.chat_template")
    return record | ({"chat_template": template} if template else {})


def _tokenizer(file: GGUF) -> tokenizers.Tokenizer:
    """SmolLM's byte-level BPE, in which every digit is a token of its own."""
    tokens = file.need("tokenizer.ggml.tokens")
    ids = {token: i for i, token in enumerate(tokens)}
    merges = [tuple(merge.split(" ")) for merge in file.need("tokenizer.ggml.merges")]
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=ids, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    kinds = file.need("tokenizer.ggml.token_type")
    tokenizer.add_special_tokens([
        tokenizers.AddedToken(token, special=True, normalized=False)
        for token, kind in zip(tokens, kinds, strict=True)
        if kind in (TokenType.CONTROL, TokenType.UNKNOWN)
    ])  # fmt: skip
    return tokenizer


def _weights(file: GGUF) -> dict[str, np.ndarray]:
    """All tensors under Hugging Face's names, as float16.

    Four-bit weights are a float16 scale times 0..15 plus a float16 offset: float16 keeps more
    of them than bfloat16 would.
    """
    n_heads = file.need("llama.attention.head_count")
    n_kv_heads = file.get("llama.attention.head_count_kv", n_heads)
    heads = {"attn_q": n_heads, "attn_k": n_kv_heads}
    weights = {}
    for name, tensor in file.tensors.items():
        layer, part = _place(file, name)
        value = dequantize(tensor.data, tensor.tensor_type)
        if part in heads:
            value = unpermute(value, heads[part])
        stem = f"model.layers.{layer}.{_LAYER_NAMES[part]}" if layer else _OTHER_NAMES[part]
        weights[f"{stem}.weight"] = np.ascontiguousarray(value, np.float16)
    return weights


def _place(file: GGUF, name: str) -> tuple[str, str]:
    """(layer or "", part) of a tensor's name.

    Raises:
      SignBindError: a name that the Llama architecture without biases does not have.
    """
    *block, part, leaf = name.split(".")
    known = _LAYER_NAMES if block else _OTHER_NAMES
    if leaf != "weight" or part not in known or (block and block[0] != "blk"):
        raise SignBindError(f"{file.path}: tensor {name}: found in the file, wanted the tensors "
                            "of a Llama without biases only")  # fmt: skip
    return (block[1] if block else ""), part


def unpermute(kernel_od: np.ndarray, n_heads: int) -> np.ndarray:
    """Rows of q or k in the order in which Hugging Face turns them.

    Rotary positions turn pairs of a head's dimensions: llama.cpp's stand next to each other
    (0, 1), (2, 3) ..., Hugging Face's half a head apart (0, e/2), (1, e/2 + 1) ...
    """
    o, d = kernel_od.shape
    pairs = kernel_od.reshape(n_heads, o // n_heads // 2, 2, d)
    return pairs.swapaxes(1, 2).reshape(o, d)
