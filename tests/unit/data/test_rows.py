"""Rows that hold several clips: every clip is there, and is read as if it were alone."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from signbind_jax import ctc
from signbind_jax.config import load_config
from signbind_jax.configs import lipreading, signing
from signbind_jax.data.augment import AugmentConfig
from signbind_jax.data.batch_plan import FEW_CLIPS, BatchPlan, choose_buckets, evaluation_plan
from signbind_jax.data.clip import Clip, pose_frames
from signbind_jax.data.data_config import DataConfig
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data.lips import lip_frames
from signbind_jax.data.loader import clip_batches
from signbind_jax.data.preprocess import prepare_lips, prepare_pose
from signbind_jax.data.row_plan import ALIGNMENT, READING_ROW, reading_plan
from signbind_jax.data.stream_cache import gather
from signbind_jax.data.training_plan import training_plan
from signbind_jax.data_pipelines.corpus import corpus_of_clips
from signbind_jax.data_pipelines.writing.writer import write_dataset
from signbind_jax.errors import SignBindError
from signbind_jax.sources import open_source
from signbind_jax.stages import make_stage
from signbind_jax.stages.expert import read_batch

KEY = jax.random.key(7)
LENGTHS = np.array([13, 0, 40, 7, 22, 31, 5, 18, 64, 9, 27, 3])


def long_tailed(n: int = 3000) -> np.ndarray:
    seconds = np.random.default_rng(0).lognormal(1.52, 0.84, n)
    return np.ceil(np.clip(seconds, 0.3, 60) * 24).astype(int)


def row_plan(lengths, frames=512, row_frames=1, times=None, **values):
    data = DataConfig(frames_per_batch=frames, row_frames=row_frames, **values)
    return training_plan(lengths, data, seed=3, times=times, rows=True)


def epoch_of(plan, epoch=0):
    first = epoch * plan.steps_per_epoch
    return [plan.step(first + i) for i in range(plan.steps_per_epoch)]


def drawn(steps) -> list[int]:
    ids = np.concatenate([step.ids.ravel() for step in steps])
    return sorted(ids[ids >= 0].tolist())


def test_an_epoch_holds_every_clip_once_and_none_over_another():
    plan = row_plan(LENGTHS)
    for epoch in (0, 1):
        steps = epoch_of(plan, epoch)
        assert drawn(steps) == np.flatnonzero(LENGTHS).tolist()
        for step in steps:
            for ids, starts in zip(step.ids, step.starts, strict=True):
                held = ids >= 0
                assert not held[np.argmin(held) :].any() or held.all()  # none behind a gap
                assert not (starts[held] % ALIGNMENT).any()
                ends = starts[held] + LENGTHS[ids[held]]
                assert (ends <= [*starts[held][1:], plan.row_frames][: len(ends)]).all()
    assert plan.n_clips == 11


def test_epochs_differ_and_a_plan_made_again_is_the_same():
    lengths = long_tailed(300)
    plan, again = row_plan(lengths, 4096), row_plan(lengths, 4096)
    assert plan.digest == again.digest
    assert plan.digest != row_plan(lengths, 4096, row_frames=2048).digest
    first, second = (np.stack([s.ids for s in epoch_of(plan, e)]) for e in (0, 1))
    assert not np.array_equal(first, second)
    assert np.array_equal(again.step(plan.steps_per_epoch).ids, second[0])


def test_long_tailed_lengths_leave_little_padding():
    plan = row_plan(long_tailed(), 32_768)
    assert plan.fill > 0.93
    buckets = training_plan(long_tailed(), DataConfig(frames_per_batch=32_768, n_buckets=8), 3)
    assert len(plan.shapes) == 1 and len(buckets.shapes) == 8
    assert buckets.fill < 0.85
    real = sum((long_tailed()[s.ids] * (s.ids >= 0)).sum() for s in epoch_of(plan))
    n_frames = plan.steps_per_epoch * plan.batch_size * plan.row_frames
    assert plan.fill == pytest.approx(real / n_frames)


def test_rows_are_longer_than_the_longest_clip_only_where_that_wastes_less():
    halves = np.full(200, 36)
    halves[0] = 64  # as long as that, a row holds one of the others
    assert [row_plan(halves, row_frames=n).row_frames for n in (0, 1)] == [72, 64]
    assert row_plan(np.full(200, 32), row_frames=0).row_frames == 32


def test_reading_visits_every_clip_once_in_one_shape():
    for lengths in (LENGTHS, long_tailed(300)):
        plan = reading_plan(lengths, 64, 2048)
        steps = [plan.step(i) for i in range(plan.n_steps)]
        assert drawn(steps) == np.flatnonzero(lengths).tolist()
        ((row_frames, rows),) = plan.shapes
        assert row_frames >= max(64, lengths.max()) and rows <= 2048 // row_frames
        assert len({step.ids.shape for step in steps}) == 1
        for step in steps:
            ends = (step.starts + lengths[step.ids]) * (step.ids >= 0)
            assert ends.max() <= row_frames
    one = reading_plan([30])
    assert one.shapes == ((READING_ROW, 1),)  # a clip alone takes no batch of empty rows


def test_few_clips_are_read_in_few_shapes():
    random = np.random.default_rng(0)
    for _ in range(200):
        n = int(random.integers(1, FEW_CLIPS + 1))
        lengths = random.integers(1, READING_ROW + 1, n)
        plan = reading_plan(lengths)
        steps = [plan.step(i) for i in range(plan.n_steps)]
        assert drawn(steps) == list(range(n))
        ((rows, places),) = {step.ids.shape for step in steps}
        assert steps[0].bucket_length == READING_ROW and places == 4
        assert rows & (rows - 1) == 0 and plan.n_steps == 1
        assert rows < 2 * n


def test_weights_hold_in_filled_rows_too():
    lengths = np.tile([20, 33, 47, 60], 30)
    times = np.repeat([1.0, 0.5, 0.0], 40)
    plan = row_plan(lengths, times=times)
    ids = np.array(drawn(epoch_of(plan, 0) + epoch_of(plan, 1)))
    counts = np.bincount(ids, minlength=120)
    assert counts[:40].tolist() == [2] * 40 and counts[40:80].tolist() == [1] * 40
    assert not counts[80:].any()


def test_processes_share_the_rows_and_rows_that_do_not_divide_are_refused():
    step = row_plan(LENGTHS, batch_multiple=2).step(0)
    parts = [step.for_process(i, 2) for i in range(2)]
    assert np.array_equal(np.concatenate([p.ids for p in parts]), step.ids)
    assert np.array_equal(np.concatenate([p.starts for p in parts]), step.starts)
    with pytest.raises(SignBindError, match="batch_multiple"):
        step.for_process(0, 3)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Clips of LENGTHS pose and lip frames whose values tell them apart."""
    clips = []
    for i, n in enumerate(np.maximum(LENGTHS, 1)):  # clip 1 is never drawn, but has to exist
        pose = np.full((n, 91, 3), i + np.arange(n)[:, None, None] / 64).astype(np.float16)
        crops = np.full((n, 8, 16), 10 * i, np.uint8)
        clips.append(
            Clip(
                f"c{i}",
                "x",
                modalities={"pose": pose_frames(pose, 25.0), "lips": lip_frames(crops, 25.0)},
            )
        )
    out = tmp_path_factory.mktemp("packing") / "d"
    write_dataset(out, corpus_of_clips({"train": clips}, {}), progress=False)
    return open_dataset(out).split("train")


@pytest.mark.parametrize("modality", ["pose", "lips"])
def test_the_loader_puts_every_clip_where_the_plan_says(dataset, modality):
    targets = [[i] * (i % 3) for i in range(len(LENGTHS))]
    plan = row_plan(LENGTHS, 256)
    read = 0
    for batch in clip_batches(dataset, plan, modality, targets, 2, stop_step=plan.steps_per_epoch):
        covered = np.zeros(batch.frames_bt.shape[:2], bool)
        for row, place in zip(*np.nonzero(batch.valid_bg), strict=True):
            i = int(batch.index_bg[row, place])
            n, start = int(batch.length_bg[row, place]), int(batch.start_bg[row, place])
            frames = batch.frames_bt[row, start : start + n]
            assert n == LENGTHS[i]
            if modality == "pose":
                assert np.array_equal(frames, dataset[i].modalities["pose"].data)
            else:
                assert np.abs(frames.astype(int) - 10 * i).max() <= 2  # JPEG
            n_tokens = int(batch.target_length_bg[row, place])
            assert batch.target_bgn[row, place, :n_tokens].tolist() == targets[i]
            covered[row, start : start + n] = True
            read += 1
        assert not batch.frames_bt[~covered].any()
    assert read == plan.n_clips


def one_row(clips, row_frames: int):
    """Clips of one array each, end to end at aligned starts, and as padded rows."""
    starts, start = [], 0
    row = np.zeros((1, row_frames, *clips[0].shape[1:]), clips[0].dtype)
    padded = np.zeros((len(clips), max(map(len, clips)) * 2, *clips[0].shape[1:]), clips[0].dtype)
    for i, clip in enumerate(clips):
        row[0, start : start + len(clip)] = clip
        padded[i, : len(clip)] = clip
        starts.append(start)
        start += -(-len(clip) // ALIGNMENT) * ALIGNMENT
    lengths = np.array([len(clip) for clip in clips], np.int32)
    return row, np.array([starts], np.int32), padded, lengths


def some_clips(kind: str):
    random = np.random.default_rng(5)
    if kind == "lips":
        return [random.integers(0, 256, (n, 12, 16)).astype(np.uint8) for n in (17, 24, 5)]
    poses = [random.normal(size=(n, 91, 3)).astype(np.float16) for n in (17, 24, 5)]
    for pose in poses:
        pose[..., 2] = np.abs(pose[..., 2])
    return poses


PREPARE = {"pose": prepare_pose, "lips": prepare_lips}


@pytest.mark.parametrize("kind", ["pose", "lips"])
@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "augmented"])
def test_a_clip_is_prepared_in_a_row_as_it_is_alone(kind, key):
    config = AugmentConfig(mirror=0.5, hand_drop=0.5, speed=0.3)
    row, start, padded, lengths = one_row(some_clips(kind), 96)  # room for slower clips
    index = np.array([4, 11, 2], np.int32)
    prepare = jax.jit(functools.partial(PREPARE[kind], config=config))
    alone, own = prepare(padded, 0 * lengths[:, None], lengths[:, None], index[:, None], key)
    mask = np.asarray(own) == 0
    x, clip = prepare(row, start, lengths[None], index[None], key)
    clip = np.asarray(clip[0])
    for i in range(len(lengths)):
        places = np.flatnonzero(clip == i)
        assert places[0] % ALIGNMENT == 0 and (np.diff(places) == 1).all()
        assert len(places) == mask[i].sum()
        np.testing.assert_allclose(x[0, places], alone[i, : len(places)], atol=2e-5)
    assert not np.asarray(x[0, clip < 0]).any()


def test_slower_clips_that_outgrow_a_full_row_keep_all_their_frames():
    clips = [
        np.arange(n, dtype=np.float16)[:, None, None] + np.ones((1, 91, 3), np.float16)
        for n in (16, 32, 12)
    ]
    row, start, _, lengths = one_row(clips, 60)
    config = AugmentConfig(
        speed=0.9,
        time_masks=0,
        rotation=0,
        scale=0,
        shear=0,
        translation=0,
        keypoint_noise=0,
        hand_drop=0,
    )
    prepare = jax.jit(functools.partial(prepare_pose, config=config))
    slowest = 0
    for seed in range(20):
        index = np.arange(3, dtype=np.int32)[None]
        x, clip = prepare(row, start, lengths[None], index, jax.random.key(seed))
        for i, n in enumerate(lengths):
            first_point = np.asarray(x[0, np.asarray(clip[0]) == i, 0, 0])
            assert len(first_point) and first_point[0] == 1.0
            if len(first_point) > 1:
                assert first_point[-1] == n  # its last frame is its last frame
            slowest = max(slowest, len(first_point) / n)
    assert slowest > 1.2  # room that one clip leaves is another's


def test_ctc_of_a_row_is_that_of_its_clips():
    random = np.random.default_rng(2)
    logits = random.normal(size=(2, 30, 6)).astype(np.float32)
    # Steps of none between and inside; the third clip of row 0 is too short; row 1 holds one.
    clip = np.full((2, 30), -1)
    clip[0, 0:9], clip[0, 10:21], clip[0, 22:24], clip[0, 15] = 0, 1, 2, -1
    clip[1, 4:28] = 0
    targets = np.array([[[1, 2, 2], [3, 0, 0], [4, 4, 5]], [[5, 1, 0], [0, 0, 0], [0, 0, 0]]])
    lengths = np.array([[3, 1, 3], [2, 0, 0]])

    def packed(logits):
        loss, feasible = ctc.ctc_loss(jax.nn.log_softmax(logits), clip, targets, lengths)
        return loss.sum(), (loss, feasible)

    def alone(logits):
        loss = {}
        for row, place in ((0, 0), (0, 1), (0, 2), (1, 0)):
            one = ctc.ctc_loss(
                jax.nn.log_softmax(logits[row : row + 1]),
                np.where(clip[row : row + 1] == place, 0, -1),
                targets[row : row + 1, place, None],
                lengths[row : row + 1, place, None],
            )
            loss[row, place] = one[0][0, 0], one[1][0, 0]
        return sum(value for value, _ in loss.values()), loss

    gradient, (loss, feasible) = jax.jit(jax.grad(packed, has_aux=True))(logits)
    wanted, one_by_one = jax.jit(jax.grad(alone, has_aux=True))(logits)
    for place, (value, possible) in one_by_one.items():
        assert feasible[place] == possible
        np.testing.assert_allclose(loss[place], value, rtol=1e-5)
    assert feasible.tolist() == [[True, True, False], [True, False, False]]
    np.testing.assert_allclose(gradient, wanted, atol=1e-5)
    assert np.abs(gradient).max() > 0.1


@pytest.mark.parametrize(
    "module, frontend",
    [
        (signing, "pose"),
        (lipreading, "lips"),
        (lipreading, "mouth_landmarks"),
    ],
)
def test_a_stage_has_the_same_loss_in_filled_rows(module, frontend, synthetic):
    """Summed over an epoch of every clip, without what is drawn a batch."""
    name = module.__name__.rpartition(".")[2]
    overrides = {
        "data.directory": str(synthetic),
        "data.train": "validation",
        "data.row_frames": "256",
        "model.dropout": "0.0",
        "model.frontend": frontend,
        "model.subsample": "4" if name == "signing" else "2",
    }
    source = open_source(load_config(f"{name}:size=tiny", overrides))
    stage = make_stage(source.config, source.shapes)
    stage.augment = AugmentConfig(**{f.name: 0 for f in dataclasses.fields(AugmentConfig)})
    graphdef, params = nnx.split(stage.make_model(nnx.Rngs(params=0)))

    @jax.jit
    def loss(params, batch):
        total, weight, metrics = stage.loss(nnx.merge(graphdef, params), batch, KEY)
        return jnp.stack([total, weight, metrics["infeasible"]])

    def epoch():
        batches = source.batches(0, source.plan.steps_per_epoch)
        return sum(np.asarray(loss(params, batch)) for batch in batches)

    in_filled_rows = epoch()
    assert source.plan.clips_per_row > 1
    lengths = source.plan.lengths
    source.plan = BatchPlan(lengths, choose_buckets(lengths, 1), 1024)
    one_a_row = epoch()
    assert in_filled_rows[1] == one_a_row[1] > 0 and in_filled_rows[2] == one_a_row[2]
    np.testing.assert_allclose(in_filled_rows[0], one_a_row[0], rtol=2e-5)


def test_streams_read_in_filled_rows_are_those_read_one_clip_a_row(synthetic):
    overrides = {
        "data.directory": str(synthetic),
        "data.train": "validation",
        "model.frontend": "mouth_landmarks",
    }
    source = open_source(load_config("lipreading:size=tiny", overrides))
    stage = make_stage(source.config, source.shapes)
    graphdef, params = nnx.split(stage.make_model(nnx.Rngs(params=0)))
    clips, lengths = source.dataset.split("validation"), source.plan.lengths

    def read(plan):
        batches = clip_batches(clips, plan, "mouth_landmarks", [()] * len(clips), 1)
        read = ((b.index_bg, jax.device_get(read_batch(graphdef, params, b))) for b in batches)
        return gather(len(clips), stage.model_config.d_model, read)

    alone = read(evaluation_plan(lengths, choose_buckets(lengths, 1), 1024))
    in_rows = read(reading_plan(lengths))
    assert np.diff(alone.first).max() > 5
    for name in ("first", "ids"):
        np.testing.assert_array_equal(getattr(in_rows, name), getattr(alone, name))
    for name in ("hidden", "start", "end", "confidence"):
        np.testing.assert_allclose(getattr(in_rows, name), getattr(alone, name), atol=2e-3)
