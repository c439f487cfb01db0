"""How each gloss is signed: hand shape, place, movement, turn, one hand or two."""

import random
import zlib
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from signbind_jax.data_pipelines.synthetic.hand import Shape, multiply, pose, quaternion
from signbind_jax.data_pipelines.synthetic.lexicon import GLOSSES

# Samples of a sign's stroke, evenly over its time.
STROKE_SAMPLES = 9

SHAPES = {
    "fist": pose("fist fist fist fist", "front"),
    "thumb": pose("fist fist fist fist", "out"),
    "flat": pose("straight straight straight straight", "side"),
    "wide": pose("straight straight straight straight", "out", (18, 4, -10, -24)),
    "four": pose("straight straight straight straight", "across", (12, 3, -6, -16)),
    "index": pose("straight fist fist fist", "across"),
    "gun": pose("straight fist fist fist", "out"),
    "vee": pose("straight straight fist fist", "across", (16, -14, 0, 0)),
    "two": pose("straight straight fist fist", "across", (-2, 2, 0, 0)),
    "three": pose("straight straight fist fist", "out", (15, -13, 0, 0)),
    "trident": pose("straight straight straight fist", "across", (15, 0, -15, 0)),
    "pinky": pose("fist fist fist straight", "across"),
    "horns": pose("straight fist fist straight", "across", (6, 0, 0, -12)),
    "wings": pose("straight fist fist straight", "out", (6, 0, 0, -12)),
    "shaka": pose("fist fist fist straight", "out", (0, 0, 0, -24)),
    "curve": pose("curve curve curve curve", "open"),
    "claw": pose("claw claw claw claw", "out", (14, 3, -8, -20)),
    "bent": pose("bent bent bent bent", "side"),
    "ring": pose("half straight straight straight", "touch", (0, 4, -8, -18)),
    "hook": pose("hook fist fist fist", "across"),
}
# Centre of the hand in shoulder widths about mid-shoulder, for a right hand (x < 0).
LOCATIONS = {
    "forehead": (-0.10, 1.02, 0.40),
    "ear": (-0.52, 0.74, 0.20),
    "mouth": (0.02, 0.54, 0.42),
    "neck": (-0.08, 0.18, 0.36),
    "far shoulder": (0.42, 0.02, 0.32),
    "near shoulder": (-0.60, 0.00, 0.28),
    "chest": (0.0, -0.28, 0.40),
    "centre": (-0.15, -0.58, 0.62),
    "side": (-0.78, -0.48, 0.45),
    "far side": (0.48, -0.55, 0.50),
    "belly": (-0.12, -0.95, 0.42),
    "high": (-0.88, 0.62, 0.35),
}
TURNS = {
    "out": quaternion(),
    "in": quaternion(yaw=180),
    "side": quaternion(yaw=80),
    "down": quaternion(pitch=70, yaw=25, roll=-50),
    "up": quaternion(yaw=180, pitch=-65, roll=45),
    "across": quaternion(roll=-75),
}
MOVEMENTS = (
    "still",
    "outward",
    "inward",
    "up",
    "down",
    "arc",
    "circle",
    "sway",
    "bounce",
    "twist",
    "open",
    "close",
)
HANDS = ("one", "both", "base")

_BASE_HAND = Shape(SHAPES["flat"], TURNS["up"])
_BASE_PLACE = np.array([-0.12, -0.86, 0.45])
_MIN_DIFFERENCES = 2


class Articulation(NamedTuple):
    """How one gloss is signed, by the names of the tables above."""

    shape: str
    location: str
    movement: str
    turn: str
    hands: str


@cache
def articulations() -> dict[str, Articulation]:
    """One articulation a gloss, any two of them different in at least two respects.

    The language is the same for every seed of the corpus.
    """
    rng = random.Random("articulations 1")
    chosen: dict[str, Articulation] = {}
    taken_gf = np.empty((0, len(Articulation._fields)), dtype="U16")
    for gloss in GLOSSES:
        candidates = [_draw(rng) for _ in range(60)]
        scores = [_apart(candidate, taken_gf) for candidate in candidates]
        best = max(range(len(candidates)), key=scores.__getitem__)
        if scores[best] < _MIN_DIFFERENCES - 1:
            raise RuntimeError(f"no free sign is left for {gloss}")
        chosen[gloss] = candidates[best]
        taken_gf = np.concatenate([taken_gf, np.array([candidates[best]], dtype="U16")])
    return chosen


def _apart(candidate: Articulation, taken_gf: np.ndarray) -> float:
    """Differences from the most similar sign, less a little for every near neighbour."""
    differences_g = (taken_gf != np.array(candidate)).sum(axis=1)
    nearest = differences_g.min(initial=len(candidate))
    return float(nearest) - np.count_nonzero(differences_g == _MIN_DIFFERENCES) / 200


def _draw(rng: random.Random) -> Articulation:
    hands = rng.choices(HANDS, (60, 30, 10))[0]
    location = "centre" if hands == "base" else rng.choice(list(LOCATIONS))
    if hands == "both" and location.startswith("far"):
        location = "chest"
    return Articulation(
        rng.choice(list(SHAPES)), location, rng.choice(MOVEMENTS), rng.choice(list(TURNS)), hands
    )


@dataclass(frozen=True)
class Stroke:
    """A sign's stroke at evenly spaced moments m.

    Attributes:
      strong_mp: (m, 27) place of the hand's centre (3), turn (4), angles (20).
      weak_mp: the same for the weak hand, as if it were a right hand; None for one hand.
    """

    strong_mp: np.ndarray
    weak_mp: np.ndarray | None


def state(place_m3, turn_m4, angles_ma) -> np.ndarray:
    """Joins place, turn and angles of a hand into (m, 27)."""
    m = max(np.shape(a)[0] if np.ndim(a) == 2 else 1 for a in (place_m3, turn_m4, angles_ma))
    return np.concatenate(
        [np.broadcast_to(part, (m, np.shape(part)[-1])) for part in (place_m3, turn_m4, angles_ma)],
        axis=1,
    )


@cache
def stroke(gloss: str, sign: Articulation) -> Stroke:
    """The stroke of a gloss as an average signer makes it."""
    s = np.linspace(0.0, 1.0, STROKE_SAMPLES)
    place = np.array(LOCATIONS[sign.location])
    if sign.hands == "both":
        place[0] = min(place[0], -0.22)
    path, roll, openness = _movement(sign.movement, s)
    angles = np.broadcast_to(SHAPES[sign.shape], (STROKE_SAMPLES, 20))
    # Opening and closing go from and to a loose fist (or, for fists, a flat hand).
    other = SHAPES["flat"] if sign.shape in ("fist", "thumb") else SHAPES["fist"]
    angles = other + (angles - other) * openness[:, None]
    turn = multiply(TURNS[sign.turn], np.stack([quaternion(yaw=r) for r in roll]))
    strong = state(place + path, turn, angles)
    if sign.hands == "one":
        return Stroke(strong, None)
    if sign.hands == "both":
        # Half of these signs alternate: the weak hand does the same the other way round.
        alternate = zlib.crc32(gloss.encode()) % 2
        return Stroke(strong, strong[::-1].copy() if alternate else strong)
    weak = state(
        np.broadcast_to(_BASE_PLACE, (STROKE_SAMPLES, 3)), _BASE_HAND.turn, _BASE_HAND.angles
    )
    return Stroke(strong, weak)


def _movement(name: str, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Path (m, 3) in shoulder widths, turn in degrees (m,), and how much of the shape (m,)."""
    path, roll, openness = np.zeros((len(s), 3)), np.zeros(len(s)), np.ones(len(s))
    ease = s * s * (3 - 2 * s)
    wave = 2 * np.pi * s
    if name in ("outward", "inward"):
        path[:, 0] = (0.5 - ease) * (0.42 if name == "outward" else -0.42)
    elif name in ("up", "down"):
        path[:, 1] = (ease - 0.5) * (0.42 if name == "up" else -0.42)
    elif name == "arc":
        path[:, 0] = -0.24 * np.cos(np.pi * s)
        path[:, 1] = 0.26 * np.sin(np.pi * s)
    elif name == "circle":
        path[:, 0], path[:, 1] = 0.17 * np.sin(wave), 0.17 * np.cos(wave)
    elif name == "sway":
        path[:, 0] = 0.15 * np.sin(1.5 * wave)
    elif name == "bounce":
        path[:, 1] = 0.14 * np.cos(1.5 * wave)
    elif name == "twist":
        roll = 50.0 - 100.0 * ease
    elif name == "open":
        openness = ease
    elif name == "close":
        openness = 1.0 - ease
    return path, roll, openness
