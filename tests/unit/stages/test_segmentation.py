"""Stage `segmentation`: what it is taught, how it is scored, that it goes on where it stopped."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from signbind_jax import cli
from signbind_jax.checkpoint.artefact import open_artefact
from signbind_jax.config import load_config
from signbind_jax.data.augment import AugmentConfig
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data.joined_clips import JoinedClips
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate import evaluators
from signbind_jax.evaluate.evaluators import BoundaryEvaluator, open_evaluator
from signbind_jax.sources import open_source
from signbind_jax.stages import make_stage
from signbind_jax.stages.segmentation import JoinedRow, at_boundary, by_frame, joined_rows
from signbind_jax.train.loop import train
from tests.untrained_runs import write_run

KEY = jax.random.key(0)
STEPS = 3


def config_of(data, **more):
    return load_config("segmentation:size=tiny", {"data.directory": str(data), **more})


@pytest.fixture(scope="module")
def trained(synthetic, tmp_path_factory):
    """A run of a few steps by the command."""
    workdir = tmp_path_factory.mktemp("segmentation") / "run"
    steps = f"--config.steps={STEPS}", "--config.checkpoint_every=1", "--config.keep_checkpoints=9"
    data = f"--config.data.directory={synthetic}"
    command = ["train", "--config=segmentation:size=tiny", data, *steps]
    assert cli.main([*command, f"--workdir={workdir}"]) == 0
    return workdir


def test_steps_near_a_true_joint_are_taught_to_be_boundaries_and_no_others():
    # Between frames 19 and 20 a true joint, between 59 and 60 a false one; the last place is empty.
    joint_bp = jnp.array([[20, -1, 60, -1]])
    true_bp = jnp.array([[True, False, False, False]])
    joined = JoinedClips(jnp.zeros((1, 80, 91, 3)), jnp.ones((1, 80), bool), joint_bp, true_bp)
    found_s = np.asarray(at_boundary(joined, jnp.array([[25.0, 25.0]]), 4, 20))[0]
    # Middles at 1.5, 5.5, ... frames; 0.2 s are five.
    assert np.flatnonzero(found_s).tolist() == [4, 5]
    faster_s = np.asarray(at_boundary(joined, jnp.array([[45.0, 45.0]]), 4, 20))[0]
    assert np.flatnonzero(faster_s).tolist() == [3, 4, 5, 6]


def test_padding_counts_for_nothing_and_every_step_draws_other_joints(synthetic):
    source = open_source(config_of(synthetic, **{"model.dropout": "0.0"}))
    stage = make_stage(source.config, source.shapes)
    batch = jax.tree.map(jnp.asarray, source.batch(0))
    model = stage.make_model(nnx.Rngs(0))
    loss, weight, metrics = stage.loss(model, batch, KEY)
    assert 0 < float(metrics["at_boundary"]) < 0.3 * float(weight)
    noisy = np.array(batch.frames_bt)
    for b, ends in enumerate((batch.start_bg + batch.length_bg).max(1)):
        noisy[b, ends:] = 7.0
    again = stage.loss(model, dataclasses.replace(batch, frames_bt=jnp.asarray(noisy)), KEY)
    np.testing.assert_allclose(again[0], loss, rtol=1e-5)
    first, second = (joined_rows(batch, jax.random.key(i)).joint_bp for i in range(2))
    assert (first != second).any()


def test_a_row_is_augmented_as_one_recording(synthetic):
    source = open_source(config_of(synthetic))
    batch = jax.tree.map(jnp.asarray, source.batch(0))
    # Points anywhere near the shoulders: hands are raised, and the same frames are kept.
    points = jax.random.uniform(KEY, batch.frames_bt.shape, jnp.float16, -0.5, 0.5)
    batch = dataclasses.replace(batch, frames_bt=points.at[..., 2].set(1))
    moves = AugmentConfig(speed=0.0, time_masks=0, hand_drop=0.0)
    plain, moved = (joined_rows(batch, KEY, *more) for more in ((), (KEY, moves)))
    np.testing.assert_array_equal(plain.joint_bp, moved.joint_bp)
    before, after = (np.asarray(x.x_btkc[0]).reshape(-1, 3) for x in (plain, moved))
    seen = (before[:, 2] > 0) & (after[:, 2] > 0)
    before = np.concatenate([before[seen, :2], np.ones((seen.sum(), 1))], axis=1)
    map_32, *_ = np.linalg.lstsq(before, after[seen, :2])
    assert np.abs(before @ map_32 - after[seen, :2]).max() < 1e-3  # one map for all clips
    assert np.abs(map_32 - np.eye(3)[:, :2]).max() > 0.01


def test_a_run_goes_on_as_if_it_had_not_stopped(synthetic, trained, tmp_path):
    halves = tmp_path / "halves"
    shutil.copytree(trained, halves)
    shutil.rmtree(halves / "checkpoints" / f"step_{STEPS:08d}")
    (halves / "summary.json").unlink()
    config = config_of(synthetic, steps=str(STEPS), checkpoint_every="1", keep_checkpoints="9")
    lines = []
    train(config, halves, announce=lines.append)
    assert f"segmentation: resumed at step {STEPS - 1}" in lines
    both = [open_artefact(path).load_params()[1] for path in (trained, halves)]
    jax.tree.map(np.testing.assert_array_equal, *both)


def test_it_starts_from_the_parameters_of_another_run(synthetic, trained, tmp_path):
    config = config_of(synthetic, steps="1", **{"init.from": str(trained), "data.validation": ""})
    lines = []
    assert train(config, tmp_path / "run", announce=lines.append).finished
    n = len(jax.tree.leaves(open_artefact(trained).load_params()[1]))
    assert f"segmentation: init.from: {trained}, step {STEPS}: {n} arrays taken over" in lines


def test_a_finished_run_is_scored_as_the_one_under_way(synthetic, trained, tmp_path):
    run, clips = open_artefact(trained), open_dataset(synthetic).split("validation")
    finished = open_evaluator(run).run(clips)
    live = open_source(config_of(synthetic)).evaluator(run.load_params).run(clips)
    assert live == finished
    assert finished.scores["n"] > 0 and finished.scores["false_joints"] > 0
    out = tmp_path / "scores.json"
    command = ["evaluate", f"--checkpoint={trained}", f"--data={synthetic}", f"--json={out}"]
    assert cli.main([*command, "--split=validation"]) == 0
    assert json.loads(out.read_text())["scores"] == finished.scores


def test_boundaries_are_counted_over_all_rows(monkeypatch):
    rows = [
        JoinedRow("a and 1 more", [1.0, 5.0, 9.4], [1.3, 9.0], [5.2, 7.0]),
        JoinedRow("c and 2 more", [], [4.0, 6.0], []),
    ]
    monkeypatch.setattr(evaluators, "read_joined_split", lambda *given: rows)
    found = BoundaryEvaluator(lambda: None, 512).run(None)
    assert found.scores == {
        "boundary_f1": pytest.approx(100 * 4 / 7),
        "boundary_precision": pytest.approx(100 * 2 / 3),
        "boundary_recall": 50.0,
        "false_joints_taken": 50.0,
        "n": 4,
        "found": 3,
        "false_joints": 2,
    }
    assert found.outputs[0] == ("a and 1 more", "1.30 9.00", "1.00 5.00 9.40")
    assert found.logged.keys() == {
        n for n in found.scores if n.startswith(("bound", "false_joints_"))
    }


def test_probabilities_of_frames_lie_between_those_of_steps():
    found = by_frame(np.float32([0, 1, 0, 9]), 16, 10)  # the last step is padding
    middle = 1.5 + 4 * np.arange(3)
    assert np.interp(middle, np.arange(10), found).tolist() == pytest.approx([0, 1, 0], abs=0.13)
    assert len(found) == 10 and found.max() <= 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"parents.signing": "runs/x"}, "config.parents.signing: found 'runs/x', wanted nothing"),
        ({"data.min_count": "2"}, "config.data.min_count: found 2, wanted nothing"),
        ({"data.fold": "1/2"}, "config.data.fold: found '1/2', wanted nothing"),
        ({"options.smoothing": "0.1"}, "segmentation does not read it"),
        ({"model.d_modell": "3"}, "did you mean 'd_model'?"),
    ],
)
def test_what_it_does_not_learn_from_is_refused(synthetic, tmp_path, given, told):
    with pytest.raises(SignBindError) as error:
        train(config_of(synthetic, **given), tmp_path)
    assert told in str(error.value)


def test_rows_of_one_clip_have_no_joints(runs):
    with pytest.raises(
        SignBindError, match="rows of one clip, wanted rows of several: at least 48"
    ):
        open_source(config_of(runs / "data", **{"data.row_frames": "1"}))


def test_it_is_a_parent_of_nothing_and_an_untrained_run_can_be_written(runs, tmp_path):
    with pytest.raises(SignBindError, match="parents"):
        load_config("fusion:size=tiny", {"parents.segmentation": "runs/x"})
    workdir = write_run("segmentation", runs, workdir=tmp_path / "run")
    assert open_artefact(workdir).manifest.extra["fps"] > 0
