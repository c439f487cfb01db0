"""MediaPipe Holistic: 543 landmarks of a person, frame after frame."""

from pathlib import Path

import mediapipe
import numpy as np
from mediapipe.python.solutions import holistic
from PIL import Image

# A public-domain photograph (NASA, astronaut Eileen Collins), and where it shows what: vertex of
# the face mesh -> pixel, read off by eye.
KNOWN_FACE = Path(__file__).with_name("known_face.jpg")
KNOWN_POINTS = {
    33: (104, 78),
    263: (154, 80),
    61: (111, 108),
    291: (143, 109),
    17: (126, 120),
    152: (126, 138),
}
TOLERANCE = 5.0  # pixels, a tenth of the distance between the eyes
PARTS = (
    ("pose_landmarks", 33),
    ("face_landmarks", 468),
    ("left_hand_landmarks", 21),
    ("right_hand_landmarks", 21),
)


class Holistic:
    """Landmarks of one person at a time, tracked from frame to frame.

    Attributes:
      versions: what the landmarks depend on.
    """

    def __init__(self):
        """Loads the models.

        Raises:
          RuntimeError: they do not find the landmarks of a known face. Wrong model files return
            wrong landmarks without an error.
        """
        self.versions = {"mediapipe": mediapipe.__version__, "numpy": np.__version__}
        # Complexity 1 is the one whose models are in the package.
        self._model = holistic.Holistic(model_complexity=1)
        with Image.open(KNOWN_FACE) as image:
            face_vc = self.landmarks(np.asarray(image.convert("RGB")))[33:501]
        for vertex, (x, y) in KNOWN_POINTS.items():
            found = face_vc[vertex]
            if not found[2] or np.hypot(found[0] - x, found[1] - y) > TOLERANCE:
                raise RuntimeError(
                    f"landmark {vertex} of a known face: found ({found[0]:.0f}, "
                    f"{found[1]:.0f}), wanted ({x}, {y}): the models of this "
                    "environment are wrong"
                )
        self.reset()

    def reset(self) -> None:
        """Forgets the person: the next frame begins another clip."""
        self._model.reset()

    def landmarks(self, picture_hwc: np.ndarray) -> np.ndarray:
        """The landmarks of the next frame.

        Args:
          picture_hwc: uint8 RGB.

        Returns:
          float32 (543, 3) x, y in pixels and a score: body (33; the score is its visibility),
          face mesh (468), the signer's left and right hand (21 each; 1 where found). What is not
          found is (0, 0, 0).
        """
        height, width = picture_hwc.shape[:2]
        result = self._model.process(picture_hwc)
        parts = []
        for name, size in PARTS:
            found = getattr(result, name)
            if found is None:
                parts.append(np.zeros((size, 3), np.float32))
                continue
            body = name == "pose_landmarks"
            parts.append(
                np.array(
                    [
                        (p.x * width, p.y * height, p.visibility if body else 1.0)
                        for p in found.landmark
                    ],
                    np.float32,
                )
            )
        return np.concatenate(parts)
