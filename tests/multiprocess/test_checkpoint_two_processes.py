"""Two processes, two devices each, save and restore one sharded state together."""

import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signbind_jax.checkpoint.checkpoint_dir import CheckpointDir
from tests.multiprocess.together import check_ended_well, free_port, start, wait_for

PROGRAM = """
import sys
import jax, jax.numpy as jnp, numpy as np
from signbind_jax.distributed import sharding
from signbind_jax.checkpoint.checkpoint_dir import CheckpointDir, Manifest

what, directory, process, port = sys.argv[1:]
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=int(process))
mesh = sharding.make_mesh(fsdp=2, tensor=2)
where = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("tensor", "fsdp"))
make = jax.jit(lambda key: jax.random.normal(key, (256, 64)), out_shardings=where)

def state(step):
    return {"x": make(jax.random.key(step)), "count": jnp.int32(step), "step": step}

with CheckpointDir(directory) as checkpoints:
    if what == "save":
        for step in (1, 2):
            checkpoints.save(step, state(step), Manifest("signing", "c"))
    else:
        step, tree, _ = checkpoints.restore_latest(state(0))
        same = jax.jit(lambda a, b: jnp.array_equal(a, b))(tree["x"], state(step)["x"])
        print("restored", step, bool(same), int(tree["count"]), int(tree["step"]))
rows = sharding.put_batch({"rows_b": np.full((2,), int(process))}, mesh)["rows_b"]
print("rows", rows.shape, int(jax.jit(jnp.sum)(rows)))
"""


def run_two(what: str, directory: Path) -> list[str]:
    port = free_port()
    ended = wait_for([start(["-c", PROGRAM, what, directory, i, port], 2) for i in range(2)])
    check_ended_well(ended)
    return [e.out for e in ended]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("checkpoints")
    outputs = run_two("save", directory)
    # Two rows from each process make four: the global batch.
    assert all("rows (4,) 2" in out for out in outputs), outputs
    return directory


def test_one_process_reads_what_two_wrote(saved):
    target = {"x": jax.ShapeDtypeStruct((256, 64), jnp.float32), "count": jnp.int32(0), "step": 0}
    step, tree, _ = CheckpointDir(str(saved)).restore_latest(target)
    wanted = jax.random.normal(jax.random.key(2), (256, 64))
    assert (step, int(tree["count"]), int(tree["step"])) == (2, 2, 2)
    np.testing.assert_array_equal(np.asarray(tree["x"]), np.asarray(wanted))


def flip_a_byte(content: bytearray) -> None:
    content[len(content) // 2] ^= 0xFF


def wipe(content: bytearray) -> None:
    content[:] = bytes(len(content))


# A wiped file cannot be read at all by the one process whose arrays it holds.
@pytest.mark.parametrize(("of", "damage"), [("state", flip_a_byte), ("ocdbt.process_1", wipe)])
def test_both_processes_fall_back_to_the_same_step(saved, tmp_path, of, damage):
    damaged = shutil.copytree(saved, tmp_path / "damaged")
    files = [p for p in (damaged / "step_00000002" / "state").rglob("d/*") if of in str(p)]
    largest = max((p for p in files if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    damage(content)
    largest.write_bytes(content)
    for out in run_two("restore", damaged):
        assert "restored 1 True 1 1" in out
