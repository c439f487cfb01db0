"""Adapters of other tools are read where they are plain LoRA, and refused by name where not."""

import json

import pytest
from safetensors.numpy import load_file, save_file

from signbind_jax.distributed import sharding
from signbind_jax.errors import SignBindError
from signbind_jax.hf import adapters
from signbind_jax.hf.export import export_adapters
from tests.unit.hf.test_export import with_adapters
from tests.unit.models.tiny_decoder import tiny_decoder


@pytest.fixture(scope="module")
def adapter_directory(tmp_path_factory):
    out = tmp_path_factory.mktemp("adapters") / "out"
    export_adapters(with_adapters(tiny_decoder()), out, base_model="model")
    return out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"peft_type": "IA3"}, "peft_type: found 'IA3', wanted 'LORA'"),
        ({"target_modules": ["q_proj", "c_attn"]}, "target_modules: found 'c_attn', wanted some"),
        ({"target_modules": "all-linear"}, "target_modules: found 'all-linear', wanted a list"),
        ({"target_modules": ["q_proj"]}, "tensors that its config has no place for"),
        (
            {"target_modules": ["q_proj", "o_proj", "down_proj", "up_proj"]},
            "mlp.up_proj.lora_A.weight: found nothing",
        ),
        ({"r": 4}, r"lora_A.weight: found shape (3, 24), wanted (4, 24)"),
        ({"r": 0}, "r: found 0, wanted a number from 1 up"),
        ({"lora_alpha": None}, "lora_alpha: found None, wanted float"),
        ({"lora_alpha": float("inf")}, "lora_alpha: found inf, wanted float"),
        ({"r": 10**9}, "rank: found 1000000000, wanted a whole number, at least"),
        ({"r": True}, "r: found True, wanted int"),
        ({"peft_type": ["LORA"]}, "peft_type: found ['LORA'], wanted str"),
        ({"target_modules": ["q_proj\nx", [1]]}, "target_modules: found"),
        ({"new\nfield": "x" * 1000}, "fields that plain LoRA does not have: new\\nfield="),
        ({"lora_dropout": 2.0}, "dropout: found 2.0, wanted a number, at least 0 and below 1"),
        ({"use_dora": True}, "use_dora=True"),
        ({"use_rslora": True}, "use_rslora=True"),
        ({"bias": "all"}, "bias='all'"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern={'q_proj': 2}"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save=['lm_head']"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights: found 'pissa'"),
    ],
)
def test_adapters_that_are_not_plain_lora_are_refused(change, said, adapter_directory, tmp_path):
    record = json.loads((adapter_directory / adapters.CONFIG).read_text())
    (tmp_path / adapters.CONFIG).write_text(json.dumps(record | change))
    (tmp_path / adapters.WEIGHTS).symlink_to(adapter_directory / adapters.WEIGHTS)
    with pytest.raises(SignBindError) as error:
        adapters.read_adapters(tiny_decoder().config, tmp_path, sharding.make_mesh())
    assert said in str(error.value) and str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_damaged_adapters_are_refused(adapter_directory, tmp_path):
    config, mesh = tiny_decoder().config, sharding.make_mesh()

    def read():
        adapters.read_adapters(config, tmp_path, mesh)

    with pytest.raises(SignBindError, match="adapter_config.json: cannot be read: No such"):
        read()
    (tmp_path / adapters.CONFIG).write_text("{")
    with pytest.raises(SignBindError, match=r"adapter_config.json: not readable as JSON"):
        read()
    (tmp_path / adapters.CONFIG).write_bytes((adapter_directory / adapters.CONFIG).read_bytes())
    (tmp_path / "adapter_model.bin").touch()
    with pytest.raises(SignBindError, match=r"found no adapter_model.safetensors \(a pickle"):
        read()
    whole = (adapter_directory / adapters.WEIGHTS).read_bytes()
    (tmp_path / adapters.WEIGHTS).write_bytes(whole[:-100])
    with pytest.raises(SignBindError, match="not a whole safetensors file"):
        read()
    tensors = load_file(adapter_directory / adapters.WEIGHTS)
    name = "base_model.model.model.layers.1.self_attn.o_proj.lora_B.weight"
    save_file(tensors | {name: tensors[name][1:]}, tmp_path / adapters.WEIGHTS)
    with pytest.raises(SignBindError, match=r"o_proj.lora_B.weight: found shape \(15, 3\)"):
        read()
    del tensors[name]
    save_file(tensors, tmp_path / adapters.WEIGHTS)
    with pytest.raises(SignBindError, match="layers.1.self_attn.o_proj.lora_B.weight: found noth"):
        read()
