"""CTC against enumeration of every path, its impossible samples, and its decoders."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from signbind_jax import ctc
from signbind_jax.ctc import min_steps


@jax.jit
def ctc_loss(log_probs_bsv, mask_bs, target_bn, target_length_b):
    """Of rows that hold one clip each."""
    clip_bs = jnp.where(mask_bs, 0, -1)
    loss_bg, feasible_bg = ctc.ctc_loss(
        log_probs_bsv, clip_bs, target_bn[:, None], target_length_b[:, None]
    )
    return loss_bg[:, 0], feasible_bg[:, 0]


@functools.partial(jax.jit, static_argnums=4)
def greedy_stream(log_probs_bsv, hidden_bsd, mask_bs, seconds_b, unread_s=0.0):
    """Of rows that hold one clip each."""
    clip_bs = jnp.where(mask_bs, 0, -1)
    seconds_bg = seconds_b[:, None]
    return ctc.greedy_stream(log_probs_bsv, hidden_bsd, clip_bs, seconds_bg, unread_s)


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def random_logits(seed: int, b: int, s: int, v: int):
    return 2.0 * np.random.default_rng(seed).standard_normal((b, s, v), np.float32)


def random_log_probs(seed: int, b: int, s: int, v: int):
    return log_softmax(random_logits(seed, b, s, v))


def collapse(path) -> tuple[int, ...]:
    return tuple(k for k, _ in itertools.groupby(path) if k != 0)


def probability_of_every_sequence(log_probs_sv) -> dict[tuple[int, ...], float]:
    """Sums all v**s paths: what CTC means, in its slowest form."""
    s, v = log_probs_sv.shape
    total: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(v), repeat=s):
        p = math.exp(sum(float(log_probs_sv[i, token]) for i, token in enumerate(path)))
        total[collapse(path)] = total.get(collapse(path), 0.0) + p
    return total


def padded(targets, n: int, fill: int = 1):
    """Targets as an array; `fill` beyond their ends must not matter."""
    rows = [list(t) + [fill] * (n - len(t)) for t in targets]
    return np.array(rows, np.int32), np.array([len(t) for t in targets])


def test_loss_is_the_sum_over_all_alignments():
    targets = [(1,), (2, 1), (1, 1), (1, 2, 1), (), (2, 2)]
    log_probs = random_log_probs(0, len(targets), 5, 3)
    target_bn, length_b = padded(targets, 4)
    loss_b, feasible_b = ctc_loss(log_probs, np.ones((len(targets), 5), bool), target_bn, length_b)
    wanted = [
        -math.log(probability_of_every_sequence(lp)[t])
        for lp, t in zip(log_probs, targets, strict=True)
    ]
    np.testing.assert_allclose(loss_b, wanted, rtol=1e-5)
    assert feasible_b.all()


@pytest.mark.parametrize("target", [(1, 1), (2, 1), ()])
def test_masked_steps_are_as_if_absent(target):
    log_probs = random_log_probs(1, 1, 7, 3)
    kept = [1, 2, 4, 5]
    mask = np.isin(np.arange(7), kept)[None]
    target_bn, length_b = padded([target], 3)
    loss_b, _ = ctc_loss(log_probs, mask, target_bn, length_b)
    wanted = probability_of_every_sequence(log_probs[0, kept])[target]
    np.testing.assert_allclose(loss_b[0], -math.log(wanted), rtol=1e-5)


def test_loss_and_gradient_agree_with_optax_on_long_samples():
    logits = random_logits(2, 4, 40, 12)
    length_b = np.array([9, 5, 1, 0])
    mask = np.arange(40) < np.array([40, 31, 7, 12])[:, None]
    target_bn = np.random.default_rng(3).integers(1, 4, (4, 9))  # many repeats
    weight_b = np.array([1.0, -2.0, 0.5, 3.0])

    @jax.jit
    @jax.grad
    def difference(logits):
        ours, _ = ctc_loss(jax.nn.log_softmax(logits), mask, target_bn, length_b)
        beyond = (np.arange(9) >= length_b[:, None]).astype(np.float32)
        return ((ours - optax.ctc_loss(logits, 1.0 - mask, target_bn, beyond)) * weight_b).sum()

    ours, _ = ctc_loss(log_softmax(logits), mask, target_bn, length_b)
    beyond = (np.arange(9) >= length_b[:, None]).astype(np.float32)
    theirs = jax.jit(optax.ctc_loss)(logits, 1.0 - mask, target_bn, beyond)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(difference(logits), 0.0, atol=1e-4)


def test_impossible_samples_give_no_loss_no_gradient_and_harm_nobody():
    # Too many tokens; a doubled letter without room for its blank; no step at all; possible.
    targets = [(1, 2, 1, 2), (1, 1, 1), (), (1, 2)]
    steps = [3, 4, 0, 3]
    target_bn, length_b = padded(targets, 4)
    mask = np.arange(5) < np.array(steps)[:, None]

    @jax.jit
    def loss(logits):
        loss_b, feasible_b = ctc_loss(jax.nn.log_softmax(logits), mask, target_bn, length_b)
        return loss_b.sum(), (loss_b, feasible_b)

    logits = random_logits(4, 4, 5, 3)
    gradient, (loss_b, feasible_b) = jax.jit(jax.grad(loss, has_aux=True))(logits)
    gradient = np.asarray(gradient)
    assert feasible_b.tolist() == [False, False, False, True]
    assert loss_b[:3].tolist() == [0.0, 0.0, 0.0]
    assert np.isfinite(gradient).all()
    assert not gradient[:3].any()
    assert np.abs(gradient[3, :3]).max() > 0 and not gradient[3, 3:].any()
    alone, _ = ctc_loss(log_softmax(logits[3:]), mask[3:], target_bn[3:], length_b[3:])
    np.testing.assert_allclose(loss_b[3], alone[0], rtol=1e-6)


def test_counting_on_the_host_agrees_with_the_loss():
    targets = [t for n in range(4) for t in itertools.product((1, 2), repeat=n)]
    target_bn, length_b = padded(targets, 3)
    log_probs = random_log_probs(5, len(targets), 5, 3)
    for s in range(1, 6):
        mask = np.broadcast_to(np.arange(5) < s, (len(targets), 5))
        feasible_b = np.asarray(ctc_loss(log_probs, mask, target_bn, length_b)[1])
        assert [min_steps(t) <= s for t in targets] == feasible_b.tolist()


def test_gradient_stays_finite_when_the_model_is_certain_and_wrong():
    logits = np.array([[[0.0, 0.0, 1e4]] * 6], np.float32)
    target_bn, length_b = padded([(1, 1)], 2)

    @jax.jit
    @jax.value_and_grad
    def loss(logits):
        return ctc_loss(jax.nn.log_softmax(logits), np.ones((1, 6), bool), target_bn, length_b)[
            0
        ].sum()

    value, gradient = loss(logits)
    assert jnp.isfinite(value) and jnp.isfinite(gradient).all()
    assert gradient[0, :, 1].min() < 0  # descent raises the wanted token


def posteriors(path, v: int, certain: float = 0.9):
    p = np.full((len(path), v), (1.0 - certain) / (v - 1))
    p[np.arange(len(path)), path] = certain
    return np.log(p)


def test_greedy_stream_places_tokens_in_time():
    paths = [0, 2, 2, 0, 2, 3, 3, 3], [1, 1, 1, 1, 1, 1, 0, 3]
    log_probs = np.stack([posteriors(p, 4) for p in paths])
    log_probs[0, 2] = posteriors([2], 4, 0.5)
    hidden = np.arange(8.0)[None, :, None] * np.ones((2, 8, 2))
    mask = np.arange(8) < np.array([8, 5])[:, None]
    stream = greedy_stream(log_probs, hidden, mask, np.array([0.1, 0.04]))
    assert stream.mask_bn.tolist() == [[True] * 3 + [False] * 5, [True] + [False] * 7]
    unused = ~np.asarray(stream.mask_bn)
    assert not any(np.asarray(x)[unused].any() for k, x in vars(stream).items() if k != "clip_bn")
    stream = jax.tree.map(lambda x: x[:, :4], stream)
    assert stream.ids_bn.tolist() == [[2, 2, 3, 0], [1, 0, 0, 0]]
    np.testing.assert_allclose(stream.start_bn, [[0.1, 0.4, 0.5, 0], [0, 0, 0, 0]], atol=0.02)
    np.testing.assert_allclose(stream.end_bn, [[0.3, 0.5, 0.8, 0], [0.2, 0, 0, 0]], atol=0.02)
    np.testing.assert_allclose(
        stream.confidence_bn, [[0.7, 0.9, 0.9, 0], [0.9, 0, 0, 0]], atol=1e-5
    )
    weighted = (0.9 * 1 + 0.5 * 2) / 1.4
    np.testing.assert_allclose(
        stream.hidden_bnd[:, :, 0], [[weighted, 4, 6, 0], [2, 0, 0, 0]], atol=1e-5
    )


def test_runs_of_blanks_become_tokens_where_they_are_asked_for():
    path = [0] * 6 + [2, 0, 2] + [0] * 4 + [1]  # one blank alone is no run
    hidden = np.arange(14.0)[None, :, None] * np.ones((1, 14, 2))
    mask = np.arange(14)[None] < 13  # the 1 is no step of the clip
    stream = greedy_stream(posteriors(path, 4)[None], hidden, mask, np.array([0.1]), 0.3)
    kept = np.flatnonzero(stream.mask_bn[0])
    assert stream.ids_bn[0, kept].tolist() == [4, 4, 2, 2, 4] and (kept == np.arange(5)).all()
    np.testing.assert_allclose(stream.start_bn[0, kept], [0, 0.3, 0.6, 0.8, 0.9], atol=0.02)
    np.testing.assert_allclose(stream.end_bn[0, kept], [0.3, 0.6, 0.7, 0.9, 1.3], atol=0.02)
    np.testing.assert_allclose(stream.hidden_bnd[0, kept, 0], [1, 4, 6, 8, 10.5], atol=1e-5)
    np.testing.assert_allclose(stream.confidence_bn[0, kept], [0.1, 0.1, 0.9, 0.9, 0.1], atol=1e-5)


@pytest.mark.parametrize("unread_s", [0.0, 0.15])
def test_clips_of_a_row_are_read_as_if_each_were_alone(unread_s):
    random = np.random.default_rng(4)
    lengths, starts, seconds = [9, 5, 12], [0, 10, 16], [0.1, 0.04, 0.2]
    log_probs, hidden = random_log_probs(6, 1, 30, 4), random.normal(size=(1, 30, 3))
    log_probs[0, 8] = log_probs[0, 10] = posteriors([2], 4)  # across clips a repeat is none
    clip = np.full((1, 30), -1)
    for g, (n, start) in enumerate(zip(lengths, starts, strict=True)):
        clip[0, start : start + n] = g
    read = jax.jit(ctc.greedy_stream, static_argnums=4)
    row = read(log_probs, hidden, clip, np.array([seconds]), unread_s)
    for g, (n, start) in enumerate(zip(lengths, starts, strict=True)):
        part = slice(start, start + n)
        given = log_probs[:, part], hidden[:, part], np.ones((1, n), bool), np.array([seconds[g]])
        alone = greedy_stream(*given, unread_s)
        own, kept = np.asarray(row.clip_bn[0]) == g, np.asarray(alone.mask_bn[0])
        assert kept.any()
        for name in ("ids_bn", "hidden_bnd", "start_bn", "end_bn", "confidence_bn"):
            x, y = (np.asarray(getattr(stream, name))[0] for stream in (row, alone))
            np.testing.assert_allclose(x[own], y[kept], atol=1e-6)


def test_greedy_stream_times_are_finer_than_a_step():
    p = np.full((1, 5, 3), 0.01)
    p[0, 2, 1] = p[0, [0, 4], 0] = 0.98
    p[0, [1, 3], 0] = 0.59, 0.98
    p[0, 1, 1] = 0.40  # the token is on its way a step before it wins
    stream = greedy_stream(np.log(p), np.ones((1, 5, 2)), np.ones((1, 5), bool), np.ones(1))
    assert stream.ids_bn.tolist() == [[1, 0, 0, 0, 0]]
    before, own, after = ((x / (1 - x)) ** 0.3 for x in (0.40, 0.98, 0.01))
    middle = (before * 1.5 + own * 2.5 + after * 3.5) / (before + own + after)
    np.testing.assert_allclose(stream.start_bn[0, 0], middle - 0.5, rtol=1e-5)
    np.testing.assert_allclose(stream.end_bn[0, 0], middle + 0.5, rtol=1e-5)


def test_tokens_stand_in_order_of_their_starts():
    """Also where a long one, surest in its first step, follows a short one; files of streams are
    refused otherwise."""
    path = [0, 0, 0, 1] + [2] * 6
    log_probs = np.stack([posteriors([token], 3, 0.4)[0] for token in path])
    log_probs[:4] = posteriors(path[:4], 3)
    log_probs[4] = posteriors([2], 3, 1 - 1e-6)
    rows = np.float32([[*log_probs, *log_probs]])  # two clips of a row
    clip = np.repeat([0, 1], 10)[None]
    stream = ctc.greedy_stream(rows, np.ones((1, 20, 2), np.float32), clip, np.ones((1, 2)))
    kept = np.asarray(stream.mask_bn[0])
    start, end = (np.asarray(x[0])[kept].reshape(2, 2) for x in (stream.start_bn, stream.end_bn))
    assert (start[:, 0] <= start[:, 1]).all() and (start < end).all()
    np.testing.assert_allclose(start[0], start[1])


def test_greedy_stream_of_an_absent_clip_is_empty():
    stream = greedy_stream(
        random_log_probs(6, 2, 5, 3), np.ones((2, 5, 2)), np.zeros((2, 5), bool), np.ones(2)
    )
    assert (stream.clip_bn == -1).all() and not stream.mask_bn.any()
    rest = {name: x for name, x in vars(stream).items() if name != "clip_bn"}
    assert not any(np.asarray(x).any() for x in rest.values())
