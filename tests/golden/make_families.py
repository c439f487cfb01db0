"""Tiny random checkpoints of every model family and what the reference computes on them.

Needs PyTorch and transformers, which the tests do not: `python tests/golden/make_families.py`
writes tests/golden/families/NAME/ (config.json, model.safetensors, reference.npz) anew.
"""

from pathlib import Path

import numpy as np
import torch
import transformers as hf

OUT = Path(__file__).with_name("families")
CASES, PLACES, NEW = 32, 24, 14
EOS = [2, 5, 9, 11, 17, 23]  # several, so that sentences end inside the beams

SMALL = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 24,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": EOS,
}
WIDE_HEADS = SMALL | {"head_dim": 12}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e4,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
GEMMA3 = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e5},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}
CONFIGS = {
    "llama2": hf.LlamaConfig(**SMALL, attention_bias=True, mlp_bias=True),
    "llama3": hf.LlamaConfig(**WIDE_HEADS, rope_parameters=LLAMA3),
    "smollm2": hf.LlamaConfig(
        **SMALL,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e5},
    ),
    "mistral": hf.MistralConfig(**WIDE_HEADS, sliding_window=6),
    "qwen2": hf.Qwen2Config(**SMALL, rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
    "qwen2_window": hf.Qwen2Config(
        **SMALL, use_sliding_window=True, sliding_window=5, max_window_layers=2
    ),
    "qwen3": hf.Qwen3Config(**WIDE_HEADS, tie_word_embeddings=True),
    "gemma2": hf.Gemma2Config(**WIDE_HEADS, sliding_window=6, query_pre_attn_scalar=20),
    "gemma3": hf.Gemma3TextConfig(
        **WIDE_HEADS | {"num_hidden_layers": 6},
        sliding_window=6,
        query_pre_attn_scalar=20,
        rope_parameters=GEMMA3,
    ),
    "smollm3": hf.SmolLM3Config(**SMALL),
}


def make(name: str, config) -> None:
    """Writes one family's directory."""
    torch.manual_seed(0)
    model = hf.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    directory = OUT / name
    model.save_pretrained(directory)
    (directory / "generation_config.json").unlink()
    numbers = torch.Generator().manual_seed(1)
    ids = torch.randint(3, config.vocab_size, (CASES, PLACES), generator=numbers)
    soft = torch.randn(CASES, PLACES, config.hidden_size, generator=numbers)
    lengths = torch.randint(1, PLACES + 1, (CASES,), generator=numbers)
    lengths[0] = PLACES
    mask = (torch.arange(PLACES) >= PLACES - lengths[:, None]).long()  # padded on the left
    given = {"attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
    with torch.no_grad():
        logits_of_ids = model(input_ids=ids, **given).logits[:4]
        logits_of_soft = model(inputs_embeds=soft, **given).logits[:4]

        def write(beams):
            return model.generate(
                inputs_embeds=soft,
                attention_mask=mask,
                max_new_tokens=NEW,
                do_sample=False,
                num_beams=beams,
                early_stopping=False,
                length_penalty=1.0,
                eos_token_id=EOS,
                pad_token_id=0,
            )

        greedy, beam = write(1), write(4)
    np.savez_compressed(
        directory / "reference.npz",
        ids=ids.numpy().astype(np.int16),
        soft=soft,
        mask=mask.bool(),
        logits_of_ids=logits_of_ids,
        logits_of_soft=logits_of_soft,
        greedy=greedy.numpy().astype(np.int16),
        beam=beam.numpy().astype(np.int16),
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, config in CONFIGS.items():
        make(name, config)
        print(name)
