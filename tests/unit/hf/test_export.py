"""Exported decoders and adapters read back as they were; nothing half-written, nothing guessed."""

import argparse
import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from signbind_jax import cli
from signbind_jax.checkpoint import artefact, model_record
from signbind_jax.checkpoint.checkpoint_dir import CheckpointDir, Manifest
from signbind_jax.config import RunConfig
from signbind_jax.distributed import sharding
from signbind_jax.errors import SignBindError
from signbind_jax.hf import adapters, export_command
from signbind_jax.hf.export import export_adapters, export_merged, new_directory
from signbind_jax.hf.families import read_config
from signbind_jax.hf.tokenizer import SPECIAL_TOKENS, TextTokenizer, train_bpe
from signbind_jax.hf.weights import open_checkpoint, read_params
from signbind_jax.models.expert import ExpertConfig
from signbind_jax.models.fusion import FusionConfig
from signbind_jax.models.llm.decoder import Decoder
from signbind_jax.models.llm.lora import LoRAConfig, add_lora, is_lora, lora_config
from signbind_jax.models.signbind import SignBind, SignBindConfig
from tests.unit.models.merged_lora import merge_lora
from tests.unit.models.tiny_decoder import tiny_decoder

FAMILIES = Path(__file__).parents[2] / "golden" / "families"
LORA = LoRAConfig(rank=3, alpha=7.5, dropout=0.1, targets=("q", "o", "down"))
IDS = np.random.default_rng(0).integers(0, 9, (2, 7))

forward = nnx.jit(lambda decoder: decoder(decoder.embed(IDS), jnp.ones(IDS.shape, bool)))


def with_adapters(decoder: Decoder, seed: int = 1) -> Decoder:
    """A decoder of the same weights with adapters as if they had been trained, by NumPy."""

    def make():
        shape = Decoder(decoder.config, nnx.Rngs(0))
        add_lora(shape, **dataclasses.asdict(LORA), rngs=nnx.Rngs(0))
        return shape

    adapted = nnx.eval_shape(make)
    nnx.update(adapted, nnx.state(decoder))
    nnx.update(adapted, filled(nnx.state(adapted, is_lora), seed))
    return adapted


def filled(shapes: nnx.State, seed: int) -> nnx.State:
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(0.3 * random.normal(size=x.shape), x.dtype), shapes)


def imported(directory: Path, dtype: str = "float32") -> Decoder:
    config = read_config(directory)
    params = read_params(config, open_checkpoint(directory), sharding.make_mesh(), dtype)
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0))))
    return nnx.merge(graphdef, params)


def same(a: nnx.State, b: nnx.State, rtol: float = 0.0, atol: float = 0.0) -> None:
    for (path, x), (_, y) in zip(nnx.to_flat_state(a), nnx.to_flat_state(b), strict=True):
        x, y = (np.asarray(v[...], np.float32) for v in (x, y))
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol, err_msg=str(path))


@pytest.fixture(scope="module", params=["llama2", "gemma3"])
def family(request):
    """A decoder with adapters and the directory it was imported from."""
    directory = FAMILIES / request.param
    return with_adapters(imported(directory)), directory


def test_a_merged_export_computes_what_the_adapted_decoder_does(family, tmp_path):
    decoder, source = family
    files = export_merged(decoder, tmp_path / "out", source=source)
    assert [file.name for file in files] == ["model.safetensors"]
    again, wanted = imported(tmp_path / "out"), forward(decoder)
    assert again.config == decoder.config
    assert jnp.abs(forward(imported(source)) - wanted).max() > 0.1 * jnp.abs(wanted).max()
    np.testing.assert_allclose(forward(again), wanted, atol=1e-5 * float(jnp.abs(wanted).max()))
    same(nnx.state(again), nnx.state(merge_lora(decoder)), atol=1e-6)
    old, new = (json.loads((d / "config.json").read_text()) for d in (source, tmp_path / "out"))
    assert old == new


def test_adapters_read_back_as_they_were(family, tmp_path):
    decoder, source = family
    export_adapters(decoder, tmp_path / "out", base_model=str(source))
    lora, state = adapters.read_adapters(decoder.config, tmp_path / "out", sharding.make_mesh())
    assert lora == lora_config(decoder) == LORA
    again = with_adapters(imported(source), seed=2)
    assert jnp.abs(forward(again) - forward(decoder)).max() > 0.1
    nnx.update(again, state)
    same(nnx.state(again), nnx.state(decoder))
    np.testing.assert_array_equal(forward(again), forward(decoder))


def test_adapters_have_pefts_names_shapes_and_values(tmp_path):
    decoder = with_adapters(imported(FAMILIES / "llama3"))
    export_adapters(decoder, tmp_path / "out", base_model="owner/model")
    record = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert record["peft_type"] == "LORA" and record["base_model_name_or_path"] == "owner/model"
    assert record["target_modules"] == ["q_proj", "o_proj", "down_proj"]
    assert (record["r"], record["lora_alpha"], record["lora_dropout"]) == (3, 7.5, 0.1)
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert set(tensors) == {
        f"base_model.model.model.layers.{i}.{name}.lora_{part}.weight"
        for i in range(4)
        for part in "AB"
        for name in ("self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj")
    }
    merged, plain = merge_lora(decoder), imported(FAMILIES / "llama3")
    for part, module in (("q", "self_attn.q_proj"), ("o", "self_attn.o_proj")):
        stem = f"base_model.model.model.layers.2.{module}.lora_"
        update = tensors[f"{stem}B.weight"] @ tensors[f"{stem}A.weight"] * 2.5  # out x in
        kernels = (getattr(d.layers, part).kernel[...][2] for d in (merged, plain))
        difference = np.subtract(*kernels).reshape(update.T.shape)
        np.testing.assert_allclose(difference, update.T, atol=1e-5)


def test_large_models_are_cut_into_shards_with_an_index(tmp_path):
    decoder = tiny_decoder(n_layers=3)
    limit = 5_000
    files = export_merged(decoder, tmp_path / "out", shard_bytes=limit)
    n = len(files)
    assert n > 3
    assert [f.name for f in files] == [
        f"model-{i + 1:05d}-of-{n:05d}.safetensors" for i in range(n)
    ]
    contents = [load_file(file) for file in files]
    for tensors in contents:
        assert len(tensors) == 1 or sum(t.nbytes for t in tensors.values()) <= limit
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == {
        name: file.name for file, tensors in zip(files, contents) for name in tensors
    }
    sizes = [t.nbytes for tensors in contents for t in tensors.values()]
    assert index["metadata"]["total_size"] == sum(sizes)
    same(nnx.state(imported(tmp_path / "out")), nnx.state(decoder))


def test_the_dtype_asked_for_is_written_and_rounded_to_once(tmp_path):
    decoder = with_adapters(imported(FAMILIES / "smollm2"))
    export_merged(decoder, tmp_path / "out", source=FAMILIES / "smollm2", dtype="bfloat16")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
    again = nnx.state(imported(tmp_path / "out", "bfloat16"))
    same(again, nnx.state(merge_lora(decoder)), rtol=1.01 * 2.0**-8, atol=1e-6)
    # A decoder kept in bfloat16 is written in bfloat16.
    halved = imported(tmp_path / "out", "bfloat16")
    export_merged(halved, tmp_path / "again", source=tmp_path / "out")
    whole, again = (tmp_path / d / "model.safetensors" for d in ("out", "again"))
    assert whole.read_bytes() == again.read_bytes()


def test_tokenizer_and_terms_come_along(tmp_path):
    source = tmp_path / "source"
    export_merged(imported(FAMILIES / "smollm2"), source, source=FAMILIES / "smollm2")
    kept = [
        "LICENSE",
        "NOTICE",
        "chat_template.jinja",
        "generation_config.json",
        "merges.txt",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for name in [*kept, "optimizer.pt", "README.md"]:
        (source / name).write_text(name)
    export_merged(imported(source), tmp_path / "out", source=source)
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == sorted([*kept, "config.json", "model.safetensors"])
    assert (tmp_path / "out" / "NOTICE").read_text() == "NOTICE"


@pytest.mark.parametrize(
    "changes",
    [
        {"tie_embeddings": False, "rope_base": 5e5, "norm_eps": 1e-5},
        {"qkv_bias": True, "o_bias": True, "mlp_bias": True, "rope_divisor": 4.0},
        {"rope_llama3": (8.0, 1.0, 4.0, 32.0)},
    ],
)
def test_a_decoder_that_was_never_imported_is_written_as_a_llama(changes, tmp_path):
    decoder = tiny_decoder(**changes, dropout=0.1)
    export_merged(decoder, tmp_path / "out")
    again = imported(tmp_path / "out")
    assert dataclasses.replace(again.config, dropout=0.1) == decoder.config
    np.testing.assert_array_equal(forward(again), forward(decoder))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"qk_norm": True}, "qk_norm: found True, wanted False"),
        ({"post_norms": True}, "post_norms"),
        ({"qkv_bias": True}, "o_bias: found False, wanted True"),
        ({"activation": "gelu_tanh"}, "activation: found 'gelu_tanh', wanted 'silu'"),
        ({"local_layers": (True, False), "sliding_window": 4}, "local_layers"),
    ],
)
def test_what_is_no_llama_is_refused_by_name(changes, field, tmp_path):
    with pytest.raises(SignBindError) as error:
        export_merged(tiny_decoder(**changes), tmp_path / "out")
    assert f"decoder: {field}" in str(error.value) and "plain Llama" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_refused(tmp_path):
    decoder = tiny_decoder()
    with pytest.raises(SignBindError, match=r"config.json: vocab_size: found 64, wanted 9"):
        export_merged(decoder, tmp_path / "out", source=FAMILIES / "llama2")
    with pytest.raises(SignBindError, match="dtype: found 'int8', wanted one of"):
        export_merged(decoder, tmp_path / "out", dtype="int8")
    with pytest.raises(SignBindError, match="shard_bytes: found 0, wanted at least 1"):
        export_merged(decoder, tmp_path / "out", shard_bytes=0)
    with pytest.raises(SignBindError, match="adapters: found none"):
        export_adapters(decoder, tmp_path / "out", base_model="model")
    assert not list(tmp_path.iterdir())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(SignBindError, match="out: found something there"):
        export_merged(decoder, tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine.txt"]


def test_a_full_disk_leaves_nothing(tmp_path):
    decoder, limits = tiny_decoder(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # no file may grow larger
    try:
        with pytest.raises(SignBindError, match="out: not written .*free disk space"):
            export_merged(decoder, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_a_killed_export_leaves_nothing_under_its_name_and_the_next_one_cleans_up(tmp_path):
    out = tmp_path / "out"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from signbind_jax.hf.export import new_directory\n"
        "with new_directory(Path(sys.argv[1])) as directory:\n"
        "    (directory / 'config.json').write_text('{}')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code, out], cwd=root, env=os.environ, timeout=300)
    assert done.returncode == -signal.SIGKILL
    assert not out.exists() and len(list(tmp_path.iterdir())) == 1
    with new_directory(out) as directory:
        (directory / "whole").touch()
        assert not out.exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "whole"]


def write_run(workdir: Path, model, model_config, parents=None, stage: str = "") -> Path:
    """A run directory with this model in it, as it was when nothing carried a digest."""
    stage = stage or ("language_model" if isinstance(model, Decoder) else "translation")
    record = {
        "stage": stage,
        "config": RunConfig(stage=stage).to_json(),
        "vocabularies": [],
        "model": model_record.model_record(model_config),
        "parents": parents or {},
    }
    workdir.mkdir()
    (workdir / artefact.FILE).write_text(json.dumps(record))
    with CheckpointDir(workdir / "checkpoints") as checkpoints:
        checkpoints.save(1, {"params": nnx.state(model)}, Manifest(stage, "0" * 64), wait=True)
    return workdir


def tuned_system(source: Path):
    """SignBind around an imported decoder with trained adapters, and its config."""
    fusion = FusionConfig((5, 5, 5), 8, 6, d_model=16, n_layers=1)
    config = SignBindConfig(fusion, read_config(source), LORA)
    model = nnx.eval_shape(lambda: SignBind(config, nnx.Rngs(0)))
    nnx.update(model, filled(nnx.state(model), seed=3))
    model.decoder = with_adapters(imported(source))
    return model, config


def export(*arguments) -> int:
    parser = argparse.ArgumentParser()
    export_command.add_arguments(parser)
    return export_command.run(parser.parse_args([str(argument) for argument in arguments]))


def test_the_command_exports_a_translation_run(tmp_path, capsys):
    source = FAMILIES / "llama3"
    model, config = tuned_system(source)
    parent = os.path.relpath(source, tmp_path / "run")
    run = write_run(tmp_path / "run", model, config, {"language_model": parent})
    assert export(f"--checkpoint={run}", f"--out={tmp_path / 'merged'}") == 0
    wanted = nnx.state(merge_lora(model.decoder))
    same(nnx.state(imported(tmp_path / "merged")), wanted, atol=1e-6)
    assert export(f"--checkpoint={run}", f"--out={tmp_path / 'lora'}", "--adapters") == 0
    lora, state = adapters.read_adapters(config.decoder, tmp_path / "lora", sharding.make_mesh())
    assert lora == LORA
    same(state, nnx.state(model.decoder, is_lora))
    record = json.loads((tmp_path / "lora" / adapters.CONFIG).read_text())
    assert Path(record["base_model_name_or_path"]).samefile(source)
    printed = capsys.readouterr().out
    n = sum(x.size for x in jax.tree.leaves(wanted))
    assert f"merged: {n:,} parameters in 1 file" in printed and "lora: adapters" in printed


def test_the_command_exports_a_language_model_of_our_own(tmp_path):
    decoder = tiny_decoder(vocab_size=320)
    run = write_run(tmp_path / "run", decoder, decoder.config)
    tokenizer = train_bpe(["hello there", "hello you"], vocab_size=320)
    tokenizer.save(run / artefact.TOKENIZER)
    assert export(f"--checkpoint={run}", f"--out={tmp_path / 'out'}") == 0
    np.testing.assert_array_equal(forward(imported(tmp_path / "out")), forward(decoder))
    assert TextTokenizer.load(tmp_path / "out").digest == tokenizer.digest
    record = json.loads((tmp_path / "out" / "config.json").read_text())
    assert record["eos_token_id"] == tokenizer.eos_id
    named = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert named["eos_token"] == SPECIAL_TOKENS["eos"]
    with pytest.raises(SignBindError, match="base_model: found nothing, wanted --base_model"):
        export(f"--checkpoint={run}", f"--out={tmp_path / 'lora'}", "--adapters")


def test_the_command_refuses_what_it_cannot_export(tmp_path):
    decoder = tiny_decoder()
    run = write_run(tmp_path / "run", decoder, decoder.config, {"language_model": "../gone"})
    with pytest.raises(SignBindError, match="parents.language_model: found no config.json.*gone"):
        export(f"--checkpoint={run}", f"--out={tmp_path / 'out'}")
    run = write_run(tmp_path / "expert", decoder, decoder.config, stage="signing")
    record = json.loads((run / artefact.FILE).read_text())
    record["model"] = model_record.model_record(ExpertConfig("pose", 2))
    (run / artefact.FILE).write_text(json.dumps(record))
    with pytest.raises(SignBindError, match="stage: found signing, wanted one with a language"):
        export(f"--checkpoint={run}", f"--out={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", ["nan", "0", "-1", "inf", "five"])
def test_a_size_of_shards_that_is_none_is_bad_usage(size, capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(["llm", "export", "--checkpoint=run", "--out=out", f"--shard_gb={size}"])
    assert error.value.code == 2 and "--shard_gb" in capsys.readouterr().err
