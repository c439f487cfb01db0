"""sentence(): one sentence of a split, a pure function of seed, split, index and attempt."""

import random
from dataclasses import dataclass

from signbind_jax.data_pipelines.synthetic import constructions
from signbind_jax.data_pipelines.synthetic.draw import Draw, Word
from signbind_jax.data_pipelines.synthetic.patterns import PATTERNS, Draft

TIME_SPLITS = ("role", "lonely_twin", "adjacent_names")
SPLITS = ("train", "validation", "test", *TIME_SPLITS)

# Shares of the constructions that time decides in ordinary splits; the rest are plain.
_SHARES = {"role": 0.14, "lonely_twin": 0.10, "adjacent_names": 0.10}
# With the shares above, about 65 % of the sentences spell a name.
_NAME_SHARE = 0.64
_SECOND_NAME_SHARE = 0.08
_MIN_SIGNS, _MAX_WORDS = 3, 12

_ALL_PATTERNS = {**PATTERNS, constructions.coordination: 6}


@dataclass(frozen=True)
class Sentence:
    """What is signed and what it means.

    Attributes:
      words: signs and fingerspelled names in the order of the hand timeline.
      text: the English.
      pattern: the name of its pattern or construction.
      face: "" (plain), "yes-no", "wh" or "negation".
      contrasts: English that differs only in what time decides.
      twins: places in `words` of the two meanings of one sign; empty where there are none.
      silent_twin: the place whose mouthing is left out; -1 for none.
      adjacent: whether two names are spelled back to back.
    """

    words: tuple[Word, ...]
    text: str
    pattern: str
    face: str = ""
    contrasts: tuple[str, ...] = ()
    twins: tuple[int, ...] = ()
    silent_twin: int = -1
    adjacent: bool = False

    @property
    def gloss(self) -> tuple[str, ...]:
        """What the hands sign, names left out."""
        return tuple(word.entry.gloss for word in self.words if word.entry)

    @property
    def homonym_pairs(self) -> tuple[str, ...]:
        """Pairs "right/wrong", one for each word whose sign has another meaning."""
        return tuple(
            f"{word.form.removeprefix('will ')}/{word.twin_form.removeprefix('will ')}"
            for word in self.words
            if word.twin_form
        )


def name_share(split: str) -> str:
    """Whose names a split may use: its own, or those of all time splits."""
    return "time" if split in TIME_SPLITS else split


def sentence(seed: int, split: str, index: int, attempt: int = 0) -> Sentence:
    """The sentence of one clip.

    In the time splits the index decides the answer in turn, so that a guess is right half
    of the time (role, lonely_twin) or less (adjacent_names).
    """
    rng = random.Random(f"sentence/{seed}/{split}/{index}/{attempt}")
    share = name_share(split)
    timed = split in TIME_SPLITS
    kind = (
        split
        if timed
        else rng.choices([*_SHARES, "plain"], [*_SHARES.values(), 1 - sum(_SHARES.values())])[0]
    )
    coin = index % 2 == 0 if timed else rng.random() < 0.5
    if kind == "role":
        draft, wrong = constructions.role(Draw(rng, share, 1), name_first=coin)
        return Sentence(draft.words, draft.text, kind, draft.face, (wrong,) if timed else ())
    if kind == "adjacent_names":
        draft, wrong = constructions.adjacent_names(Draw(rng, share, 0), share)
        return Sentence(
            draft.words, draft.text, kind, draft.face, tuple(wrong) if timed else (), adjacent=True
        )
    n_names = int(rng.random() < _NAME_SHARE)
    if kind == "lonely_twin":
        return _lonely_twin(rng, share, n_names, first_silent=coin, timed=timed)
    if n_names and rng.random() < _SECOND_NAME_SHARE:
        n_names = 2
    pattern = rng.choices(list(_ALL_PATTERNS), list(_ALL_PATTERNS.values()))[0]
    draft = _fitting(pattern, rng, share, n_names)
    return Sentence(draft.words, draft.text, pattern.__name__, draft.face)


def _lonely_twin(rng, share: str, n_names: int, *, first_silent: bool, timed: bool) -> Sentence:
    # No other word that shares a sign: its mouthing would be a second clue.
    draft, wrong = constructions.twins(Draw(rng, share, n_names, pairs=False))
    places = tuple(i for i, word in enumerate(draft.words) if word.twin_form)
    return Sentence(
        draft.words,
        draft.text,
        "lonely_twin",
        draft.face,
        (wrong,) if timed else (),
        twins=places,
        silent_twin=places[0 if first_silent else 1],
    )


def _fitting(pattern, rng: random.Random, share: str, n_names: int) -> Draft:
    """A draft of the pattern with as many names as it has room for and a fitting length."""
    while True:
        for _ in range(8):
            draw = Draw(rng, share, n_names)
            draft = pattern(draw)
            if draw.names_left == 0 and _fits(draft):
                return draft
        n_names -= n_names > 0


def _fits(draft: Draft) -> bool:
    n_signs = sum(word.entry is not None for word in draft.words)
    spelled = [not word.entry for word in draft.words]
    side_by_side = any(a and b for a, b in zip(spelled, spelled[1:], strict=False))
    return n_signs >= _MIN_SIGNS and len(draft.words) <= _MAX_WORDS and not side_by_side
