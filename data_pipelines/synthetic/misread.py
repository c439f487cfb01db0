"""A fingerspelling expert that is simulated: the letters of a clip with a share of errors."""

import random
import string
from collections.abc import Mapping

from signbind_jax.data.clip import Clip, TimedToken

LETTERS = string.ascii_lowercase
_LETTER_S = 0.1


def misread(
    clip: Clip, errors: float, made_up: float, often: Mapping[str, int], seed: int = 0
) -> tuple[TimedToken, ...]:
    """The letters that it reads in a clip, in order.

    Args:
      clip: with its true letters as the stream "fingerspelling".
      errors: share of the letters that are wrong: half of these are replaced, a third missed, a
        sixth made up.
      made_up: share of the clips in which nothing is spelled that have three to seven letters.
      often: letter -> how often those are it.
    """
    rng = random.Random(f"{seed}/{clip.id}")
    read = []
    for letter in clip.streams["fingerspelling"]:
        chance = rng.random()
        other = rng.choice(LETTERS.replace(letter.token, ""))
        if chance >= errors / 3:
            read.append(letter._replace(token=other) if chance < errors * 5 / 6 else letter)
        if rng.random() < errors / 6:
            read.append(TimedToken(rng.choice(LETTERS), letter.end, letter.end))
    if not clip.spelled and rng.random() < made_up:
        start = rng.uniform(0, max(clip.seconds - 1, 0.1))
        some = rng.choices(list(often), list(often.values()), k=rng.randint(3, 7))
        ends = [start + _LETTER_S * i for i in range(len(some) + 1)]
        read = [TimedToken(*row) for row in zip(some, ends, ends[1:], strict=False)]
    return tuple(sorted(read, key=lambda token: token.start))
