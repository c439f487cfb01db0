"""Parameters, optimiser state and batches on a 2x2x2 mesh of simulated devices."""

import jax
import pytest

from signbind_jax.distributed import sharding
from signbind_jax.errors import SignBindError
from tests.conftest import facts_of


@pytest.fixture(scope="module")
def facts():
    return facts_of("-m", "tests.unit.distributed.eight_device_program", "sharding")


def test_a_model_starts_from_the_same_values_on_every_mesh(facts):
    assert facts["same_values"]


def test_each_device_holds_its_part_of_each_parameter(facts):
    assert facts["params"] == {
        "embed/table": [8, 4],  # (vocab 16, model 8)
        "query/kernel": [4, 2, 2],  # (model 8, heads 4, head_size 2)
        "query/bias": [2, 2],
        "blocks/kernel": [3, 4, 6],  # (layers 3, model 8, mlp 12)
        "norm/scale": [4],
        "head/kernel": [4, 5],  # letters stay whole
    }


def test_optimizer_moments_lie_where_their_parameters_lie(facts):
    moments = {path: shape for path, shape in facts["moments"].items() if path != "1/0/count"}
    assert facts["moments"]["1/0/count"] == []
    assert len(moments) == 2 * len(facts["params"])
    for path, shape in moments.items():
        assert shape == facts["params"][path.split("/", 3)[3]]


def test_factored_moments_are_replicated_and_the_rest_follows(facts):
    assert facts["adafactor"]["0/v_row/embed/table"] == [8]
    assert facts["adafactor"]["0/v/norm/scale"] == facts["params"]["norm/scale"]


def test_batch_rows_are_spread_over_data_and_fsdp(facts):
    assert facts["batch_shard"] == [2, 3]
    assert facts["batch_kept"]
    assert "pose: found 6 rows" in facts["batch_error"]
    assert "multiple of 4" in facts["batch_error"]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("divide_error", ("weight", "(6, 7)", "heads", "7", "tensor", "size 2")),
        ("collision_error", ("weight", "heads and mlp", "both claim mesh axis tensor")),
        ("no_names_error", ("bare", "(4, 4)", "layers.param")),
    ],
)
def test_a_parameter_that_cannot_be_laid_out_is_named(facts, case, words):
    assert all(word in facts[case] for word in words), facts[case]


def test_the_data_axis_takes_the_devices_that_are_left(facts):
    assert facts["rest"] == {"data": 2, "fsdp": 2, "tensor": 2}
    assert "2 x 2 x 1 = 4, wanted 8" in facts["idle_error"]


@pytest.mark.parametrize("sizes", [{"fsdp": 0}, {"data": -2}, {"fsdp": 3}, {"data": 3}])
def test_mesh_sizes_that_do_not_fit_one_device_are_refused(sizes):
    with pytest.raises(SignBindError, match="mesh: "):
        sharding.make_mesh(**sizes, devices=jax.devices()[:1])


def test_a_collision_is_found_on_one_device_too():
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    with pytest.raises(SignBindError, match="model and model both claim"):
        sharding.partition_spec("encoder/kernel", (4, 4), ("model", "model"), mesh)


def test_key_heads_stay_whole_where_there_are_fewer_than_devices_to_split_them():
    mesh = jax.sharding.AbstractMesh((1, 1, 4), sharding.AXES)
    dims = ("model", "kv_heads", "head_size")
    for n, axis in ((1, None), (2, None), (4, "tensor"), (8, "tensor")):
        spec = sharding.partition_spec("k/kernel", (8, n, 16), dims, mesh)
        assert spec == jax.sharding.PartitionSpec(None, axis, None)
    with pytest.raises(SignBindError, match="kv_heads of size 6 does not divide"):
        sharding.partition_spec("k/kernel", (8, 6, 16), dims, mesh)
