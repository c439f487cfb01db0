"""The sentences of first_sentence with PyTorch; run by it as a process of its own.

A translator of the same sizes with random weights: the experts layer for layer
(`train_speed_modules`), `nn.TransformerEncoder` as fusion, transformers' Llama as decoder. As many
tokens go into fusion and come out of the decoder as in the sentence that ours writes; landmarks and
crops are in memory, so that reading the file is left out. Prints one line of JSON.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import nn

from benchmarks.train_speed_modules import Expert, expert_inputs


class Translator(nn.Module):
    """Experts, fusion, projector and decoder."""

    def __init__(self, spec: dict):
        super().__init__()
        self.spec = spec
        self.experts = nn.ModuleList([Expert(config) for config in spec["experts"]])
        fusion, decoder = spec["fusion"], spec["decoder"]
        d = fusion["d_model"]
        self.token = nn.Linear(fusion["d_hidden"], d)
        layer = nn.TransformerEncoderLayer(
            d, fusion["n_heads"], fusion["d_mlp"], batch_first=True, norm_first=True
        )
        self.fusion = nn.TransformerEncoder(layer, fusion["n_layers"], enable_nested_tensor=False)
        self.head = nn.Linear(d, fusion["n_targets"])
        self.projector = nn.Sequential(
            nn.Linear(d, decoder["d_model"]),
            nn.GELU(),
            nn.Linear(decoder["d_model"], decoder["d_model"]),
        )
        self.decoder = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=decoder["vocab_size"],
                hidden_size=decoder["d_model"],
                intermediate_size=decoder["d_mlp"],
                num_hidden_layers=decoder["n_layers"],
                num_attention_heads=decoder["n_heads"],
                num_key_value_heads=decoder["n_kv_heads"],
                head_dim=decoder["head_size"],
            )
        )
        self.decoder.generation_config.eos_token_id = None  # no sentence ends early
        self.decoder.generation_config.pad_token_id = 0

    def forward(self, clips: list[dict]) -> torch.Tensor:
        for expert, clip in zip(self.experts, clips, strict=True):
            log_probs, _ = expert(*expert_inputs(clip))
            torch.unique_consecutive(log_probs.argmax(-1))
        # What was read is random: as many tokens as ours reads stand for it.
        size = (1, self.spec["tokens"], self.spec["fusion"]["d_hidden"])
        fused = self.fusion(self.token(torch.zeros(size)))
        self.head(fused).argmax(-1)
        prompt = self.decoder.get_input_embeddings()(torch.zeros(1, self.spec["text"], dtype=int))
        embeds = torch.cat([self.projector(fused), prompt], dim=1)
        return self.decoder.generate(
            inputs_embeds=embeds,
            attention_mask=torch.ones(embeds.shape[:2], dtype=torch.long),
            max_new_tokens=self.spec["written"],
            do_sample=False,
        )


def main(directory: str, repeats: str) -> None:
    started = time.perf_counter()
    spec = json.loads((Path(directory) / "spec.json").read_text())
    model = Translator(spec).eval()
    arrays = np.load(Path(directory) / "arrays.npz")
    clips = []
    for config in spec["experts"]:
        frames = arrays["lips" if config["frontend"] == "lips" else "pose"]
        padding = [(0, -len(frames) % 4), *[(0, 0)] * (frames.ndim - 1)]  # steps of up to 4 frames
        clip = {"frames_bt": torch.from_numpy(np.pad(frames, padding))[None]}
        clips.append(clip | {"length_bg": torch.tensor([[len(frames)]])})
    seconds = []
    with torch.inference_mode():
        model(clips)
        opened = time.perf_counter() - started
        for _ in range(int(repeats)):
            start = time.perf_counter()
            written = model(clips)
            seconds.append(time.perf_counter() - start)
    assert written.shape[1] == spec["written"]
    p50, p95 = np.percentile(seconds, [50, 95])
    found = {
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "opened_s": round(opened, 2),
        "next": {"p50": round(float(p50), 3), "p95": round(float(p95), 3)},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
