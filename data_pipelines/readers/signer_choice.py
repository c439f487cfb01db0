"""Which of the people in a picture signs."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from signbind_jax import keypoints

REACH = 1.0  # shoulder widths from where the signer usually is


class People(NamedTuple):
    """Everyone who was found in a clip.

    Attributes:
      frames: float32 (people, points, 3) x, y as in the source, confidence; no people where the
        frame shows none or is missing.
      scheme: of the points, a name in `keypoints.SCHEMES`.
      counted: what was amiss -> how many times.
    """

    frames: list[np.ndarray]
    scheme: str
    counted: Mapping[str, int]


def choose_signer(people: People) -> tuple[np.ndarray, dict[str, int]]:
    """The signer of a clip, one person a frame.

    A signer stays about where they are. That place is the median, over the frames that hold
    people, of where the largest of them is (by shoulder width). In each frame the signer is the
    person within a shoulder width of it whose keypoints are surest in sum: an estimator that finds
    the signer twice finds one of them faintly. The place is asked for only in clips that hold
    several people somewhere; a person on their own is the signer.

    Returns:
      float32 (t, n, 3), zeros where the signer is not seen; and what was amiss or decided -> how
      many times.
    """
    frames, scheme, amiss = people
    n_points = keypoints.SCHEMES[scheme].n_points
    chosen_tnc = np.zeros((len(frames), n_points, 3), np.float32)
    counted = Counter(amiss)
    several = any(len(people) > 1 for people in frames)
    place_c, reach = _usual_place(frames, scheme) if several else (np.zeros(2), np.inf)
    for t, people_pnc in enumerate(frames):
        if not several or not len(people_pnc):
            chosen_tnc[t : t + len(people_pnc)] = people_pnc
            continue
        if len(people_pnc) > 1:
            counted["frames: several people, the signer taken"] += 1
        places_pc, _ = _places(people_pnc, scheme)
        away_p = np.linalg.norm(places_pc - place_c, axis=-1)
        sure_p = _confidence(people_pnc).sum(1)
        near_p = away_p <= reach  # False where there is no place at all
        if near_p.any():
            chosen_tnc[t] = people_pnc[np.where(near_p, sure_p, -1).argmax()]
        else:
            counted["frames: only somebody else found, keypoints now missing"] += 1
    return chosen_tnc, counted


def _usual_place(frames: list[np.ndarray], scheme: str) -> tuple[np.ndarray, float]:
    """Where the signer is, x, y, and how far from it a person may be to be the signer."""
    places, widths = [], []
    for people_pnc in frames:
        if len(people_pnc):
            places_pc, width_p = _places(people_pnc, scheme)
            largest = width_p.argmax()
            places.append(places_pc[largest])
            widths.append(width_p[largest])
    places_tc, width_t = np.array(places), np.array(widths)
    seen_t = width_t > 0
    if not seen_t.any():
        return np.zeros(2), np.inf
    return np.median(places_tc[seen_t], axis=0), REACH * float(np.median(width_t[seen_t]))


def _places(people_pnc: np.ndarray, scheme: str) -> tuple[np.ndarray, np.ndarray]:
    """Where people are (p, 2), NaN where nothing of them is seen, and their shoulder widths (p,).

    The mean of nose and shoulders; of whatever is seen where none of these is.
    """
    source_k = keypoints.SCHEMES[scheme].source_k[: keypoints.RIGHT_SHOULDER + 1]
    trunk = [i for i in source_k if i != keypoints.MISSING]
    seen_pn = _confidence(people_pnc) > 0
    xy_pnc = np.where(seen_pn[..., None], people_pnc[..., :2], 0).astype(np.float64)
    weight_pn = np.zeros_like(seen_pn)
    weight_pn[:, trunk] = seen_pn[:, trunk]
    weight_pn = np.where(weight_pn.any(1, keepdims=True), weight_pn, seen_pn)
    n_p1 = weight_pn.sum(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        places_pc = np.einsum("pnc,pn->pc", xy_pnc, weight_pn) / n_p1
    left, right = (source_k[i] for i in (keypoints.LEFT_SHOULDER, keypoints.RIGHT_SHOULDER))
    width_p = np.linalg.norm(xy_pnc[:, left] - xy_pnc[:, right], axis=-1)
    return places_pc, width_p * (seen_pn[:, left] & seen_pn[:, right])


def _confidence(people_pnc: np.ndarray) -> np.ndarray:
    """(p, n), 0 where a keypoint is not finite."""
    finite_pn = np.isfinite(people_pnc).all(-1)
    return np.where(finite_pn, people_pnc[..., 2], 0).clip(0, 1)
