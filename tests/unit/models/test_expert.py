"""Experts: what may and what may not influence an output, and that they learn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from signbind_jax import keypoints
from signbind_jax.ctc import ctc_loss, greedy_stream
from signbind_jax.errors import SignBindError
from signbind_jax.models.expert import Expert, ExpertConfig
from signbind_jax.models.frontends import wrist_centred

TINY = {
    "n_tokens": 5,
    "d_model": 16,
    "n_layers": 1,
    "n_heads": 2,
    "d_mlp": 24,
    "d_part": 8,
    "lip_size": 16,
    "channels": (4, 8),
    "conv_kernel": 5,
}
FRONTENDS = ("pose", "lips", "mouth_landmarks", "hand_shape")


def make(frontend: str, **changes) -> Expert:
    """An expert with random parameters, drawn by numpy: compiling the real init takes long."""
    config = ExpertConfig(frontend, **(TINY | changes))
    graphdef, state = nnx.split(nnx.eval_shape(lambda: Expert(config, nnx.Rngs(0))))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        centre = 1.0 if any("scale" in str(part) for part in path) else 0.0
        return jnp.asarray(centre + 0.3 * rng.standard_normal(leaf.shape), leaf.dtype)

    return nnx.merge(graphdef, jax.tree_util.tree_map_with_path(draw, state))


def clips(frontend: str, b: int, t: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    if frontend == "lips":
        return rng.standard_normal((b, t, 16, 16), np.float32)
    x = rng.standard_normal((b, t, keypoints.K, 3)).astype(np.float32)
    x[..., 2] = rng.uniform(0.3, 1.0, x.shape[:3])
    x[rng.uniform(size=x.shape[:3]) < 0.2] = 0.0  # missing points
    return x


@functools.partial(jax.jit, static_argnums=0)
def run(graphdef, state, x, mask_bt, key=None):
    return nnx.merge(graphdef, state)(x, one_clip(mask_bt), key)


def one_clip(mask_bt):
    """Rows that hold one clip each."""
    return jnp.where(mask_bt, 0, -1)


def read(expert: Expert, x, mask_bt, key=None):
    return run(*nnx.split(expert), x, mask_bt, key)


@pytest.mark.parametrize("frontend", FRONTENDS)
def test_neither_padding_nor_the_rest_of_the_batch_reaches_a_clip(frontend):
    expert = make(frontend, subsample=4, n_layers=2)
    x, n_frames = clips(frontend, 3, 24), np.array([13, 24, 7])
    mask = np.arange(24) < n_frames[:, None]
    x[~mask] = np.nan  # whatever lies in the padding
    batch = read(expert, x, mask)
    assert np.isfinite(batch.log_probs_bsv).all()
    alone = read(expert, x[:1, :13], np.ones((1, 13), bool))
    assert (batch.clip_bs == 0).sum(axis=1).tolist() == [4, 6, 2]
    np.testing.assert_allclose(batch.log_probs_bsv[0, :4], alone.log_probs_bsv[0], atol=2e-5)
    np.testing.assert_allclose(batch.hidden_bsd[0, :4], alone.hidden_bsd[0], atol=2e-4)
    assert not np.asarray(batch.hidden_bsd)[np.asarray(batch.clip_bs) < 0].any()


def test_every_subsampling_gives_the_promised_steps_and_seconds():
    for subsample in (1, 4):
        expert = make("mouth_landmarks", subsample=subsample)
        mask = np.arange(11) < np.array([[11], [4], [0]])
        output = read(expert, clips("mouth_landmarks", 3, 11), mask)
        steps = expert.config.n_steps(np.array([11, 4, 0]))
        assert (output.clip_bs == 0).sum(axis=1).tolist() == steps.tolist()
        assert output.clip_bs.shape == output.log_probs_bsv.shape[:2] == (3, steps[0])
        assert output.hidden_bsd.shape[:2] == (3, steps[0])
        np.testing.assert_allclose(np.exp(output.log_probs_bsv).sum(-1), 1.0, rtol=1e-5)
        assert expert.seconds_per_step(25.0) == pytest.approx(subsample / 25)


def test_hand_shape_ignores_place_and_size_and_survives_a_missing_hand():
    hand = clips("pose", 1, 2)[:, :, keypoints.RIGHT_HAND_SLICE]
    hand[:, 0, 0, 2] = 0.9  # the wrist is seen in the first frame only
    hand[:, 1] = 0.0
    moved = hand.copy()
    moved[..., :2] = np.where(hand[..., 2:] > 0, 3.0 * hand[..., :2] + [0.7, -0.4], 0.0)
    shape = wrist_centred(jnp.asarray(hand))
    assert np.abs(shape[0, 0]).max() > 0.1
    assert not np.asarray(shape[0, 1]).any()
    np.testing.assert_allclose(wrist_centred(jnp.asarray(moved)), shape, atol=1e-4)


def test_a_mirrored_left_hand_is_read_like_a_right_hand():
    expert = make("pose", parts=("left_hand", "right_hand"))
    frontend = expert.frontend
    e = TINY["d_part"]
    kernel = frontend.fuse.kernel[...]
    frontend.fuse.kernel[...] = kernel.at[:e].set(kernel[e:])  # both sides weigh the same
    right, left = (np.zeros((1, 6, keypoints.K, 3), np.float32) for _ in range(2))
    hand = clips("pose", 1, 6)[:, :, keypoints.RIGHT_HAND_SLICE]
    right[:, :, keypoints.RIGHT_HAND_SLICE] = hand
    left[:, :, keypoints.LEFT_HAND_SLICE] = hand * [-1, 1, 1]
    one_sided = frontend(jnp.asarray(right)) - frontend(jnp.asarray(left))
    assert np.abs(one_sided).max() > 1e-4  # the side embedding tells them apart
    frontend.side[...] = jnp.zeros_like(frontend.side[...])
    np.testing.assert_allclose(frontend(jnp.asarray(right)), frontend(jnp.asarray(left)), atol=1e-5)


def test_parts_left_out_are_not_read():
    expert = make("pose", parts=("body", "left_hand", "right_hand"))
    x, mask = clips("pose", 1, 8), np.ones((1, 8), bool)
    changed = x.copy()
    changed[:, :, keypoints.FACE_SLICE.start : keypoints.MOUTH_SLICE.stop] = 5.0
    before = read(expert, x, mask).log_probs_bsv
    np.testing.assert_array_equal(before, read(expert, changed, mask).log_probs_bsv)
    changed[:, :, keypoints.RIGHT_HAND_SLICE, 0] += 0.5
    assert np.abs(before - read(expert, changed, mask).log_probs_bsv).max() > 1e-4


def test_mouth_landmarks_come_from_the_whole_layout_or_alone():
    expert = make("mouth_landmarks")
    x, mask = clips("mouth_landmarks", 1, 8), np.ones((1, 8), bool)
    whole = read(expert, x, mask).log_probs_bsv
    alone = read(expert, x[:, :, keypoints.MOUTH_SLICE], mask).log_probs_bsv
    np.testing.assert_allclose(whole, alone, atol=1e-6)


def test_a_hand_reads_alike_wherever_it_is_however_large_and_whichever_it_is():
    expert = make("hand_shape")
    hand = np.abs(clips("pose", 1, 8)[:, :1, keypoints.RIGHT_HAND_SLICE]) + (0.1, 0.1, 0)
    mask = np.ones((1, 8), bool)

    def of(side, hand_btkc, body=None):
        x = np.zeros((1, 8, keypoints.K, 3), np.float32) if body is None else body.copy()
        x[:, :, side] = hand_btkc
        return np.asarray(read(expert, x, mask).log_probs_bsv)

    alone = of(keypoints.RIGHT_HAND_SLICE, hand)
    moved = hand * (3, 3, 1) + (2, -1, 0)
    mirrored = hand * (-1, 1, 1)
    body = clips("pose", 1, 8)
    body[:, :, keypoints.LEFT_HAND_SLICE] = 0
    for other in (
        of(keypoints.RIGHT_HAND_SLICE, moved),
        of(keypoints.LEFT_HAND_SLICE, mirrored),
        of(keypoints.RIGHT_HAND_SLICE, hand, body),
    ):
        np.testing.assert_allclose(alone, other, atol=1e-4)
    assert np.abs(of(keypoints.RIGHT_HAND_SLICE, mirrored) - alone).max() > 1e-2


@pytest.mark.parametrize("frontend", FRONTENDS)
def test_gradients_are_finite_and_reach_every_parameter(frontend):
    expert = make(frontend, dropout=0.2)
    graphdef, state = nnx.split(expert)
    x, mask = clips(frontend, 2, 12), np.arange(12) < np.array([[12], [9]])
    x[1, :4] = 0.0  # nothing seen at first
    target, length = np.array([[1, 2, 3], [4, 4, 1]]), np.array([3, 2])

    def loss(state, remat):
        model = nnx.merge(graphdef, state)
        model.encoder.remat = remat
        output = model(x, one_clip(mask), jax.random.key(1))
        return ctc_loss(output.log_probs_bsv, output.clip_bs, target[:, None], length[:, None])[
            0
        ].sum()

    step = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    value, gradient = step(state, False)
    for path, leaf in nnx.to_flat_state(gradient):
        assert np.isfinite(leaf[...]).all() and np.abs(leaf[...]).max() > 0, path
    if frontend == "mouth_landmarks":
        value_remat, gradient_remat = step(state, True)
        np.testing.assert_allclose(value, value_remat, rtol=1e-6)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), gradient, gradient_remat
        )


def test_every_parameter_names_its_dimensions():
    for frontend in FRONTENDS:
        for path, variable in nnx.to_flat_state(nnx.state(make(frontend))):
            assert len(variable.dims) == variable[...].ndim, path
            assert (variable.dims[0] == "layers") == ("blocks" in path and "encoder" in path), path


def test_dropout_needs_a_key_and_follows_it():
    expert = make("mouth_landmarks", dropout=0.5)
    x, mask = clips("mouth_landmarks", 1, 8), np.ones((1, 8), bool)
    one, again, other, off = (
        np.asarray(read(expert, x, mask, key).log_probs_bsv)
        for key in (jax.random.key(1), jax.random.key(1), jax.random.key(2), None)
    )
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3 and np.abs(one - off).max() > 1e-3


def test_bfloat16_computation_keeps_float32_posteriors():
    x, mask = clips("pose", 1, 8), np.ones((1, 8), bool)
    full = read(make("pose"), x, mask)
    half = read(make("pose", dtype="bfloat16"), x, mask)
    assert half.hidden_bsd.dtype == jnp.bfloat16 and half.log_probs_bsv.dtype == jnp.float32
    np.testing.assert_allclose(np.exp(half.log_probs_bsv), np.exp(full.log_probs_bsv), atol=0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frontend": "video"}, "frontend: found 'video', wanted one of 'pose', 'lips'"),
        ({"subsample": 3}, "subsample: found 3, wanted a whole number, 1, 2 or 4"),
        ({"d_model": 20, "n_heads": 4}, "n_heads: found 4, wanted"),
        ({"conv_kernel": 8}, "conv_kernel: found 8, wanted .*, odd"),
        ({"parts": ("body", "feet")}, "parts: found .*feet.*, wanted a list.* each one of 'body'"),
        ({"frontend": "lips", "lip_size": 30}, "lip_size: found 30, wanted a multiple of 8"),
        ({"lip_size": 32, "lip_margin": 16}, "lip_size: found 32, .* of 8 behind the margins"),
    ],
)
def test_an_impossible_config_is_told_in_one_line(changes, message):
    with pytest.raises(SignBindError, match=message) as error:
        ExpertConfig(**(TINY | {"frontend": "pose"} | changes))
    assert "\n" not in str(error.value)


def test_the_margins_of_a_mouth_crop_are_not_looked_at():
    expert, mask = make("lips", lip_size=24, lip_margin=4), np.ones((1, 8), bool)
    x = np.random.default_rng(0).standard_normal((1, 8, 24, 24), np.float32)
    elsewhere = np.full_like(x, 9.0)
    elsewhere[:, :, 4:-4, 4:-4] = x[:, :, 4:-4, 4:-4]
    read_of = [read(expert, crops, mask).log_probs_bsv for crops in (x, elsewhere)]
    np.testing.assert_array_equal(*read_of)
    elsewhere[:, :, 4, 4] += 1.0
    assert not np.array_equal(read_of[0], read(expert, elsewhere, mask).log_probs_bsv)


def test_an_expert_learns_to_spell_hand_shapes_it_is_shown():
    """Four hand shapes in sequences, one of them with a doubled letter."""
    shapes = np.random.default_rng(1).standard_normal((5, 21, 2)).astype(np.float32)
    spelled = [[1, 2, 3], [4, 4, 2], [3, 1], [2, 4, 1, 3]]
    x = np.zeros((4, 32, keypoints.K, 3), np.float32)
    for row, letters in zip(x, spelled, strict=True):
        for i, letter in enumerate(letters):
            hand = row[8 * i : 8 * i + 6, keypoints.RIGHT_HAND_SLICE]
            hand[..., :2], hand[..., 2] = shapes[letter], 1.0
    target = np.array([s + [0] * (4 - len(s)) for s in spelled])
    length = np.array([len(s) for s in spelled])
    mask = np.arange(32) < 8 * length[:, None]
    config = ExpertConfig("pose", **(TINY | {"parts": ("right_hand",), "d_model": 32}))
    graphdef, state = nnx.split(Expert(config, nnx.Rngs(0)))
    optimiser = optax.adam(1e-2)

    @jax.jit
    def train(state, moments):
        def loss(state):
            output = nnx.merge(graphdef, state)(x, one_clip(mask))
            return ctc_loss(output.log_probs_bsv, output.clip_bs, target[:, None], length[:, None])[
                0
            ].mean()

        def step(carry, _):
            state, moments = carry
            updates, moments = optimiser.update(jax.grad(loss)(state), moments, state)
            return (optax.apply_updates(state, updates), moments), None

        return jax.lax.scan(step, (state, moments), length=60)[0][0]

    state = train(state, optimiser.init(state))
    output = run(graphdef, state, x, mask)
    stream = greedy_stream(
        output.log_probs_bsv, output.hidden_bsd, output.clip_bs, np.full((4, 1), 2 / 25)
    )
    assert [[i for i in ids if i] for ids in stream.ids_bn.tolist()] == spelled
