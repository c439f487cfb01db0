"""Signers: bodies, habits, cameras and skins, each a function of seed, split and number."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from signbind_jax.data_pipelines.synthetic.grammar import TIME_SPLITS
from signbind_jax.data_pipelines.synthetic.hand import POSE_SIZE
from signbind_jax.data_pipelines.synthetic.levers import EASY, Levers
from signbind_jax.data_pipelines.synthetic.signs import Articulation, articulations

# Signers a split; the time splits are signed by the test signers.
N_SIGNERS = {"train": 24, "validation": 6, "test": 6}
_LEFT_HANDED = 0.15
_CODES = {"train": 1, "validation": 2, "test": 3}


@dataclass(frozen=True)
class Signer:
    """One signer. Lengths are in average shoulder widths, angles in degrees.

    Attributes:
      name: such as "train-03".
      levers: the preset that the signer belongs to.
      articulations: how each gloss is signed, before anybody's own habits.
      left_handed: the strong hand is the left one.
      speed: factor on signing and mouthing.
      letter_rate: letters a second, before a clip's own variation.
      shoulders, upper_arm, forearm, hand, head: sizes; `head_height` of the nose.
      space_scale, space_offset_3: how large and where signs are made.
      gloss_shift: own place of each gloss.
      angle_bias_a, turn_bias_3: own habit of the fingers and of the wrist.
      spelling_place_3: where names are spelled, for a right hand.
      camera_3: yaw, pitch, roll of the camera.
      bottom: the lower edge of the picture: hands below it are not seen.
      noise: standard deviation of a tracked point; `loss` chance a frame that a hand is lost.
      skin, lip, light_2, mouth_size, lip_full, teeth: how the mouth looks, grey 0 to 1.
    """

    name: str
    levers: Levers
    articulations: Mapping[str, Articulation]
    left_handed: bool
    speed: float
    letter_rate: float
    shoulders: float
    upper_arm: float
    forearm: float
    hand: float
    head: float
    head_height: float
    space_scale: float
    space_offset_3: np.ndarray
    gloss_shift: Mapping[str, np.ndarray]
    angle_bias_a: np.ndarray
    turn_bias_3: np.ndarray
    spelling_place_3: np.ndarray
    camera_3: np.ndarray
    bottom: float
    noise: float
    loss: float
    skin: float
    lip: float
    light_2: np.ndarray
    mouth_size: float
    lip_full: float
    teeth: float


def signer_group(split: str) -> str:
    """The split whose signers sign `split`."""
    return "test" if split in TIME_SPLITS else split


@lru_cache(maxsize=64)
def signer(seed: int, group: str, number: int) -> Signer:
    """The signer `number` of train, validation or test."""
    rng = np.random.default_rng([seed, _CODES[group], number])
    return make_signer(f"{group}-{number:02d}", rng, EASY, articulations())


def make_signer(
    name: str,
    rng: np.random.Generator,
    levers: Levers,
    signs: Mapping[str, Articulation],
) -> Signer:
    """A signer whose body and habits chance decides within what the levers say."""
    skin = rng.uniform(0.35, 0.85)
    return Signer(
        name=name,
        levers=levers,
        articulations=signs,
        left_handed=bool(rng.random() < _LEFT_HANDED),
        speed=rng.uniform(*levers.speed),
        letter_rate=rng.uniform(*levers.letter_rate),
        shoulders=rng.normal(1.0, 0.03),
        upper_arm=rng.normal(0.82, 0.03),
        forearm=rng.normal(0.72, 0.03),
        hand=rng.normal(0.48, 0.03),
        head=rng.normal(1.0, 0.06),
        head_height=rng.normal(0.74, 0.04),
        space_scale=rng.normal(1.0, levers.own_space),
        space_offset_3=rng.normal(0.0, 0.045, 3),
        gloss_shift=dict(
            zip(signs, rng.normal(0.0, levers.own_place, (len(signs), 3)), strict=True)
        ),
        angle_bias_a=rng.normal(0.0, levers.own_angles, POSE_SIZE),
        turn_bias_3=rng.normal(0.0, levers.own_turn, 3),
        spelling_place_3=np.array([-0.64, 0.06, 0.35]) + rng.normal(0.0, 0.06, 3),
        camera_3=rng.normal(0.0, levers.camera),
        bottom=rng.uniform(*levers.bottom),
        noise=rng.uniform(*levers.noise),
        loss=rng.uniform(*levers.loss),
        skin=skin,
        lip=skin * rng.uniform(0.62, 0.8),
        light_2=rng.normal(0.0, 0.07, 2),
        mouth_size=rng.normal(1.0, 0.06),
        lip_full=rng.uniform(0.8, 1.25),
        teeth=rng.uniform(0.8, 0.95),
    )
