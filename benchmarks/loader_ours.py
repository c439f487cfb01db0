"""Our side of benchmarks.loader: serves one task, `epoch`."""

import sys

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness import serve
from signbind_jax.data.augment import AugmentConfig
from signbind_jax.data.batch_plan import EvaluationPlan, Step
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data.loader import clip_batches
from signbind_jax.data.preprocess import prepare_lips, prepare_pose

AUGMENT = AugmentConfig(
    speed=0.0,
    time_masks=0,
    scale=0.0,
    shear=0.0,
    translation=0.0,
    keypoint_noise=0.0,
    hand_drop=0.0,
    brightness=0.0,
    contrast=0.0,
)


@jax.jit
def prepare(poses, lips, key):
    """Model input, and the mean absolute value of the crops."""
    x_btkc, _ = prepare_pose(*_rows(poses), key, AUGMENT)
    x_bfhw, _ = prepare_lips(*_rows(lips), key, AUGMENT)
    return x_btkc, x_bfhw, jnp.abs(x_bfhw).sum() / lips.length_bg.sum()


def _rows(batch):
    return batch.frames_bt, batch.start_bg, batch.length_bg, batch.index_bg


def main() -> None:
    dataset = open_dataset(sys.argv[1]).split("train")
    batches = np.load(sys.argv[2])
    steps = [Step.padded(int(n), ids) for n, ids in zip(batches["buckets"], batches["rows"])]
    targets = [()] * len(dataset)

    def epoch() -> float:
        key, total = jax.random.key(0), 0.0
        both = (
            clip_batches(dataset, EvaluationPlan(steps), frontend, targets, 1)
            for frontend in ("pose", "lips")
        )
        for poses, lips in zip(*both, strict=True):
            total += prepare(poses, lips, key)[2]
        return float(total) / len(steps)

    serve({"epoch": epoch})


if __name__ == "__main__":
    main()
