"""The tasks of llm_speed with transformers and peft; run by it as a process of its own."""

import sys
from functools import partial

import numpy as np
import torch
import transformers

from benchmarks.harness import serve


def write(model, soft, beams: int, new: int) -> list:
    """Ids of the new tokens."""
    with torch.inference_mode():
        ids = model.generate(
            inputs_embeds=soft,
            attention_mask=torch.ones(soft.shape[:2], dtype=torch.long),
            max_new_tokens=new,
            do_sample=False,
            num_beams=beams,
            early_stopping=False,
            length_penalty=1.0,
        )
    return ids.tolist()


class LoraStep:
    """One AdamW step on the adapters of every linear layer; gives the loss before it."""

    def __init__(self, directory: str, inputs, rank: int, alpha: float):
        self.arguments = directory, inputs, rank, alpha
        self.model = None

    def start(self) -> None:
        """Loads the model and puts the given adapters in."""
        import peft

        directory, inputs, rank, alpha = self.arguments
        model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
        targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        self.model = peft.get_peft_model(
            model, peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets)
        )
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if "lora_" not in name:
                    continue
                parts = name.split(".")
                layer, linear = int(parts[parts.index("layers") + 1]), parts[-4]
                matrix = name.split("lora_")[1][0]
                stored = inputs[f"{linear.removesuffix('_proj')}.{matrix.lower()}"][layer]
                parameter.copy_(torch.from_numpy(stored.T))
        self.ids = torch.from_numpy(inputs["ids"])
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.01)

    def __call__(self) -> float:
        if self.model is None:
            self.start()
        loss = self.model(input_ids=self.ids, labels=self.ids).loss
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()


def main(directory: str, inputs_path: str, threads: str, new: str, rank: str, alpha: str) -> None:
    torch.set_num_threads(int(threads))
    inputs = np.load(inputs_path)
    soft = torch.from_numpy(inputs["soft"])
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    model.generation_config.eos_token_id = None  # no sentence ends early
    model.generation_config.pad_token_id = 0
    model.eval()
    serve(
        {
            "prefill": partial(write, model, soft, 1, 1),
            "greedy": partial(write, model, soft, 1, int(new)),
            "beam-4": partial(write, model, soft, 4, int(new)),
            "LoRA step": LoraStep(directory, inputs, int(rank), float(alpha)),
        }
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
