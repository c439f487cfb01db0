"""A Hugging Face directory small enough for tests: random Llama, byte-level BPE, chat template."""

import json
from pathlib import Path

from signbind_jax.hf.export import export_merged
from signbind_jax.hf.tokenizer import train_bpe
from tests.unit.models.tiny_decoder import tiny_decoder

TEMPLATE = (
    "{% for message in messages %}<bos>{{ message['role'] }}\n{{ message['content'] }}<eos>\n"
    "{% endfor %}{% if add_generation_prompt %}<bos>assistant\n{% endif %}"
)


def write_pretrained(directory: Path, template: str | None = TEMPLATE, rows: int = 320) -> Path:
    """Writes config, weights and tokenizer; `rows` of the embedding table."""
    tokenizer = train_bpe(["the cat sat on the mat", "who saw it"] * 20, 300)
    export_merged(tiny_decoder(scale=0.1, vocab_size=rows), directory, tokenizer=tokenizer)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<bos>",
        "eos_token": {"__type": "AddedToken", "content": "<eos>"},
        "pad_token": "<pad>",
    }
    if template:
        settings["chat_template"] = template
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory
