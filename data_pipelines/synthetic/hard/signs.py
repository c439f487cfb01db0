"""How the glosses of the hard preset are signed: many differ in one parameter alone."""

import random
from functools import cache

from signbind_jax.data_pipelines.synthetic.hard.words import lexicon
from signbind_jax.data_pipelines.synthetic.signs import (
    HANDS,
    LOCATIONS,
    MOVEMENTS,
    SHAPES,
    TURNS,
    Articulation,
)

# Share of the signs that are made from an earlier one by another value of one parameter.
MINIMAL_PAIRS = 0.5
# Share of the glosses that some signers sign in another way; how many of the signers do.
VARIANTS, VARIANT_SIGNERS = 0.20, 0.4
# Frequencies of hand shapes fall off as in sign languages: a few make most signs.
_SHAPE_WEIGHTS = [1.0 / (i + 4) for i in range(len(SHAPES))]


@cache
def articulations() -> dict[str, Articulation]:
    """One articulation a gloss, no two alike; the same for every seed of the corpus."""
    rng = random.Random("hard articulations 1")
    chosen: dict[str, Articulation] = {}
    taken: set[Articulation] = set()
    for gloss in lexicon().glosses:
        while True:
            if taken and rng.random() < MINIMAL_PAIRS:
                sign = changed(rng.choice(list(chosen.values())), rng)
            else:
                sign = _draw(rng)
            if sign not in taken:
                break
        chosen[gloss] = sign
        taken.add(sign)
    return chosen


@cache
def variants() -> dict[str, Articulation]:
    """The second way in which some glosses are signed: another value of two parameters."""
    rng = random.Random("hard variants 1")
    return {
        gloss: changed(changed(sign, rng), rng)
        for gloss, sign in articulations().items()
        if rng.random() < VARIANTS
    }


def of_signer(rng: random.Random) -> dict[str, Articulation]:
    """How one signer signs each gloss, in the order of the glosses."""
    second = {gloss: sign for gloss, sign in variants().items() if rng.random() < VARIANT_SIGNERS}
    return articulations() | second


def changed(sign: Articulation, rng: random.Random) -> Articulation:
    """The sign with another value of one of its parameters."""
    field = rng.choice(Articulation._fields)
    while (other := getattr(_draw(rng), field)) == getattr(sign, field):
        pass
    return _possible(sign._replace(**{field: other}))


def _draw(rng: random.Random) -> Articulation:
    return _possible(
        Articulation(
            rng.choices(list(SHAPES), _SHAPE_WEIGHTS)[0],
            rng.choice(list(LOCATIONS)),
            rng.choice(MOVEMENTS),
            rng.choice(list(TURNS)),
            rng.choices(HANDS, (60, 30, 10))[0],
        )
    )


def _possible(sign: Articulation) -> Articulation:
    """A sign on the base hand is made above it; two hands do not cross to the far side."""
    if sign.hands == "base":
        return sign._replace(location="centre")
    if sign.hands == "both" and sign.location.startswith("far"):
        return sign._replace(location="chest")
    return sign
