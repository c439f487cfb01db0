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
        lips = [clip.modalities["lips"] for clip in clips if "lips" in clip.modalities]
        self.lip_size = decode_mosaic(lips[0].data, lips[0].n).shape[1:] if lips else None

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that came with the clips, by name."""
        return tuple(sorted({name for clip in self.labels for name in clip.streams}))

    def lengths(self, modality: str) -> np.ndarray:
        """int32 (clips,) frames of a modality, 0 where it is absent."""
        return np.array([clip.n_frames(modality) for clip in self.labels], np.int32)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> Clip:
        return self.labels[i]
