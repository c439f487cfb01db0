"""The tasks of train_speed with PyTorch, eager or compiled; run by it as a process of its own."""

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.harness import Peak, serve, use_cores
from benchmarks.train_speed_modules import ExpertTask


def load(task: nn.Module, arrays) -> int:
    """Copies the other side's parameters in and returns how many there were."""
    n = 0
    with torch.no_grad():
        for name, parameter in task.named_parameters():
            stored = torch.from_numpy(_find(name.removeprefix("expert."), parameter, arrays))
            parameter.copy_(stored)
            n += parameter.numel()
    return n


def _find(name: str, parameter, arrays) -> np.ndarray:
    """The array that a parameter is called after; kernels are stored the other way round."""
    *parts, leaf = name.split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    for drop in [None, *numbers]:  # stacked layers have no number in their path, but an index
        path = "/".join(part for i, part in enumerate(parts) if i != drop)
        for last in {"weight": ("/kernel", "/scale", "/table", ""), "bias": ("/bias",)}.get(
            leaf, (f"/{leaf}",)
        ):
            if path + last in arrays:
                array = arrays[path + last]
                array = array if drop is None else array[int(parts[drop])]
                return _turned(array, parameter.shape, last in ("/kernel", ""))
    raise KeyError(f"benchmark: parameter {name}: the other side has none of that name")


def _turned(array: np.ndarray, shape, is_kernel: bool) -> np.ndarray:
    if not is_kernel or len(shape) < 2:
        return array.reshape(shape)
    n_out, n_in, *window = shape
    return np.ascontiguousarray(np.moveaxis(array.reshape(*window, n_in, n_out), (-1, -2), (0, 1)))


def make_optimizer(task: nn.Module, spec: dict):
    """Fused AdamW with warm-up and cosine decay; one-dimensional parameters do not decay."""
    optim = spec["optim"]
    trained = [p for p in task.parameters() if p.requires_grad]
    # Norm scales, biases and the like; biases of several dimensions do not exist here.
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": optim["weight_decay"]},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=optim["learning_rate"], fused=True, betas=(optim["b1"], optim["b2"]), eps=1e-8
    )
    warm, steps, final = optim["warmup_steps"], spec["steps"], optim["final_share"]

    def rate(step: int) -> float:
        if step < warm:
            return step / warm
        share = min((step - warm) / max(steps - warm, 1), 1.0)
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * share))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


class Training:
    """One stage's training on one batch."""

    def __init__(self, kind: str, dtype: str, steps: int, directory: Path):
        self.kind, self.steps = kind, steps
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = getattr(torch, dtype)
        torch.set_float32_matmul_precision("high")
        self.spec = json.loads((directory / "spec.json").read_text())
        self.batch = {name: self._sent(x) for name, x in np.load(directory / "batch.npz").items()}
        self.task = ExpertTask(self.spec, self.batch)
        self.n_parameters = load(self.task, np.load(directory / "params.npz"))
        self.task.to(self.device)
        self.forward = self.task
        if kind == "compiled":
            self.forward = torch.compile(self.task)
        self.trained = [p for p in self.task.parameters() if p.requires_grad]
        self.optimizer, self.schedule = make_optimizer(self.task, self.spec)

    def _sent(self, x: np.ndarray) -> torch.Tensor:
        if x.dtype == np.int32:
            x = x.astype(np.int64)
        return torch.from_numpy(x).to(self.device)

    def describe(self) -> dict:
        """Sizes and the device."""
        name = torch.cuda.get_device_name() if self.device == "cuda" else "cpu"
        return {
            "device": name,
            "parameters": self.n_parameters,
            "torch": torch.__version__,
            "trained": sum(p.numel() for p in self.trained),
        }

    def _loss(self, forward) -> torch.Tensor:
        mixed = self.dtype != torch.float32
        with torch.autocast(self.device, self.dtype, enabled=mixed):
            return self.task.loss(self.batch, forward)

    def loss(self) -> float:
        """Mean loss of the batch without dropout."""
        self.task.eval()
        with torch.no_grad():
            loss = self._loss(self.task).item()
        self.task.train()
        return loss

    def run(self) -> dict[str, float]:
        """Some steps; gives the loss of the last and the processor seconds of them all."""
        start = time.process_time()
        clip = self.spec["optim"]["clip_norm"]
        for _ in range(self.steps):
            loss = self._loss(self.forward)
            loss.backward()
            nn.utils.clip_grad_norm_(self.trained, clip, foreach=True)
            self.optimizer.step()
            self.schedule.step()
            self.optimizer.zero_grad(set_to_none=True)
        return {"loss": loss.item(), "cpu": time.process_time() - start}

    def stats(self) -> dict | None:
        """The accelerator's memory."""
        if self.device == "cpu":
            return None
        return {"peak_bytes_in_use": torch.cuda.max_memory_allocated()}


def main(kind: str, dtype: str, steps: str, cores: str, directory: str) -> None:
    torch.set_num_threads(use_cores(int(cores)))
    training = Training(kind, dtype, int(steps), Path(directory))
    peak = Peak(training.stats)
    serve(
        {
            "describe": training.describe,
            "loss": training.loss,
            "steps": training.run,
            "forget peak": peak.forget,
            "peak": peak.read,
        }
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
