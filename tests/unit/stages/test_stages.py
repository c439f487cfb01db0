"""Stages are functions of a config and of shapes: what trains, what is stored, what is compiled."""

import jax
import pytest
from flax import nnx

from signbind_jax.config import load_config
from signbind_jax.sources import open_source
from signbind_jax.stages import assumed_stage, make_stage

KEY = jax.random.key(0)
BEHIND = ("language_model", "fusion", "alignment")


def source_of(runs, name: str):
    given = {"data.directory": str(runs / "data")}
    if name in ("fusion", "alignment"):
        given["parents.signing"] = str(runs / "signing")
    if name == "alignment":
        given |= {
            f"parents.{parent}": str(runs / parent) for parent in ("language_model", "fusion")
        }
    return open_source(load_config(f"{name}:size=tiny", given))


def described(batch):
    return jax.tree.map(lambda x: (x.shape, x.dtype.name), batch)


@pytest.mark.parametrize("name", ["signing", "segmentation", *BEHIND])
def test_a_batch_has_the_shapes_that_are_compiled(runs, name):
    source = source_of(runs, name)
    stage = make_stage(source.config, source.shapes)
    for i in range(source.plan.steps_per_epoch):
        step = source.plan.step(i)
        spec = stage.batch_spec(step.bucket_length, step.batch_size)
        assert described(source.batch(i)) == described(spec)


@pytest.mark.parametrize("name", ["signing", "lipreading", "segmentation", *BEHIND, "translation"])
def test_assumed_shapes_are_of_the_same_batch_as_those_of_data(name):
    stage = assumed_stage(load_config(f"{name}:size=tiny"))
    spec = stage.batch_spec(stage.config.assumed.longest, 3)
    assert all(x.shape[0] == 3 for x in jax.tree.leaves(spec))
    assert nnx.eval_shape(lambda: stage.make_model(nnx.Rngs(0)))


@pytest.mark.parametrize(
    ("name", "given", "trained", "stored"),
    [
        ("alignment", {}, {"fusion", "projector"}, {"fusion", "projector", "decoder"}),
        ("translation", {}, {"fusion", "projector", "decoder"}, {"fusion", "projector", "decoder"}),
        (
            "translation",
            {"options.lora_rank": "2"},
            {"fusion", "projector", "lora"},
            {"fusion", "projector", "decoder", "lora"},
        ),
        (
            "alignment",
            {"parents.language_model": "smollm2-135m"},
            {"fusion", "projector"},
            {"fusion", "projector"},
        ),
        (
            "translation",
            {"parents.language_model": "smollm2-135m", "options.lora_rank": "2"},
            {"fusion", "projector", "lora"},
            {"fusion", "projector", "lora"},
        ),
    ],
)
def test_what_trains_and_what_checkpoints_hold(name, given, trained, stored):
    stage = assumed_stage(load_config(f"{name}:size=tiny", given))
    params = nnx.state(nnx.eval_shape(lambda: stage.make_model(nnx.Rngs(0))))
    paths = [path for path, _ in nnx.to_flat_state(params)]

    def parts(chosen):
        return {"lora" if "lora" in path else path[0] for path in paths if chosen(path)}

    assert parts(stage.trains) == trained and parts(stage.stores) == stored


def test_only_what_is_frozen_and_imported_is_held_in_another_type():
    given = {"parents.language_model": "smollm2-135m", "options.frozen_dtype": "bfloat16"}
    stage = assumed_stage(load_config("alignment:size=tiny", given))
    assert stage.stored_dtype(("decoder", "norm")) == "bfloat16"
    assert stage.stored_dtype(("fusion", "norm")) == "float32"
    own = assumed_stage(load_config("alignment:size=tiny", {"options.frozen_dtype": "bfloat16"}))
    assert own.stored_dtype(("decoder", "norm")) == "float32"
