"""The loader: right clips in right rows, the same stream however it is read."""

import dataclasses
import itertools

import numpy as np
import pytest

from signbind_jax.data.batch_plan import BatchPlan, choose_buckets, evaluation_plan
from signbind_jax.data.clip import Clip, pose_frames
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data.lips import lip_frames
from signbind_jax.data.loader import clip_batches
from signbind_jax.data_pipelines.corpus import corpus_of_clips
from signbind_jax.data_pipelines.writing.writer import write_dataset
from signbind_jax.errors import SignBindError

N = 23
TARGETS = [[i + 1] * (i % 4) for i in range(N)]


def make_clip(i):
    """Clip 5 has no lips, clip 6 no pose."""
    chance = np.random.default_rng(i)
    n = 5 + 3 * i
    modalities = {}
    if i != 6:
        pose = chance.normal(size=(n, 91, 3)).astype(np.float16)
        modalities["pose"] = pose_frames(pose, 25.0 + i)
    if i != 5:
        modalities["lips"] = lip_frames(np.full((n - 1, 8, 12), 10 * i, np.uint8), 30.0)
    return Clip(id=f"c{i}", text="x", modalities=modalities)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "d"
    corpus = corpus_of_clips({"train": map(make_clip, range(N))}, {})
    write_dataset(out, corpus, clips_per_shard=10, progress=False)
    return open_dataset(out).split("train")


@pytest.fixture(scope="module")
def plan(dataset):
    lengths = np.maximum(dataset.lengths("pose"), dataset.lengths("lips"))
    return BatchPlan(lengths, choose_buckets(lengths, 3), 160, batch_multiple=2, seed=1)


def read(dataset, plan, frontend="lips", n=None, **options):
    batches = clip_batches(dataset, plan, frontend, TARGETS, 4, **options)
    return list(itertools.islice(batches, n))


def assert_equal(a, b):
    for field in dataclasses.fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        assert x.dtype == y.dtype and np.array_equal(x, y)


@pytest.mark.parametrize("frontend", ["pose", "mouth_landmarks", "lips"])
def test_each_row_holds_its_own_clip_padded_with_zeros(dataset, plan, frontend):
    seen, lips = [], frontend == "lips"
    for i, batch in enumerate(read(dataset, plan, frontend, n=plan.steps_per_epoch)):
        step = plan.step(i)
        frame = (8, 12) if lips else (91, 3)
        assert batch.frames_bt.shape == (step.batch_size, step.bucket_length, *frame)
        assert batch.frames_bt.dtype == (np.uint8 if lips else np.float16)
        for row, (index,) in enumerate(batch.index_bg):
            assert index == step.ids[row, 0] and batch.valid_bg[row, 0] == (index >= 0)
            clip = make_clip(int(index)) if index >= 0 else Clip(id="", text="")
            modality = "lips" if lips else "pose"
            n = clip.n_frames(modality)
            fps = clip.modalities[modality].fps if n else 0
            assert (batch.length_bg[row, 0], batch.fps_bg[row, 0]) == (n, fps)
            frames = batch.frames_bt[row]
            if n and lips:
                assert np.abs(frames[:n].astype(int) - 10 * index).max() <= 1
            elif n:
                assert np.array_equal(frames[:n], clip.modalities["pose"].data)
            assert not frames[n:].any()
            target = TARGETS[index] if index >= 0 else []
            assert batch.target_length_bg[row, 0] == len(target)
            assert batch.target_bgn[row, 0].tolist() == target + [0] * (4 - len(target))
            seen.append(int(index))
    assert sorted(i for i in seen if i >= 0) == list(range(N))


def test_threads_and_the_cache_do_not_change_the_stream(dataset, plan):
    n = 2 * plan.steps_per_epoch + 1
    wanted = read(dataset, plan, n=n, threads=0, cache_bytes=0)
    for options in ({"threads": 1}, {"threads": 3}, {"threads": 2, "cache_bytes": 0}):
        for a, b in zip(wanted, read(dataset, plan, n=n, **options), strict=True):
            assert_equal(a, b)


def test_the_stream_goes_on_from_any_step_and_stops_where_told(dataset, plan):
    start = plan.steps_per_epoch + 1
    whole = read(dataset, plan, stop_step=start + 3)
    assert len(whole) == start + 3
    rest = read(dataset, plan, start_step=start, stop_step=start + 3)
    assert len(rest) == 3
    for a, b in zip(whole[start:], rest, strict=True):
        assert_equal(a, b)
    assert read(dataset, plan, start_step=5, stop_step=5) == []


def test_processes_share_the_rows_of_each_batch(dataset, plan):
    n = plan.steps_per_epoch
    whole = read(dataset, plan, n=n)
    halves = [read(dataset, plan, n=n, process_index=i, process_count=2) for i in range(2)]
    for batch, *parts in zip(whole, *halves, strict=True):
        for name in ("frames_bt", "target_bgn", "index_bg", "fps_bg"):
            joined = np.concatenate([getattr(part, name) for part in parts])
            assert np.array_equal(joined, getattr(batch, name))
    with pytest.raises(SignBindError, match="3 processes.*batch_multiple"):
        read(dataset, plan, n=1, process_count=3)


def test_evaluation_ends_after_every_clip(dataset):
    plan = evaluation_plan(dataset.lengths("pose"), (32, 80), 160)
    batches = read(dataset, plan, "pose")
    ids = np.concatenate([batch.index_bg[:, 0] for batch in batches])
    assert sorted(ids[ids >= 0]) == [i for i in range(N) if i != 6]


def test_what_does_not_fit_names_the_clip(dataset, plan):
    with pytest.raises(SignBindError, match="'c.*target tokens: found 3, wanted at most 2"):
        list(clip_batches(dataset, plan, "pose", TARGETS, 2, stop_step=plan.steps_per_epoch))
    short = BatchPlan(np.full(N, 4), (8,), 64)
    with pytest.raises(SignBindError, match="'c.*pose frames: found .*, wanted at most 8"):
        list(clip_batches(dataset, short, "pose", TARGETS, 4, stop_step=short.steps_per_epoch))


def test_wrong_arguments_are_told_before_anything_is_read(dataset, plan):
    with pytest.raises(SignBindError, match="'sound', wanted one of pose"):
        clip_batches(dataset, plan, "sound", TARGETS, 4)
    with pytest.raises(SignBindError, match="targets: found 2, wanted .* 23"):
        clip_batches(dataset, plan, "pose", TARGETS[:2], 4)


def test_crops_of_two_sizes_are_an_error_that_names_the_clip(tmp_path):
    small = {"lips": lip_frames(np.zeros((2, 4, 4), np.uint8), 30.0)}
    clips = [make_clip(3), dataclasses.replace(make_clip(4), modalities=small)]
    write_dataset(tmp_path / "d", corpus_of_clips({"train": clips}, {}), progress=False)
    mixed = open_dataset(tmp_path / "d").split("train")
    plan = evaluation_plan(mixed.lengths("lips"), (16,), 32)
    with pytest.raises(SignBindError, match="'c4'.*4x4 pixels, wanted 8x12"):
        list(clip_batches(mixed, plan, "lips", [[], []], 1))
