"""The half of `lora_round_trip.py` that needs PyTorch, transformers and peft, and no JAX.

For every case in the folder given: logits of the untouched checkpoint, of the merged export,
of the adapter export; then adapters of peft's own, saved, and their logits.
"""

import json
import sys
from pathlib import Path

import numpy as np
import peft
import torch
import transformers

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def load(directory: Path):
    """A model in float32 without dropout."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager"
    )
    return model.eval()


def answer(source: str, case: Path, rank: int, alpha: float) -> None:
    """Writes theirs.npz and peft/ into the folder of one case."""
    ids = torch.tensor(np.load(case / "ours.npz")["ids"]).long()
    logits = {}

    def note(name, model):
        with torch.no_grad():
            logits[name] = model(input_ids=ids).logits.numpy()

    note("merged", load(case / "merged"))
    base = load(source)
    note("base", base)
    tuned = peft.PeftModel.from_pretrained(base, case / "adapters")
    note("adapters", tuned.eval())
    torch.manual_seed(0)
    config = peft.LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=MODULES, task_type="CAUSAL_LM"
    )
    fresh = peft.get_peft_model(tuned.unload(), config).eval()
    with torch.no_grad():
        for name, parameter in fresh.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    note("peft", fresh)
    fresh.save_pretrained(case / "peft")
    np.savez(case / "theirs.npz", **logits)


def main() -> None:
    torch.set_num_threads(1)
    work = Path(sys.argv[1])
    plan = json.loads((work / "plan.json").read_text())
    for name, source in plan["sources"].items():
        answer(source, work / name, plan["rank"], plan["alpha"])


if __name__ == "__main__":
    main()
