"""Mouthing: what the mouth looks like for each phoneme, and its motion over a clip."""

import numpy as np

from signbind_jax.data_pipelines.synthetic.levers import Levers
from signbind_jax.data_pipelines.synthetic.motion import interpolate
from signbind_jax.data_pipelines.synthetic.timeline import Timeline

# Columns of a mouth state, each about 0 to 1: how far open; how wide (below 0: narrow);
# how rounded; upper teeth seen; tongue seen; lower lip under the teeth; lips pressed.
FEATURES = ("open", "wide", "round", "teeth", "tongue", "tuck", "press")
NEUTRAL = np.array([0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1])

# Phonemes that look alike share a viseme.
VISEMES = {
    "P B M": (0.0, -0.05, 0.0, 0.0, 0.0, 0.0, 1.0),
    "F V": (0.12, 0.1, 0.0, 0.6, 0.0, 1.0, 0.0),
    "TH DH": (0.26, 0.1, 0.0, 0.3, 1.0, 0.0, 0.0),
    "T D N": (0.26, 0.1, 0.0, 1.0, 0.0, 0.0, 0.0),
    "L": (0.52, -0.1, 0.0, 0.3, 1.0, 0.0, 0.0),
    "S Z": (0.15, 0.7, 0.0, 1.0, 0.0, 0.0, 0.0),
    "SH ZH CH JH": (0.3, -0.35, 0.65, 0.9, 0.0, 0.0, 0.0),
    "K G NG": (0.34, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0),
    "HH": (0.5, 0.0, 0.0, 0.1, 0.2, 0.0, 0.0),
    "R ER": (0.26, -0.3, 0.45, 0.25, 0.15, 0.0, 0.0),
    "W": (0.08, -0.75, 1.0, 0.0, 0.0, 0.0, 0.0),
    "Y": (0.2, 0.55, 0.0, 0.3, 0.0, 0.0, 0.0),
    "IY": (0.24, 0.95, 0.0, 0.6, 0.1, 0.0, 0.0),
    "IH": (0.38, 0.55, 0.0, 0.45, 0.15, 0.0, 0.0),
    "EH": (0.56, 0.7, 0.0, 0.6, 0.2, 0.0, 0.0),
    "AE": (0.8, 0.7, 0.0, 0.45, 0.3, 0.0, 0.0),
    "AA": (1.0, 0.05, 0.0, 0.15, 0.2, 0.0, 0.0),
    "AO": (0.75, -0.4, 0.55, 0.0, 0.1, 0.0, 0.0),
    "AH": (0.62, -0.1, 0.0, 0.1, 0.1, 0.0, 0.0),
    "UH": (0.32, -0.35, 0.5, 0.1, 0.0, 0.0, 0.0),
    "UW": (0.18, -0.7, 0.95, 0.0, 0.0, 0.0, 0.0),
}
# Two-part vowels move from one look to another.
_GLIDES = {
    "EY": ("EH", "IY"),
    "AY": ("AA", "IY"),
    "OY": ("AO", "IY"),
    "AW": ("AA", "UW"),
    "OW": ("AO", "UW"),
}
_LOOK = {phoneme: np.array(look) for group, look in VISEMES.items() for phoneme in group.split()}


def looks(phoneme: str) -> tuple[np.ndarray, ...]:
    """The mouth states a phoneme goes through: one, or two for a two-part vowel."""
    return tuple(_LOOK[part] for part in _GLIDES.get(phoneme, (phoneme,)))


def mouth_motion(
    line: Timeline, levers: Levers, time_t: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Mouth states (t, 7): looks that run into each other, a neutral mouth between words."""
    times, states = [0.0], [NEUTRAL]
    for word in line.mouthings:
        for at in (times[-1] + 0.09, word.edge_n[0] - 0.05):
            if at > times[-1]:
                times.append(at)
                states.append(NEUTRAL)
        for phoneme, start, end in zip(word.phonemes, word.edge_n, word.edge_n[1:], strict=False):
            parts = looks(phoneme)
            for i, look in enumerate(parts):
                a = start + (end - start) * i / len(parts)
                b = start + (end - start) * (i + 1) / len(parts)
                times += [a + 0.24 * (b - a), a + 0.76 * (b - a)]
                states += [look, look]
    times.append(times[-1] + 0.09)
    states.append(NEUTRAL)
    motion_tp = interpolate(np.array(times), np.stack(states), np.ones(len(times), bool), time_t)
    # Neighbours pull at each look, and a mouth is never quite still.
    padded = np.pad(motion_tp, ((1, 1), (0, 0)), mode="edge")
    motion_tp = 0.1 * padded[:-2] + 0.8 * padded[1:-1] + 0.1 * padded[2:]
    motion_tp[:, 0] *= levers.mouth_opening
    return motion_tp + rng.normal(0.0, levers.mouth_noise, motion_tp.shape)
