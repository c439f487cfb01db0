"""A Hugging Face directory small enough for tests: random Llama, byte-level BPE, chat template."""

import json
from pathlib import Path

from flax import nnx

from signbind_jax.hf.tokenizer import train_bpe
from signbind_jax.hf.weights import write_params
from tests.unit.tiny_decoder import tiny_decoder

TEMPLATE = (
    "{% for message in messages %}<bos>{{ message['role'] }}\n{{ message['content'] }}<eos>\n"
    "{% endfor %}{% if add_generation_prompt %}<bos>assistant\n{% endif %}"
)


def write_pretrained(directory: Path, template: str | None = TEMPLATE, rows: int = 320) -> Path:
    """Writes config, weights and tokenizer; `rows` of the embedding table."""
    directory.mkdir(parents=True)
    decoder = tiny_decoder(scale=0.1, vocab_size=rows)
    config = decoder.config
    record = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": rows,
        "hidden_size": config.d_model, "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads, "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_size, "intermediate_size": config.d_mlp, "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps, "rope_theta": config.rope_base,
        "tie_word_embeddings": True,
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(record))
    write_params(config, nnx.state(decoder), directory)
    train_bpe(["the cat sat on the mat", "who saw it"] * 20, 300).save(directory)
    (directory / "text_tokenizer.json").unlink()
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>",
                "eos_token": {"__type": "AddedToken", "content": "<eos>"},
                "pad_token": "<pad>"}  # fmt: skip
    if template:
        settings["chat_template"] = template
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory
