"""Hand shapes of the manual alphabet, after the American one, for a right hand."""

import numpy as np

from signbind_jax.data_pipelines.synthetic.hand import Shape, pose, quaternion

_SIDEWAYS = {"yaw": 0.0, "roll": -80.0, "pitch": 0.0}
_DOWN = {"pitch": 125.0, "yaw": -25.0}
_TURNED = {"yaw": -55.0}

# letter -> (fingers index to pinky, thumb, spread, turn in degrees)
_LETTERS = {
    "a": ("fist fist fist fist", "side", (0, 0, 0, 0), {"roll": -4.0}),
    "b": ("straight straight straight straight", "across", (0, 0, 0, 0), {}),
    "c": ("curve curve curve curve", "open", (0, 0, 0, 0), _TURNED),
    "d": ("straight half half half", "touch", (0, 0, 0, 0), {}),
    "e": ("hook hook hook hook", "under", (0, 0, 0, 0), {}),
    "f": ("half straight straight straight", "touch", (0, 4, -8, -18), {}),
    "g": ("straight fist fist fist", "point", (0, 0, 0, 0), _SIDEWAYS),
    "h": ("straight straight fist fist", "across", (0, 0, 0, 0), _SIDEWAYS),
    "i": ("fist fist fist straight", "front", (0, 0, 0, 0), {}),
    "j": ("fist fist fist straight", "front", (0, 0, 0, 0), {}),
    "k": ("straight lean fist fist", "up", (6, -6, 0, 0), {}),
    "l": ("straight fist fist fist", "out", (0, 0, 0, 0), {}),
    "m": ("over over over fist", "under", (0, 0, 0, 0), {"pitch": 55.0}),
    "n": ("over over fist fist", "under", (6, -4, 0, 0), {"roll": 24.0, "pitch": 25.0}),
    "o": ("round round round round", "open", (0, 0, 0, 0), _TURNED),
    "p": ("straight lean fist fist", "up", (6, -6, 0, 0), _DOWN),
    "q": ("straight fist fist fist", "point", (0, 0, 0, 0), _DOWN),
    "r": ("straight straight fist fist", "across", (-18, 18, 0, 0), {"roll": 14.0}),
    "s": ("fist fist fist fist", "front", (0, 0, 0, 0), {"pitch": -25.0, "roll": -14.0}),
    "t": ("half fist fist fist", "between", (10, 0, 0, 0), {"roll": 16.0}),
    "u": ("straight straight fist fist", "across", (-3, 2, 0, 0), {}),
    "v": ("straight straight fist fist", "across", (20, -18, 0, 0), {}),
    "w": ("straight straight straight fist", "across", (17, 0, -17, 0), {}),
    "x": ("hook fist fist fist", "across", (0, 0, 0, 0), {"yaw": 38.0}),
    "y": ("fist fist fist straight", "out", (0, 0, 0, -22), {}),
    "z": ("straight fist fist fist", "across", (0, 0, 0, 0), {"pitch": 25.0}),
}

ALPHABET: dict[str, Shape] = {
    letter: Shape(pose(fingers, thumb, spread), quaternion(**turn))
    for letter, (fingers, thumb, spread, turn) in _LETTERS.items()
}

# Letters that move: places of the wrist in hand lengths, and roll, over their time (0 to 1).
LETTER_PATHS: dict[str, np.ndarray] = {
    # columns: x, y, z, roll in degrees
    "j": np.array([[0, 0.15, 0, 0], [0, -0.35, 0, 0], [0.3, -0.5, 0, 45], [0.45, -0.25, 0, 75]]),
    "z": np.array([[-0.35, 0.3, 0, 0], [0.35, 0.3, 0, 0], [-0.35, -0.3, 0, 0], [0.35, -0.3, 0, 0]]),
}
