"""When each sign, spelled letter and mouthed phoneme of a sentence happens, in seconds."""

from dataclasses import dataclass, field

import numpy as np

from signbind_jax.data_pipelines.synthetic.grammar import Sentence
from signbind_jax.data_pipelines.synthetic.levers import Levers
from signbind_jax.data_pipelines.synthetic.signer import Signer

TWIN_DISTANCE = 1.0
NAME_GAP = (1.4, 1.75)
# A name's place in the hand timeline begins a little before and ends a little after it.
_RAISE, _LOWER = 0.15, 0.10
_MOUTH_GAP = 0.06
_LEAD_IN, _LEAD_OUT = 0.40, 0.40


@dataclass
class Sign:
    """A sign at `place` in the sentence; its transition from the sign before is part of it."""

    place: int
    start: float
    end: float


@dataclass
class Spelling:
    """Letters spelled in one go; `places` of the one or two names they belong to.

    `spacing` is the median time between letters; `centre_n` the moments of the letters;
    `slot` the time the hands leave for it; `offset` its displacement against that.
    """

    places: tuple[int, ...]
    letters: str
    centre_n: np.ndarray
    spacing: float
    slot: tuple[float, float]
    offset: float

    @property
    def start(self) -> float:
        """When the first letter begins."""
        return float(self.centre_n[0]) - self.spacing / 2

    @property
    def end(self) -> float:
        """When the last letter ends."""
        return float(self.centre_n[-1]) + self.spacing / 2


@dataclass
class Mouthing:
    """A mouthed word: `edge_n` has the start of each phoneme and the end of the last."""

    place: int
    phonemes: tuple[str, ...]
    edge_n: np.ndarray
    offset: float
    needed: bool


@dataclass
class Timeline:
    """Everything that happens in a clip of `duration` seconds, in order of time."""

    signs: list[Sign] = field(default_factory=list)
    spellings: list[Spelling] = field(default_factory=list)
    mouthings: list[Mouthing] = field(default_factory=list)
    duration: float = 0.0

    def shift(self, seconds: float) -> None:
        """Moves all events later."""
        for sign in self.signs:
            sign.start += seconds
            sign.end += seconds
        for spelling in self.spellings:
            spelling.centre_n = spelling.centre_n + seconds
            spelling.slot = (spelling.slot[0] + seconds, spelling.slot[1] + seconds)
        for mouthing in self.mouthings:
            mouthing.edge_n = mouthing.edge_n + seconds


def schedule(sentence: Sentence, signer: Signer, rng: np.random.Generator) -> Timeline:
    """Sets signs one after the other, then names and mouthings displaced against them."""
    line, now = Timeline(), 0.0
    levers = signer.levers
    most_2 = np.array([levers.mouth_offset[0], levers.spelling_offset[0]])
    mouth_offset, spelling_offset = rng.uniform(-most_2, most_2)
    rate = float(np.clip(signer.letter_rate * rng.uniform(0.88, 1.12), *levers.letter_rates))
    centres: dict[int, float] = {}
    for place, word in enumerate(sentence.words):
        if word.entry is None:
            if not (line.spellings and place in line.spellings[-1].places):
                spelling = _spell(sentence, place, now, rate, spelling_offset, levers, rng)
                line.spellings.append(spelling)
                now = spelling.slot[1]
            continue
        seconds = float(
            np.clip(0.45 / signer.speed * rng.uniform(0.94, 1.06), *levers.sign_seconds)
        )
        centre = now + seconds / 2
        mouthing = None
        if _is_mouthed(sentence, place, levers, rng):
            mouthing = _mouth(word, place, centre, mouth_offset, signer, rng)
        mouthing, delay = _make_room(line, mouthing)
        if place in sentence.twins[1:]:
            delay = max(delay, centres[sentence.twins[0]] + TWIN_DISTANCE - centre)
        if mouthing is not None:
            mouthing.edge_n = mouthing.edge_n + delay
            line.mouthings.append(mouthing)
        now += delay
        centres[place] = centre + delay
        line.signs.append(Sign(place, now, now + seconds))
        now += seconds
    _trim(line)
    return line


def _is_mouthed(sentence: Sentence, place: int, levers: Levers, rng: np.random.Generator) -> bool:
    entry = sentence.words[place].entry
    if place == sentence.silent_twin or not entry.phonemes:
        return False
    share = levers.mouthed_twins if entry.twin else levers.mouthed
    return share == 1 or bool(rng.random() < share)


def _mouth(word, place: int, centre: float, offset: float, signer: Signer, rng) -> Mouthing:
    levers, phonemes = signer.levers, word.entry.phonemes
    offset += rng.uniform(-levers.mouth_offset[1], levers.mouth_offset[1])
    if levers.mouthed_in_part and rng.random() < levers.mouthed_in_part:
        phonemes = phonemes[: max(2, round(len(phonemes) * rng.uniform(0.4, 0.8)))]
    seconds = rng.uniform(*levers.phoneme_seconds, len(phonemes)) / signer.speed
    edges = np.concatenate([[0.0], np.cumsum(seconds)])
    return Mouthing(
        place,
        phonemes,
        edges - edges[-1] / 2 + centre + offset,
        offset,
        bool(word.entry.twin),
    )


def _make_room(line: Timeline, mouthing: Mouthing | None) -> tuple[Mouthing | None, float]:
    """The mouthing, or None where it is left out, and how long its sign must wait for it.

    Mouthings must not run into each other. Those that can be left out make way for those
    that cannot.
    """
    while mouthing is not None and line.mouthings:
        before = line.mouthings[-1]
        late = float(before.edge_n[-1] + _MOUTH_GAP - mouthing.edge_n[0])
        if late <= 0.0:
            break
        if not mouthing.needed:
            return None, 0.0
        if before.needed:
            return mouthing, late
        line.mouthings.pop()
    return mouthing, 0.0


def _spell(
    sentence: Sentence,
    place: int,
    now: float,
    rate: float,
    offset: float,
    levers: Levers,
    rng: np.random.Generator,
) -> Spelling:
    names = [sentence.words[place].name]
    places = (place,)
    if sentence.adjacent:
        names.append(sentence.words[place + 1].name)
        places = (place, place + 1)
    letters = "".join(names)
    steps = rng.uniform(0.92, 1.08, len(letters) - 1) / rate
    between = len(names[0]) - 1
    spacing = float(np.median(np.delete(steps, between) if len(names) == 2 else steps))
    if len(names) == 2:
        steps[between] = spacing * rng.uniform(*NAME_GAP)
    offset += rng.uniform(-levers.spelling_offset[1], levers.spelling_offset[1])
    centres = np.concatenate([[0.0], np.cumsum(steps)]) + spacing / 2
    end = now + _RAISE + centres[-1] + spacing / 2 + _LOWER
    return Spelling(places, letters, now + _RAISE + centres + offset, spacing, (now, end), offset)


def _trim(line: Timeline) -> None:
    starts = [s.start for s in line.signs[:1]] + [s.start - 0.1 for s in line.spellings[:1]]
    starts += [m.edge_n[0] for m in line.mouthings[:1]]
    line.shift(_LEAD_IN - float(min(starts)))
    ends = [s.end for s in line.signs[-1:]] + [s.end for s in line.spellings[-1:]]
    ends += [m.edge_n[-1] for m in line.mouthings[-1:]]
    line.duration = float(max(ends)) + _LEAD_OUT
