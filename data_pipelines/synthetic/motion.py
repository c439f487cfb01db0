"""From a timeline to the motion of two hands: key poses, then frames between them."""

import numpy as np

from signbind_jax.data_pipelines.synthetic.alphabet import ALPHABET, LETTER_PATHS
from signbind_jax.data_pipelines.synthetic.grammar import Sentence
from signbind_jax.data_pipelines.synthetic.hand import multiply, quaternion
from signbind_jax.data_pipelines.synthetic.levers import Levers
from signbind_jax.data_pipelines.synthetic.signer import Signer
from signbind_jax.data_pipelines.synthetic.signs import SHAPES, STROKE_SAMPLES, TURNS, state, stroke
from signbind_jax.data_pipelines.synthetic.timeline import Spelling, Timeline

_TRAVEL_SECONDS = 0.28
_REST = state(np.array([[-0.42, -1.22, 0.25]]), TURNS["down"], SHAPES["bent"])
_HALF_REST = state(np.array([[-0.25, -0.98, 0.40]]), TURNS["down"], SHAPES["bent"])
_SLIDE = 0.16
_BOUNCE = 0.07


class Keys:
    """Key poses of one hand in order of time, and whether the way to each is a transition."""

    def __init__(self, start: np.ndarray):
        self._times, self._states, self._eased = [np.zeros(1)], [start], [np.zeros(1, bool)]

    @property
    def last_time(self) -> float:
        """The time of the latest key."""
        return float(self._times[-1][-1])

    def add(self, times, states: np.ndarray) -> None:
        """Appends keys (n,), (n, 27); the way to the first of them is a transition."""
        times = np.asarray(times, dtype=np.float64)
        eased = np.zeros(len(times), bool)
        eased[0] = True
        self._times.append(times)
        self._states.append(np.broadcast_to(states, (len(times), states.shape[-1])))
        self._eased.append(eased)

    def hold(self, until: float) -> None:
        """Keeps the latest pose until then."""
        if until > self.last_time:
            self.add([until], self._states[-1][-1:])

    def frames(self, time_t: np.ndarray) -> np.ndarray:
        """The hand's state (t, 27) at given moments; unit quaternions."""
        states = np.concatenate(self._states).copy()
        turns = states[:, 3:7]
        # q and -q are the same turn: keep neighbours on the same side.
        dots = np.einsum("nq,nq->n", turns[1:], turns[:-1])
        turns[1:] *= np.cumprod(np.where(dots < 0, -1.0, 1.0))[:, None]
        out = interpolate(np.concatenate(self._times), states, np.concatenate(self._eased), time_t)
        out[:, 3:7] /= np.linalg.norm(out[:, 3:7], axis=1, keepdims=True)
        return out


def interpolate(times_n, values_np, eased_n, time_t) -> np.ndarray:
    """Values (t, p) between keys; the way to an eased key is a minimum-jerk one.

    Minimum jerk: 10 s^3 - 15 s^4 + 6 s^5 (Flash & Hogan, 1985).
    """
    right = np.clip(np.searchsorted(times_n, time_t, side="right"), 1, len(times_n) - 1)
    left = right - 1
    span = np.maximum(times_n[right] - times_n[left], 1e-6)
    s = np.clip((time_t - times_n[left]) / span, 0.0, 1.0)
    s = np.where(eased_n[right], s * s * s * (10.0 - 15.0 * s + 6.0 * s * s), s)[:, None]
    return values_np[left] * (1.0 - s) + values_np[right] * s


def hand_motion(
    sentence: Sentence, line: Timeline, signer: Signer, time_t: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """States (t, 27) of the strong and of the weak hand, both as right hands.

    The weak hand spells the names; a sign of two hands that meets a name loses it. Where the
    strong hand spells, the weak one waits.
    """
    levers = signer.levers
    strong = Keys(_REST)
    rests = bool(rng.random() < 0.5)
    beside = [] if levers.strong_hand_spells else line.spellings
    strokes, activities = _strokes(sentence, line, signer, beside, rng)
    slots = [
        ("sign", sign.start, keys)
        for sign, keys in zip(line.signs, _drawn_together(strokes, levers), strict=True)
    ]
    slots += [("name", spelling.slot[0], spelling) for spelling in line.spellings]
    for kind, start, event in sorted(slots, key=lambda slot: slot[1]):
        if strong.last_time > 0.0 or kind == "name":
            strong.hold(start)
        if kind == "sign":
            strong.add(*event)
        elif levers.strong_hand_spells:
            strong.add(*_spelling_keys(event, signer, rng))
        elif rests and event.slot[1] - start > 0.6:
            strong.add([start + 0.3], _HALF_REST)
    strong.add([strong.last_time + _TRAVEL_SECONDS], _REST)
    activities += [_spelling_keys(spelling, signer, rng) for spelling in beside]
    return strong.frames(time_t), _weak_keys(activities).frames(time_t)


Stroked = tuple[np.ndarray, np.ndarray]  # moments (m,) and states (m, 27)


def _strokes(
    sentence: Sentence, line: Timeline, signer: Signer, beside: list[Spelling], rng
) -> tuple[list[Stroked], list[Stroked]]:
    """What the strong hand does in each sign, and the weak hand where it is free."""
    levers = signer.levers
    busy = [(s.start - _TRAVEL_SECONDS, s.end + 0.1) for s in beside]
    strong, weak = [], []
    for sign in line.signs:
        gloss = sentence.words[sign.place].entry.gloss
        begin = sign.start + levers.transition * (sign.end - sign.start)
        times = np.linspace(begin, sign.end, STROKE_SAMPLES)
        made = stroke(gloss, signer.articulations[gloss])
        strong.append((times, _personal(made.strong_mp, gloss, signer, rng)))
        if made.weak_mp is None or any(a < sign.end and sign.start < b for a, b in busy):
            continue
        if not levers.weak_drop or rng.random() >= levers.weak_drop:
            weak.append((times, _personal(made.weak_mp, gloss, signer, rng)))
    return strong, weak


def _drawn_together(strokes: list[Stroked], levers: Levers) -> list[Stroked]:
    """Strokes whose ends are drawn to the places and hand shapes of their neighbours."""
    if not levers.coarticulation:
        return strokes
    s_m1 = np.linspace(0.0, 1.0, STROKE_SAMPLES)[:, None]
    moved = [slice(0, 3), slice(7, None)]
    drawn = []
    for i, (times, states) in enumerate(strokes):
        out = states.copy()
        for near, pull_m1 in ((i - 1, (1.0 - s_m1) ** 2), (i + 1, s_m1**2)):
            if 0 <= near < len(strokes):
                middle = strokes[near][1][STROKE_SAMPLES // 2]
                for part in moved:
                    pull = levers.coarticulation * pull_m1
                    out[:, part] += pull * (middle[part] - states[:, part])
        drawn.append((times, out))
    return drawn


def _weak_keys(activities: list[tuple[np.ndarray, np.ndarray]]) -> Keys:
    keys = Keys(_REST)
    for times, states in sorted(activities, key=lambda activity: activity[0][0]):
        begin = float(times[0]) - _TRAVEL_SECONDS
        if begin - keys.last_time > _TRAVEL_SECONDS and keys.last_time > 0.0:
            keys.add([keys.last_time + _TRAVEL_SECONDS], _HALF_REST)
        keys.hold(begin)
        keys.add(times, states)
    if activities:
        keys.add([keys.last_time + _TRAVEL_SECONDS], _REST)
    return keys


def _vary(
    states: np.ndarray,
    signer: Signer,
    rng: np.random.Generator,
    place: float,
    turn: float,
    angles: float,
) -> np.ndarray:
    """States with the signer's habits and this moment's chance; one draw for all moments."""
    states = states.copy()
    states[:, :3] += rng.normal(0.0, place, 3)
    yaw, pitch, roll = signer.turn_bias_3 + rng.normal(0.0, turn, 3)
    states[:, 3:7] = multiply(quaternion(yaw, pitch, roll), states[:, 3:7])
    states[:, 7:] += signer.angle_bias_a + rng.normal(0.0, angles, states.shape[1] - 7)
    return states


def _personal(states: np.ndarray, gloss: str, signer: Signer, rng) -> np.ndarray:
    levers = signer.levers
    if levers.chance_size:
        middle = states[:, :3].mean(axis=0)
        size = 1.0 + rng.normal(0.0, levers.chance_size)
        states = np.concatenate([middle + size * (states[:, :3] - middle), states[:, 3:]], axis=1)
    states = _vary(
        states, signer, rng, levers.chance_place, levers.chance_turn, levers.chance_angles
    )
    states[:, :3] *= signer.space_scale
    states[:, :3] += signer.space_offset_3 + signer.gloss_shift[gloss]
    return states


def _spelling_keys(spelling: Spelling, signer: Signer, rng) -> tuple[np.ndarray, np.ndarray]:
    """Keys of the letters: a short hold each, moves for j and z, a slide for a double."""
    times, states = [], []
    before = ""
    for letter, centre in zip(spelling.letters, spelling.centre_n, strict=True):
        shape = ALPHABET[letter]
        place = signer.spelling_place_3.copy()
        if letter == before:
            # The second of two equal letters hops and slides outwards.
            middle = states[-1][-1:].copy()
            middle[:, :2] += (-_SLIDE / 2, _BOUNCE)
            times.append(np.array([(times[-1][-1] + centre) / 2 - 0.1 * spelling.spacing]))
            states.append(middle)
            place[0] -= _SLIDE
            before = ""
        else:
            before = letter
        path = LETTER_PATHS.get(letter)
        if path is None:
            at = centre + spelling.spacing * np.array([-0.22, 0.22])
            letter_states = state(np.broadcast_to(place, (2, 3)), shape.turn, shape.angles)
        else:
            at = centre + spelling.spacing * np.linspace(-0.38, 0.38, len(path))
            turn = np.stack([multiply(quaternion(roll=r), shape.turn) for r in path[:, 3]])
            letter_states = state(place + path[:, :3] * signer.hand, turn, shape.angles)
        times.append(at)
        states.append(_vary(letter_states, signer, rng, place=0.008, turn=4.0, angles=3.5))
    return np.concatenate(times), np.concatenate(states)
