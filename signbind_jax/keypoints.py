"""The canonical keypoint layout and the maps from every known scheme onto it.

"Left" is the signer's left in every scheme. Brows, eyes and lips are numbered as in the
68-point face annotation of iBUG 300-W (dlib, OpenPose, COCO-WholeBody), and taken from the
MediaPipe face mesh by the vertices in customary use for these 68 points.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from signbind_jax.errors import SignBindError

LAYOUT_VERSION = "canonical-91.1"

BODY = ("nose", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
        "left_wrist", "right_wrist")  # fmt: skip
RIGHT_BROW = tuple(f"right_brow_{i}" for i in range(5))
LEFT_BROW = tuple(f"left_brow_{i}" for i in range(5))
RIGHT_EYE = tuple(f"right_eye_{i}" for i in range(6))
LEFT_EYE = tuple(f"left_eye_{i}" for i in range(6))
OUTER_LIP = tuple(f"outer_lip_{i}" for i in range(12))
INNER_LIP = tuple(f"inner_lip_{i}" for i in range(8))
HAND = ("wrist", *(f"{finger}_{joint}" for finger in ("thumb", "index", "middle", "ring", "pinky")
                   for joint in range(1, 5)))  # fmt: skip
LEFT_HAND = tuple(f"left_hand_{name}" for name in HAND)
RIGHT_HAND = tuple(f"right_hand_{name}" for name in HAND)

NAMES = (*BODY, *RIGHT_BROW, *LEFT_BROW, *RIGHT_EYE, *LEFT_EYE, *OUTER_LIP, *INNER_LIP,
         *LEFT_HAND, *RIGHT_HAND)  # fmt: skip
K = len(NAMES)

BODY_SLICE = slice(0, 7)
FACE_SLICE = slice(7, 29)
MOUTH_SLICE = slice(29, 49)
LEFT_HAND_SLICE = slice(49, 70)
RIGHT_HAND_SLICE = slice(70, 91)
LEFT_SHOULDER, RIGHT_SHOULDER = 1, 2
# Of each side the points of the hand and its wrist on the body.
HAND_POINTS = tuple(
    (*range(*hand.indices(K)), NAMES.index(f"{side}_wrist"))
    for side, hand in (("left", LEFT_HAND_SLICE), ("right", RIGHT_HAND_SLICE))
)
# Shoulder widths below the shoulders (their middle): hands in a lap or hanging lie at 1.25 to 1.55,
# signing hands above 1.0.
LOWERED = 1.2


def is_raised(hand_tkc):
    """bool (t,), whether the seen points of a hand lie above `LOWERED` on average; False where none
    is seen. hand_tkc: (t, points, 3) x, y in shoulder widths about the mid-shoulder point,
    confidence; of NumPy or JAX."""
    seen_tk = hand_tkc[..., 2] > 0
    n_t = seen_tk.sum(1)
    return (n_t > 0) & ((hand_tkc[..., 1] * seen_tk).sum(1) < LOWERED * n_t)


EYE_OUTER_CORNERS = (NAMES.index("right_eye_0"), NAMES.index("left_eye_3"))
MOUTH_CORNERS = (NAMES.index("outer_lip_0"), NAMES.index("outer_lip_6"))

_FACE_68 = (*range(17, 27), *range(36, 68))  # jaw and nose of the 68 points are left out
_FACE_MESH = (
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,  # outer lip
    78, 82, 13, 312, 308, 317, 14, 87,  # inner lip
)  # fmt: skip
# The 128 vertices of MediaPipe's FACEMESH_CONTOURS, ascending: the face of the reduced scheme.
_FACE_CONTOURS = (
    0, 7, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78,
    80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148,
    149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 172, 173, 176, 178, 181, 185,
    191, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296,
    297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362,
    365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387, 388, 389, 390, 397, 398,
    400, 402, 405, 409, 415, 454, 466,
)  # fmt: skip
MISSING = -1


@dataclass(frozen=True)
class Scheme:
    """How one pose estimator orders its keypoints.

    Attributes:
      name: as in `SCHEMES`.
      n_points: keypoints a frame.
      source_k: for each canonical keypoint its index in this scheme, or `MISSING`.
      parts: (part, keypoints) in order, as pose files list them.
    """

    name: str
    n_points: int
    source_k: tuple[int, ...]
    parts: tuple[tuple[str, int], ...]


def _scheme(
    name: str, parts: Sequence[tuple[str, int]], body: Sequence[int], face: Sequence[int]
) -> Scheme:
    """A scheme of the parts body, face, left hand, right hand in this order.

    `body` and `face` index within their own part; the hands have 21 points in one order in
    every scheme.
    """
    starts = [sum(size for _, size in parts[:i]) for i in range(4)]
    offset = [
        [MISSING if i == MISSING else start + i for i in part]
        for start, part in zip(starts, (body, face, range(21), range(21)), strict=True)
    ]
    n_points = sum(size for _, size in parts)
    return Scheme(name, n_points, tuple(i for part in offset for i in part), tuple(parts))


def _holistic(n_face: int, world: bool) -> Scheme:
    parts = [("POSE_LANDMARKS", 33), ("FACE_LANDMARKS", n_face),
             ("LEFT_HAND_LANDMARKS", 21), ("RIGHT_HAND_LANDMARKS", 21)]  # fmt: skip
    parts += [("POSE_WORLD_LANDMARKS", 33)] * world
    n_points = sum(size for _, size in parts)
    return _scheme(f"mediapipe_{n_points}", parts, (0, *range(11, 17)), _FACE_MESH)


def _one_hand(side: str, place: slice) -> Scheme:
    """A hand without a body, as webcam trackers give it."""
    points = range(place.stop - place.start)
    source_k = [MISSING] * K
    source_k[place] = points
    parts = ((f"{side.upper()}_HAND_LANDMARKS", len(points)),)
    return Scheme(f"{side}_hand_{len(points)}", len(points), tuple(source_k), parts)


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        _holistic(468, world=False),
        _holistic(478, world=False),  # ten iris points more
        _holistic(468, world=True),
        _holistic(478, world=True),
        _scheme(
            "mediapipe_178",  # no nose; its body is shoulders, elbows, wrists, hips
            [
                ("POSE_LANDMARKS", 8),
                ("FACE_LANDMARKS", 128),
                ("LEFT_HAND_LANDMARKS", 21),
                ("RIGHT_HAND_LANDMARKS", 21),
            ],
            (MISSING, *range(6)),
            [_FACE_CONTOURS.index(vertex) for vertex in _FACE_MESH],
        ),  # fmt: skip
        _scheme(
            "openpose_137",
            [
                ("pose_keypoints_2d", 25),
                ("face_keypoints_2d", 70),
                ("hand_left_keypoints_2d", 21),
                ("hand_right_keypoints_2d", 21),
            ],
            (0, 5, 2, 6, 3, 7, 4),
            _FACE_68,
        ),  # fmt: skip
        _scheme(
            "coco_wholebody_133",
            [("BODY", 23), ("FACE", 68), ("LEFT_HAND", 21), ("RIGHT_HAND", 21)],
            (0, *range(5, 11)),
            _FACE_68,
        ),
        _one_hand("right", RIGHT_HAND_SLICE),  # first: a hand of no known side is taken as right
        _one_hand("left", LEFT_HAND_SLICE),
    )
}


def _known() -> str:
    return ", ".join(f"{scheme.name} ({scheme.n_points} points)" for scheme in SCHEMES.values())


def scheme_of(points: int | Iterable[tuple[str, Sequence[str]]], where: str = "pose") -> str:
    """Name of the scheme with this many points, or with these parts and point names.

    Args:
      points: the number of keypoints a frame, or (part, point names) in order, as in the
        header of a pose file.
      where: what the error calls the source, such as a file name.

    Raises:
      SignBindError: where no known scheme fits; it lists the known ones.
    """
    if isinstance(points, int | np.integer):
        found = f"{points} points"
        for scheme in SCHEMES.values():
            if scheme.n_points == points:
                return scheme.name
    else:
        listed = [(part, list(names)) for part, names in points]
        sizes = tuple((part.removesuffix("_133"), len(names)) for part, names in listed)
        found = " + ".join(f"{part} {size}" for part, size in sizes)
        for scheme in SCHEMES.values():
            if scheme.parts == sizes:
                return _checked(scheme, listed, where)
    raise SignBindError(f"{where}: keypoint scheme: found {found}, wanted one of: {_known()}")


def _checked(scheme: Scheme, listed: list[tuple[str, list[str]]], where: str) -> str:
    """The scheme's name, once the points that have telling names stand where it expects them."""
    names = [name for _, part in listed for name in part]
    for i, source in enumerate(scheme.source_k[: FACE_SLICE.start]):
        if source == MISSING:
            continue
        # "LEFT_WRIST" and "LWrist" both read as "lwrist".
        found = names[source].lower().replace("left_", "l").replace("right_", "r")
        if found != NAMES[i].replace("left_", "l").replace("right_", "r"):
            raise SignBindError(
                f"{where}: keypoint {source} of {scheme.name}: found "
                f"{names[source]}, wanted {NAMES[i]}"
            )
    if scheme.name == "mediapipe_178" and tuple(listed[1][1]) != tuple(map(str, _FACE_CONTOURS)):
        raise SignBindError(
            f"{where}: FACE_LANDMARKS of mediapipe_178: found other vertices than "
            "the face contours: export all points instead"
        )
    return scheme.name


def to_canonical(points_tnc: np.ndarray, scheme: str, where: str = "pose") -> np.ndarray:
    """Keypoints of any known scheme in the canonical layout, in their own units.

    A keypoint that the scheme does not have, that is not finite, or whose confidence is not
    above 0 is missing: (0, 0, 0).

    Args:
      points_tnc: (t, n, 3) x, y, confidence.
      scheme: a name in `SCHEMES`.
      where: what the error calls the source, such as a file name.

    Returns:
      float32 (t, 91, 3) x, y, confidence clipped to 0..1.

    Raises:
      SignBindError: on an unknown scheme or another number of points than it has.
    """
    if scheme not in SCHEMES:
        raise SignBindError(
            f"{where}: keypoint scheme: found {scheme!r}, wanted one of: {_known()}"
        )
    points_tnc = np.asarray(points_tnc, np.float32)
    wanted = SCHEMES[scheme].n_points
    if points_tnc.ndim != 3 or points_tnc.shape[1:] != (wanted, 3):
        raise SignBindError(
            f"{where}: keypoints of {scheme}: found shape {points_tnc.shape}, "
            f"wanted (frames, {wanted}, 3)"
        )
    source_k = np.array(SCHEMES[scheme].source_k)
    points_tkc = points_tnc[:, source_k]
    present_tk = np.isfinite(points_tkc).all(-1) & (points_tkc[..., 2] > 0) & (source_k != MISSING)
    points_tkc = np.where(present_tk[..., None], points_tkc, 0)
    points_tkc[..., 2] = points_tkc[..., 2].clip(0, 1)
    return points_tkc


def from_canonical(points_tkc: np.ndarray, scheme: str) -> np.ndarray:
    """The same keypoints as `to_canonical` takes them, (t, n, 3) of the given type: what the
    layout does not hold is missing.

    Args:
      scheme: one that has every keypoint of the layout, such as "coco_wholebody_133".
    """
    known = SCHEMES[scheme]
    points_tnc = np.zeros((len(points_tkc), known.n_points, 3), points_tkc.dtype)
    points_tnc[:, list(known.source_k)] = points_tkc
    return points_tnc


def _mirror() -> tuple[int, ...]:
    """Index of the keypoint that takes each one's place when left and right are swapped."""
    face = {}
    for side, other in (("left", "right"), ("right", "left")):
        face |= {f"{side}_brow_{i}": f"{other}_brow_{4 - i}" for i in range(5)}
        # Corners 0-3 run along the upper lid, 4 and 5 back along the lower one.
        face |= {f"{side}_eye_{i}": f"{other}_eye_{(3, 2, 1, 0, 5, 4)[i]}" for i in range(6)}
    face |= {f"outer_lip_{i}": f"outer_lip_{(6 - i) % 12}" for i in range(12)}
    face |= {f"inner_lip_{i}": f"inner_lip_{(4 - i) % 8}" for i in range(8)}

    def partner(name: str) -> str:
        if name in face:
            return face[name]
        side, _, rest = name.partition("_")
        return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, name)

    return tuple(NAMES.index(partner(name)) for name in NAMES)


MIRROR = _mirror()
