"""ClipList: clips in memory that read like a split of a dataset."""

from collections.abc import Sequence

import numpy as np

from signbind_jax.data.clip import Clip
from signbind_jax.data.lips import decode_mosaic


class ClipList(Sequence):
    """What the loader needs of a split, for clips that were just read from files."""

    name = "files"

    def __init__(self, clips: Sequence[Clip]):
        self.labels = tuple(clips)
        self.pose_lengths = np.array([clip.n_pose_frames for clip in clips], np.int32)
        self.lip_lengths = np.array([clip.n_lip_frames for clip in clips], np.int32)
        first = next((clip for clip in clips if clip.lips), None)
        self.lip_size = first and decode_mosaic(first.lips, first.n_lip_frames).shape[1:]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> Clip:
        return self.labels[i]
