"""Checkpoints: what is saved comes back, on any mesh, and what is damaged is noticed."""

import json
import logging
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signbind_jax import sealed
from signbind_jax.checkpoint.array_digest import partial_checksum
from signbind_jax.checkpoint.checkpoint_dir import (
    CheckpointDir,
    DamagedCheckpoint,
    Manifest,
    artefact_digest,
)
from signbind_jax.checkpoint.manifest import check_parent, manifest_from_text
from signbind_jax.distributed.sharding import make_mesh
from signbind_jax.errors import SignBindError
from tests.conftest import facts_of
from tests.unit.distributed import eight_device_program

GLOSS = "a" * 64
MANIFEST = Manifest(
    "signing", "c0ffee", vocabularies={"gloss": GLOSS}, dimensions={"d": 8}, extra={"note": "é"}
)


def make_state(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    kernel = jnp.asarray(rng.normal(size=(96, 64)).astype(np.float32))
    return {
        "params": {"encoder": {"kernel": kernel, "scale": kernel[0].astype(jnp.bfloat16)}},
        "opt_state": [jnp.int32(seed), kernel * 2],
        "step": seed,
    }


def abstract(state) -> dict:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), np.asarray(x).dtype), state)


def assert_same(tree, other):
    assert jax.tree.structure(tree) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.fixture
def two_steps(tmp_path):
    with CheckpointDir(str(tmp_path)) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, make_state(step), MANIFEST)
    return CheckpointDir(str(tmp_path))


def data_files(checkpoints: CheckpointDir, step: int) -> list[Path]:
    """The files that hold array values, largest first."""
    state = Path(checkpoints.directory) / f"step_{step:08d}" / "state"
    files = [p for p in state.rglob("d/*") if p.is_file()]
    return sorted(files, key=lambda p: -p.stat().st_size)


def flip_bytes(file: Path) -> None:
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(b ^ 0xFF for b in content[middle : middle + 8])
    file.write_bytes(content)


def damage(checkpoints: CheckpointDir, step: int, how: str) -> None:
    file = data_files(checkpoints, step)[0]
    manifest = Path(checkpoints.directory) / f"step_{step:08d}" / "manifest.json"
    if how == "flipped bytes":
        flip_bytes(file)
    elif how == "truncated file":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif how == "missing file":
        file.unlink()
    elif how == "manifest edited":
        manifest.write_text(manifest.read_text().replace("c0ffee", "c0ffef"))
    elif how == "manifest cut":
        manifest.write_text(manifest.read_text()[:100])
    elif how == "manifest not text":
        manifest.write_bytes(b"\xff\xfe" + manifest.read_bytes())


DAMAGES = (
    "flipped bytes",
    "truncated file",
    "missing file",
    "manifest edited",
    "manifest cut",
    "manifest not text",
)


def test_a_state_comes_back_bit_for_bit_with_its_manifest(two_steps):
    step, tree, manifest = two_steps.restore_latest(abstract(make_state(0)))
    assert step == 2
    assert_same(tree, jax.tree.map(np.asarray, make_state(2)))
    assert tree["params"]["encoder"]["scale"].dtype == jnp.bfloat16
    assert manifest.vocabularies == {"gloss": GLOSS} and manifest.extra == {"note": "é", "step": 2}
    assert manifest.arrays["params/encoder/kernel"].startswith("float32[96,64] ")


def test_another_mesh_and_another_number_of_devices_restore_the_same_values(tmp_path):
    facts = facts_of("-m", eight_device_program.__name__, "checkpoint", tmp_path)
    assert facts["restored_same"]
    assert facts["n_devices"] == 4 and facts["table_shard"] == [16, 4]

    checkpoints = CheckpointDir(str(tmp_path))
    checkpoints.verify(1)  # the digests do not depend on the mesh either
    one_device = make_mesh(devices=jax.devices()[:1])
    restored = checkpoints.restore(1, eight_device_program.abstract_state(one_device))
    table = restored["params"]["embed"]["table"].get_value()
    assert len(table.sharding.device_set) == 1
    assert np.asarray(table).tobytes().hex() == facts["table_bytes"]


def test_arrays_may_be_donated_as_soon_as_save_returns(tmp_path):
    make = jax.jit(lambda: jax.random.normal(jax.random.key(0), (1024, 1024)))
    overwrite = jax.jit(lambda x: x * 0 - 1, donate_argnums=0)
    wanted = np.array(make())
    x = make()
    with CheckpointDir(str(tmp_path)) as checkpoints:
        checkpoints.save(1, {"x": x}, MANIFEST)
        for _ in range(3):
            x = overwrite(x)
        jax.block_until_ready(x)
    restored = CheckpointDir(str(tmp_path)).restore(1, abstract({"x": wanted}))
    np.testing.assert_array_equal(np.asarray(restored["x"]), wanted)


def test_a_stage_may_take_the_parameters_alone(two_steps):
    state = make_state(1)
    restored = two_steps.restore(1, {"params": abstract(state["params"])})
    assert_same(restored, {"params": state["params"]})


def test_the_newest_steps_are_kept(tmp_path):
    with CheckpointDir(str(tmp_path), keep=2) as checkpoints:
        for step in (1, 2, 3, 10):
            checkpoints.save(step, make_state(step), MANIFEST)
        checkpoints.wait()
        assert checkpoints.steps() == [3, 10] and checkpoints.latest() == 10
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_00000003", "step_00000010"]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_step_is_an_error_and_resuming_falls_back_aloud(two_steps, caplog, how):
    target = abstract(make_state(0))
    damage(two_steps, 2, how)
    with pytest.raises(DamagedCheckpoint, match="step_00000002"):
        two_steps.restore(2, target)
    with pytest.raises(DamagedCheckpoint):
        two_steps.verify(2)
    with caplog.at_level(logging.WARNING):
        step, tree, _ = two_steps.restore_latest(target)
    assert step == 1
    assert_same(tree, jax.tree.map(np.asarray, make_state(1)))
    assert "step_00000002" in caplog.text and "going on from step 1" in caplog.text


def test_flipped_bytes_name_the_array(tmp_path):
    with CheckpointDir(str(tmp_path)) as checkpoints:
        small, large = jnp.ones((3,)), jax.random.normal(jax.random.key(0), (256, 256))
        checkpoints.save(1, {"params": {"small": small, "large": large}}, MANIFEST, wait=True)
        flip_bytes(data_files(checkpoints, 1)[0])
        with pytest.raises(DamagedCheckpoint, match="array params/large: found") as error:
            checkpoints.verify(1)
    assert "\n" not in str(error.value)


def test_with_no_good_step_left_nothing_starts_afresh(two_steps, tmp_path):
    for step in (1, 2):
        damage(two_steps, step, "truncated file")
    with pytest.raises(SignBindError, match="none of the 2 checkpoints is whole.*step_00000002"):
        two_steps.restore_latest(abstract(make_state(0)))
    with pytest.raises(SignBindError, match="no complete checkpoint"):
        CheckpointDir(str(tmp_path / "empty")).restore_latest({})


def test_going_on_after_a_fall_back_replaces_the_damaged_step(two_steps):
    damage(two_steps, 2, "flipped bytes")
    two_steps.restore_latest(abstract(make_state(0)))
    two_steps.save(2, make_state(2), MANIFEST, wait=True)
    two_steps.verify(2)
    two_steps.close()


def test_a_run_taken_up_from_an_earlier_step_replaces_the_later_ones(two_steps, caplog):
    with two_steps, caplog.at_level(logging.WARNING):
        two_steps.save(1, make_state(1), MANIFEST, wait=True)
    assert two_steps.steps() == [1]
    assert "step_00000002: removed" in caplog.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda p: {**p, "kernel": jax.ShapeDtypeStruct((96, 32), jnp.float32)},
            "array params/encoder/kernel: found float32.96,64., wanted float32.96,32.",
        ),
        (
            lambda p: {**p, "scale": jax.ShapeDtypeStruct((64,), jnp.float32)},
            "array params/encoder/scale: found bfloat16.64., wanted float32.64.",
        ),
        (
            lambda p: {**p, "bias": jax.ShapeDtypeStruct((64,), jnp.float32)},
            "array params/encoder/bias: found no such array, wanted float32.64.",
        ),
        (
            lambda p: {"kernel": p["kernel"]},
            "array params/encoder/scale: found bfloat16.64., wanted no such array",
        ),
    ],
)
def test_a_model_of_another_shape_is_refused_not_taken_for_damage(two_steps, change, words):
    target = abstract(make_state(0))
    target["params"]["encoder"] = change(target["params"]["encoder"])
    with pytest.raises(SignBindError, match=words) as error:
        two_steps.restore_latest(target)
    assert not isinstance(error.value, DamagedCheckpoint)


def test_a_step_without_manifest_does_not_count_and_the_next_save_clears_it(two_steps):
    (Path(two_steps.directory) / "step_00000002" / "manifest.json").unlink()
    assert two_steps.steps() == [1]
    with pytest.raises(SignBindError, match=r"not found; complete steps: \[1\]"):
        two_steps.restore(2, abstract(make_state(0)))
    with two_steps:
        two_steps.save(3, make_state(3), MANIFEST)
    assert sorted(p.name for p in Path(two_steps.directory).iterdir()) == [
        "step_00000001",
        "step_00000003",
    ]


def test_the_artefact_digest_is_the_same_for_the_same_weights_only(tmp_path):
    digests = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        with CheckpointDir(str(tmp_path / name)) as checkpoints:
            checkpoints.save(1, {"params": make_state(seed)["params"]}, MANIFEST, wait=True)
            digests.append(artefact_digest(checkpoints.read_manifest(1)))
    assert digests[0] == digests[1] != digests[2]


def test_a_wrong_parent_is_refused_by_field():
    check_parent(MANIFEST, {"stage": "signing", "vocabularies": {"gloss": GLOSS}}, "x")
    with pytest.raises(SignBindError, match="experts/x: stage: found signing, wanted lipreading"):
        check_parent(MANIFEST, {"stage": "lipreading"}, "experts/x")
    with pytest.raises(SignBindError, match=r"vocabularies.gloss: found a+\.\.\., wanted b+"):
        check_parent(MANIFEST, {"vocabularies": {"gloss": "b" * 64}}, "x")
    with pytest.raises(SignBindError, match="vocabularies.letters: found nothing, wanted b"):
        check_parent(MANIFEST, {"vocabularies": {"letters": "b"}}, "x")


@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16, np.int8, np.int64])
def test_the_checksum_sees_one_bit_a_swap_and_a_blank_block(dtype):
    x = (np.random.default_rng(0).normal(size=(40, 30)) * 50).astype(dtype)
    bit, swapped, blank = x.copy(), x.copy(), x.copy()
    bit.reshape(-1).view(np.uint8)[777] ^= 0x80
    swapped[[3, 17]] = x[[17, 3]]
    blank[8:16] = 0
    checksums = [partial_checksum(a) for a in (x, bit, swapped, blank, x.T)]
    assert len(set(checksums)) == len(checksums)


@pytest.mark.parametrize("name", ["extra", "vocabularies", "arrays", "versions"])
def test_a_forged_manifest_is_told_by_its_field(name):
    manifest = {"stage": "signing", "config_digest": "", name: 3}
    text = json.dumps(sealed.seal({"format": 2, "manifest": manifest}))
    with pytest.raises(SignBindError, match=f"m: {name}: found 3, wanted dict"):
        manifest_from_text(text, "m")
