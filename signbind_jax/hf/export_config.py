"""config.json of an exported decoder: that of the directory it came from, or a Llama's."""

import dataclasses
from pathlib import Path

from signbind_jax.errors import SignBindError
from signbind_jax.hf.families import decoder_config, read_record
from signbind_jax.models.llm.config import DecoderConfig

# Fields of DecoderConfig that say how it is run, not what it computes.
_RUN = ("dropout", "compute_dtype", "remat", "remat_keeps_linear")
# What Llama configs say where nothing else is known; it changes no result.
_POSITIONS = 2048


def config_from(source: Path, config: DecoderConfig, dtype: str) -> dict:
    """Takes the config.json of the directory a decoder was imported from, for weights in `dtype`.

    Raises:
      SignBindError: no such config, or one of another decoder.
    """
    record = read_record(source)
    where = f"{source}/config.json"
    difference = _difference(decoder_config(record, where), config)
    if difference:
        field, found, wanted = difference
        raise SignBindError(
            f"{where}: {field}: found {found!r}, wanted {wanted!r}, that of the "
            "decoder to be exported"
        )
    if "text_config" in record:  # the text part of a model that also sees images
        record = {"model_type": "gemma3_text"} | record["text_config"]
        record["architectures"] = ["Gemma3ForCausalLM"]
    # transformers 5 says dtype, its predecessors torch_dtype.
    named = [name for name in ("dtype", "torch_dtype") if name in record] or ["torch_dtype"]
    return record | dict.fromkeys(named, dtype)


def llama_config(config: DecoderConfig, dtype: str, token_ids: dict[str, int]) -> dict:
    """Makes the config.json of a decoder that was never a Hugging Face model.

    Args:
      config: of a plain Llama.
      dtype: of the weights.
      token_ids: of "bos", "eos", "pad".

    Raises:
      SignBindError: the decoder is no plain Llama.
    """
    record = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_size,
        "intermediate_size": config.d_mlp,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        "attention_bias": config.qkv_bias,
        "mlp_bias": config.mlp_bias,
        "max_position_embeddings": _POSITIONS,
        "torch_dtype": dtype,
    }
    record |= _rope(config) | {f"{name}_token_id": i for name, i in token_ids.items()}
    # What the record cannot say shows when it is read again.
    difference = _difference(decoder_config(record, "llama"), config)
    if difference:
        field, llama, found = difference
        raise SignBindError(
            f"decoder: {field}: found {found!r}, wanted {llama!r}: without the config.json it came "
            "from, only a plain Llama can be exported"
        )
    return record


def _rope(config: DecoderConfig) -> dict:
    record = {"rope_theta": config.rope_base}
    if config.rope_llama3:
        factor, low, high, original = config.rope_llama3
        record["rope_scaling"] = {
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low,
            "high_freq_factor": high,
            "original_max_position_embeddings": int(original),
        }
        record["max_position_embeddings"] = int(factor * original)
    elif config.rope_divisor != 1.0:
        record["rope_scaling"] = {"rope_type": "linear", "factor": config.rope_divisor}
    return record


def _difference(found: DecoderConfig, wanted: DecoderConfig):
    """Finds (field, found, wanted) of the first field by which two decoders compute differently."""
    for field in dataclasses.fields(DecoderConfig):
        pair = getattr(found, field.name), getattr(wanted, field.name)
        if field.name not in _RUN and pair[0] != pair[1]:
            return field.name, *pair
    return None
