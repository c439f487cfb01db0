"""A worker that finds drawn faces: all of the real one but MediaPipe.

python tests/drawn_face_worker.py [ignored arguments] < requests
"""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from signbind_jax.data_pipelines.extraction.worker import serve  # noqa: E402
from tests import drawn_faces  # noqa: E402


class DrawnFaces:
    """A detector of dots. The right hand is there in every picture, the left one never."""

    versions = {"drawn_faces": "1"}

    def reset(self) -> None:
        self._frames = 0

    def landmarks(self, picture_hwc: np.ndarray) -> np.ndarray:
        """(543, 3) x, y, score."""
        self._frames += 1
        if _mostly(picture_hwc, drawn_faces.CRASH).mean() > 0.9:
            print("dying now", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        if _mostly(picture_hwc, drawn_faces.HANG).mean() > 0.9:
            time.sleep(3600)
        print("chatter on standard output", flush=True)
        points_nc = np.zeros((543, 3), np.float32)
        height, width = picture_hwc.shape[:2]
        points_nc[[11, 12], :2] = (0.8 * width, height), (0.2 * width, height)
        points_nc[[11, 12], 2] = 0.9
        points_nc[serve.RIGHT_HAND] = (0.3 * width, 0.9 * height, 1)
        found = [_centre(picture_hwc, colour) for colour in drawn_faces.DOTS]
        if all(point is not None for point in found):
            middle = np.mean(found, 0)
            points_nc[serve.FACE] = (*middle, 1)
            face_vc = points_nc[serve.FACE]
            for vertex, point in zip((33, 263, 61, 291), found, strict=True):
                face_vc[vertex, :2] = point
            apart = np.linalg.norm(np.subtract(found[1], found[0]))
            face_vc[10, :2], face_vc[152, :2] = middle - (0, apart), middle + (0, apart)
        return points_nc


def _mostly(picture_hwc: np.ndarray, colour) -> np.ndarray:
    return np.abs(picture_hwc.astype(int) - colour).max(-1) < 60


def _centre(picture_hwc: np.ndarray, colour) -> np.ndarray | None:
    y, x = np.nonzero(_mostly(picture_hwc, colour))
    return np.array([x.mean(), y.mean()]) if len(x) else None


if __name__ == "__main__":
    serve.serve(DrawnFaces)
