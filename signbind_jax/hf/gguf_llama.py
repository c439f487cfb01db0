"""A Llama in the GGUF format of llama.cpp -> a Hugging Face directory.

Only what SmolLM2 needs: the Llama architecture without biases, and its byte-level BPE.
"""

import re
from pathlib import Path
from typing import Annotated

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
from signbind_jax.ranges import Range, fits, wanted

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


# Of a file: SmolLM2's has 85 MB, and a quarter of a million values in front of its tensors.
_BYTES = 2**28
_VALUES = 350_000
_SIZE = Annotated[int, Range(1, 2**24)]
# What the library's reader may raise at bytes that are not what it expects.
_UNREADABLE = (ValueError, LookupError, TypeError, OverflowError, RecursionError, MemoryError)


class _Reader(gguf.GGUFReader):
    """The library's, kept from looping over values that the file is too short for."""

    values = 0

    def _get(self, offset, dtype, count=1, override_order=None):
        self.values += 1
        end = int(offset) + np.dtype(dtype).itemsize * int(count)
        if end > len(self.data) or self.values > _VALUES:
            raise ValueError(
                f"ends at byte {len(self.data):,} of {end:,}, or has more than {_VALUES:,} values"
            )
        return super()._get(offset, dtype, count, override_order)


class GGUF:
    """A GGUF file's fields and tensors, by name.

    Raises:
      SignBindError: not a whole GGUF file.
    """

    def __init__(self, path: Path):
        self.path = path
        size = files.check_regular(path)
        if size > _BYTES:
            raise SignBindError(f"{path}: found {size:,} bytes, wanted at most {_BYTES:,}")
        try:
            reader = _Reader(path)
            self._fields = {name: field.contents() for name, field in reader.fields.items()}
        except (OSError, *_UNREADABLE) as error:
            line = " ".join(str(error).split())[:200]
            raise SignBindError(f"{path}: not a whole GGUF file ({line})") from error
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}

    def get(self, name: str, kind: type, default=None):
        """A field's value.

        Raises:
          SignBindError: it is not there and there is no default, or it is of another type.
        """
        if name not in self._fields and default is not None:
            return default
        return files.field(self._fields, name, kind, str(self.path))

    def size(self, name: str, default: int | None = None) -> int:
        """A whole number that counts something: layers, heads, dimensions."""
        value = self.get(name, int, default)
        if not fits(value, _SIZE):
            raise SignBindError(f"{self.path}: {name}: found {value}, wanted {wanted(_SIZE)}")
        return value

    def all_of(self, name: str, kind: type) -> list:
        """A list of texts or of whole numbers."""
        values = self.get(name, list)
        for value in values:
            if type(value) is not kind:
                raise SignBindError(
                    f"{self.path}: {name}: found {files.shorten(value)} in it, "
                    f"wanted a list of {kind.__name__} only"
                )
        return values

    def only(self, name: str, wanted: str) -> None:
        """Refuses a field with another value.

        Raises:
          SignBindError: it has one.
        """
        found = self.get(name, str)
        if found != wanted:
            raise SignBindError(
                f"{self.path}: {name}: found {files.shorten(found)}, wanted {wanted!r}"
            )


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
        files.write_json(directory / name, record)
    _tokenizer(file).save(str(directory / "tokenizer.json"))
    path = directory / "model.safetensors"
    try:
        save_file(_weights(file), path, metadata={"format": "pt"})
    except SafetensorError as error:  # how the library tells of a full disk
        raise SignBindError(f"{path}: cannot be written: {error}") from error
    # safetensors writes for its owner alone; a cache may be shared.
    path.chmod((directory / "config.json").stat().st_mode)


def _config(file: GGUF) -> dict:
    """What `config.json` of the same model says."""
    n_heads = file.size("llama.attention.head_count")
    d_model = file.size("llama.embedding_length")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(file.all_of("tokenizer.ggml.tokens", str)),
        "hidden_size": d_model,
        "intermediate_size": file.size("llama.feed_forward_length"),
        "num_hidden_layers": file.size("llama.block_count"),
        "num_attention_heads": n_heads,
        "num_key_value_heads": file.size("llama.attention.head_count_kv", n_heads),
        "head_dim": d_model // n_heads,
        "hidden_act": "silu",
        "max_position_embeddings": file.size("llama.context_length"),
        "rms_norm_eps": _as_written(file.get("llama.attention.layer_norm_rms_epsilon", float)),
        "rope_theta": _as_written(file.get("llama.rope.freq_base", float, 10_000.0)),
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
    return {key: found for key, name in names.items() if (found := _special_id(file, name)) >= 0}


def _special_id(file: GGUF, name: str) -> int:
    """Of a token by its role; -1 where there is none."""
    field = f"tokenizer.ggml.{name}_token_id"
    found, count = file.get(field, int, -1), len(file.get("tokenizer.ggml.tokens", list))
    if not -1 <= found < count:
        raise SignBindError(f"{file.path}: {field}: found {found}, wanted one of {count} tokens")
    return found


def _tokenizer_config(file: GGUF) -> dict:
    tokens = file.all_of("tokenizer.ggml.tokens", str)
    special = {key.removesuffix("_id"): tokens[i] for key, i in _special_ids(file).items()}
    unknown = _special_id(file, "unknown")
    if unknown >= 0:
        special["unk_token"] = tokens[unknown]
    record = {
        # The class that takes tokenizer.json as it is: GPT-2's own knows no single digits.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": file.size("llama.context_length"),
        "clean_up_tokenization_spaces": False,
        **special,
    }
    template = file.get("tokenizer.chat_template", str, "")
    return record | ({"chat_template": template} if template else {})


def _tokenizer(file: GGUF) -> tokenizers.Tokenizer:
    """SmolLM's byte-level BPE, in which every digit is a token of its own."""
    tokens = file.all_of("tokenizer.ggml.tokens", str)
    ids = {token: i for i, token in enumerate(tokens)}
    merges = [tuple(merge.split(" ")) for merge in file.all_of("tokenizer.ggml.merges", str)]
    kinds = file.all_of("tokenizer.ggml.token_type", int)
    if len(kinds) != len(tokens) or len(ids) != len(tokens):
        raise SignBindError(
            f"{file.path}: tokenizer.ggml.tokens: found {len(ids):,} tokens in "
            f"{len(tokens):,}, with {len(kinds):,} types, wanted as many "
            "of each"
        )
    try:
        tokenizer = tokenizers.Tokenizer(models.BPE(vocab=ids, merges=merges))
    except Exception as error:  # the library raises nothing more special
        line = " ".join(str(error).split())[:200]
        raise SignBindError(f"{file.path}: tokenizer.ggml.merges: {line}") from error
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [
            tokenizers.AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind in (TokenType.CONTROL, TokenType.UNKNOWN)
        ]
    )
    return tokenizer


def _weights(file: GGUF) -> dict[str, np.ndarray]:
    """All tensors under Hugging Face's names, as float16.

    Four-bit weights are a float16 scale times 0..15 plus a float16 offset: float16 keeps more
    of them than bfloat16 would.
    """
    n_heads = file.size("llama.attention.head_count")
    n_kv_heads = file.size("llama.attention.head_count_kv", n_heads)
    heads = {"attn_q": n_heads, "attn_k": n_kv_heads}
    weights = {}
    for name, tensor in file.tensors.items():
        layer, part = _place(file, name)
        try:
            with np.errstate(all="ignore"):
                value = dequantize(tensor.data, tensor.tensor_type).astype(np.float16)
            if part in heads:
                value = unpermute(value, heads[part])
        except (*_UNREADABLE, NotImplementedError) as error:
            line = " ".join(str(error).split())[:200]
            raise SignBindError(f"{file.path}: tensor {name}: {line}") from error
        if not np.isfinite(value).all():
            raise SignBindError(
                f"{file.path}: tensor {name}: found infinite values, wanted such "
                "as float16 can hold"
            )
        stem = f"model.layers.{layer}.{_LAYER_NAMES[part]}" if layer else _OTHER_NAMES[part]
        weights[f"{stem}.weight"] = np.ascontiguousarray(value)
    return weights


def _place(file: GGUF, name: str) -> tuple[str, str]:
    """(layer or "", part) of a tensor's name.

    Raises:
      SignBindError: a name that the Llama architecture without biases does not have.
    """
    found = re.fullmatch(r"(?:blk\.(\d{1,4})\.)?(\w+)\.weight", name)
    layer, part = found.groups() if found else (None, "")
    if part not in (_OTHER_NAMES if layer is None else _LAYER_NAMES):
        raise SignBindError(
            f"{file.path}: tensor {name[:100]!r}: found in the file, wanted the "
            "tensors of a Llama without biases only"
        )
    return layer or "", part


def unpermute(kernel_od: np.ndarray, n_heads: int) -> np.ndarray:
    """Rows of q or k in the order in which Hugging Face turns them.

    Rotary positions turn pairs of a head's dimensions: llama.cpp's stand next to each other
    (0, 1), (2, 3) ..., Hugging Face's half a head apart (0, e/2), (1, e/2 + 1) ...
    """
    o, d = kernel_od.shape
    pairs = kernel_od.reshape(n_heads, o // n_heads // 2, 2, d)
    return pairs.swapaxes(1, 2).reshape(o, d)
