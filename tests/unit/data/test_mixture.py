"""Mixtures: several datasets in one run, each drawn as often as asked."""

import collections
import dataclasses

import numpy as np
import pytest

from signbind_jax.data.batch_plan import BatchPlan, choose_buckets
from signbind_jax.data.clip import Clip, pose_frames
from signbind_jax.data.data_config import DataConfig
from signbind_jax.data.lips import lip_frames
from signbind_jax.data.loader import clip_batches
from signbind_jax.data.mixture import open_data
from signbind_jax.data.weighted_plan import WeightedPlan
from signbind_jax.data_pipelines.corpus import corpus_of_clips
from signbind_jax.data_pipelines.writing.writer import write_dataset
from signbind_jax.errors import SignBindError


def make_clips(n: int, value: float, frames: int = 6, side: int = 8, **labels) -> list[Clip]:
    pose = np.full((frames, 91, 3), value, np.float16)
    lips = lip_frames(np.full((frames, side, side), int(value), np.uint8), 25.0)
    return [
        Clip(
            id=f"c{i}",
            text="two words",
            text_language="en",
            modalities={"pose": pose_frames(pose, 25.0), "lips": lips},
            **labels,
        )
        for i in range(n)
    ]


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    root = tmp_path_factory.mktemp("mixture")
    big = {"train": make_clips(12, 1.0, gloss=("A",)), "test": make_clips(2, 1.0)}
    big["test"] = [dataclasses.replace(clip, id=f"t{clip.id}") for clip in big["test"]]
    write_dataset(root / "big", corpus_of_clips(big, {}), progress=False)
    small = {"train": make_clips(4, 2.0, frames=9)}
    write_dataset(root / "small", corpus_of_clips(small, {}), progress=False)
    other = {"train": make_clips(1, 3.0, side=4)}
    write_dataset(root / "other", corpus_of_clips(other, {}), progress=False)
    return root


def mixed(root, *names, weights=()):
    return open_data(DataConfig(",".join(str(root / name) for name in names), weights))


def test_a_mixture_holds_the_clips_of_all_and_says_whose_they_are(directories):
    mixture = mixed(directories, "big", "small")
    assert mixture.splits == {"train": 16, "test": 2}
    train = mixture.split("train")
    assert len(train) == 16 and train.times is None
    assert train.ids[11:14] == ("big:c11", "small:c0", "small:c1")
    assert train[12].id == "small:c0" and (train[12].modalities["pose"].data == 2).all()
    assert train.lengths("pose").tolist() == [6] * 12 + [9] * 4
    assert mixture.split("test").ids == ("big:tc0", "big:tc1")
    assert train[-1].id == "small:c3" and len(list(train)) == 16


def test_what_one_corpus_labels_is_derived_in_another(directories):
    targets = mixed(directories, "big", "small").split("train").targets
    assert targets[0]["gloss"] == ("A",)
    assert targets[12]["gloss"] == ("two", "word")


def test_batches_of_a_mixture_keep_clips_of_one_name_apart(directories):
    train = mixed(directories, "big", "small").split("train")
    plan = BatchPlan(train.lengths("pose"), (16,), 16 * 16)
    for frontend in ("pose", "lips"):
        (batch,) = clip_batches(train, plan, frontend, [()] * 16, 1, stop_step=1)
        for row, (index,) in enumerate(batch.index_bg):
            wanted = 1 if index < 12 else 2
            assert (np.abs(batch.frames_bt[row, 0] - float(wanted)) <= (frontend == "lips")).all()


def test_weights_decide_how_often_a_corpus_is_drawn(directories):
    train = mixed(directories, "big", "small", weights=(0.5, 3.0)).split("train")
    lengths = train.lengths("pose")
    plan = WeightedPlan(lengths, choose_buckets(lengths, 2, 1), 36, times=train.times, seed=3)
    assert plan.n_clips == 6 + 12
    drawn = collections.Counter()
    for i in range(2 * plan.steps_per_epoch):
        step = plan.step(i)
        ids = step.ids[step.ids >= 0]
        assert (lengths[ids] <= step.bucket_length).all()
        drawn.update(ids.tolist())
    # Two epochs: every clip of the big corpus once, every one of the small corpus six times.
    assert drawn == {**dict.fromkeys(range(12), 1), **dict.fromkeys(range(12, 16), 6)}


def test_a_weighted_plan_is_a_function_of_its_seed_and_goes_on_from_any_step(directories):
    train = mixed(directories, "big", "small", weights=(1.0, 0.3)).split("train")
    make = lambda seed: WeightedPlan(  # noqa: E731
        train.lengths("pose"), (6, 9), 18, seed=seed, times=train.times
    )
    once, other = make(1), make(2)
    n = 5 * once.steps_per_epoch
    ids = [once.step(i).ids.ravel().tolist() for i in range(n)]
    assert ids[n // 2 :] == [make(1).step(i).ids.ravel().tolist() for i in range(n // 2, n)]
    assert ids != [other.step(i).ids.tolist() for i in range(n)]
    assert once.digest != other.digest
    plain = BatchPlan(train.lengths("pose"), (6, 9), 18, seed=1)
    assert once.digest != plain.digest
    # An epoch draws one of the four; five epochs draw no clip three times.
    counts = collections.Counter(i for row in ids for i in row if i >= 12)
    assert sum(counts.values()) == 5 and max(counts.values()) == 2


def test_equal_weights_are_the_plain_plan(directories):
    train = mixed(directories, "big", "small", weights=(1.0, 1.0)).split("train")
    assert train.times is None


def test_a_weight_of_zero_leaves_a_corpus_out(directories):
    train = mixed(directories, "big", "small", weights=(1.0, 0.0)).split("train")
    plan = WeightedPlan(train.lengths("pose"), (9,), 36, times=train.times)
    ids = np.concatenate([plan.step(i).ids for i in range(plan.steps_per_epoch)])
    assert sorted(ids[ids >= 0]) == list(range(12))


def test_what_does_not_fit_together_is_refused(directories):
    with pytest.raises(SignBindError, match="weights: found .*, wanted one number .* 2 dir"):
        mixed(directories, "big", "small", weights=(1.0,))
    with pytest.raises(SignBindError, match="weights"):
        mixed(directories, "big", "small", weights=(1.0, -1.0))
    with pytest.raises(SignBindError, match="'dev', wanted one of train, test"):
        mixed(directories, "big", "small").split("dev")
    with pytest.raises(SignBindError, match="8x8 in .*big, 4x4 in .*other"):
        _ = mixed(directories, "big", "other").split("train").lip_size
