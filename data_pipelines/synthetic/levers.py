"""What makes the synthetic corpus easy or hard, in one place: how people sign and are recorded.

`EASY` is the corpus of the quickstart. `HARD` follows what recordings showed
(docs/real_results.md, "What the recordings teach") and is meant to be turned.
"""

from dataclasses import dataclass

Span = tuple[float, float]  # drawn evenly between two values


@dataclass(frozen=True)
class Levers:
    """Distances in shoulder widths, times in seconds, angles in degrees, rates a second.

    Attributes:
      speed: factor of a signer on signing and mouthing.
      letter_rate: of a signer; `letter_rates` what a clip's own variation leaves it within.
      sign_seconds: length of a sign with the way to it, which takes the share `transition`.
      strong_hand_spells: in place of signing; else the weak hand spells beside it.
      spelling_offset, mouth_offset: displacement of names and mouthings against the signs, the
        most of a clip and of an event.
      mouthed: share of the words that are mouthed where hands tell them; `mouthed_twins` where
        words share a sign.
      mouthed_in_part: share of the mouthed words whose end is left out.
      phoneme_seconds: of a phoneme, before the signer's speed.
      coarticulation: how far the beginning and the end of a sign are drawn to its neighbours.
      weak_drop: share of the signs of two hands that are made with one.
      camera: standard deviation of the camera's yaw, pitch and roll.
      own_place, own_angles, own_turn: standard deviation of a signer's own place for each gloss,
        habit of the fingers and of the wrist.
      own_space: of the size of the signing space.
      chance_place, chance_angles, chance_turn: of each time a sign is made.
      chance_size: of the size of a movement, as a share of it.
      noise: standard deviation of a tracked point, by signer.
      body_noise, face_noise: that of body and face as a share of it.
      shaky_start, shaky_times: chance a frame that a hand's noise grows for three frames, and by
        how many times; `all_shake`: body and face shake too.
      exact_confidence: a point that is found has a confidence of 1.
      bottom: lower edge of the picture, by signer.
      loss: chance a frame that a hand is lost, by signer; `loss_frames` for how long on average.
      long_losses: share of the losses that take 20 frames; `no_hand` of the clips without a hand.
      lost_frame: chance a frame that nothing is found.
      mouth_opening: factor on how far mouths open; `mouth_noise` of a mouth's state.
      crop_drift, crop_noise: of mouth crops, in face units and in shares of white.
    """

    speed: Span = (0.85, 1.2)
    letter_rate: Span = (4.6, 7.2)
    letter_rates: Span = (4.35, 7.4)
    sign_seconds: Span = (0.36, 0.50)
    transition: float = 0.38
    strong_hand_spells: bool = False
    spelling_offset: Span = (0.25, 0.15)
    mouth_offset: Span = (0.25, 0.15)
    mouthed: float = 0.25
    mouthed_twins: float = 1.0
    mouthed_in_part: float = 0.0
    phoneme_seconds: Span = (0.118, 0.140)
    coarticulation: float = 0.0
    weak_drop: float = 0.0
    camera: tuple[float, float, float] = (7.0, 3.0, 2.0)
    own_place: float = 0.04
    own_angles: float = 3.5
    own_turn: float = 4.0
    own_space: float = 0.05
    chance_place: float = 0.025
    chance_angles: float = 3.5
    chance_turn: float = 5.0
    chance_size: float = 0.0
    noise: Span = (0.008, 0.016)
    body_noise: float = 0.8
    face_noise: float = 0.5
    shaky_start: float = 0.004
    shaky_times: float = 3.0
    all_shake: bool = False
    exact_confidence: bool = False
    bottom: Span = (-1.7, -1.15)
    loss: Span = (0.001, 0.004)
    loss_frames: float = 2.5
    long_losses: float = 0.0
    no_hand: float = 0.0
    lost_frame: float = 0.0015
    mouth_opening: float = 1.0
    mouth_noise: float = 0.02
    crop_drift: float = 0.004
    crop_noise: float = 0.012


EASY = Levers()

HARD = Levers(
    speed=(0.8, 1.35),
    letter_rate=(8.6, 11.4),
    letter_rates=(8.4, 11.4),
    sign_seconds=(0.26, 0.56),
    transition=0.45,
    strong_hand_spells=True,
    spelling_offset=(0.0, 0.0),
    mouth_offset=(0.1, 0.1),
    mouthed=0.4,
    mouthed_twins=0.8,
    mouthed_in_part=0.3,
    phoneme_seconds=(0.08, 0.11),
    coarticulation=0.4,
    weak_drop=0.15,
    camera=(9.0, 4.0, 2.5),
    own_place=0.12,
    own_angles=10.0,
    own_turn=14.0,
    own_space=0.12,
    chance_place=0.05,
    chance_angles=7.0,
    chance_turn=9.0,
    chance_size=0.2,
    noise=(0.0004, 0.0008),
    body_noise=1.5,
    face_noise=0.8,
    shaky_start=0.035,
    shaky_times=9.0,
    all_shake=True,
    exact_confidence=True,
    bottom=(-2.4, -1.3),
    loss=(0.002, 0.006),
    loss_frames=1.5,
    long_losses=0.1,
    no_hand=0.01,
    lost_frame=0.004,
    mouth_opening=0.75,
    mouth_noise=0.0015,
    crop_drift=0.0015,
    crop_noise=0.004,
)
