"""What transformers generates with each `early_stopping`, and what its warpers leave.

Needs PyTorch and transformers, which the tests do not: `python tests/golden/make_generation.py`
writes tests/golden/generation.npz anew from the Llama family beside it.
"""

from pathlib import Path

import numpy as np
import torch
import transformers as hf

HERE = Path(__file__).parent
FAMILY = HERE / "families" / "llama2"
CASES, NEW = 16, 14
EOS = [2, 5, 9, 11, 17, 23]
LENGTH_PENALTIES = (-0.5, 0.0, 1.0, 2.0)
WARPERS = {
    "temperature": (0.7, 0, 1.0),
    "top_k": (1.0, 5, 1.0),
    "top_p": (1.0, 0, 0.8),
    "all": (1.7, 12, 0.6),
    "one": (1.0, 0, 0.0),
}


def beams(model, soft, mask) -> dict[str, np.ndarray]:
    """Sentences by early stopping and length penalty."""
    ids = {}
    for early_stopping in (False, True, "never"):
        for penalty in LENGTH_PENALTIES:
            found = model.generate(
                inputs_embeds=soft,
                attention_mask=mask,
                max_new_tokens=NEW,
                do_sample=False,
                num_beams=4,
                early_stopping=early_stopping,
                length_penalty=penalty,
                eos_token_id=EOS,
                pad_token_id=0,
            ).numpy()
            padded = np.zeros((CASES, NEW), np.int8)
            padded[:, : found.shape[1]] = found
            ids[f"{early_stopping}/{penalty}"] = padded
    return ids


def warped(logits) -> dict[str, np.ndarray]:
    """Logits after the warpers, in the order in which `generate` applies them."""
    left = {}
    for name, (temperature, top_k, top_p) in WARPERS.items():
        warpers = [hf.TemperatureLogitsWarper(temperature)]
        warpers += [hf.TopKLogitsWarper(top_k)] if top_k else []
        warpers += [hf.TopPLogitsWarper(top_p)] if top_p < 1 else []
        left[f"warped/{name}"] = hf.LogitsProcessorList(warpers)(None, logits).numpy()
    return left


def main() -> None:
    reference = np.load(FAMILY / "reference.npz")
    soft, mask = (torch.from_numpy(reference[name][:CASES]) for name in ("soft", "mask"))
    model = hf.AutoModelForCausalLM.from_pretrained(FAMILY, attn_implementation="eager").eval()
    logits = 2.0 * torch.randn(6, 40, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        arrays = beams(model, soft, mask.long()) | {"logits": logits.numpy()} | warped(logits)
    np.savez_compressed(HERE / "generation.npz", **arrays)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
