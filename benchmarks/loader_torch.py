"""PyTorch's side of benchmarks.loader: a DataLoader with two workers; serves `epoch`."""

import math
import sys

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.harness import serve
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data.lips import decode_mosaic


class Clips(Dataset):
    """One batch an item: the clips of a step, read, changed and padded."""

    def __init__(self, directory: str, batches: str):
        self.directory, self.split = directory, None
        arrays = np.load(batches)
        self.rows, self.buckets = arrays["rows"], arrays["buckets"]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int):
        if self.split is None:  # opened in the worker
            self.split = open_dataset(self.directory).split("train")
        t = int(self.buckets[i])
        pose_btkc = torch.zeros(len(self.rows[i]), t, 91, 3)
        lips_bfhw = torch.zeros(len(self.rows[i]), t, 96, 96)
        n_frames = 0
        for row, clip_index in enumerate(self.rows[i]):
            clip = self.split[clip_index]
            pose, lips = clip.modalities["pose"], clip.modalities["lips"]
            n = pose.n
            pose_btkc[row, :n] = rotated(torch.from_numpy(pose.data.astype(np.float32)))
            lips_bfhw[row, :n] = normalised(decode_mosaic(lips.data, lips.n))
            n_frames += n
        return pose_btkc, lips_bfhw, n_frames


def rotated(pose_tkc: torch.Tensor) -> torch.Tensor:
    """The pose turned by up to 8 degrees."""
    angle = math.radians(8) * (2 * torch.rand(()).item() - 1)
    cos, sin = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return pose_tkc @ turn


def normalised(crops_fhw: np.ndarray) -> torch.Tensor:
    """Crops shifted by up to 2 pixels, without their mean picture, of standard deviation 1."""
    dy, dx = torch.randint(0, 5, (2,)).tolist()
    padded_fhw = np.pad(crops_fhw, ((0, 0), (2, 2), (2, 2)), mode="edge")
    x_fhw = torch.from_numpy(padded_fhw[:, dy : dy + 96, dx : dx + 96].astype(np.float32))
    x_fhw -= x_fhw.mean(0, keepdim=True)
    return x_fhw / x_fhw.square().mean().sqrt().clamp(min=1.0)


def main() -> None:
    torch.set_num_threads(1)
    loader = DataLoader(
        Clips(*sys.argv[1:]),
        batch_size=None,
        num_workers=2,
        prefetch_factor=2,
        persistent_workers=True,
        multiprocessing_context="spawn",
    )

    def epoch() -> float:
        total, steps = 0.0, 0
        for _, lips_bfhw, n_frames in loader:
            total += lips_bfhw.abs().sum().item() / n_frames
            steps += 1
        return total / steps

    serve({"epoch": epoch})


if __name__ == "__main__":
    main()
