"""From a planned clip to what a tracker and a mouth cropper made of it."""

import math

import numpy as np

from signbind_jax.data_pipelines.synthetic import body, crops, motion, mouth, tracker
from signbind_jax.data_pipelines.synthetic.grammar import Sentence
from signbind_jax.data_pipelines.synthetic.signer import Signer
from signbind_jax.data_pipelines.synthetic.timeline import Timeline

FPS = 25.0
MAX_SECONDS = 10.0


def render(drawn: Sentence, who: Signer, line: Timeline, rng: np.random.Generator):
    """Pose f16 (t, 91, 3) and mouth crops uint8 (t, 32, 32) of a planned clip."""
    time_t = np.arange(math.ceil(line.duration * FPS)) / FPS
    strong_tp, weak_tp = motion.hand_motion(drawn, line, who, time_t, rng)
    mouth_tp = mouth.mouth_motion(line, who.levers, time_t, rng)
    head_t3, brows_t, blink_t, sway_t3 = _face_and_sway(drawn, line, time_t, rng)
    points_tk3 = body.keypoints(
        strong_tp, weak_tp, mouth_tp, head_t3, brows_t, blink_t, sway_t3, who
    )
    return tracker.track(points_tk3, who, rng), crops.mouth_crops(mouth_tp, who, rng)


def _face_and_sway(drawn: Sentence, line: Timeline, time_t, rng: np.random.Generator):
    """Head turns (t, 3), brows (t,), blinks (t,) and sway (t, 3).

    Brows rise for yes-no questions and fall for others; the head shakes with a negation.
    """
    phase, rate = rng.uniform(0, 2 * np.pi, (3, 3)), rng.uniform(0.15, 0.6, (3, 3))
    waves = np.sin(2 * np.pi * rate[..., None] * time_t + phase[..., None])
    head_t3 = (waves[0] * np.array([[3.0], [2.0], [2.0]])).T + rng.normal(0, 1.5, 3)
    sway_t3 = (waves[1] * np.array([[0.02], [0.008], [0.01]])).T
    brows_t = 0.12 * waves[2, 0]
    last = line.signs[-1]
    if drawn.face in ("yes-no", "wh"):
        begin = line.signs[0].start if drawn.face == "yes-no" else last.start - 0.4
        on = _fade(time_t, begin, line.duration - 0.1)
        brows_t = brows_t + (0.9 if drawn.face == "yes-no" else -0.7) * on
        head_t3[:, 1] += 4.0 * on
    elif drawn.face == "negation":
        on = _fade(time_t, last.start - 0.4, last.end + 0.2)
        head_t3[:, 0] += 11.0 * on * np.sin(2 * np.pi * 2.2 * (time_t - last.start))
    blink_t = np.zeros_like(time_t)
    for _ in range(rng.poisson(line.duration * 0.3)):
        blink_t += np.exp(-0.5 * ((time_t - rng.uniform(0, line.duration)) / 0.06) ** 2)
    return head_t3, brows_t, np.minimum(blink_t, 1.0), sway_t3


def _fade(time_t: np.ndarray, begin: float, end: float) -> np.ndarray:
    """1 between two moments, with flanks of 0.15 s."""
    return np.clip((time_t - begin) / 0.15, 0, 1) * np.clip((end - time_t) / 0.15, 0, 1)
