"""How likely a sentence ends at each frame of a recording, as a trained segmenter says."""

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import numpy as np

from signbind_jax.checkpoint.artefact import Artefact, open_artefact
from signbind_jax.data.frame_rate import one_kept_of
from signbind_jax.errors import SignBindError
from signbind_jax.models.segmenter import SegmenterConfig
from signbind_jax.stages.read_streams import Weights
from signbind_jax.stages.segmentation import by_frame, read_poses

WINDOW_FRAMES = 1024  # read at once, and what a window shares with its neighbours less are kept
AT_ONCE = 4  # windows


def open_segmenter(run: str | os.PathLike[str]) -> Artefact:
    """A trained run of stage `segmentation`.

    Raises:
      SignBindError: nothing there, or another stage.
    """
    found = open_artefact(run)
    if not isinstance(found.model_config, SegmenterConfig):
        raise SignBindError(f"--segmenter: {run}: stage: found {found.stage}, wanted segmentation")
    return found


@dataclass(frozen=True)
class BoundaryReader:
    """A trained segmenter.

    Attributes:
      config: its model's.
      weights: what gives its graph definition and parameters.
      fps: frames a second that it was trained on; 0: not known.
    """

    config: SegmenterConfig
    weights: Weights
    fps: float

    @classmethod
    def of(cls, segmenter: Artefact) -> "BoundaryReader":
        """That of a trained segmenter, whose weights are loaded once."""
        fps = float(segmenter.manifest.extra.get("fps", 0.0))
        return cls(segmenter.model_config, functools.cache(segmenter.load_params), fps)

    def context_frames(self, fps: float) -> int:
        """How many frames of a recording on either side of a frame have to be read with it."""
        return self.config.context_frames * one_kept_of(fps, self.fps)

    def probabilities(self, pose_tkc: np.ndarray, fps: float) -> np.ndarray:
        """How likely it is at each frame that one sentence ends and the next begins.

        Args:
          pose_tkc: f16 (t, 91, 3) in shoulder widths about the mid-shoulder point.
          fps: frames a second; of many more than in training every so many are read.

        Returns:
          float32 (t,).
        """
        every = one_kept_of(fps, self.fps)
        read_tkc = np.asarray(pose_tkc[::every], np.float16)
        context = self.config.context_frames
        window = max(WINDOW_FRAMES, 4 * context)
        graphdef, params = self.weights()
        step, pieces = window - 2 * context, []
        starts = range(0, len(read_tkc), step)
        for group in _groups(list(starts), AT_ONCE):
            pose_btkc = np.zeros((AT_ONCE, window, *read_tkc.shape[1:]), np.float16)
            length_b = np.zeros(AT_ONCE, np.int32)
            for b, start in enumerate(group):
                own_tkc = read_tkc[max(0, start - context) :][:window]
                pose_btkc[b, : len(own_tkc)], length_b[b] = own_tkc, len(own_tkc)
            probability_bs = np.asarray(
                jax.device_get(read_poses(graphdef, params, pose_btkc, length_b))
            )
            for b, start in enumerate(group):
                read_t = by_frame(probability_bs[b], window, int(length_b[b]))
                pieces.append(read_t[min(start, context) :][:step])
        probability_t = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
        return np.repeat(probability_t, every)[: len(pose_tkc)]


def _groups(items: list[int], size: int) -> Iterator[list[int]]:
    for i in range(0, len(items), size):
        yield items[i : i + size]
