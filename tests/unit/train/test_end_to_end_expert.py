"""An expert learns from the sentences of the translator that was trained on it."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import signbind_jax as sb
from signbind_jax.checkpoint.artefact import open_artefact
from signbind_jax.config import load_config
from signbind_jax.data.augment import STILL
from signbind_jax.distributed import sharding
from signbind_jax.errors import SignBindError
from signbind_jax.sources import open_source
from signbind_jax.stages import assumed_stage, make_stage
from signbind_jax.stages.sections import check_sections
from signbind_jax.train.loop import train

STEPS = 3


def config_of(runs, config="signing:size=tiny", **overrides):
    given = {
        "data.directory": str(runs / "data"),
        "data.validation": "",
        "parents.translation": str(runs / "alignment"),
        "steps": str(STEPS),
        "log_every": str(STEPS),
        "model.dropout": "0.0",
    }
    given |= {f"augment.{name}": str(x) for name, x in dataclasses.asdict(STILL).items()}
    given |= {name.replace("__", "."): str(value) for name, value in overrides.items()}
    return load_config(config, given)


def opened(config):
    source = open_source(config)
    return source, make_stage(source.config, source.shapes)


def begun(config):
    """Source, the loss of its first batch as a function of what trains, and that."""
    source, stage = opened(config)
    given = source.initial_params(stage, sharding.own_mesh())
    graphdef, params = sharding.init_sharded(stage.make_model, sharding.own_mesh(), 0, given)
    trained, frozen = nnx.split_state(params, lambda path, _: stage.trains(path), ...)
    batch = jax.tree.map(jnp.asarray, next(source.batches(0, 1)))

    def loss(trained):
        return stage.loss(nnx.merge(graphdef, trained, frozen), batch, jax.random.key(0))

    return source, loss, trained


def test_it_begins_with_the_loss_that_the_translator_has_on_the_same_clips(runs):
    source, loss, trained = begun(config_of(runs))
    metrics = loss(trained)[2]
    never = {f"augment.{name}.signing": "0.0" for name in ("drop", "substitute", "drop_stream")}
    behind = load_config(
        "alignment:size=tiny",
        {
            "data.directory": str(runs / "data"),
            "model.dropout": "0.0",
            "augment.drop_hidden": "0.0",
            "augment.stretch": "0.0",
            **never,
            **{f"parents.{n}": str(runs / n) for n in ("signing", "fusion", "language_model")},
        },
    )
    aligned, stage = opened(behind)
    assert len(aligned.plan.shapes) == len(source.plan.shapes) == 1  # one batch holds all clips
    model = open_artefact(runs / "alignment").load_model()
    batch = next(aligned.batches(0, 1))
    # As much room behind the tokens: what fusion reads takes room by them.
    more = source.shapes.room + source.shapes.sentence.tokens.mask_bm.shape[1]
    more -= batch.tokens.mask_bm.shape[1]
    tokens = jax.tree.map(
        lambda x: jnp.pad(x, ((0, 0), (0, more)) + ((0, 0),) * (x.ndim - 2)), batch.tokens
    )
    batch = jax.tree.map(jnp.asarray, dataclasses.replace(batch, tokens=tokens))
    wanted = stage.loss(model, batch, jax.random.key(0))[2]
    # The streams behind are kept with hidden vectors of half precision.
    assert float(metrics["sentence_loss"]) == pytest.approx(
        float(wanted["sentence_loss"]), rel=2e-3
    )


def test_the_gradient_of_the_sentences_reaches_the_expert_and_goes_down(runs):
    _, loss, trained = begun(config_of(runs))

    @jax.jit
    def sentence_loss(trained):
        return loss(trained)[2]["sentence_loss"]

    gradient = jax.grad(sentence_loss)(trained)
    norm = optax.tree.norm(gradient)
    lower = jax.tree.map(lambda x, g: x - 1e-3 / norm * g, trained, gradient)
    fallen = float(sentence_loss(trained) - sentence_loss(lower))
    assert fallen == pytest.approx(1e-3 * float(norm), rel=0.2)
    assert np.abs(jax.tree.leaves(gradient["frontend"])[0]).max() > 0


def test_what_was_tuned_is_an_expert_like_any(runs, tmp_path):
    assert train(config_of(runs), tmp_path).finished
    tuned = open_artefact(tmp_path)
    assert not [name for name in tuned.manifest.arrays if "translator" in name]
    assert tuned.manifest.parents["translation"] == open_artefact(runs / "alignment").digest
    expert, before = sb.load_expert(tmp_path), sb.load_expert(runs / "signing")
    assert expert.vocabulary == before.vocabulary
    assert isinstance(expert(runs / "a.npz"), list)


def test_a_run_goes_on_as_if_it_had_not_stopped(runs, tmp_path):
    config = config_of(runs, checkpoint_every=1, keep_checkpoints=STEPS)
    train(config, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "halves")
    shutil.rmtree(tmp_path / "halves" / "checkpoints" / f"step_{STEPS:08d}")
    (tmp_path / "halves" / "summary.json").unlink()
    lines = []
    train(config, tmp_path / "halves", announce=lines.append)
    assert f"signing: resumed at step {STEPS - 1}" in lines
    both = [open_artefact(tmp_path / name).load_params()[1] for name in ("whole", "halves")]
    jax.tree.map(np.testing.assert_array_equal, *both)


@pytest.mark.parametrize(
    "overrides, said",
    [
        ({"init__from": "{runs}/signing"}, "config.init.from: found"),
        ({"parents__translation": "{runs}/fusion"}, "stage: found fusion"),
        ({"parents__translation": "{runs}/nothing"}, "nothing"),
        ({"model__d_part": 32}, "config.model.d_part: found 32, wanted 16"),
        ({"config": "lipreading:size=tiny"}, "experts: found signing, wanted lipreading"),
    ],
)
def test_what_does_not_go_is_refused_in_one_line(overrides, said, runs):
    given = {k: str(v).format(runs=runs) for k, v in overrides.items()}
    with pytest.raises(SignBindError) as error:
        open_source(config_of(runs, **given))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_others_take_no_translator_and_its_weight_needs_one(runs):
    for config, path, said in (
        (load_config("fusion", {"parents.translation": "x"}), "parents.translation", "fusion does"),
        (
            load_config("signing", {"options.sentence_weight": "0.5"}),
            "options",
            "parents.translation",
        ),
    ):
        with pytest.raises(SignBindError, match=said) as error:
            check_sections(config)
        assert f"config.{path}" in str(error.value)


def test_preflight_says_that_it_knows_no_translator(runs):
    with pytest.raises(SignBindError, match="preflight has no trained translator"):
        assumed_stage(config_of(runs))
