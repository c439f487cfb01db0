"""tf.data's side of benchmarks.loader: parallel map, batch, prefetch; serves `epoch`."""

import math
import sys

import numpy as np
import tensorflow as tf

from benchmarks.harness import serve
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data.lips import decode_mosaic


def main() -> None:
    split = open_dataset(sys.argv[1]).split("train")
    arrays = np.load(sys.argv[2])
    rows, buckets = arrays["rows"], arrays["buckets"]

    def read(i):
        clip = split[int(i)]
        pose, lips = clip.modalities["pose"], clip.modalities["lips"]
        return pose.data, decode_mosaic(lips.data, lips.n)

    def prepare(i, t):
        pose_tkc, crops_fhw = tf.numpy_function(read, [i], (tf.float16, tf.uint8))
        n = tf.shape(pose_tkc)[0]
        angle = tf.random.uniform((), -math.radians(8), math.radians(8))
        cos, sin = tf.cos(angle), tf.sin(angle)
        turn = tf.stack([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
        pose_tkc = tf.einsum("tkc,cd->tkd", tf.cast(pose_tkc, tf.float32), turn)
        padded_fhw = tf.pad(crops_fhw, [[0, 0], [2, 2], [2, 2]], mode="SYMMETRIC")
        dy, dx = tf.unstack(tf.random.uniform((2,), 0, 5, tf.int32))
        x_fhw = tf.cast(padded_fhw[:, dy : dy + 96, dx : dx + 96], tf.float32)
        x_fhw -= tf.reduce_mean(x_fhw, axis=0, keepdims=True)
        x_fhw /= tf.maximum(tf.sqrt(tf.reduce_mean(tf.square(x_fhw))), 1.0)
        pose_tkc = tf.pad(pose_tkc, [[0, t - n], [0, 0], [0, 0]])
        return pose_tkc, tf.pad(x_fhw, [[0, t - n], [0, 0], [0, 0]]), n

    flat = tf.data.Dataset.from_tensor_slices(
        (rows.reshape(-1), np.repeat(buckets, rows.shape[1]).astype(np.int32))
    )
    batches = flat.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).batch(rows.shape[1])

    def epoch() -> float:
        total, steps = 0.0, 0
        for _, lips_bfhw, n_b in batches.prefetch(2):
            total += float(tf.reduce_sum(tf.abs(lips_bfhw)) / tf.cast(tf.reduce_sum(n_b), float))
            steps += 1
        return total / steps

    serve({"epoch": epoch})


if __name__ == "__main__":
    main()
