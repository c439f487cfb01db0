"""Frontends: one vector a frame from keypoints, mouth crops or mouth landmarks."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from signbind_jax import keypoints
from signbind_jax.models.layers import Linear, RMSNorm, dropout, normal_init, param
from signbind_jax.models.time_shift import time_shift

PARTS = {
    "body": keypoints.BODY_SLICE,
    "face": keypoints.FACE_SLICE,
    "mouth": keypoints.MOUTH_SLICE,
    "left_hand": keypoints.LEFT_HAND_SLICE,
    "right_hand": keypoints.RIGHT_HAND_SLICE,
}
N_MOUTH = PARTS["mouth"].stop - PARTS["mouth"].start
# Points move some hundredths of a shoulder width a frame: motion becomes as large as positions.
MOTION_SCALE = 10.0


def differences(x_btkc, clip_bt=None):
    """Takes frame differences of x and y, 0 where a point is missing now or one frame ago.

    x_btkc (b, t, k, 3) -> (b, t, k, 2), in tenths of the units of x a frame.
    """
    before_btkc = time_shift(x_btkc, 1, clip_bt)
    seen = (x_btkc[..., 2:] > 0) & (before_btkc[..., 2:] > 0)
    return jnp.where(seen, MOTION_SCALE * (x_btkc[..., :2] - before_btkc[..., :2]), 0.0)


def centred(x_btkc, centre_bt1c, seen_bt1):
    """Puts x and y about `centre`, divided by their root-mean-square distance from it.

    Missing points, and frames in which `seen_bt1` is False (b, t, 1), give 0. The result
    does not depend on where or how large the part is: (b, t, k, 3) -> (b, t, k, 2).
    """
    seen_btk1 = (x_btkc[..., 2:] > 0) & seen_bt1[..., None]
    offset_btkc = jnp.where(seen_btk1, x_btkc[..., :2] - centre_bt1c, 0.0)
    n_bt = jnp.maximum(seen_btk1.sum(axis=(2, 3)), 1)
    size_bt = jnp.sqrt(jnp.square(offset_btkc).sum(axis=(2, 3)) / n_bt)
    return offset_btkc / jnp.maximum(size_bt, 1e-3)[..., None, None]


def wrist_centred(hand_btkc):
    """Gives a hand's shape: x and y about the wrist (point 0) in units of the hand's own size."""
    return centred(hand_btkc, hand_btkc[:, :, :1, :2], hand_btkc[:, :, :1, 2] > 0)


def mean_centred(x_btkc):
    """Gives a part's shape: x and y about the mean of its visible points, in its own size."""
    seen_btk1 = x_btkc[..., 2:] > 0
    n_bt11 = seen_btk1.sum(axis=2, keepdims=True)
    mean_bt1c = (x_btkc[..., :2] * seen_btk1).sum(axis=2, keepdims=True) / jnp.maximum(n_bt11, 1)
    return centred(x_btkc, mean_bt1c, n_bt11[..., 0] > 0)


def _flat(*xs_btkc):
    return jnp.concatenate([x.reshape(*x.shape[:2], -1) for x in xs_btkc], axis=-1)


class PoseFrontend(nnx.Module):
    """Keypoints to d_model: an embedding a part, both hands through one shared embedding.

    The left hand is mirrored in x, so that one network reads both; a side embedding tells
    them apart. Confidences and frame differences are inputs beside the coordinates.
    """

    def __init__(self, config, rngs: nnx.Rngs):
        self.parts = tuple(part for part in PARTS if part in config.parts)
        self.dtype, self.rate = config.dtype, config.dropout
        e, d = config.d_part, config.d_model
        linear = partial(Linear, bias=True, rngs=rngs)
        self.embed = nnx.Dict()
        for part in self.parts:
            n_points = PARTS[part].stop - PARTS[part].start
            name, n_in = ("hand", 7 * n_points) if part.endswith("_hand") else (part, 5 * n_points)
            if name not in self.embed:
                self.embed[name] = linear((n_in,), (e,), ("input",), ("mlp",))
        if "hand" in self.embed:
            self.hand_shape = linear((e,), (e,), ("input",), ("mlp",))
            self.side = param(rngs, normal_init(0.1), (2, e), ("kernel", "mlp"))
        self.fuse = linear((e * len(self.parts),), (d,), ("input",), ("model",))
        self.norm = RMSNorm(d, rngs=rngs)

    def hands(self, hand_ibtkc, clip_bt=None):
        """Embeds mirrored left and right hands, (sides, b, t, 21, 3): (sides, b, t, d_part)."""
        n, b = hand_ibtkc.shape[:2]
        hand_btkc = hand_ibtkc.reshape(n * b, *hand_ibtkc.shape[2:])
        clip_bt = None if clip_bt is None else jnp.tile(clip_bt, (n, 1))
        motion_btkc = differences(hand_btkc, clip_bt)
        x = _flat(hand_btkc, motion_btkc, wrist_centred(hand_btkc)).astype(self.dtype)
        x_btd = jax.nn.silu(self.embed["hand"](x))
        return self.hand_shape(x_btd).reshape(n, b, *x_btd.shape[1:])

    def __call__(self, x_btkc, key=None, clip_bt=None):
        """Reads x_btkc (b, t, 91, 3) in shoulder widths, missing = 0 -> (b, t, d_model)."""
        embedded = {}
        sides = [part for part in self.parts if part.endswith("_hand")]
        if sides:
            hands = {side: x_btkc[:, :, PARTS[side]] for side in sides}
            if "left_hand" in hands:
                hands["left_hand"] *= jnp.array([-1.0, 1.0, 1.0], x_btkc.dtype)
            side_2d = self.side[...].astype(self.dtype)
            embedded_ibtd = self.hands(jnp.stack(list(hands.values())), clip_bt)
            for side, x_btd in zip(sides, embedded_ibtd, strict=True):
                embedded[side] = x_btd + side_2d[int(side == "right_hand")]
        for part in self.parts:
            if part not in embedded:
                part_btkc = x_btkc[:, :, PARTS[part]]
                x = _flat(part_btkc, differences(part_btkc, clip_bt)).astype(self.dtype)
                embedded[part] = self.embed[part](x)
        x_btd = jnp.concatenate([embedded[part] for part in self.parts], axis=-1)
        return self.norm(self.fuse(dropout(jax.nn.silu(x_btd), self.rate, key)))


# The joint before each of a hand's points but the wrist, and all pairs of its points.
_BEFORE = [0 if i % 4 == 1 else i - 1 for i in range(1, len(keypoints.HAND))]
_PAIRS = list(itertools.combinations(range(len(keypoints.HAND)), 2))
_MOVING = [0, *range(4, len(keypoints.HAND), 4)]  # wrist and tips, whose motion is read: J and Z


def finger_shape(points_btkc, seen_btk1):
    """Gives where each bone points and how far all points are from each other.

    points_btkc (b, t, 21, 2) in sizes of the hand -> unit vectors (b, t, 20, 2) and distances
    (b, t, 210, 1), which no turn of the hand in the picture changes; 0 where a point is missing.
    """
    before, (first, second) = jnp.array(_BEFORE), jnp.array(_PAIRS).T
    bone_btkc = points_btkc[:, :, 1:] - points_btkc[:, :, before]
    # The direction of a bone that points at the camera is noise: it stays short.
    bone_btkc = bone_btkc / (_length(bone_btkc) + 0.05)
    apart_btk1 = _length(points_btkc[:, :, first] - points_btkc[:, :, second])
    bone_btkc *= seen_btk1[:, :, 1:] & seen_btk1[:, :, before]
    return bone_btkc, apart_btk1 * (seen_btk1[:, :, first] & seen_btk1[:, :, second])


def _length(x_btkc):
    return jnp.sqrt(jnp.square(x_btkc).sum(axis=-1, keepdims=True) + 1e-4)


class HandShapeFrontend(nnx.Module):
    """The shapes of the hands alone to d_model: fingerspelling, with a body or without one.

    Nothing of where a hand is or how large enters, so that a hand without a body reads as the same
    hand with one. The left hand is mirrored; where both are seen, a learnt score says how much each
    of them counts.
    """

    def __init__(self, config, rngs: nnx.Rngs):
        self.dtype, self.rate = config.dtype, config.dropout
        e, n_points = config.d_part, len(keypoints.HAND)
        n_in = 2 * (n_points + len(_BEFORE) + len(_MOVING)) + len(_PAIRS)
        linear = partial(Linear, bias=True, rngs=rngs)
        self.embed = linear((n_in,), (e,), ("input",), ("mlp",))
        self.hand_shape = linear((e,), (e,), ("input",), ("mlp",))
        self.score = Linear((e,), (1,), ("input",), ("kernel",), rngs=rngs)
        self.fuse = linear((e,), (config.d_model,), ("input",), ("model",))
        self.norm = RMSNorm(config.d_model, rngs=rngs)

    def __call__(self, x_btkc, key=None, clip_bt=None):
        """Reads x_btkc (b, t, 91, 3) in shoulder widths, missing = 0 -> (b, t, d_model)."""
        left_btkc = x_btkc[:, :, PARTS["left_hand"]] * jnp.array([-1.0, 1.0, 1.0], x_btkc.dtype)
        hand_btkc = jnp.concatenate([left_btkc, x_btkc[:, :, PARTS["right_hand"]]])
        clip_bt = None if clip_bt is None else jnp.tile(clip_bt, (2, 1))
        shape_btkc, seen_btk1 = wrist_centred(hand_btkc), hand_btkc[..., 2:] > 0
        motion_btkc = differences(hand_btkc[:, :, jnp.array(_MOVING)], clip_bt)
        x = _flat(shape_btkc, *finger_shape(shape_btkc, seen_btk1), motion_btkc)
        x_btd = self.hand_shape(jax.nn.silu(self.embed(x.astype(self.dtype))))
        # A hand that is not seen counts for nothing where the other one is.
        score_bt1 = jnp.where(seen_btk1.any(axis=2), self.score(x_btd).astype(jnp.float32), -1e9)
        share_ibt1 = jax.nn.softmax(score_bt1.reshape(2, -1, *score_bt1.shape[1:]), axis=0)
        x_btd = (x_btd.reshape(2, -1, *x_btd.shape[1:]) * share_ibt1.astype(self.dtype)).sum(axis=0)
        return self.norm(self.fuse(dropout(jax.nn.silu(x_btd), self.rate, key)))


class MouthLandmarkFrontend(nnx.Module):
    """The 20 mouth points to d_model, where a corpus has landmarks but no crops.

    Inputs are the mouth's shape (centred, in its own size), its extent in shoulder widths,
    both with their frame differences, and the confidences.
    """

    def __init__(self, config, rngs: nnx.Rngs):
        self.dtype, self.rate = config.dtype, config.dropout
        d, hidden = config.d_model, 2 * config.d_part
        n_in = (2 + 2 + 2 + 1) * N_MOUTH
        linear = partial(Linear, bias=True, rngs=rngs)
        self.inner = linear((n_in,), (hidden,), ("input",), ("mlp",))
        self.outer = linear((hidden,), (d,), ("mlp",), ("model",))
        self.norm = RMSNorm(d, rngs=rngs)

    def __call__(self, x_btkc, key=None, clip_bt=None):
        """Reads x_btkc (b, t, 91, 3), or the mouth alone (b, t, 20, 3) -> (b, t, d_model)."""
        mouth_btkc = x_btkc[:, :, PARTS["mouth"]] if x_btkc.shape[2] != N_MOUTH else x_btkc
        confidence_btk1 = mouth_btkc[..., 2:]
        shape_btkc = mean_centred(mouth_btkc)
        # In its own size a mouth moves much more than in shoulder widths.
        with_confidence_btkc = jnp.concatenate([shape_btkc, confidence_btk1], axis=-1)
        delta_btkc = differences(with_confidence_btkc, clip_bt)
        delta_btkc = delta_btkc / MOTION_SCALE
        x = _flat(shape_btkc, delta_btkc, differences(mouth_btkc, clip_bt), confidence_btk1)
        x_btd = jax.nn.silu(self.inner(x.astype(self.dtype)))
        return self.norm(self.outer(dropout(x_btd, self.rate, key)))


def lip_cell(patch: int, channels: tuple[int, ...]) -> int:
    """Counts the pixels a side that end in one cell of the last stage."""
    return patch * 2 ** (len(channels) - 1)


def _patches(x_ihwc, size: int):
    """Moves space to depth: (n, h, w, c) -> (n, h/size, w/size, size*size*c)."""
    n, h, w, c = x_ihwc.shape
    x = x_ihwc.reshape(n, h // size, size, w // size, size, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // size, w // size, size * size * c)


def depthwise_3x3(x_ihwc, kernel_9c):
    """Convolves channel by channel, 3x3, as nine shifted products; zeros beyond the edge.

    kernel_9c (9, c), row by row.
    """
    h, w = x_ihwc.shape[1:3]
    padded = jnp.pad(x_ihwc, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifts = [(i, j) for i in range(3) for j in range(3)]
    return sum(padded[:, i : i + h, j : j + w] * kernel_9c[n] for n, (i, j) in enumerate(shifts))


class ResidualBlock(nnx.Module):
    """Residual block on (n, h, w, c): depthwise 3x3, norm, two pointwise layers.

    The form of Liu et al. (2022), "A ConvNet for the 2020s"; the last layer starts at zero.
    """

    def __init__(self, c: int, rngs: nnx.Rngs):
        self.depthwise = param(rngs, normal_init(1 / 3), (9, c), ("kernel", "channels"))
        self.norm = RMSNorm(c, rngs=rngs, dim="channels")
        self.inner = Linear((c,), (2 * c,), ("channels",), ("mlp",), bias=True, rngs=rngs)
        self.outer = Linear(
            (2 * c,), (c,), ("mlp",), ("channels",), rngs=rngs, init=jax.nn.initializers.zeros
        )

    def __call__(self, x_ihwc):
        y = depthwise_3x3(x_ihwc, self.depthwise[...].astype(x_ihwc.dtype))
        return x_ihwc + self.outer(jax.nn.silu(self.inner(self.norm(y))))


class LipFrontend(nnx.Module):
    """Grey mouth crops to d_model: a 3-D convolution stem, residual stages, one vector.

    The stem sees three frames and patches of `lip_patch` pixels (stride 1 in time);
    each stage halves height and width and ends in a residual block. Blocks at the stem's
    resolution would cost as much as all the rest on a CPU, so there are none.
    """

    def __init__(self, config, rngs: nnx.Rngs):
        self.dtype, self.rate = config.dtype, config.dropout
        channels, self.patch, self.margin = config.channels, config.lip_patch, config.lip_margin
        linear = partial(Linear, bias=True, rngs=rngs)
        self.stem = linear((3 * self.patch**2,), (channels[0],), ("input",), ("channels",))
        pairs = zip(channels, channels[1:], strict=False)
        self.down = nnx.List(
            [linear((4 * inner,), (outer,), ("input",), ("channels",)) for inner, outer in pairs]
        )
        self.blocks = nnx.List([ResidualBlock(c, rngs) for c in channels[1:]])
        side = config.lip_side // lip_cell(self.patch, channels)
        self.out = linear((side**2 * channels[-1],), (config.d_model,), ("input",), ("model",))
        self.norm = RMSNorm(config.d_model, rngs=rngs)

    def __call__(self, x_bfhw, key=None, clip_bf=None):
        """Reads x_bfhw (b, f, size, size), zero mean and about unit variance -> (b, f, d_model)."""
        b, f, *size = x_bfhw.shape
        h, w = (n - 2 * self.margin for n in size)
        x_bfhw = x_bfhw[:, :, self.margin : self.margin + h, self.margin : self.margin + w]
        patch = _patches(x_bfhw.astype(self.dtype).reshape(b * f, h, w, 1), self.patch)
        patch = patch.reshape(b, f, *patch.shape[1:])
        before, after = time_shift(patch, 1, clip_bf), time_shift(patch, -1, clip_bf)
        x = jax.nn.silu(self.stem(jnp.concatenate([before, patch, after], axis=-1)))
        x_ihwc = x.reshape(b * f, *x.shape[2:])
        for down, block in zip(self.down, self.blocks, strict=True):
            x_ihwc = block(down(_patches(x_ihwc, 2)))
        x_bfd = jax.nn.silu(x_ihwc).reshape(b, f, -1)
        return self.norm(self.out(dropout(x_bfd, self.rate, key)))
