"""`signbind llm inspect`: what a directory holds, and what does not fit together."""

import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from signbind_jax.errors import SignBindError
from signbind_jax.hf import gguf_llama, inspect_command
from tests.conftest import signbind
from tests.unit.hf import tiny_gguf


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A tiny model with tokenizer and chat template."""
    directory = tmp_path_factory.mktemp("model")
    packed = tiny_gguf.write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")
    gguf_llama.convert(packed, directory)
    return directory


@pytest.fixture
def directory(original, tmp_path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(original, tmp_path / "model"))


def report(directory: Path) -> dict[str, str]:
    return dict(inspect_command.lines(inspect_command.inspect(directory)))


def test_report_of_the_command(original):
    done = signbind("llm", "inspect", original)
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    tensors = load_file(original / "model.safetensors")
    n = sum(math.prod(tensor.shape) for tensor in tensors.values())
    assert rows["architecture"].strip() == "llama"
    assert rows["decoder"].startswith("2 layers, width 64, feed-forward 96")
    assert "4 heads of 16, 2 for keys and values, rotary base 100000" in rows["attention"]
    assert rows["parameters"].startswith(f"{n:,}, output layer tied")
    assert f"float32 {4 * n / 1e6:.1f} MB, bfloat16 {2 * n / 1e6:.1f} MB" in rows["memory"]
    # 2 layers x (keys, values) x 2 heads x 16 x 1,000 tokens x 4 bytes
    assert "float32 0.5 MB, bfloat16 0.3 MB for 1,000 tokens" in done.stdout
    size = len(tiny_gguf.TOKENS)
    assert f"tokenizer {size} ids, embedding table {size} rows" in rows["vocabulary"]
    assert "bos '<|im_start|>' (1), eos '<|im_end|>' (2), pad '<|im_end|>' (2)" in done.stdout
    said = "<|im_start|>user\nWhich signs are these?<|im_end|>\n<|im_start|>assistant\n"
    assert repr(said) in done.stdout
    assert f"{len(tensors)} F16: names and shapes are those of config.json" in done.stdout


def test_several_files_are_one_model(directory, original):
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    in_files(directory, tensors)
    assert report(directory)["parameters"] == report(original)["parameters"]
    assert report(directory)["files"].startswith("2, ")
    (directory / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(SignBindError, match="model-00002-of-00002.safetensors: no such file"):
        report(directory)


def in_files(directory: Path, tensors: dict[str, np.ndarray]) -> None:
    """Two shards and their index."""
    names = sorted(tensors)
    where = {}
    for i, own in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-{i:05d}-of-00002.safetensors"
        save_file({name: tensors[name] for name in own}, directory / file)
        where |= dict.fromkeys(own, file)
    index = {"metadata": {}, "weight_map": where}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def without_template(directory: Path) -> None:
    change(directory / "tokenizer_config.json", chat_template=None)


def change(path: Path, **changes) -> None:
    record = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in record.items() if v is not None}))


def test_models_without_a_usable_template_are_told_apart(directory):
    without_template(directory)
    assert report(directory)["chat template"] == "none"
    change(directory / "tokenizer_config.json", chat_template="{{ raise_exception('no users') }}")
    assert "there is one, but" in report(directory)["chat template"]
    assert "no users" in report(directory)["chat template"]


def truncate(directory):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def other_tensor(name, value):
    def spoil(directory):
        tensors = load_file(directory / "model.safetensors")
        del tensors[name]
        save_file(
            tensors | ({} if value is None else {name: value}), directory / "model.safetensors"
        )

    return spoil


def pickled(directory):
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")


def more_ids(directory):
    path = directory / "tokenizer.json"
    record = json.loads(path.read_text())
    token = record["added_tokens"][0] | {"id": len(tiny_gguf.TOKENS), "content": "<new>"}
    record["added_tokens"].append(token)
    path.write_text(json.dumps(record))


def lost_from_its_shard(directory):
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    in_files(directory, tensors)
    path = directory / "model-00001-of-00002.safetensors"
    part = load_file(path)
    del part["model.embed_tokens.weight"]
    save_file(part, path)


NORM = "model.norm.weight"


def in_two_shards(directory):
    tensors = load_file(directory / "model.safetensors")
    in_files(directory, tensors)
    shards = [directory / f"model-{i:05d}-of-00002.safetensors" for i in (1, 2)]
    other = next(path for path in shards if NORM not in load_file(path))
    save_file(load_file(other) | {NORM: 2 * tensors[NORM]}, other)


def index(text):
    return lambda directory: (directory / "model.safetensors.index.json").write_text(text)


def shard_at(file):
    return index(json.dumps({"weight_map": {NORM: file}}))


def huge_header(directory):
    path = directory / "model.safetensors"
    path.write_bytes((2**40).to_bytes(8, "little") + path.read_bytes()[8:])


def fifo(directory):
    (directory / "model.safetensors").unlink()
    os.mkfifo(directory / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: (d / "config.json").unlink(), "config.json: cannot be read: No such"),
        (lambda d: (d / "config.json").write_text("[]"), "config.json: found list, wanted an"),
        (lambda d: change(d / "config.json", model_type="rwkv"), "model_type: found 'rwkv'"),
        (lambda d: change(d / "config.json", head_dim=32), "shape (32, 64), wanted (64, 64)"),
        (truncate, "model.safetensors: not a whole safetensors file"),
        (pickled, "found weights as a pickle (pytorch_model.bin)"),
        (lost_from_its_shard, "tensor 'model.embed_tokens.weight': found nothing, wanted it, as"),
        (in_two_shards, "of-00002.safetensors: tensor 'model.norm.weight': found it, wanted noth"),
        (shard_at("../model.safetensors"), "index.json: weight_map: found '../model.safetensors'"),
        (shard_at("/etc/passwd"), "weight_map: found '/etc/passwd', wanted a file beside the ind"),
        (shard_at(".."), "weight_map: found '..'"),
        (shard_at(7), "weight_map: found 7"),
        (shard_at("a\0b"), "weight_map: found 'a\\x00b', wanted"),
        (index("[]"), "index.json: found [], wanted an object with 'weight_map'"),
        (index('{"weight_map": []}'), "index.json: weight_map: found [], wanted dict"),
        (index("{"), "model.safetensors.index.json: not readable as JSON"),
        (huge_header, "model.safetensors: not a whole safetensors file (found a header of 1,099,"),
        (fifo, "model.safetensors: found a named pipe, wanted a file"),
        (other_tensor(NORM, np.ones(65, np.float32)), "found shape (65,), wanted (64,)"),
        (other_tensor(NORM, np.ones(64, np.int8)), "found type I8, wanted F32, F16, BF16"),
        (other_tensor(NORM, None), f"tensor {NORM}: found nothing"),
        (lambda d: (d / "tokenizer.json").unlink(), "tokenizer.json: no such file"),
        (lambda d: (d / "tokenizer.json").write_text("{}"), "tokenizer.json: found"),
        (more_ids, "tokenizer.json: found ids up to 263, wanted at most 262"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(directory, spoil, said):
    spoil(directory)
    with pytest.raises(SignBindError) as error:
        report(directory)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_command_says_it_without_a_traceback(directory):
    truncate(directory)
    done = signbind("llm", "inspect", directory, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("signbind: error: ") and len(done.stderr.splitlines()) == 1
